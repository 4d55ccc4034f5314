"""The contracts between components of one graph. Each rule is a function from launches to findings. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from dynamo_operator.api import ComponentType, Graph
from dynamo_operator.lint.finding import Finding
from dynamo_operator.lint.launches import Launch, launches
from dynamo_operator.lint.parsers import REASONING_PARSERS, TOOL_PARSERS, nearest

Launches = Sequence[Launch]
_BLOCK_SIZE = {
    "vllm": ("--block-size",),
    "mocker": ("--block-size",),
    "sglang": ("--page-size",),
    "trtllm": ("--kv-block-size",),
}
_MODEL = ("--served-model-name", "--model-name", "--model", "--model-path")
_TENSOR = ("--tensor-parallel-size", "--tp-size", "--tp", "-tp")
_PIPELINE = ("--pipeline-parallel-size", "--pp-size", "--pp", "-pp")
_GPU_ENGINES = frozenset({"vllm", "sglang", "trtllm"})
_EVENT_FLAG = {"vllm": "--kv-events-config", "sglang": "--kv-events-config", "trtllm": "--publish-kv-events"}
_EVENT_FLAG_ALIASES = {"trtllm": ("--publish-kv-events", "--publish-events-and-metrics")}


def find_broken_contracts(graph: Graph) -> tuple[Finding, ...]:
    """Every broken contract, in the order of RULES."""
    found = launches(graph)
    return tuple(finding for rule in RULES.values() for finding in rule(graph, found))


def block_size(_: Graph, found: Launches) -> Iterator[Finding]:
    """Prefill and decode exchange whole blocks, and a router counts in the blocks that workers cache."""
    sized = [(each, size) for each in _workers(found) if (size := _block_size_of(each)) is not None]
    if not sized:
        return
    first, wanted = sized[0]
    for worker, size in sized[1:]:
        if size != wanted:
            yield Finding(
                "block-size",
                worker.args_path,
                f"blocks of {size} tokens, while {first.component.name} has blocks of {wanted}",
            )
    for frontend in _of_type(found, ComponentType.FRONTEND):
        text = frontend.flag("--kv-cache-block-size") or frontend.env.get("DYN_KV_CACHE_BLOCK_SIZE", "")
        if text.isdecimal() and int(text) != wanted:
            yield Finding(
                "block-size",
                frontend.args_path if frontend.has_flag("--kv-cache-block-size") else f"{frontend.path}.env",
                f"the router counts in blocks of {text} tokens, while {first.component.name} caches blocks of {wanted}",
            )


def model(_: Graph, found: Launches) -> Iterator[Finding]:
    """The two halves of a disaggregated model answer to one name."""
    named = [(each, name) for each in _workers(found) if (name := each.flag(*_served(each))) is not None]
    prefill = [(each, name) for each, name in named if each.component.type is ComponentType.PREFILL]
    served = {name for each, name in named if each.component.type is not ComponentType.PREFILL}
    for worker, name in prefill:
        if served and name not in served:
            allowed = ", ".join(sorted(served))
            yield Finding(
                "model", worker.args_path, f"prefills for model {name}, which nobody decodes; decoded: {allowed}"
            )


def gpus(_: Graph, found: Launches) -> Iterator[Finding]:
    """An engine's ranks need a GPU each."""
    for worker in _workers(found):
        if worker.engine not in _GPU_ENGINES:
            continue
        ranks = (worker.number(*_TENSOR) or 1) * (worker.number(*_PIPELINE) or 1)
        limits, nodes = f"{worker.path}.resources.limits", worker.component.node_count
        if (per_pod := worker.gpus()) is None:
            if not worker.component.main.get("resources", {}).get("claims"):
                message = f"asks for no GPU; {worker.engine} with {_ranks(ranks)} needs {ranks}"
                yield _works_badly("gpus", limits, message)
        elif ranks > per_pod * nodes:
            where = f" on {nodes} nodes" if nodes > 1 else ""
            yield Finding(
                "gpus", limits, f"{_ranks(ranks)} of tensor and pipeline parallelism, and {per_pod} GPUs{where}"
            )


def kv_events(_: Graph, found: Launches) -> Iterator[Finding]:
    """A router that follows caches needs workers that tell what they cache."""
    if not any(_follows_events(each) for each in _of_type(found, ComponentType.FRONTEND)):
        return
    for worker in _workers(found):
        if worker.component.type is ComponentType.DECODE and _has(found, ComponentType.PREFILL):
            continue
        flag = _EVENT_FLAG.get(worker.engine or "")
        if flag and not worker.has_flag(*_EVENT_FLAG_ALIASES.get(worker.engine or "", (flag,))):
            yield _works_badly(
                "kv-events",
                worker.args_path,
                f"the frontend routes by cached prefixes, and {worker.engine} publishes no events without {flag}; "
                "set it, or give the frontend --no-router-kv-events",
            )


def parsers(_: Graph, found: Launches) -> Iterator[Finding]:
    """Parsers are chosen by name; a wrong one fails at the first request, not at the start."""
    for worker in _workers(found):
        for flag, variable, known in (
            ("--dyn-tool-call-parser", "DYN_TOOL_CALL_PARSER", TOOL_PARSERS),
            ("--dyn-reasoning-parser", "DYN_REASONING_PARSER", REASONING_PARSERS),
        ):
            name = worker.flag(flag) or worker.env.get(variable)
            if name and name not in known:
                path = worker.args_path if worker.flag(flag) else f"{worker.path}.env"
                meant = nearest(name, known)
                hint = f"did you mean {meant}?" if meant else f"known: {', '.join(sorted(known))}"
                yield Finding("parsers", path, f"no parser is called {name}; {hint}")


def planner(graph: Graph, found: Launches) -> Iterator[Finding]:
    """A planner reads its graph's metrics and scales its workers; a global one does it for others."""
    planners = [at for at, each in enumerate(found) if each.engine == "planner" and not _is_global(each)]
    if not planners:
        return
    where = f"spec.components[{planners[0]}]"
    if not _has(found, ComponentType.FRONTEND):
        yield _works_badly("planner", where, "there is no frontend in the graph whose metrics the planner could read")
    if not any(_workers(found)):
        yield _works_badly("planner", where, "there are no workers in the graph to scale")
    if graph.metadata_annotations.get("nvidia.com/enable-metrics") == "false":
        path = "metadata.annotations[nvidia.com/enable-metrics]"
        yield _works_badly("planner", path, "metrics are off, and a Prometheus that the planner may ask has none")
    for at, each in enumerate(found):
        if each.component.is_worker and not each.component.has_scaling_adapter:
            message = "without an adapter the planner edits the graph itself, and the next kubectl apply undoes it"
            yield _works_badly("planner", f"spec.components[{at}].scalingAdapter", message)


def roles(_: Graph, found: Launches) -> Iterator[Finding]:
    """A prefill worker's blocks go to a decode worker."""
    for index, each in enumerate(found):
        if each.component.type is ComponentType.PREFILL and not _has(found, ComponentType.DECODE, ComponentType.WORKER):
            yield _works_badly(
                "roles", f"spec.components[{index}].type", "prefill, and no component of the graph decodes"
            )
    if not _has(found, ComponentType.PREFILL):
        for worker in _of_type(found, ComponentType.DECODE):
            if worker.flag("--disaggregation-mode") == "decode":
                yield _works_badly("roles", worker.args_path, "decodes only, and no component of the graph prefills")


RULES: Mapping[str, Callable[[Graph, Launches], Iterable[Finding]]] = {
    "block-size": block_size,
    "model": model,
    "roles": roles,
    "gpus": gpus,
    "kv-events": kv_events,
    "parsers": parsers,
    "planner": planner,
}


def _works_badly(rule: str, path: str, message: str) -> Finding:
    return Finding(rule, path, message, is_error=False)


def _is_global(planner: Launch) -> bool:
    """Planners of several graphs take their orders, and their metrics, from elsewhere."""
    return any("global-planner" in word for word in planner.words)


def _workers(found: Launches) -> list[Launch]:
    return [each for each in found if each.component.is_worker]


def _of_type(found: Launches, component_type: ComponentType) -> list[Launch]:
    return [each for each in found if each.component.type is component_type]


def _has(found: Launches, *types: ComponentType) -> bool:
    return any(each.component.type in types for each in found)


def _block_size_of(worker: Launch) -> int | None:
    return worker.number(*_BLOCK_SIZE.get(worker.engine or "", ("--block-size",)))


def _served(worker: Launch) -> tuple[str, ...]:
    """The flag that names the model for clients, where one is given; else the one that says what is loaded."""
    return next(((name,) for name in _MODEL if worker.has_flag(name)), ("--model",))


def _ranks(count: int) -> str:
    return "1 rank" if count == 1 else f"{count} ranks"


def _follows_events(frontend: Launch) -> bool:
    mode = frontend.flag("--router-mode") or frontend.env.get("DYN_ROUTER_MODE")
    without = frontend.has_flag("--no-router-kv-events", "--no-kv-events")
    return mode == "kv" and not without and frontend.env.get("DYN_ROUTER_USE_KV_EVENTS", "true").lower() != "false"
