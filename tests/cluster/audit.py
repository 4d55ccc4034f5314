"""Reads the API server's audit log: who called it, how often, for what.

Must not change the log. Called by tests that count an operator's calls.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True, slots=True)
class Call:
    """One request that the API server answered."""

    user: str
    agent: str
    verb: str
    resource: str  # With its subresource: "deployments/status"; empty for paths such as /version.
    namespace: str
    name: str
    status: int
    is_denied: bool  # For want of a right; a 403 may also say that a namespace is being deleted.

    @property
    def is_write(self) -> bool:
        return self.verb in WRITES


@dataclass(frozen=True, slots=True)
class AuditLog:
    path: Path

    def mark(self) -> int:
        """A place in the log; calls after it are those made from now on."""
        return self.path.stat().st_size if self.path.exists() else 0

    def calls(self, since: int = 0) -> list[Call]:
        """Every answered call since a mark, in the order of their answers."""
        return list(read_calls(self._lines(since)))

    def calls_by_user(self, since: int = 0) -> Counter[str]:
        return Counter(call.user for call in self.calls(since))

    def calls_by_verb(self, user: str, since: int = 0) -> Counter[tuple[str, str]]:
        """One user's calls by (verb, resource)."""
        return Counter((call.verb, call.resource) for call in self.calls(since) if call.user == user)

    def _lines(self, since: int) -> Iterator[str]:
        if not self.path.exists():
            return
        with self.path.open("rb") as log:
            log.seek(since)
            for line in log:
                if line.endswith(b"\n"):  # The last one may still be on its way.
                    yield line.decode()


def read_calls(lines: Iterator[str]) -> Iterator[Call]:
    """Calls that were answered; a watch counts when it begins, not again when it ends."""
    for line in lines:
        event = json.loads(line)
        is_watch = event["verb"] == "watch"
        if event["stage"] != ("ResponseStarted" if is_watch else "ResponseComplete"):
            continue
        target = event.get("objectRef", {})
        parts = (target.get("resource", ""), target.get("subresource", ""))
        yield Call(
            # An impersonated user is who the call was made for.
            user=event.get("impersonatedUser", event["user"]).get("username", ""),
            agent=event.get("userAgent", ""),
            verb=event["verb"],
            resource="/".join(part for part in parts if part),
            namespace=target.get("namespace", ""),
            name=target.get("name", ""),
            status=event.get("responseStatus", {}).get("code", 0),
            is_denied=event.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid",
        )
