"""What a component's spec says of itself to planners: GPUs, served model, names. Pure; called by the status."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from dynamo_operator.api import Component, JsonObject
from dynamo_operator.api.quantity import whole_number

POWER_LIMIT = "dynamo.nvidia.com/gpu-power-limit"
DEFAULT_RUNTIME_COMPONENT = "backend"  # what workers register as that were given no name

GPU_SHAPE = ("gpusPerEngine", "gpusPerReplica")

_MODEL_FLAGS = ("--served-model-name", "--model-name", "--model", "--model-path")
_GPU = re.compile(r"(^|[./])gpu(s)?([./-]|$)")


def features(component: Component) -> dict[str, object]:
    """The fields of a component's status that come from its spec alone."""
    gpus = gpus_per_pod(component) * component.node_count
    found: dict[str, object] = dict.fromkeys(GPU_SHAPE, gpus)
    if component.is_worker and component.type is not None:
        found["runtimeComponentName"] = _environment(component).get("DYN_COMPONENT") or component.type.value
        model = served_model(component)
        if model:
            found["servedModelName"] = model
    annotations = (component.pod_template.get("metadata") or {}).get("annotations") or {}
    limit = str(annotations.get(POWER_LIMIT) or "")
    if limit.isascii() and limit.isdigit():
        found["gpuPowerLimitWatts"] = int(limit)
    return found


def gpus_per_pod(component: Component) -> int:
    """GPUs of all containers of one pod; 0 means that the width is the engine's own business."""
    return sum(_gpus(container.get("resources") or {}) for container in component.containers)


def served_model(component: Component) -> str | None:
    """The model name that a worker's command tells its engine to serve; None where it names none."""
    words = [word for part in _words(component.main) for word in _split(str(part))]
    for flag in _MODEL_FLAGS:
        for position, word in enumerate(words):
            name, equals, value = word.partition("=")
            if name == flag and equals:
                return value or None
            if word == flag and position + 1 < len(words):
                return words[position + 1]
    return None


def _gpus(resources: JsonObject) -> int:
    amounts = {**(resources.get("requests") or {}), **(resources.get("limits") or {})}
    return sum(whole_number(amount) or 0 for name, amount in amounts.items() if _GPU.search(name))


def _words(main: JsonObject) -> Iterable[object]:
    return (*(main.get("command") or ()), *(main.get("args") or ()))


def _split(part: str) -> list[str]:
    """The words of one argument, which is a whole command line where a shell runs it."""
    if " " not in part.strip():
        return [part]
    try:
        return shlex.split(part)
    except ValueError:
        return part.split()


def _environment(component: Component) -> dict[str, str]:
    return {each["name"]: str(each.get("value") or "") for each in component.main.get("env") or ()}
