"""`dynamo logs` on a cluster: the lines of a graph's pods side by side, each with its pod's name. Called by `logs`.

Followed logs end with Ctrl-C. Pods that come later, by a rollout or a scale-up, are joined; those that end are left.
"""

from __future__ import annotations

import difflib
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dynamo_operator.cli.cluster import Cluster, LogRequest, check_name, connect
from dynamo_operator.cli.kubeconfig import resolve
from dynamo_operator.cli.listing import graph_named
from dynamo_operator.cli.log_wish import LogWish
from dynamo_operator.cli.target import Target
from dynamo_operator.cli.views import pod_state
from dynamo_operator.kube.objects import GRAPH, POD
from dynamo_operator.local.errors import Refused
from dynamo_operator.render import names

_LOOK_EVERY_S = 2.0
MOST_FOLLOWED = 100
"""Each followed pod holds a connection; beyond that a log store is the better place to look."""


def has_cluster(target: Target) -> bool:
    """Whether something says how to reach a cluster."""
    try:
        resolve(target, os.environ, Path.home())
    except Refused:
        return False
    return True


def show_cluster_logs(wish: LogWish, target: Target) -> None:
    """Raises Refused where the graph, the component or a log is not there."""
    if wish.name is None:
        raise Refused("which graph's logs?", "dynamo logs NAME; dynamo get lists the graphs")
    wish = replace(wish, name=graph_named(wish.name))
    cluster = connect(target)
    pods = chosen_pods(graph_pods(cluster, str(wish.name)), wish.component, str(wish.name))
    printer = _Printer(len(pods) > 1 or wish.is_followed)
    request = LogRequest(wish.container, wish.tail, wish.is_previous, wish.is_followed)
    if wish.is_followed:
        _follow(cluster, wish, request, pods, printer)
        return
    read = cluster.side_by_side(lambda pod: _read(cluster, pod, request), pods)
    for pod, (lines, failure) in zip(pods, read, strict=True):
        for line in lines:
            printer.line(pod, line)
        if not lines and not _has_log(pod):
            printer.note(f"{pod['metadata']['name']} has written nothing yet: {pod_state(pod)}")
        if failure is not None:
            print(f"note: {failure}", file=sys.stderr)
    if not any(failure is None for _, failure in read):
        raise Refused("no log could be read", f"see: dynamo describe {wish.name}")


def graph_pods(cluster: Cluster, graph: str) -> list[dict[str, Any]]:
    """A graph's pods by name; raises Refused where there is no such graph, or none of its pods."""
    check_name(graph)
    pods = cluster.find(POD, labels=f"{names.GRAPH_NAME}={graph}")
    if not pods:
        cluster.get(GRAPH, graph)
        raise Refused(f"{graph} has no pods in namespace {cluster.namespace}", f"see: dynamo describe {graph}")
    return sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))


def chosen_pods(pods: Sequence[dict[str, Any]], wanted: str | None, graph: str) -> list[dict[str, Any]]:
    """Those of a component, whatever the case of its letters, or the one of that name."""
    if wanted is None:
        return list(pods)
    chosen = [pod for pod in pods if wanted.lower() in {component_of(pod).lower(), pod["metadata"]["name"]}]
    if not chosen:
        present = sorted({component_of(pod) for pod in pods})
        near = difflib.get_close_matches(wanted, present, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it has: {', '.join(present)}"
        raise Refused(f"{graph} has no component or pod {wanted!r}", hint)
    return chosen


def component_of(pod: dict[str, Any]) -> str:
    return str((pod["metadata"].get("labels") or {}).get(names.COMPONENT) or "")


def _read(cluster: Cluster, pod: dict[str, Any], request: LogRequest) -> tuple[list[str], str | None]:
    metadata = pod["metadata"]
    try:
        return list(cluster.log_lines(metadata["name"], metadata["namespace"], request)), None
    except Refused as refused:
        return [], refused.message


def _follow(
    cluster: Cluster, wish: LogWish, request: LogRequest, pods: Sequence[dict[str, Any]], printer: _Printer
) -> None:
    """One thread a pod; threads are daemons, so that Ctrl-C ends them with the program."""
    followers: dict[str, threading.Thread] = {}
    while True:
        for pod in pods:
            name = pod["metadata"]["name"]
            if name not in followers and _has_log(pod) and _living(followers) < MOST_FOLLOWED:
                thread = threading.Thread(target=_follow_one, args=(cluster, pod, request, printer), daemon=True)
                followers[name] = thread
                thread.start()
        if printer.closed.wait(_LOOK_EVERY_S):
            raise BrokenPipeError
        pods = _still(cluster, wish)
        if not pods and not _living(followers):
            return


def _still(cluster: Cluster, wish: LogWish) -> list[dict[str, Any]]:
    """The pods of now; none are nothing unusual while a graph is being deleted."""
    pods = cluster.find(POD, labels=f"{names.GRAPH_NAME}={wish.name}")
    wanted = (wish.component or "").lower()
    return [pod for pod in pods if not wanted or wanted in {component_of(pod).lower(), pod["metadata"]["name"]}]


def _follow_one(cluster: Cluster, pod: dict[str, Any], request: LogRequest, printer: _Printer) -> None:
    metadata = pod["metadata"]
    try:
        for line in cluster.log_lines(metadata["name"], metadata["namespace"], request):
            printer.line(pod, line)
    except Refused as refused:
        printer.note(refused.message)
    except BrokenPipeError:
        printer.closed.set()


def _has_log(pod: dict[str, Any]) -> bool:
    return (pod.get("status") or {}).get("phase") in {"Running", "Succeeded", "Failed"}


def _living(followers: dict[str, threading.Thread]) -> int:
    return sum(thread.is_alive() for thread in followers.values())


class _Printer:
    """Owns standard output, so that lines of several pods do not mix. `closed` once nobody reads it any more."""

    def __init__(self, is_named: bool) -> None:
        self.closed = threading.Event()
        self._is_named = is_named
        self._lock = threading.Lock()

    def line(self, pod: dict[str, Any], text: str) -> None:
        prefix = f"{pod['metadata']['name']} | " if self._is_named else ""
        with self._lock:
            print(f"{prefix}{text}", flush=True)

    def note(self, text: str) -> None:
        with self._lock:
            print(f"note: {text}", file=sys.stderr, flush=True)
