"""Rows of `dynamo get`: what each kind of object says of itself in one line. Pure: documents and time in, text out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dynamo_operator.kube import Kind
from dynamo_operator.kube.objects import COMPONENT_DEPLOYMENT, GRAPH, MODEL, POD, SCALING_ADAPTER
from dynamo_operator.render import names

Object = Mapping[str, Any]
Row = Callable[[Object, datetime], Sequence[str]]

WORKER_LABELS = f"{names.COMPONENT_TYPE} in (worker,prefill,decode)"
_NOTHING = "-"


@dataclass(frozen=True, slots=True)
class View:
    """`headings` and `row` of the plain table; the last `wide` columns are only shown with -o wide."""

    word: str
    kind: Kind
    headings: tuple[str, ...]
    wide: int
    row: Row
    labels: str = ""
    aliases: tuple[str, ...] = ()

    def table(self, objects: Sequence[Object], now: datetime, *, is_wide: bool, is_everywhere: bool) -> list[list[str]]:
        """Headings first; with the namespace in front where objects of several are shown."""
        rows = [list(self.headings), *(list(self.row(each, now)) for each in objects)]
        shown = rows if is_wide else [row[: len(row) - self.wide] for row in rows]
        if not is_everywhere:
            return shown
        spaces = ["NAMESPACE", *(str(each["metadata"].get("namespace") or "") for each in objects)]
        return [[space, *row] for space, row in zip(spaces, shown, strict=True)]


def age(document: Object, now: datetime) -> str:
    """As kubectl prints it: 45s, 12m, 3h, 6d."""
    made = document["metadata"].get("creationTimestamp")
    if not made:
        return _NOTHING
    seconds = max(0, int((now - datetime.fromisoformat(made)).total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def condition(document: Object, kind: str) -> Mapping[str, Any]:
    """The condition of one type; empty where there is none."""
    found = (document.get("status") or {}).get("conditions") or ()
    return next((each for each in found if each.get("type") == kind), {})


def replica_counts(status: Mapping[str, Any], desired: int) -> str:
    """`ready/desired`, by what the kind of workload reports."""
    ready = status.get("availableReplicas", status.get("readyReplicas"))
    return f"{_NOTHING if ready is None else ready}/{desired}"


def desired_replicas(component: Mapping[str, Any]) -> int:
    replicas = component.get("replicas")
    return 1 if replicas is None else int(replicas)


def pod_state(pod: Object) -> str:
    """Why a pod does not run, in Kubernetes' own word, or its phase."""
    status = pod.get("status") or {}
    if "deletionTimestamp" in pod["metadata"]:
        return "Terminating"
    for each in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        state = each.get("state") or {}
        reason = (state.get("waiting") or {}).get("reason") or (state.get("terminated") or {}).get("reason")
        if reason and reason not in {"Completed", "PodInitializing"}:
            return str(reason)
    return str(status.get("reason") or status.get("phase") or "Unknown")


def is_pod_ready(pod: Object) -> bool:
    return condition(pod, "Ready").get("status") == "True"


def restarts(pod: Object) -> int:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return sum(int(each.get("restartCount") or 0) for each in statuses)


def _graph(graph: Object, now: datetime) -> Sequence[str]:
    status, spec = graph.get("status") or {}, graph.get("spec") or {}
    ready = condition(graph, "Ready")
    of_status = status.get("components") or {}
    counts = [
        f"{each['name']} {replica_counts(of_status.get(each['name']) or {}, desired_replicas(each))}"
        for each in spec.get("components") or ()
    ]
    return (
        graph["metadata"]["name"],
        ready.get("status") or _NOTHING,
        status.get("state") or _NOTHING,
        ", ".join(counts) or _NOTHING,
        age(graph, now),
        spec.get("backendFramework") or _NOTHING,
        (status.get("rollingUpdate") or {}).get("phase") or _NOTHING,
        ready.get("message") or _NOTHING,
    )


def _component(deployment: Object, now: datetime) -> Sequence[str]:
    status, spec = (deployment.get("status") or {}).get("component") or {}, deployment.get("spec") or {}
    labels = deployment["metadata"].get("labels") or {}
    available = condition(deployment, "Available")
    return (
        deployment["metadata"]["name"],
        labels.get(names.GRAPH_NAME) or _NOTHING,
        spec.get("type") or _NOTHING,
        available.get("status") or _NOTHING,
        replica_counts(status, desired_replicas(spec)),
        age(deployment, now),
        labels.get(names.WORKER_HASH) or _NOTHING,
        available.get("message") or _NOTHING,
    )


def _adapter(adapter: Object, now: datetime) -> Sequence[str]:
    spec, status = adapter.get("spec") or {}, adapter.get("status") or {}
    target = spec.get("dgdRef") or {}
    return (
        adapter["metadata"]["name"],
        target.get("name") or _NOTHING,
        target.get("componentName") or _NOTHING,
        str(spec.get("replicas", _NOTHING)),
        str(status.get("replicas", _NOTHING)),
        age(adapter, now),
        str(status.get("lastScaleTime") or _NOTHING),
    )


def _model(model: Object, now: datetime) -> Sequence[str]:
    spec, status = model.get("spec") or {}, model.get("status") or {}
    return (
        model["metadata"]["name"],
        spec.get("modelName") or _NOTHING,
        spec.get("modelType") or "base",
        f"{status.get('readyEndpoints', _NOTHING)}/{status.get('totalEndpoints', _NOTHING)}",
        age(model, now),
        spec.get("baseModelName") or _NOTHING,
    )


def _worker(pod: Object, now: datetime) -> Sequence[str]:
    labels, spec, status = pod["metadata"].get("labels") or {}, pod.get("spec") or {}, pod.get("status") or {}
    return (
        pod["metadata"]["name"],
        labels.get(names.GRAPH_NAME) or _NOTHING,
        labels.get(names.COMPONENT) or _NOTHING,
        str(is_pod_ready(pod)),
        pod_state(pod),
        str(restarts(pod)),
        age(pod, now),
        labels.get(names.COMPONENT_TYPE) or _NOTHING,
        labels.get(names.WORKER_HASH) or _NOTHING,
        status.get("podIP") or _NOTHING,
        spec.get("nodeName") or _NOTHING,
    )


VIEWS: tuple[View, ...] = (
    View(
        "dgd",
        GRAPH,
        ("NAME", "READY", "STATE", "COMPONENTS", "AGE", "BACKEND", "ROLLOUT", "MESSAGE"),
        3,
        _graph,
        aliases=("graph", "graphs"),
    ),
    View(
        "dcd",
        COMPONENT_DEPLOYMENT,
        ("NAME", "GRAPH", "TYPE", "AVAILABLE", "REPLICAS", "AGE", "GENERATION", "MESSAGE"),
        2,
        _component,
        aliases=("component", "components"),
    ),
    View(
        "dgdsa",
        SCALING_ADAPTER,
        ("NAME", "GRAPH", "COMPONENT", "WANTED", "REPLICAS", "AGE", "LAST SCALED"),
        1,
        _adapter,
        aliases=("adapter", "adapters"),
    ),
    View(
        "dm",
        MODEL,
        ("NAME", "MODEL", "TYPE", "READY", "AGE", "BASE MODEL"),
        1,
        _model,
        aliases=("model", "models"),
    ),
    View(
        "workers",
        POD,
        (
            "NAME",
            "GRAPH",
            "COMPONENT",
            "READY",
            "STATE",
            "RESTARTS",
            "AGE",
            "ROLE",
            "GENERATION",
            "ADDRESS",
            "NODE",
        ),
        4,
        _worker,
        labels=WORKER_LABELS,
        aliases=("worker",),
    ),
)
