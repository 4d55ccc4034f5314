"""What a scaling adapter does to its graph: copy the replicas that it was scaled to into its component. Pure.

The copy is for those who read the graph; the graph's own pass takes the replicas from its live adapters. One adapter at
most scales a component: that with the name which the graph's own rendering gives it, and only where the component asks
for one. Every other adapter says why it does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dynamo_operator.kube import Live, Ref
from dynamo_operator.kube.objects import GRAPH, SCALING_ADAPTER
from dynamo_operator.plan.conditions import Change, Status
from dynamo_operator.render import names


@dataclass(frozen=True, slots=True)
class Scaling:
    """What one look at an adapter and its graph comes to.

    found, wanted: the component's replicas, before and after `operations` (JSON Patch of the graph, empty when nothing
    is to be done). trouble: why the adapter does not scale; empty when it does.
    """

    component: str
    found: int
    wanted: int
    operations: list[dict[str, Any]] = field(default_factory=list)
    trouble: str = ""

    def failed(self, why: str) -> Scaling:
        """The same when the graph could not be changed."""
        return replace(self, wanted=self.found, operations=[], trouble=why)


def graph_of(adapter: Live) -> Ref:
    """An adapter names a graph of its own namespace; it cannot name another's."""
    return Ref(GRAPH, adapter.ref.namespace, adapter.document["spec"]["dgdRef"]["name"])


def adapters_of(graph: Live) -> tuple[Ref, ...]:
    """The adapters that may scale a graph's components, whether they exist or not."""
    namespace, name = graph.ref.namespace, graph.ref.name
    return tuple(Ref(SCALING_ADAPTER, namespace, _adapter_name(name, each["name"])) for each in _components(graph))


def as_scaled(graph: Live, lives: Mapping[Ref, Live]) -> Mapping[str, Any]:
    """A graph's document with the replicas of its live adapters.

    The graph's own numbers are copies, and for a moment late ones: when an adapter was just scaled, or when somebody
    applied an older manifest past the webhook.
    """
    spec = graph.document.get("spec")
    listed = spec.get("components") if isinstance(spec, Mapping) else None
    if not isinstance(spec, Mapping) or not isinstance(listed, list):
        return graph.document  # parsing says what is wrong with it
    return {**graph.document, "spec": {**spec, "components": [_as_scaled(graph, each, lives) for each in listed]}}


def scaling_of(adapter: Live, graph: Live | None) -> Scaling:
    """`graph` is what `graph_of` names, None where there is none."""
    reference = adapter.document["spec"]["dgdRef"]
    name = reference["componentName"]
    none = Scaling(name, 0, 0)
    if graph is None:
        return none.failed(f"there is no graph {reference['name']} in namespace {adapter.ref.namespace}")
    components = _components(graph)
    position = next((at for at, each in enumerate(components) if each["name"] == name), None)
    if position is None:
        allowed = ", ".join(each["name"] for each in components)
        return none.failed(f"graph {graph.ref.name} has no component {name}; it has {allowed}")
    component = components[position]
    found = _replicas(component)
    here = Scaling(name, found, found)
    if component.get("scalingAdapter") is None:
        return here.failed(
            f"component {name} of graph {graph.ref.name} does not ask for an adapter (scalingAdapter: {{}})"
        )
    expected = _adapter_name(graph.ref.name, name)
    if adapter.ref.name != expected:
        return here.failed(f"component {name} of graph {graph.ref.name} is scaled by adapter {expected} only")
    wanted = int(adapter.document["spec"]["replicas"])
    if wanted == found and "replicas" in component:
        return here
    return replace(here, wanted=wanted, operations=_copying(position, component, wanted))


def adapter_status(adapter: Live, scaling: Scaling, now: str) -> Status:
    """Counts as they are after the pass; `lastScaleTime` moves with them, also where an earlier pass ended midway."""
    previous = adapter.document.get("status") or {}
    is_scaled = _scaled_from(adapter, scaling) is not None and not scaling.trouble
    last = now if is_scaled else previous.get("lastScaleTime")
    selector = {names.COMPONENT: scaling.component, names.GRAPH_NAME: graph_of(adapter).name}
    return {
        "replicas": scaling.wanted,
        "selector": ",".join(f"{key}={value}" for key, value in selector.items()),
        **({"lastScaleTime": last} if last else {}),
    }


def adapter_changes(adapter: Live, scaling: Scaling) -> tuple[Change, ...]:
    """Each scaling once, and why there is none."""
    if scaling.trouble:
        return (Change("UpdateFailed", scaling.trouble, is_warning=True),)
    before = _scaled_from(adapter, scaling)
    if before is None:
        return ()
    where = f"component {scaling.component} of graph {graph_of(adapter).name}"
    return (Change("Scaled", f"Scaled {where} from {before} to {scaling.wanted}"),)


def _scaled_from(adapter: Live, scaling: Scaling) -> int | None:
    """The replicas before, None where they did not change."""
    reported = (adapter.document.get("status") or {}).get("replicas", scaling.wanted)
    if scaling.found != scaling.wanted:
        return scaling.found
    return int(reported) if reported != scaling.wanted else None


def _copying(position: int, component: Mapping[str, Any], replicas: int) -> list[dict[str, Any]]:
    """The tests keep it from another component at this place, and from one that no longer asks for an adapter."""
    path = f"/spec/components/{position}"
    return [
        {"op": "test", "path": f"{path}/name", "value": component["name"]},
        {"op": "test", "path": f"{path}/scalingAdapter", "value": component["scalingAdapter"]},
        {"op": "add", "path": f"{path}/replicas", "value": replicas},
    ]


def _as_scaled(graph: Live, component: Any, lives: Mapping[Ref, Live]) -> Any:
    if not isinstance(component, Mapping) or component.get("scalingAdapter") is None:
        return component
    name = _adapter_name(graph.ref.name, str(component.get("name")))
    adapter = lives.get(Ref(SCALING_ADAPTER, graph.ref.namespace, name))
    return component if adapter is None else {**component, "replicas": int(adapter.document["spec"]["replicas"])}


def _adapter_name(graph: str, component: str) -> str:
    return f"{graph}-{component.lower()}"


def _replicas(component: Mapping[str, Any]) -> int:
    return 1 if component.get("replicas") is None else int(component["replicas"])


def _components(graph: Live) -> list[Mapping[str, Any]]:
    listed = (graph.document.get("spec") or {}).get("components") or []
    return [each for each in listed if isinstance(each, Mapping) and isinstance(each.get("name"), str)]
