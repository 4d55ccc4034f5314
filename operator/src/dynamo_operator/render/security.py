"""Security defaults of a pod: what its author leaves open and what costs nothing to close. Pure.

Nothing that is written is changed. Left alone: who runs, what may be written, and capabilities, since engines' images
run as root and their libraries need some of them.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

# With these, Kubernetes refuses to forbid gaining privileges.
_PRIVILEGING = frozenset({"SYS_ADMIN", "CAP_SYS_ADMIN"})


def secured(pod: Json) -> Json:
    """The pod spec with the runtime's system-call filter, and without ways to gain privileges, where unset."""
    containers = {
        key: [_contained(each) for each in pod[key]] for key in ("initContainers", "containers") if pod.get(key)
    }
    secured_pod = {**pod, **containers}
    if not any(_is_privileged(each) for each in (*(pod.get("initContainers") or ()), *pod["containers"])):
        written = pod.get("securityContext") or {}
        secured_pod["securityContext"] = {"seccompProfile": {"type": "RuntimeDefault"}, **written}
    return secured_pod


def _contained(container: Json) -> Json:
    if _is_privileged(container):
        return container
    written = container.get("securityContext") or {}
    return {**container, "securityContext": {"allowPrivilegeEscalation": False, **written}}


def _is_privileged(container: Json) -> bool:
    written = container.get("securityContext") or {}
    added = (written.get("capabilities") or {}).get("add") or ()
    return bool(written.get("privileged")) or bool(_PRIVILEGING & set(added))
