"""What a Lease says, and the writes that change it. Pure.

The clock of another machine is not believed: a lease has run out when *we* have seen it unchanged for its duration.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dynamo_operator.kube import Document, Live, Ref


@dataclass(frozen=True, slots=True)
class Sighting:
    """A lease as read: `at_s` is when this version of it was seen first, on our own clock."""

    version: str
    holder: str
    duration_s: float
    transitions: int
    at_s: float

    def has_run_out(self, now_s: float) -> bool:
        return not self.holder or now_s - self.at_s >= self.duration_s


def sighting(live: Live, before: Sighting | None, now_s: float) -> Sighting:
    spec = live.document.get("spec") or {}
    is_same = before is not None and before.version == live.resource_version
    return Sighting(
        version=live.resource_version,
        holder=spec.get("holderIdentity") or "",
        duration_s=float(spec.get("leaseDurationSeconds") or 0),
        transitions=int(spec.get("leaseTransitions") or 0),
        at_s=before.at_s if before is not None and is_same else now_s,
    )


def lease_document(ref: Ref, holder: str, duration_s: float, now: datetime) -> Document:
    return {
        "apiVersion": ref.kind.api_version,
        "kind": ref.kind.name,
        "metadata": {"name": ref.name, "namespace": ref.namespace},
        "spec": _spec(holder, duration_s, 0, now),
    }


def holding(seen: Sighting, holder: str, duration_s: float, now: datetime) -> list[dict[str, Any]]:
    """Take or renew, unless somebody wrote since `seen`: the version in the patch makes that a conflict."""
    transitions = seen.transitions + (seen.holder != holder)
    return _at_version(seen.version, _spec(holder, duration_s, transitions, now))


def releasing(seen: Sighting, now: datetime) -> list[dict[str, Any]]:
    return _at_version(seen.version, _spec("", 1, seen.transitions, now))


def _at_version(version: str, spec: Document) -> list[dict[str, Any]]:
    return [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
        {"op": "add", "path": "/spec", "value": spec},
    ]


def _spec(holder: str, duration_s: float, transitions: int, now: datetime) -> Document:
    return {
        "holderIdentity": holder,
        "leaseDurationSeconds": max(1, round(duration_s)),
        "leaseTransitions": transitions,
        "renewTime": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
