"""Who can be sent requests: announcements joined with the pods that Kubernetes calls ready. Pure.

A worker is there when its announcement exists and its pod (or container) is ready. Where the ready pod's address and
the card's differ, the pod's wins: a card written before the pod got a new address must not keep the old one alive.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

from dynamo.discovery.cluster.metadata import Announcement
from dynamo.wire.cards import WorkerCard

DISCOVERY_LABELS = {
    "nvidia.com/dynamo-discovery-backend": "kubernetes",
    "nvidia.com/dynamo-discovery-enabled": "true",
}
_SHOWN_NAMES = 5


class Meta(msgspec.Struct, frozen=True):
    name: str
    uid: str = ""
    deletionTimestamp: str | None = None  # noqa: N815  # Kubernetes' names


class TargetRef(msgspec.Struct, frozen=True):
    kind: str = ""
    name: str = ""
    uid: str = ""


class Conditions(msgspec.Struct, frozen=True):
    ready: bool | None = None


class Endpoint(msgspec.Struct, frozen=True):
    addresses: tuple[str, ...] = ()
    conditions: Conditions = Conditions()
    targetRef: TargetRef | None = None  # noqa: N815


class EndpointSlice(msgspec.Struct, frozen=True):
    metadata: Meta
    endpoints: tuple[Endpoint, ...] | None = ()


class ContainerStatus(msgspec.Struct, frozen=True):
    name: str
    ready: bool = False


class PodStatus(msgspec.Struct, frozen=True):
    podIP: str = ""  # noqa: N815
    containerStatuses: tuple[ContainerStatus, ...] | None = ()  # noqa: N815
    initContainerStatuses: tuple[ContainerStatus, ...] | None = ()  # noqa: N815
    """Sidecars are among these."""


class PodObject(msgspec.Struct, frozen=True):
    metadata: Meta
    status: PodStatus = PodStatus()


@dataclass(frozen=True, slots=True)
class Ready:
    """Something that Kubernetes calls ready, by the name its announcement has."""

    uid: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sight:
    """Who is there, and what keeps others from being seen."""

    cards: tuple[WorkerCard, ...]
    problems: tuple[str, ...]


def ready_pods(slices: Iterable[EndpointSlice]) -> dict[str, Ready]:
    """Pods that at least one slice calls ready; an unknown condition counts as ready, as Kubernetes asks."""
    found: dict[str, Ready] = {}
    for one in slices:
        for endpoint in one.endpoints or ():
            target = endpoint.targetRef
            if target is None or target.kind != "Pod" or endpoint.conditions.ready is False:
                continue
            known = found.get(target.name)
            addresses = (*(known.addresses if known else ()), *endpoint.addresses)
            found[target.name] = Ready(target.uid, addresses)
    return found


def ready_containers(pods: Iterable[PodObject]) -> dict[str, Ready]:
    """Containers that are ready, in pods that are not being deleted."""
    return {
        f"{pod.metadata.name}-{container.name}": Ready(pod.metadata.uid, (pod.status.podIP,))
        for pod in pods
        if pod.metadata.deletionTimestamp is None and pod.status.podIP
        for container in (*(pod.status.containerStatuses or ()), *(pod.status.initContainerStatuses or ()))
        if container.ready
    }


def join(announcements: Iterable[Announcement], ready: Mapping[str, Ready], *, has_labelled: bool) -> Sight:
    """`has_labelled`: whether anything at all carries the discovery labels."""
    cards: dict[int, WorkerCard] = {}
    waiting: list[str] = []
    problems: list[str] = []
    for announcement in sorted(announcements, key=lambda one: one.name):
        problems += announcement.defects
        pod = ready.get(announcement.name)
        # A pod may be gone and another of its name be ready: then the announcement is the old one's.
        if pod is None or (announcement.pod_uid and pod.uid and announcement.pod_uid != pod.uid):
            if announcement.cards:
                waiting.append(announcement.name)
            continue
        for card in announcement.cards:
            cards.setdefault(card.worker_id, at_address(card, pod.addresses))
    if waiting and not has_labelled:
        labels = ",".join(f"{name}={value}" for name, value in DISCOVERY_LABELS.items())
        problems.append(f"nothing carries the labels {labels}: no worker's readiness can be known")
    if waiting:
        problems.append(f"announced but not ready: {_some(waiting)}")
    return Sight(tuple(cards[worker_id] for worker_id in sorted(cards)), tuple(problems))


def at_address(card: WorkerCard, addresses: tuple[str, ...]) -> WorkerCard:
    """The card with its own host replaced where that is an address the pod no longer has."""
    host = urlsplit(card.system_address).hostname or ""
    if not addresses or host in addresses or (version := _version(host)) is None:
        return card
    now = next((address for address in addresses if _version(address) == version), addresses[0])
    return msgspec.structs.replace(
        card,
        address=_moved(card.address, host, now),
        system_address=_moved(card.system_address, host, now),
        event_address=None if card.event_address is None else _moved(card.event_address, host, now),
        bootstrap_host=now if card.bootstrap_host == host else card.bootstrap_host,
    )


def _moved(address: str, old: str, new: str) -> str:
    url = urlsplit(address)
    if url.hostname != old:
        return address
    return f"{url.scheme}://{f'[{new}]' if ':' in new else new}:{url.port}"


def _version(host: str) -> int | None:
    """4 or 6; None for a name."""
    try:
        return ipaddress.ip_address(host).version
    except ValueError:
        return None


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
