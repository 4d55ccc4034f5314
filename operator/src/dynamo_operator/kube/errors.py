"""What can go wrong between us and the API server.

KubeError
  Conflict      409: another manager's field, an existing object, a stale resourceVersion or uid
  Forbidden     401, 403: our account may not do this
  Gone          404: no such object, namespace or kind
  Ending        403: the namespace is being deleted, and nothing new may appear in it
  Invalid       400, 422: the API server or an admission webhook refuses the document
  Throttled     429, with what the server asks us to wait
  Unreachable   no answer, a broken one, or 5xx
  Blocked       500: a webhook of others, which has to be asked, does not answer
  Deposed       not sent: this process no longer holds its lease
"""

from __future__ import annotations


class KubeError(Exception):
    """The message is the API server's own, short enough for a condition or an Event."""


class Conflict(KubeError):
    """Somebody else changed or owns it; observe again before the next try."""


class Forbidden(KubeError):
    """Trying again will not help before somebody grants the right."""


class Gone(KubeError):
    """There is nothing to read or change."""


class Ending(KubeError):
    """Trying again never helps: the namespace goes with all that is in it. Changes and deletions are still taken."""


class Invalid(KubeError):
    """Trying again will not help before the document changes."""


class Throttled(KubeError):
    """Try again after `retry_after_s`."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unreachable(KubeError):
    """Try again; whether a write arrived is unknown."""


class Blocked(KubeError):
    """The document was not taken, and the API server itself is well; try again, and tell who waits for it."""


class Deposed(KubeError):
    """Another process leads now: nothing was sent, and nothing may be."""
