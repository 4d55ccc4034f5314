"""Brings a graph's component to the replicas that its scaling adapter was scaled to, and says so in the adapter.

Duty: the effects of `plan.adapters`. It is the only writer of those replicas. The adapters themselves are made and
deleted by their graph's pass. Caller: the runner's queue.
"""

from __future__ import annotations

from dynamo_operator.kube import Conflict, Forbidden, Invalid, Kind, Live, Ref
from dynamo_operator.kube.objects import GRAPH, SCALING_ADAPTER
from dynamo_operator.plan.adapters import Scaling, adapter_changes, adapter_status, adapters_of, graph_of, scaling_of
from dynamo_operator.reconcile.ports import Outcome, Store
from dynamo_operator.reconcile.surroundings import Surroundings

TROUBLED_AGAIN_S = 60.0  # what ends a trouble may be an object that sends this adapter no event


class ScalingAdapterController:
    """Scaling adapters, and the graphs whose replicas they own."""

    root_kind: Kind = SCALING_ADAPTER
    watched_kinds: tuple[Kind, ...] = (SCALING_ADAPTER, GRAPH)

    def __init__(self, surroundings: Surroundings) -> None:
        self._kube = surroundings.kube
        self._store = surroundings.store
        self._reporter = surroundings.reporter

    def roots_of(self, live: Live, store: Store) -> tuple[Ref, ...]:
        if live.ref.kind == SCALING_ADAPTER:
            return (live.ref,)
        return tuple(ref for ref in adapters_of(live) if store.get(ref) is not None)

    async def reconcile(self, root: Ref) -> Outcome:
        adapter = self._store.get(root)
        graph = self._store.get(graph_of(adapter)) if adapter else None
        if adapter is None or adapter.is_terminating or (graph and graph.is_terminating):
            return Outcome()
        scaling = scaling_of(adapter, graph)
        if scaling.operations:
            # Watches of two kinds do not keep step: a value that was overtaken must not scale anything back.
            adapter = await self._kube.get(root)
            if adapter is None or adapter.is_terminating:
                return Outcome()
            scaling = await self._scale(adapter, graph)
        await self._reporter.write_now(adapter, adapter_status(adapter, scaling, self._reporter.now()))
        await self._reporter.record(adapter, adapter_changes(adapter, scaling))
        return Outcome(TROUBLED_AGAIN_S if scaling.trouble else None)

    async def _scale(self, adapter: Live, graph: Live | None) -> Scaling:
        """Look once more when the graph was not as we saw it; what is refused then is refused for good."""
        scaling = scaling_of(adapter, graph)
        try:
            return await self._copy(adapter, scaling)
        except (Conflict, Invalid, Forbidden):
            scaling = scaling_of(adapter, await self._kube.get(graph_of(adapter)))
        try:
            return await self._copy(adapter, scaling)
        except (Invalid, Forbidden) as error:
            return scaling.failed(str(error))

    async def _copy(self, adapter: Live, scaling: Scaling) -> Scaling:
        if scaling.operations:
            await self._kube.patch(graph_of(adapter), scaling.operations)
        return scaling
