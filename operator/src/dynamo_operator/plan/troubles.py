"""What keeps pods from serving, in words for whoever owns the graph. Pure; called by the diagnosis and the workloads.

The same trouble gives the same words as long as it lasts: pods' generated names, back-off times and restart counts are
left out, or a status would be written anew with every look.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dynamo_operator.kube import Live

TOLD = 3  # different troubles of one component; the rest helps nobody
LONGEST = 300
_PULLING = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "RegistryUnavailable")
_STARTING = ("ContainerCreating", "PodInitializing")
_POD_REFUSED = re.compile(r'^pods "[^"]*" is forbidden: ')


def pods_trouble(pods: Iterable[Live]) -> str:
    """Each trouble with the number of pods that have it, most frequent first; empty where there is none to name."""
    counted = Counter(trouble for pod in pods if (trouble := _trouble(pod)))
    ordered = sorted(counted.items(), key=lambda each: (-each[1], each[0]))[:TOLD]
    return "; ".join(f"{count} {'pods' if count > 1 else 'pod'}: {text}" for text, count in ordered)


def creation_trouble(deployment_status: Mapping[str, Any]) -> str:
    """Why a Deployment's pods cannot be made at all: a quota, an admission webhook, a missing account."""
    for condition in deployment_status.get("conditions") or ():
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            message = str(condition.get("message") or condition.get("reason") or "")
            return f"pods cannot be created: {_short(_POD_REFUSED.sub('', message))}"
    return ""


def _trouble(pod: Live) -> str:
    status = pod.document.get("status") or {}
    if pod.is_terminating:
        return ""
    if status.get("phase") == "Failed":
        return _short(f"failed, {status.get('reason') or 'without a reason'}: {status.get('message') or 'no message'}")
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        return _short(f"not scheduled, {scheduled.get('message') or scheduled.get('reason') or 'no message'}")
    return next(_containers_troubles(pod, status), "")


def _containers_troubles(pod: Live, status: Mapping[str, Any]) -> Iterator[str]:
    images = {
        each["name"]: each.get("image", "")
        for field in ("initContainers", "containers")
        for each in pod.document["spec"].get(field) or ()
    }
    for field in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(field) or ():
            if trouble := _container_trouble(container, images.get(container["name"], "")):
                yield _short(f"container {container['name']} {trouble}")


def _container_trouble(container: Mapping[str, Any], image: str) -> str:
    """A container that started again after its end is told of until it is ready."""
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    reason = waiting.get("reason") or ""
    if reason in _PULLING:
        return f"cannot pull image {image}" if reason != "InvalidImageName" else f"has an invalid image name {image}"
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
    is_done = state.get("terminated") and ended.get("exitCode") == 0 and not container.get("restartCount")
    if ended and not container.get("ready") and not is_done:
        return f"ends and is started again, last with exit code {ended.get('exitCode')} ({ended.get('reason')})"
    if reason and reason not in _STARTING:
        return f"cannot start, {reason}: {waiting.get('message') or 'no message'}"
    return ""


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    return next((each for each in status.get("conditions") or () if each.get("type") == kind), {})


def _short(text: str) -> str:
    """One line."""
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
