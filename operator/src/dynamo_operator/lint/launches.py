"""How a component's process is started: its flags and variables, read from argument lists and shell scripts. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dynamo_operator.api import Component, ComponentType, Graph

_MODULE = re.compile(r"dynamo\.(vllm|sglang|trtllm|mocker|frontend|router|planner)$")
_SHELLS = frozenset({"sh", "bash", "/bin/sh", "/bin/bash"})
GPU_RESOURCES = ("nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/xe", "gpu.intel.com/i915")


@dataclass(frozen=True, slots=True)
class Launch:
    """The main container's start. `engine` is the module that runs (vllm, mocker, frontend, …), None if unknown."""

    component: Component
    path: str
    words: tuple[str, ...]
    env: Mapping[str, str]
    engine: str | None

    @property
    def args_path(self) -> str:
        return f"{self.path}.args"

    def flag(self, *names: str) -> str | None:
        """The last value given to any of these flags; None when absent or taken from a shell variable."""
        found = None
        for index, word in enumerate(self.words):
            _, has_value, value = word.partition("=")
            if _flag_name(word) in names:
                following = self.words[index + 1] if index + 1 < len(self.words) else ""
                found = value if has_value else following
        return None if found is None or "$" in found else found

    def has_flag(self, *names: str) -> bool:
        return any(_flag_name(word) in names for word in self.words)

    def number(self, *names: str) -> int | None:
        text = self.flag(*names)
        return int(text) if text is not None and text.isdecimal() else None

    def gpus(self) -> int | None:
        """GPUs of one pod as its limits say; None where claims or nothing say it."""
        resources = self.component.main.get("resources") or {}
        if resources.get("claims"):
            return None
        limits = {**(resources.get("requests") or {}), **(resources.get("limits") or {})}
        counts = [int(text) for name in GPU_RESOURCES if (text := str(limits.get(name, ""))).isdecimal()]
        return counts[0] if counts else None


def _flag_name(word: str) -> str:
    """vLLM takes `--block_size` for `--block-size`."""
    name = word.partition("=")[0]
    return name.replace("_", "-") if name.startswith("--") else name


Launches = Sequence[Launch]


def workers(found: Launches) -> list[Launch]:
    return [each for each in found if each.component.is_worker]


def of_type(found: Launches, component_type: ComponentType) -> list[Launch]:
    return [each for each in found if each.component.type is component_type]


def has(found: Launches, *types: ComponentType) -> bool:
    return any(each.component.type in types for each in found)


def launches(graph: Graph) -> tuple[Launch, ...]:
    """One launch per component, in the graph's order."""
    return tuple(_launch(graph, component, index) for index, component in enumerate(graph.components))


def _launch(graph: Graph, component: Component, index: int) -> Launch:
    position = next((at for at, each in enumerate(component.containers) if each.get("name") == "main"), 0)
    path = f"spec.components[{index}].podTemplate.spec.containers[{position}]"
    given = [*(component.main.get("command") or ()), *(component.main.get("args") or ())]
    words = _unfolded([str(word) for word in given])
    entries = [*graph.env, *(component.main.get("env") or ())]
    env = {str(each["name"]): str(each["value"]) for each in entries if "name" in each and "value" in each}
    return Launch(component, path, words, env, _engine(words))


def _unfolded(words: Sequence[str]) -> tuple[str, ...]:
    """Argument lists as they are; of shell scripts, the words of the script."""
    if not words or (words[0] not in _SHELLS and not any(" " in word for word in words)):
        return tuple(words)
    found: list[str] = []
    for word in words:
        if any(space in word for space in " \n") and not word.lstrip().startswith(("{", "[")):
            found += _split(word)
        else:
            found.append(word)
    return tuple(found)


def _split(script: str) -> list[str]:
    try:
        return shlex.split(script.replace("\\\n", " "), comments=True)
    except ValueError:
        return script.split()


def _engine(words: Sequence[str]) -> str | None:
    return next((match.group(1) for word in words if (match := _MODULE.search(word))), None)
