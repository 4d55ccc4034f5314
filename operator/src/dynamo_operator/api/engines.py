"""Which engines a command line starts. Pure; called by rendering and validation."""

from __future__ import annotations

import re
from collections.abc import Iterable

ENGINES = ("vllm", "sglang", "trtllm")
CACHE_PATHS = {"vllm": "/root/.cache/vllm"}
"""Where engines keep compiled kernels unless told otherwise; engines that keep none are not in it."""

_COMMAND_END = re.compile(r"[|&;]")
_PYTHON = re.compile(r"python[0-9.]*\s")
_MODULE = re.compile(r"-m\s")


def engines_of(words: Iterable[object]) -> tuple[str, ...]:
    """Engines that Python starts as `-m … dynamo.<engine>`, in plain words or in a script; usually one or none."""
    arguments = [_module_arguments(command) for command in _COMMAND_END.split(" ".join(map(str, words)))]
    return tuple(engine for engine in ENGINES if any(f"dynamo.{engine}" in text for text in arguments))


def _module_arguments(command: str) -> str:
    """What follows Python's first `-m`; empty for a command that is no module of Python's."""
    python = _PYTHON.search(command)
    module = python and _MODULE.search(command, python.end())
    return command[module.end() :] if module else ""
