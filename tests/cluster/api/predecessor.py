"""Objects as upstream's operator leaves them: plain writes, its finalizer, its owners, hashes and defaults.

The facts are those of the reference: which object owns which, which of them wait for the operator at their end, and
under which name its writes are recorded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import httpx2

from dynamo_operator.api import parse_graph
from dynamo_operator.kube import Document, Ref, ref_of
from dynamo_operator.kube.client import collection_path
from dynamo_operator.kube.objects import COMPONENT_DEPLOYMENT, DEPLOYMENT, ROLE_BINDING
from dynamo_operator.plan.intents import Intent, completed, intents, is_model_service
from dynamo_operator.render import RenderContext, render, worker_hash
from tests.cluster.api.graph_stage import EVERYWHERE

FINALIZER = "nvidia.com/finalizer"
MANAGER = {"fieldManager": "manager"}
HASH = "26cd40a6"


class Predecessor:
    """Upstream's operator in one namespace: what it writes once, and nothing afterwards."""

    def __init__(self, http: httpx2.AsyncClient, namespace: str, context: RenderContext = EVERYWHERE) -> None:
        self._http = http
        self._namespace = namespace
        self._context = replace(context, namespace=namespace)
        self._uids: dict[Ref, str] = {}

    async def run(self, document: Document) -> None:
        """Make a graph and all that upstream makes of it."""
        graph = parse_graph(document)
        ours = worker_hash(graph) or HASH
        root = ref_of(document, self._namespace)
        metadata = {**document["metadata"], "namespace": self._namespace, "finalizers": [FINALIZER]}
        metadata["annotations"] = {"nvidia.com/current-worker-hash-v2": HASH}
        await self._create(root, {**document, "metadata": metadata})
        rendered = render(graph, self._context)
        text = json.dumps(rendered).replace(ours, HASH)
        for intent in _owners_first(intents(json.loads(text), self._namespace)):
            await self._create(intent.ref, self._as_upstreams(intent))

    def _as_upstreams(self, intent: Intent) -> Document:
        if is_model_service(intent.document):
            intent = Intent(intent.ref, intent.document, self._model_owner)
        document: Document = json.loads(json.dumps(completed(intent, None, self._uids.get(intent.owner or intent.ref))))
        if intent.ref.kind == COMPONENT_DEPLOYMENT:
            document["metadata"]["finalizers"] = [FINALIZER]
        if intent.ref.kind == ROLE_BINDING and intent.owner is None:
            document["roleRef"]["name"] = "up-dynamo-operator-planner"
        if intent.ref.kind == DEPLOYMENT:
            document["metadata"].setdefault("annotations", {})["nvidia.com/last-applied-generation"] = "1"
            for container in document["spec"]["template"]["spec"]["containers"]:
                container.pop("securityContext", None)
                container.get("livenessProbe", {}).pop("failureThreshold", None)
        return document

    @property
    def _model_owner(self) -> Ref:
        """The worker's component deployment; on Grove, where there is none, the graph."""
        parts = (ref for ref in self._uids if ref.kind == COMPONENT_DEPLOYMENT and ref.name.endswith(HASH))
        return next(parts, next(iter(self._uids)))

    async def _create(self, ref: Ref, document: Document) -> None:
        answer = await self._http.post(collection_path(ref.kind, ref.namespace), json=document, params=MANAGER)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        self._uids[ref] = made["metadata"]["uid"]


def _owners_first(found: Iterable[Intent]) -> list[Intent]:
    """Component deployments before what they own, among it the Services of models."""
    return sorted(found, key=lambda each: (each.ref.kind != COMPONENT_DEPLOYMENT, is_model_service(each.document)))
