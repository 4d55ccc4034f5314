"""What a graph's pass does: `decide` says what to apply and what to delete, from a survey of what is there. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dynamo_operator.api import Component, SpecError, parse_component_deployment
from dynamo_operator.kube import Live, Ref
from dynamo_operator.kube.objects import COMPONENT_DEPLOYMENT, POD_CLIQUE_SET
from dynamo_operator.plan.gangs import Scaling, kept, scalings, workload_of
from dynamo_operator.plan.intents import Intent, intents
from dynamo_operator.plan.restart import Progress, Restart, restart_spec, restart_step
from dynamo_operator.plan.rollout import Generation, Roll, limits, targets
from dynamo_operator.plan.strays import strays
from dynamo_operator.plan.survey import Part, Survey, live_backing
from dynamo_operator.plan.workloads import (
    Lack,
    is_workload,
    read_workload,
    restart_ids,
    with_pods_of,
    with_replicas,
    with_restart,
)
from dynamo_operator.render import RenderError, names, render_component_deployment


@dataclass(frozen=True, slots=True)
class Facts:
    """What a rollout needs to know beyond the watched objects.

    admitted: pods that every ready frontend knows; None where readiness alone decides.
    with_pods: component deployments whose pods are not all gone, of those that the Recreate strategy waits for.
    """

    admitted: frozenset[str] | None = None
    with_pods: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do. `removals` are deleted after everything is applied; `refusals` could not be rendered."""

    intents: tuple[Intent, ...]
    removals: tuple[Live, ...]
    rolls: tuple[Roll, ...]
    restart: Restart
    refusals: tuple[str, ...] = field(default=())


def decide(seen: Survey, facts: Facts) -> Plan:
    """The plan of one pass; the same survey and facts give the same plan."""
    rolls = rolls_of(seen, facts)
    replicas = targets(rolls)
    drained = [part for part in seen.old if is_drained(part, facts)]
    kept, refusals = _old_intents(seen, [part for part in seen.old if part not in drained])
    restart = restart_step(
        restart_spec(seen.root.document),
        (seen.root.document.get("status") or {}).get("restart"),
        _progress(seen),
        is_rolling=seen.is_rolling,
    )
    present = {intent.ref for intent in seen.intents}
    wanted = [*seen.intents, *(intent for intent in kept if intent.ref not in present)]
    adjusted = tuple(_adjusted(intent, seen, replicas, restart) for intent in wanted)
    return Plan(
        intents=adjusted,
        removals=_removals(seen, drained, adjusted),
        rolls=rolls,
        restart=restart,
        refusals=refusals,
    )


def starters(plan: Plan, seen: Survey) -> frozenset[Ref]:
    """What starts the first pods of a new graph; nothing once one of its workloads is there."""
    refs = (intent.ref for intent in plan.intents)
    found = frozenset(ref for ref in refs if is_workload(ref.kind) or ref.kind == POD_CLIQUE_SET)
    return found if found.isdisjoint(seen.children) else frozenset()


def scalings_of(seen: Survey, lives: Mapping[Ref, Live]) -> tuple[Scaling, ...]:
    """What members of a gang are scaled to after their set is applied; `lives` are the objects as that left them."""
    gang = seen.gang
    if gang is None:
        return ()
    found = ((live_backing(seen, name), backing.replicas) for name, backing in seen.backings.items())
    return scalings(lives.get(gang.ref, gang), ((live, replicas) for live, replicas in found if live is not None))


def rolls_of(seen: Survey, facts: Facts) -> tuple[Roll, ...]:
    """The rollout of every worker component, those included that the graph no longer has."""
    workers = {each.name: each for each in seen.graph.components if each.is_worker}
    if not any(intent.ref.kind == COMPONENT_DEPLOYMENT for intent in seen.intents):
        workers = {}  # not run by component deployments: whatever runs them replaces them in its own way
    removed = dict.fromkeys(part.component for part in seen.old if part.component not in workers)
    return (*(_roll(each, seen, facts) for each in workers.values()), *(_ending(name, seen, facts) for name in removed))


def _roll(component: Component, seen: Survey, facts: Facts) -> Roll:
    intent = next(
        each
        for each in seen.intents
        if each.ref.kind == COMPONENT_DEPLOYMENT
        and each.document["metadata"]["labels"][names.COMPONENT] == component.name
    )
    part = seen.current.get(component.name)
    fresh = Generation(intent.ref.name, intent.document["metadata"]["labels"].get(names.WORKER_HASH, ""))
    new = fresh if part is None or part.deployment.is_terminating else _generation(part, facts, is_new=True)
    annotations = {
        **component.preserved.annotations,
        **((intent.document["spec"]["podTemplate"].get("metadata") or {}).get("annotations") or {}),
    }
    old = _old_generations(component.name, seen, facts)
    return Roll(component.name, component.replicas, limits(component.replicas, annotations), new, old)


def _ending(component: str, seen: Survey, facts: Facts) -> Roll:
    return Roll(component, 0, limits(0, {}), Generation("", ""), _old_generations(component, seen, facts))


def _old_generations(component: str, seen: Survey, facts: Facts) -> tuple[Generation, ...]:
    parts = (part for part in seen.old if part.component == component)
    return tuple(_generation(part, facts) for part in parts if part.workload and not part.deployment.is_terminating)


def _generation(part: Part, facts: Facts, *, is_new: bool = False) -> Generation:
    name = part.deployment.ref.name
    if part.workload is None or part.workload.is_terminating:
        return Generation(name, part.hash8, has_pods=name in facts.with_pods)
    workload = read_workload(part.workload)
    available = workload.serving
    if is_new and facts.admitted is not None:
        available = min(available, sum(pod.startswith(f"{name}-") for pod in facts.admitted))
    return Generation(name, part.hash8, workload.desired, workload.replicas, available, name in facts.with_pods)


def _progress(seen: Survey) -> Mapping[str, Progress]:
    """How far each component's restart is; on Grove the set carries all templates, and its members the readiness."""
    gang = seen.gang
    ids = restart_ids(gang) if gang else {}
    found = {}
    for name in seen.backings:
        live = live_backing(seen, name)
        if live is None:
            found[name] = Progress(ids.get(name), is_ready=False)
            continue
        workload = workload_of(live, gang)
        identifier = {**ids, **restart_ids(live)}.get(name)
        found[name] = Progress(identifier, workload.is_ready, workload.lack is Lack.STUCK)
    return found


def _adjusted(intent: Intent, seen: Survey, replicas: Mapping[str, int], restart: Restart) -> Intent:
    """A workload with the replicas that the rollout allows and the restarts that made its pods."""
    document = intent.document
    if is_workload(intent.ref.kind) and intent.owner is not None and intent.owner.name in replicas:
        document = with_replicas(document, replicas[intent.owner.name])
    live = seen.children.get(intent.ref)
    if live is not None and intent.ref.kind == POD_CLIQUE_SET:
        document = kept(document, live.document)
    is_old = intent.owner is not None and any(intent.owner == part.deployment.ref for part in seen.old)
    if is_old and live is not None and is_workload(intent.ref.kind):
        return Intent(intent.ref, with_pods_of(document, live), intent.owner)
    return Intent(intent.ref, with_restart(document, {} if is_old else restart.ids), intent.owner)


def _old_intents(seen: Survey, parts: list[Part]) -> tuple[list[Intent], tuple[str, ...]]:
    """Children of old generations, rendered from their own component deployments."""
    kept: list[Intent] = []
    refusals = []
    for part in parts:
        try:
            deployment = parse_component_deployment(part.deployment.document)
            kept += intents(render_component_deployment(deployment, seen.context), seen.root.ref.namespace)
        except (SpecError, RenderError) as error:
            refusals.append(f"{part.deployment.ref.kind.name} {part.deployment.ref.name}: {error}")
    return kept, tuple(refusals)


def _removals(seen: Survey, drained: list[Part], wanted: tuple[Intent, ...]) -> tuple[Live, ...]:
    ended = [*seen.removed, *(part.deployment for part in drained)]
    # What an old or ended component deployment controls goes with it.
    leaving = {live.uid for live in ended} | {part.deployment.uid for part in seen.old}
    stray = (
        live
        for live in strays(wanted, seen.children)
        if live.ref.kind != COMPONENT_DEPLOYMENT and live.controller_uid not in leaving
    )
    return (*(live for live in ended if not live.is_terminating), *stray)


def is_drained(part: Part, facts: Facts) -> bool:
    """Nothing of an old generation's component runs any longer."""
    if part.workload is None:
        return True
    return read_workload(part.workload).is_drained and part.deployment.ref.name not in facts.with_pods
