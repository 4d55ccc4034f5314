"""Brings one graph nearer to what its spec asks for: observe, decide, apply, report.

Duty: the effects of `plan.graph`, in an order in which an end at any point leaves nothing that the next pass, by
whomever, does not put right. It keeps nothing that live objects do not show. Caller: the runner's queue.
"""

from __future__ import annotations

from collections.abc import Iterable

from dynamo_operator.api import SpecError
from dynamo_operator.kube import Blocked, Conflict, Forbidden, Gone, Invalid, Kind, Live, Ref
from dynamo_operator.kube.objects import (
    COMPONENT_DEPLOYMENT,
    GRAPH,
    POD_CLIQUE,
    POD_CLIQUE_SCALING_GROUP,
    POD_CLIQUE_SET,
    SCALING_ADAPTER,
)
from dynamo_operator.plan.changes import graph_changes
from dynamo_operator.plan.conditions import Change
from dynamo_operator.plan.graph import Plan, decide, scalings_of, starters
from dynamo_operator.plan.intents import is_shared
from dynamo_operator.plan.kinds import CHILD_KINDS
from dynamo_operator.plan.standings import generation_annotations, report_of, told, unmanaged_rollout
from dynamo_operator.plan.status import (
    READY,
    Report,
    component_deployment_status,
    graph_status,
    is_starting,
    refused_status,
)
from dynamo_operator.plan.survey import Survey, survey
from dynamo_operator.reconcile.admission import Admission
from dynamo_operator.reconcile.diagnosis import Diagnosis, Wanted, pod_labels
from dynamo_operator.reconcile.finalizers import release
from dynamo_operator.reconcile.key_pairs import key_pair_failures
from dynamo_operator.reconcile.ports import Outcome, Priority, Store
from dynamo_operator.reconcile.reporting import soonest
from dynamo_operator.reconcile.rolling import Look, RolloutLookout
from dynamo_operator.reconcile.roots import root_of
from dynamo_operator.reconcile.scaling import scale
from dynamo_operator.reconcile.sharing import tidy, wanting
from dynamo_operator.reconcile.surroundings import (
    FAILED_AGAIN_S,
    HINDERED_AGAIN_S,
    UNREADY_AGAIN_S,
    Surroundings,
)
from dynamo_operator.reconcile.writing import Done, carry_out, ownership_conflicts, remove
from dynamo_operator.render import RenderError, component_deployments, names


class GraphController:
    """Graphs, with all component deployments that they control."""

    root_kind: Kind = GRAPH
    watched_kinds: tuple[Kind, ...] = (
        GRAPH,
        SCALING_ADAPTER,
        *CHILD_KINDS,
        POD_CLIQUE_SET,
        POD_CLIQUE,
        POD_CLIQUE_SCALING_GROUP,
    )

    def __init__(self, surroundings: Surroundings, admission: Admission) -> None:
        self._around = surroundings
        self._kube = surroundings.kube
        self._store = surroundings.store
        self._reporter = surroundings.reporter
        self._lookout = RolloutLookout(surroundings.kube, admission, surroundings.monotonic)

    def roots_of(self, live: Live, store: Store) -> tuple[Ref, ...]:
        """A shared object concerns whoever asks for it; nobody's end is a pass for a graph that is not there."""
        if live.ref.kind != GRAPH and is_shared(live):
            wanted_by = wanting(live, store) or Ref(GRAPH, live.ref.namespace, live.ref.name)
            return (wanted_by,) if wanted_by.kind == GRAPH else ()
        root = root_of(live, store)
        return (root,) if root is not None and root.kind == GRAPH else ()

    async def reconcile(self, root: Ref) -> Outcome:
        live = self._store.get(root)
        await self._release_parts(root, live)
        if live is None:
            self._lookout.forget(root)
            self._around.forget(root)
            return Outcome(await tidy(self._kube, self._store, root.namespace))
        live = await release(self._kube, live)
        if live.is_terminating:
            return Outcome()  # owner references and garbage collection end what it controls
        return await self._around.endings.heeding(live, self._pass)

    async def _release_parts(self, root: Ref, live: Live | None) -> None:
        """Let go of its component deployments that upstream's operator made, also when the graph is gone already."""
        if live is not None:
            parts = self._store.controlled_by(live.uid)
        else:
            parts = self._store.find(COMPONENT_DEPLOYMENT, root.namespace, labels={names.GRAPH_NAME: root.name})
        for part in parts:
            if part.ref.kind == COMPONENT_DEPLOYMENT and root_of(part, self._store) == root:
                await release(self._kube, part)

    async def _pass(self, live: Live) -> Outcome:
        namespace = live.ref.namespace
        try:
            context = await self._around.context_of(live.document, namespace)
            seen = survey(live, self._children(live), context)
        except (SpecError, RenderError) as error:
            return await self._refuse(live, error)
        look = await self._lookout.look(seen)
        plan = decide(seen, look.facts)
        keys = await key_pair_failures(
            self._kube, live, component_deployments(seen.graph, context), context.mpi_secret_name
        )
        later = starters(plan, seen) if self._around.is_pressed(live.ref) else frozenset()
        now = (intent for intent in plan.intents if intent.ref not in later)
        done = await carry_out(self._kube, self._store, live, now)
        if later:
            return Outcome(0.0, Priority.PODS)
        done.failures.update(keys)
        await scale(self._kube, scalings_of(seen, done.lives), done)
        kept = await remove(self._kube, plan.removals)
        done.failures.update(kept)
        removed = [each for each in plan.removals if each.ref not in kept]
        for each in removed:
            self._reporter.forget(each.ref)
        waits = [look.again_after_s]
        if removed or any(ref.kind == COMPONENT_DEPLOYMENT for ref in done.replaced):
            waits.append(await tidy(self._kube, self._store, namespace))
        waits.append(await self._note_generation(seen))
        report, again_after_s = await self._report(seen, look, plan, done)
        waits.append(again_after_s)
        await self._reporter.record(live, (*look.changes, *unmanaged_rollout(seen), *_removals(removed)))
        return Outcome(soonest(*waits), Priority.STATUS if is_starting(report) else Priority.CHANGES)

    def _children(self, live: Live) -> list[Live]:
        """All that the graph controls, and what its component deployments and sets of cliques control."""
        own = self._store.controlled_by(live.uid)
        parents = [each for each in own if each.ref.kind in (COMPONENT_DEPLOYMENT, POD_CLIQUE_SET)]
        return [*own, *(child for parent in parents for child in self._store.controlled_by(parent.uid))]

    async def _refuse(self, live: Live, error: SpecError | RenderError) -> Outcome:
        status = refused_status(live, "ValidationFailed", str(error), self._reporter.now())
        return Outcome(soonest(await self._publish(live, status), self._around.refused_again_after_s(error)))

    async def _report(self, seen: Survey, look: Look, plan: Plan, done: Done) -> tuple[Report, float | None]:
        now = self._reporter.now()
        report = report_of(seen, plan, look.facts, done.lives, (*done.sentences, *plan.refusals))
        diagnosis = await self._diagnosis(seen.root, report)
        report = told(report, diagnosis.troubles, done.hindrances)
        waits: list[float | None] = [diagnosis.again_after_s]
        for standing in report.standings:
            deployment = done.lives.get(Ref(COMPONENT_DEPLOYMENT, seen.root.ref.namespace, standing.deployment))
            if deployment is not None:
                failures = _failures_of(done, plan, deployment)
                status = component_deployment_status(deployment, standing, failures, now)
                waits.append(await self._reporter.write(deployment, status))
        status = graph_status(seen.root, report, now)
        waits.append(await self._publish(seen.root, status, ownership_conflicts(done)))
        if done.conflicts or done.failures:
            waits.append(FAILED_AGAIN_S)
        elif status["state"] != "successful":
            waits.append(HINDERED_AGAIN_S if done.hindrances else UNREADY_AGAIN_S)
        return report, soonest(*waits)

    async def _diagnosis(self, root: Live, report: Report) -> Diagnosis:
        wanted = [
            Wanted(each.component.name, pod_labels(each.kind, each.name, each.deployment, each.component.name))
            for each in report.standings
            if each.lack and each.workload is not None
        ]
        return await self._around.diagnostician.look(root, READY, wanted, {names.GRAPH_NAME: root.ref.name})

    async def _publish(self, live: Live, status: dict[str, object], conflicts: tuple[Change, ...] = ()) -> float | None:
        """Write the status, and tell of its transitions once it is written."""
        previous = live.document.get("status") or {}
        wait = await self._reporter.write(live, status)
        if wait is None and previous != status:
            changes = graph_changes(previous, status)
            is_news = any(change.is_warning for change in changes)
            await self._reporter.record(live, conflicts if is_news and conflicts else changes)
        return wait

    async def _note_generation(self, seen: Survey) -> float | None:
        """Tell other clients the workers' generation; this operator reads it from live objects only."""
        operations = generation_annotations(seen)
        if not operations:
            return None
        try:
            await self._kube.patch(seen.root.ref, operations)
        except (Conflict, Invalid, Gone, Forbidden):
            return None  # the graph changed, and its next pass notes it; or a policy of others keeps it as it is
        except Blocked:
            return HINDERED_AGAIN_S
        return None


def _failures_of(done: Done, plan: Plan, deployment: Live) -> list[str]:
    mine = {intent.ref for intent in plan.intents if deployment.ref in (intent.ref, intent.owner)}
    return [text for ref, text in {**done.conflicts, **done.failures}.items() if ref in mine]


def _removals(removed: Iterable[Live]) -> Iterable[Change]:
    for live in removed:
        if live.ref.kind == SCALING_ADAPTER:
            yield Change("AdapterDeleted", f"Deleted scaling adapter {live.ref.name}; its component asks for none")
