"""Which pod this process is, as the downward API tells it: files first, then the environment.

Read once at start. The name of the announcement follows from it: the pod's, or `<pod>-<container>` where each container
of a pod is a worker of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dynamo.discovery.errors import DiscoveryError

PODINFO = Path("/etc/podinfo")
MODES = ("pod", "container")


@dataclass(frozen=True, slots=True)
class Pod:
    """The pod, and the container where workers are told apart by container."""

    name: str
    uid: str
    namespace: str
    container: str | None = None

    @property
    def announcement(self) -> str:
        """Name of its DynamoWorkerMetadata."""
        return self.name if self.container is None else f"{self.name}-{self.container}"


def read_pod(env: Mapping[str, str], podinfo: Path = PODINFO) -> Pod:
    """Raises DiscoveryError naming the variable that is missing."""
    found = {name: _read(name, env, podinfo) for name in ("POD_NAME", "POD_UID", "POD_NAMESPACE")}
    for name, value in found.items():
        if not value:
            raise DiscoveryError(f"{name}: not set; the kubernetes backend needs it from the downward API")
    container = env.get("CONTAINER_NAME") or None
    if read_mode(env) == "pod":
        container = None
    elif container is None:
        raise DiscoveryError("CONTAINER_NAME: not set; DYN_KUBE_DISCOVERY_MODE=container needs it")
    return Pod(found["POD_NAME"], found["POD_UID"], found["POD_NAMESPACE"], container)


def read_namespace(env: Mapping[str, str], podinfo: Path = PODINFO) -> str | None:
    """The Kubernetes namespace whose workers are looked for; None where the pod does not say."""
    return _read("POD_NAMESPACE", env, podinfo) or None


def read_mode(env: Mapping[str, str]) -> str:
    """`pod` or `container`. Raises DiscoveryError."""
    mode = env.get("DYN_KUBE_DISCOVERY_MODE") or MODES[0]
    if mode not in MODES:
        raise DiscoveryError(f"DYN_KUBE_DISCOVERY_MODE: found {mode!r}; expected one of {', '.join(MODES)}")
    return mode


def _read(name: str, env: Mapping[str, str], podinfo: Path) -> str:
    try:
        return (podinfo / name.lower()).read_text().strip()
    except OSError:
        return env.get(name, "").strip()
