"""`dynamo describe`: one graph on a cluster with all that concerns it. Edge: asks and prints; called by `main`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from dynamo_operator.cli.cluster import Cluster, Forbidden, connect
from dynamo_operator.cli.listing import graph_named, without_managed_fields
from dynamo_operator.cli.rendering import yaml_text
from dynamo_operator.cli.target import Target
from dynamo_operator.cli.terminal import Paint, columns, paint_for, tone
from dynamo_operator.cli.views import (
    age,
    condition,
    desired_replicas,
    is_pod_ready,
    pod_state,
    replica_counts,
    restarts,
)
from dynamo_operator.kube import Document
from dynamo_operator.kube.objects import COMPONENT_DEPLOYMENT, EVENT, GRAPH, POD, SCALING_ADAPTER
from dynamo_operator.render import names

MOST_EVENTS = 15


@dataclass(frozen=True, slots=True)
class Found:
    """A graph and what belongs to it. `events` is None where we may not read them."""

    graph: Document
    deployments: Sequence[Document]
    adapters: Sequence[Document]
    pods: Sequence[Document]
    events: Sequence[Document] | None


def describe_graph(words: Sequence[str], target: Target, output: Literal["text", "json", "yaml"] = "text") -> None:
    """Raises Refused where there is no such graph."""
    name = graph_named(*words)
    cluster = connect(target)
    graph = cluster.get(GRAPH, name)
    labels = f"{names.GRAPH_NAME}={name}"
    kinds = (COMPONENT_DEPLOYMENT, SCALING_ADAPTER, POD)
    deployments, adapters, pods = cluster.side_by_side(lambda kind: cluster.find(kind, labels), kinds)
    found = Found(graph, deployments, adapters, pods, _events(cluster, graph))
    if output == "text":
        print("\n".join(described(found, datetime.now(UTC), paint_for(sys.stdout))))
    elif output == "json":
        print(json.dumps(as_document(found), indent=2, ensure_ascii=False))
    else:
        print(yaml_text([as_document(found)]).removeprefix("---\n"), end="")


def as_document(found: Found) -> Document:
    """The objects themselves; `events` is null where we may not read them."""
    parts = {"componentDeployments": found.deployments, "scalingAdapters": found.adapters, "pods": found.pods}
    lists = {name: [without_managed_fields(each) for each in objects] for name, objects in parts.items()}
    events = None if found.events is None else [without_managed_fields(each) for each in found.events]
    return {"graph": without_managed_fields(found.graph), **lists, "events": events}


def described(found: Found, now: datetime, paint: Paint) -> Iterator[str]:
    """The whole page, line by line. Pure."""
    yield from _head(found.graph, now, paint)
    yield from _section("Components", _components(found.graph), paint)
    yield from _section("Worker generations", _generations(found), paint)
    yield from _section("Scaling adapters", _adapters(found.adapters), paint)
    yield from _section("Pods", _pods(found.pods, now), paint)
    yield from _section("Conditions", _conditions(found.graph), paint)
    if found.events is None:
        yield "\nEvents: not readable with these rights"
    else:
        yield from _section("Events", _told(found.events, now), paint)


def _head(graph: Document, now: datetime, paint: Paint) -> Iterator[str]:
    metadata, status = graph["metadata"], graph.get("status") or {}
    ready, state = condition(graph, "Ready"), str(status.get("state") or "unknown")
    yield f"Name:       {paint(metadata['name'], 'bold')}"
    yield f"Namespace:  {metadata['namespace']}"
    yield f"Age:        {age(graph, now)}"
    yield f"State:      {paint(state, tone(state))}"
    if not ready:
        yield "            nothing is reported yet; is the operator running? kubectl get pods -n dynamo-system"
    elif ready.get("message"):
        yield f"            {ready['message']}"
    if int(status.get("observedGeneration") or 0) < int(metadata.get("generation") or 0):
        yield "            the operator has not seen the last change yet"
    for what, key in (("Rollout", "rollingUpdate"), ("Restart", "restart")):
        if phase := (status.get(key) or {}).get("phase"):
            identifier = f" {status[key]['observedID']}" if status[key].get("observedID") else ""
            yield f"{what + ':':<11} {phase}{identifier}"


def _components(graph: Document) -> list[list[str]]:
    of_status = (graph.get("status") or {}).get("components") or {}
    rows = [["NAME", "TYPE", "REPLICAS", "UPDATED", "RUN BY", "GPUS EACH", "MODEL"]]
    for each in (graph.get("spec") or {}).get("components") or ():
        status = of_status.get(each["name"]) or {}
        run_by = " ".join([str(status.get("componentKind") or "-"), *(status.get("componentNames") or ())[:1]])
        rows.append(
            [
                each["name"],
                each.get("type") or "-",
                replica_counts(status, desired_replicas(each)),
                str(status.get("updatedReplicas", "-")),
                run_by,
                str(status.get("gpusPerReplica", "-")),
                status.get("servedModelName") or "-",
            ]
        )
    return rows


def _generations(found: Found) -> list[list[str]]:
    """Only while there are several: otherwise the components say it all."""
    by_hash: dict[str, list[str]] = {}
    for each in found.deployments:
        hash8 = (each["metadata"].get("labels") or {}).get(names.WORKER_HASH)
        if hash8:
            status = (each.get("status") or {}).get("component") or {}
            counts = replica_counts(status, int(status.get("replicas") or 0))
            by_hash.setdefault(hash8, []).append(f"{each['spec'].get('name') or each['metadata']['name']} {counts}")
    if len(by_hash) < 2:
        return []
    return [["GENERATION", "WORKERS"], *([hash8, ", ".join(parts)] for hash8, parts in by_hash.items())]


def _adapters(adapters: Sequence[Document]) -> list[list[str]]:
    rows = [
        [
            each["metadata"]["name"],
            str((each["spec"].get("dgdRef") or {}).get("componentName") or "-"),
            str(each["spec"].get("replicas", "-")),
            str((each.get("status") or {}).get("replicas", "-")),
        ]
        for each in adapters
    ]
    return [["NAME", "COMPONENT", "WANTED", "REPLICAS"], *rows] if rows else []


def _pods(pods: Sequence[Document], now: datetime) -> list[list[str]]:
    rows = [
        [
            pod["metadata"]["name"],
            str((pod["metadata"].get("labels") or {}).get(names.COMPONENT) or "-"),
            str(is_pod_ready(pod)),
            pod_state(pod),
            str(restarts(pod)),
            age(pod, now),
        ]
        for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))
    ]
    return [["NAME", "COMPONENT", "READY", "STATE", "RESTARTS", "AGE"], *rows] if rows else []


def _conditions(graph: Document) -> list[list[str]]:
    found = (graph.get("status") or {}).get("conditions") or ()
    rows = [[each["type"], each["status"], each.get("reason") or "-", each.get("message") or ""] for each in found]
    return [["TYPE", "STATUS", "REASON", "MESSAGE"], *rows] if rows else []


def _told(events: Sequence[Document], now: datetime) -> list[list[str]]:
    latest = sorted(events, key=_last_seen)[-MOST_EVENTS:]
    rows = [
        [
            age({"metadata": {"creationTimestamp": _last_seen(each) or None}}, now),
            str(each.get("type") or "-"),
            str(each.get("reason") or "-"),
            _about(each),
            str(each.get("message") or "").strip(),
        ]
        for each in latest
    ]
    return [["SEEN", "TYPE", "REASON", "ABOUT", "MESSAGE"], *rows] if rows else []


def _about(event: Document) -> str:
    about = event.get("involvedObject") or {}
    return f"{about.get('kind', '')}/{about.get('name', '')}"


def _last_seen(event: Mapping[str, object]) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event.get("firstTimestamp") or "")


def _section(title: str, rows: list[list[str]], paint: Paint) -> Iterator[str]:
    if rows:
        yield f"\n{title}:"
        yield from (f"  {line}" for line in columns(rows[0], rows[1:], paint))


def _events(cluster: Cluster, graph: Document) -> list[Document] | None:
    """Of the graph and of what is named after it: its component deployments, workloads and pods."""
    name = graph["metadata"]["name"]
    try:
        told = cluster.find(EVENT)
    except Forbidden:
        return None
    mine = []
    for each in told:
        about = str((each.get("involvedObject") or {}).get("name") or "")
        if about == name or about.startswith(f"{name}-"):
            mine.append(each)
    return mine
