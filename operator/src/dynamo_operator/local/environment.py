"""The environment of one replica: what the rendering sets, with what only a cluster can know replaced.

Downward-API fields are answered from the pod's own values; secrets and config maps have no counterpart here and become
notes. Pure; called by `plan`. Listening ports were moved before (`ports` maps each old number to the new one).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dynamo_operator.local.expand import expand
from dynamo_operator.local.ports import LISTENING

Json = Mapping[str, Any]

_STOP_S = "5"
_CLUSTER = ("DYN_", "POD_", "NATS_", "ETCD_")
_LOGGING = frozenset({"DYN_LOG", "DYN_LOGGING_JSONL"})
_DEFAULTS = {
    "DYN_GRACEFUL_SHUTDOWN_GRACE_PERIOD_SECS": "0",  # no load balancer has to learn of the withdrawal here
    "DYN_HTTP_GRACEFUL_SHUTDOWN_TIMEOUT_SECS": _STOP_S,
    "DYN_RUNTIME_GRACEFUL_SHUTDOWN_TIMEOUT_SECS": _STOP_S,
    "PYTHONUNBUFFERED": "1",
}


@dataclass(frozen=True, slots=True)
class Pod:
    """Who a replica is: the values that the downward API would give it."""

    name: str
    namespace: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    service_account: str
    host: str

    @property
    def uid(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.namespace}/{self.name}"))


def environment(
    container: Json, pod: Pod, ports: Mapping[int, int], discovery_folder: str
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The variables in the manifest's order, each expanded with those before it, and the notes."""
    values: dict[str, str] = {}
    notes: list[str] = []
    for item in container.get("env") or ():
        name = str(item["name"])
        found = _value(item, pod)
        if found is None:
            notes.append(_unread(item))
            continue
        if name in LISTENING and found.isdigit():
            found = str(ports.get(int(found), found))
        values[name] = expand(found, values)
    notes += [_unread_source(source) for source in container.get("envFrom") or ()]
    return {**_DEFAULTS, **values, **_local(pod, discovery_folder)}, tuple(notes)


def inherited(own: Mapping[str, str], programs: str) -> dict[str, str]:
    """What a process takes over from the user's environment: all but what only the manifest may say.

    `programs`: folder of this interpreter, put first on the path so that scripts that call `python3` find it.
    """
    kept = {name: text for name, text in own.items() if not name.startswith(_CLUSTER) or name in _LOGGING}
    return {**kept, "PATH": f"{programs}:{own.get('PATH', '/usr/local/bin:/usr/bin:/bin')}"}


def _local(pod: Pod, discovery_folder: str) -> dict[str, str]:
    return {
        "DYN_DISCOVERY_BACKEND": "file",
        "DYN_FILE_KV": discovery_folder,
        "DYN_TCP_RPC_HOST": "127.0.0.1",
        "DYN_HTTP_HOST": pod.host,
        "DYN_SYSTEM_HOST": "127.0.0.1",
    }


def _value(item: Json, pod: Pod) -> str | None:
    """None when only a cluster could answer."""
    source = item.get("valueFrom")
    if not source:
        return str(item.get("value") or "")
    path = (source.get("fieldRef") or {}).get("fieldPath")
    return _field(str(path), pod) if path else None


def _field(path: str, pod: Pod) -> str | None:
    known = {
        "metadata.name": pod.name,
        "metadata.namespace": pod.namespace,
        "metadata.uid": pod.uid,
        "spec.serviceAccountName": pod.service_account,
        "spec.nodeName": "localhost",
        "status.podIP": "127.0.0.1",
        "status.podIPs": "127.0.0.1",
        "status.hostIP": "127.0.0.1",
        "status.hostIPs": "127.0.0.1",
    }
    for prefix, mapping in (("metadata.labels", pod.labels), ("metadata.annotations", pod.annotations)):
        if path.startswith(f"{prefix}["):
            return mapping.get(path[len(prefix) + 1 : -1].strip("'\""), "")
    return known.get(path)


def _unread(item: Json) -> str:
    kind, source = next(iter(item["valueFrom"].items()))
    where = {"secretKeyRef": "secret", "configMapKeyRef": "config map", "resourceFieldRef": "resource field"}
    named = source.get("name") or source.get("resource") or source.get("fieldPath", "")
    return (
        f"{item['name']} is not set: it comes from the {where.get(kind, kind)} {named!r}, which does not exist here;"
        f" set {item['name']} in your own environment if it is needed"
    )


def _unread_source(source: Json) -> str:
    kind = "secret" if "secretRef" in source else "config map"
    reference: Json = source.get("secretRef") or source.get("configMapRef") or {}
    return f"variables of the {kind} {reference.get('name', '')!r} come from your own environment here"


def ignored(pod_spec: Json, container: Json) -> Sequence[str]:
    """One plain sentence for each thing of the pod that has no effect on this machine."""
    notes: list[str] = []
    resources: Json = container.get("resources") or {}
    asked = {**(resources.get("requests") or {}), **(resources.get("limits") or {})}
    gpus = [name for name in asked if name.endswith("/gpu") or "/gpu." in name or "/mig-" in name]
    if gpus:
        notes.append("GPUs are not reserved: processes see what this machine has")
    if [name for name in asked if name not in gpus] or resources.get("claims"):
        notes.append("resource requests and limits are not enforced")
    if container.get("workingDir"):
        notes.append("workingDir is ignored: processes run in the current folder")
    sidecars = [str(other.get("name")) for other in pod_spec["containers"] if other is not container]
    if sidecars:
        notes.append(f"only the main container runs; left out: {', '.join(sidecars)}")
    if pod_spec.get("initContainers"):
        names = ", ".join(str(other.get("name")) for other in pod_spec["initContainers"])
        notes.append(f"init containers do not run: {names}")
    volumes = [str(volume["name"]) for volume in pod_spec.get("volumes") or () if "emptyDir" not in volume]
    if volumes:
        notes.append(f"volumes are not mounted: {', '.join(volumes)}")
    return notes
