"""What may be shown of an adapter's address: it can hold a user's password or a signature. Pure.

Called wherever an address, or what a worker says about one, gets into a log, an Event or a status.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote, urlsplit

HIDDEN = "…"
SHORTEST_SECRET = 4  # shorter values would also be cut out of innocent words
_USER_INFO = re.compile(r"(?<=://)[^/\s@]+@")
_QUERY = re.compile(r"(?<=\S)\?[^\s'\"]*[=&%][^\s'\"]*")


def redacted(uri: str) -> str:
    """The address without user, password, query and fragment."""
    scheme, separator, rest = uri.partition("://")
    place = re.split(r"[?#]", rest if separator else scheme, maxsplit=1)[0]
    host, slash, path = place.partition("/")
    return f"{scheme if separator else ''}{separator}{host.rpartition('@')[2]}{slash}{path}"


def without_secrets(text: str, uri: str) -> str:
    """A text by somebody who knows `uri`, without the secrets of it or of any other address in the text."""
    text = text.replace(uri, redacted(uri))
    for secret in sorted(_secrets(uri), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return _QUERY.sub(f"?{HIDDEN}", _USER_INFO.sub(f"{HIDDEN}@", text))


def _secrets(uri: str) -> set[str]:
    try:
        parts = urlsplit(uri)
        found = [parts.password or "", parts.username or "", parts.query, parts.fragment]
    except ValueError:  # no address; what stands before a path is what could be secret in it
        return set()
    found += [value for _, value in parse_qsl(parts.query)]
    return {each for value in found for each in (value, unquote(value)) if len(each) >= SHORTEST_SECRET}
