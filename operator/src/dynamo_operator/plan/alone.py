"""What the pass of a component deployment without a graph does. Pure.

It has no generations: its workload is updated in place, by that workload's own strategy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dynamo_operator.api import ComponentDeployment, parse_component_deployment
from dynamo_operator.kube import Live, Ref
from dynamo_operator.plan.intents import Intent, intents
from dynamo_operator.plan.status import Standing
from dynamo_operator.plan.strays import strays
from dynamo_operator.plan.workloads import is_workload, read_workload, restart_ids, with_restart
from dynamo_operator.render import RenderContext, names, render_component_deployment
from dynamo_operator.render.workloads import deployed_backing


@dataclass(frozen=True, slots=True)
class LonePlan:
    """What to apply, and what to delete since it is no longer rendered."""

    deployment: ComponentDeployment
    intents: tuple[Intent, ...]
    removals: tuple[Live, ...]


def decide_alone(root: Live, children: Iterable[Live], context: RenderContext) -> LonePlan:
    """Raises SpecError or RenderError where the component deployment cannot be understood or rendered."""
    deployment = parse_component_deployment(root.document)
    by_ref = {child.ref: child for child in children}
    wanted = tuple(
        _with_restarts(intent, by_ref.get(intent.ref))
        for intent in intents(render_component_deployment(deployment, context), root.ref.namespace)
    )
    return LonePlan(deployment, wanted, strays(wanted, by_ref))


def standing_alone(plan: LonePlan, context: RenderContext, lives: Mapping[Ref, Live]) -> Standing:
    """Where it stands after a pass."""
    deployment = plan.deployment
    backing = deployed_backing(deployment)
    live = lives.get(Ref(backing.kind, context.namespace, backing.names[0]))
    base = names.runtime_namespace(context.namespace, deployment)
    hash8 = deployment.labels.get(names.WORKER_HASH)
    return Standing(
        component=deployment.component,
        deployment=deployment.name,
        kind=backing.kind,
        name=backing.names[0],
        workload=read_workload(live) if live is not None else None,
        runtime_namespace=f"{base}-{hash8}" if hash8 else base,
    )


def _with_restarts(intent: Intent, live: Live | None) -> Intent:
    """Pods made by a restart of a graph that let go of this component deployment stay as they are."""
    if live is None or not is_workload(intent.ref.kind):
        return intent
    return Intent(intent.ref, with_restart(intent.document, restart_ids(live)), intent.owner)
