"""Brings one component deployment without a graph nearer to its spec; those of graphs are part of their graph's pass.

Duty: the effects of `plan.alone`. Caller: the runner's queue.
"""

from __future__ import annotations

from dataclasses import replace

from dynamo_operator.api import SpecError
from dynamo_operator.kube import Kind, Live, Ref
from dynamo_operator.kube.objects import COMPONENT_DEPLOYMENT
from dynamo_operator.plan.alone import decide_alone, standing_alone
from dynamo_operator.plan.changes import component_changes
from dynamo_operator.plan.conditions import Change
from dynamo_operator.plan.intents import is_shared
from dynamo_operator.plan.kinds import CHILD_KINDS
from dynamo_operator.plan.status import Standing, component_deployment_status, refused_status
from dynamo_operator.reconcile.diagnosis import Wanted, pod_labels
from dynamo_operator.reconcile.finalizers import release
from dynamo_operator.reconcile.key_pairs import key_pair_failures
from dynamo_operator.reconcile.ports import Outcome, Store
from dynamo_operator.reconcile.reporting import soonest
from dynamo_operator.reconcile.roots import root_of
from dynamo_operator.reconcile.sharing import tidy, wanting
from dynamo_operator.reconcile.surroundings import (
    FAILED_AGAIN_S,
    HINDERED_AGAIN_S,
    UNREADY_AGAIN_S,
    Surroundings,
)
from dynamo_operator.reconcile.writing import carry_out, ownership_conflicts, remove
from dynamo_operator.render import RenderError


class ComponentDeploymentController:
    """Component deployments that no graph controls."""

    root_kind: Kind = COMPONENT_DEPLOYMENT
    watched_kinds: tuple[Kind, ...] = CHILD_KINDS

    def __init__(self, surroundings: Surroundings) -> None:
        self._around = surroundings
        self._kube = surroundings.kube
        self._store = surroundings.store
        self._reporter = surroundings.reporter

    def roots_of(self, live: Live, store: Store) -> tuple[Ref, ...]:
        root = wanting(live, store) if is_shared(live) else root_of(live, store)
        return (root,) if root is not None and root.kind == COMPONENT_DEPLOYMENT else ()

    async def reconcile(self, root: Ref) -> Outcome:
        live = self._store.get(root)
        if live is None:
            self._around.forget(root)
            return Outcome(await tidy(self._kube, self._store, root.namespace))
        if root_of(live, self._store) != root:
            return Outcome()
        live = await release(self._kube, live)
        if live.is_terminating:
            return Outcome()
        return await self._around.endings.heeding(live, self._pass)

    async def _pass(self, live: Live) -> Outcome:
        try:
            context = await self._around.context_of(live.document, live.ref.namespace)
            plan = decide_alone(live, self._store.controlled_by(live.uid), context)
        except (SpecError, RenderError) as error:
            status = refused_status(live, "ValidationFailed", str(error), self._reporter.now())
            return Outcome(soonest(await self._publish(live, status), self._around.refused_again_after_s(error)))
        keys = await key_pair_failures(self._kube, live, [plan.deployment], context.mpi_secret_name)
        done = await carry_out(self._kube, self._store, live, plan.intents)
        done.failures.update(keys)
        done.failures.update(await remove(self._kube, plan.removals))
        standing = standing_alone(plan, context, done.lives)
        standing, look_again_s = await self._diagnosed(live, standing)
        sentences = (*done.sentences, *done.hindrances)
        status = component_deployment_status(live, standing, sentences, self._reporter.now())
        waits = [look_again_s, await self._publish(live, status, ownership_conflicts(done))]
        if done.sentences:
            waits.append(FAILED_AGAIN_S)
        elif standing.lack_of_workload or sentences:
            waits.append(HINDERED_AGAIN_S if done.hindrances else UNREADY_AGAIN_S)
        return Outcome(soonest(*waits))

    async def _diagnosed(self, live: Live, standing: Standing) -> tuple[Standing, float | None]:
        labels = pod_labels(standing.kind, standing.name, standing.deployment, standing.component.name)
        wanted = [Wanted(standing.component.name, labels)] if standing.lack_of_workload and standing.workload else []
        found = await self._around.diagnostician.look(live, "Available", wanted, labels)
        return replace(standing, trouble=found.troubles.get(standing.component.name, "")), found.again_after_s

    async def _publish(self, live: Live, status: dict[str, object], conflicts: tuple[Change, ...] = ()) -> float | None:
        previous = live.document.get("status") or {}
        wait = await self._reporter.write(live, status)
        if wait is None and previous != status:
            await self._reporter.record(live, conflicts or component_changes(previous, status))
        return wait
