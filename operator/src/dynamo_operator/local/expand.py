"""`$(NAME)` references in container commands, arguments and environment values, as Kubernetes expands them.

`$$` is a literal dollar, an unknown name stays as written, and nothing is expanded twice. Pure; called by `plan`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)")


def expand(text: str, values: Mapping[str, str]) -> str:
    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        return "$" if name is None else values.get(name, match.group(0))

    return _REFERENCE.sub(replace, text)
