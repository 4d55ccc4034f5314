"""The contracts between components of one graph. Each rule is a function from launches to findings. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from dynamo_operator.api import ComponentType, Graph
from dynamo_operator.lint.finding import Finding, works_badly
from dynamo_operator.lint.gpus import gpus
from dynamo_operator.lint.kv_events import kv_events
from dynamo_operator.lint.launches import Launch, Launches, has, launches, of_type, workers
from dynamo_operator.lint.parsers import REASONING_PARSERS, TOOL_PARSERS, nearest

_BLOCK_SIZE = {
    "vllm": ("--block-size",),
    "mocker": ("--block-size",),
    "sglang": ("--page-size",),
    "trtllm": ("--kv-block-size",),
}
_MODEL = ("--served-model-name", "--model-name", "--model", "--model-path")
_NO_PORT = frozenset({"-1", "0"})  # off, and whichever is free
_ROUTER_BLOCK_SIZE = ("--router-block-size", "--kv-cache-block-size", "--block-size")


def find_broken_contracts(graph: Graph) -> tuple[Finding, ...]:
    """Every broken contract, in the order of RULES."""
    found = launches(graph)
    return tuple(finding for rule in RULES.values() for finding in rule(graph, found))


def block_size(_: Graph, found: Launches) -> Iterator[Finding]:
    """Prefill and decode exchange whole blocks, and a router counts in the blocks that workers cache."""
    sized = [(each, size) for each in workers(found) if (size := _block_size_of(each)) is not None]
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
    for router in found:
        text, path = _router_block_size(router)
        if text.isdecimal() and int(text) != wanted:
            message = (
                f"the router counts in blocks of {text} tokens, while {first.component.name} caches blocks of {wanted}"
            )
            yield works_badly("block-size", path, message)


def model(_: Graph, found: Launches) -> Iterator[Finding]:
    """The two halves of a disaggregated model answer to one name, and a modelRef names what its engine loads."""
    named = [(each, name) for each in workers(found) if (name := each.flag(*_served(each))) is not None]
    prefill = [(each, name) for each, name in named if each.component.type is ComponentType.PREFILL]
    served = {name for each, name in named if each.component.type is not ComponentType.PREFILL}
    for worker, name in prefill:
        if served and name not in served:
            allowed = ", ".join(sorted(served))
            yield Finding(
                "model", worker.args_path, f"prefills for model {name}, which nobody decodes; decoded: {allowed}"
            )
    for index, each in enumerate(found):
        names = {name for flag in _MODEL if (name := each.flag(flag))}
        if each.component.is_worker and each.component.model_name and names and each.component.model_name not in names:
            message = f"is {each.component.model_name}, and the engine is started with {', '.join(sorted(names))}"
            yield works_badly("model", f"spec.components[{index}].modelRef.name", message)


def parsers(_: Graph, found: Launches) -> Iterator[Finding]:
    """Parsers are chosen by name; a wrong one fails at the first request, not at the start."""
    for worker in workers(found):
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
    if not has(found, ComponentType.FRONTEND):
        yield works_badly("planner", where, "there is no frontend in the graph whose metrics the planner could read")
    if not any(workers(found)):
        yield works_badly("planner", where, "there are no workers in the graph to scale")
    if graph.metadata_annotations.get("nvidia.com/enable-metrics") == "false":
        path = "metadata.annotations[nvidia.com/enable-metrics]"
        yield works_badly("planner", path, "metrics are off, and a Prometheus that the planner may ask has none")
    for worker in workers(found):
        if worker.env.get("DYN_SYSTEM_PORT", "").strip() in _NO_PORT:
            message = "the worker has no metrics page at all with this DYN_SYSTEM_PORT, or one where nobody looks"
            yield works_badly("planner", f"{worker.path}.env", message)
    for at, each in enumerate(found):
        if each.component.is_worker and not each.component.has_scaling_adapter:
            message = "without an adapter the planner edits the graph itself, and the next kubectl apply undoes it"
            yield works_badly("planner", f"spec.components[{at}].scalingAdapter", message)


def roles(_: Graph, found: Launches) -> Iterator[Finding]:
    """A prefill worker's blocks go to a decode worker."""
    for index, each in enumerate(found):
        if each.component.type is ComponentType.PREFILL and not has(found, ComponentType.DECODE, ComponentType.WORKER):
            yield works_badly(
                "roles", f"spec.components[{index}].type", "prefill, and no component of the graph decodes"
            )
    if not has(found, ComponentType.PREFILL):
        for worker in of_type(found, ComponentType.DECODE):
            if worker.flag("--disaggregation-mode") == "decode":
                yield works_badly("roles", worker.args_path, "decodes only, and no component of the graph prefills")


RULES: Mapping[str, Callable[[Graph, Launches], Iterable[Finding]]] = {
    "block-size": block_size,
    "model": model,
    "roles": roles,
    "gpus": gpus,
    "kv-events": kv_events,
    "parsers": parsers,
    "planner": planner,
}


def _is_global(planner: Launch) -> bool:
    """Planners of several graphs take their orders, and their metrics, from elsewhere."""
    return any("global-planner" in word for word in planner.words)


def _block_size_of(worker: Launch) -> int | None:
    return worker.number(*_BLOCK_SIZE.get(worker.engine or "", ("--block-size",)))


def _served(worker: Launch) -> tuple[str, ...]:
    """The flag that names the model for clients, where one is given; else the one that says what is loaded."""
    return next(((name,) for name in _MODEL if worker.has_flag(name)), ("--model",))


def _router_block_size(router: Launch) -> tuple[str, str]:
    """What a frontend or a router of its own is told, and where; empty where it is told nothing."""
    if router.component.type is not ComponentType.FRONTEND and router.engine != "router":
        return "", ""
    names = _ROUTER_BLOCK_SIZE if router.engine == "router" else ("--kv-cache-block-size",)
    if (text := router.flag(*names)) is not None:
        return text, router.args_path
    return router.env.get("DYN_KV_CACHE_BLOCK_SIZE", ""), f"{router.path}.env"
