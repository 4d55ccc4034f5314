"""Which workers the frontends of a graph route to: a pod that is Ready may not be known to them yet.

Duty: ask every ready frontend. It must not decide what follows. Caller: the graph's reconciler, during a rollout.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

import httpx2

from dynamo_operator.kube import Forbidden, Live, Ref
from dynamo_operator.kube.objects import POD
from dynamo_operator.reconcile.ports import Kube
from dynamo_operator.render import names

HTTP_PORT = 8000
PATIENCE_S = 3.0
CONCURRENT_QUESTIONS = 8


class Admission(Protocol):
    """Says what the frontends know."""

    async def admitted(self, graph: Ref) -> frozenset[str] | None:
        """Names of the worker pods that every ready frontend of the graph routes to; None where that cannot be told."""
        ...


class FrontendAdmission:
    """Asks each ready frontend pod for the instances in its `GET /health`."""

    def __init__(self, kube: Kube, http: httpx2.AsyncClient) -> None:
        self._kube = kube
        self._http = http
        self._places = asyncio.Semaphore(CONCURRENT_QUESTIONS)

    async def admitted(self, graph: Ref) -> frozenset[str] | None:
        labels = {names.GRAPH_NAME: graph.name, names.COMPONENT_TYPE: "frontend"}
        try:
            pods = await self._kube.find(POD, graph.namespace, labels=labels)
        except Forbidden:
            return None  # an installation may keep pods from us
        ready = [pod for pod in pods if _is_ready(pod)]
        if not ready:
            return None
        answers = await asyncio.gather(*(self._known_to(pod) for pod in ready))
        known = [answer for answer in answers if answer is not None]
        return frozenset.intersection(*known) if len(known) == len(answers) else None

    async def _known_to(self, frontend: Live) -> frozenset[str] | None:
        address = (frontend.document.get("status") or {}).get("podIP") or ""
        host = f"[{address}]" if ":" in address else address
        async with self._places:
            try:
                answer = await self._http.get(f"http://{host}:{HTTP_PORT}/health", timeout=PATIENCE_S)
                return named_pods(answer.json())
            except (httpx2.HTTPError, httpx2.InvalidURL, ValueError):
                return None  # not reachable, or not a frontend that can say


def named_pods(health: Any) -> frozenset[str] | None:
    """Pod names among a frontend's instances; None where instances are not named, as older frontends leave them."""
    instances = health.get("instances") if isinstance(health, Mapping) else None
    if not isinstance(instances, list) or not all(isinstance(each, Mapping) for each in instances):
        return None
    found = [each.get("name") for each in instances]
    if any(not isinstance(name, str) for name in found):
        return None
    return frozenset(str(name) for name in found)


def _is_ready(pod: Live) -> bool:
    status = pod.document.get("status") or {}
    conditions = status.get("conditions") or ()
    return not pod.is_terminating and any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
