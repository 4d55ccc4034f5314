"""Whether the GPUs that a worker asks for are those that its engine takes. Pure; one of the contracts."""

from __future__ import annotations

from collections.abc import Iterator

from dynamo_operator.api import Graph
from dynamo_operator.lint.finding import Finding, works_badly
from dynamo_operator.lint.launches import Launch, Launches, workers

_ENGINES = frozenset({"vllm", "sglang", "trtllm"})
_TENSOR = ("--tensor-parallel-size", "--tp-size", "--tp", "-tp")
_PIPELINE = ("--pipeline-parallel-size", "--pp-size", "--pp", "-pp")
_DATA = ("--data-parallel-size", "-dp")
_PART_OF_DATA = ("--data-parallel-size-local", "-dpl", "--data-parallel-rank", "--data-parallel-start-rank")
"""With these a pod runs only some of the data-parallel ranks."""


def gpus(_: Graph, found: Launches) -> Iterator[Finding]:
    """An engine's ranks need a GPU each."""
    for worker in workers(found):
        if worker.engine in _ENGINES:
            yield from _of_worker(worker)


def _of_worker(worker: Launch) -> Iterator[Finding]:
    ranks = _ranks_of(worker)
    limits, nodes = f"{worker.path}.resources.limits", worker.component.node_count
    if (per_pod := worker.gpus()) is None:
        if not worker.component.main.get("resources", {}).get("claims"):
            yield works_badly("gpus", limits, f"asks for no GPU; {worker.engine} with {_counted(ranks)} needs {ranks}")
    elif ranks > per_pod * nodes:
        where = f" on {nodes} nodes" if nodes > 1 else ""
        message = f"{_counted(ranks)} of tensor, pipeline and data parallelism, and {_counted(per_pod, 'GPU')}{where}"
        yield Finding("gpus", limits, message)


def _ranks_of(worker: Launch) -> int:
    """Of the whole group; SGLang's data parallelism shares GPUs with its tensor parallelism."""
    ranks = (worker.number(*_TENSOR) or 1) * (worker.number(*_PIPELINE) or 1)
    if worker.engine == "vllm" and not worker.has_flag(*_PART_OF_DATA):
        ranks *= worker.number(*_DATA) or 1
    return ranks


def _counted(number: int, noun: str = "rank") -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"
