"""What applying a manifest would change, before it does: objects, replicas and why, capacity, GPUs, caches. Pure.

Both documents are rendered in the same context and compared, so that what the operator's own configuration adds to pods
cancels out; no object of the cluster is needed. Rollouts are rehearsed with the operator's own rules. Caller:
`dynamo plan`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from dynamo_operator.api import Component
from dynamo_operator.kube import Document, Ref, ref_of
from dynamo_operator.kube.objects import CLAIM, POD_CLIQUE_SET
from dynamo_operator.plan.differences import Difference, differences
from dynamo_operator.plan.features import gpus_per_pod
from dynamo_operator.plan.gangs import kept
from dynamo_operator.plan.intents import Intent
from dynamo_operator.plan.kinds import PRUNED_KINDS
from dynamo_operator.plan.motion import Motion, motions
from dynamo_operator.plan.rehearsal import Moment, rehearse
from dynamo_operator.plan.side import Side
from dynamo_operator.render import RenderContext

_SPOKEN_OF = ("labels", "annotations")


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """`action` is create, change or delete; `fields` only for a change."""

    action: str
    ref: Ref
    fields: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class ComponentChange:
    """Replicas that end and that start because of the change, out of how many; a replica may be several pods."""

    component: str
    is_worker: bool
    before: int
    after: int
    ends: int
    starts: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """All moving components at one time; `gpus` are those of the whole graph."""

    moments: tuple[Moment, ...]
    gpus: int


@dataclass(frozen=True, slots=True)
class Preview:
    """`fields` are of the manifest itself; `steps` is empty where no replica starts or ends."""

    fields: tuple[Difference, ...]
    objects: tuple[ObjectChange, ...]
    components: tuple[ComponentChange, ...]
    steps: tuple[Step, ...]
    workers_before: int = 0
    gpus_before: int = 0
    gpus_after: int = 0
    notes: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.fields or self.objects or self.components)

    @property
    def caches_lost(self) -> int:
        """Workers whose KV cache ends with them."""
        return sum(each.ends for each in self.components if each.is_worker)

    @property
    def gpus_at_peak(self) -> int:
        return max((self.gpus_before, self.gpus_after, *(step.gpus for step in self.steps)))


def preview(
    before: Document | None, after: Document, context: RenderContext, ready: Mapping[str, int] | None = None
) -> Preview:
    """Of one graph or component deployment, in v1beta1; `before` is None where it does not exist yet.

    `ready`: replicas that serve now, by component; where it is silent, all do. Raises SpecError or RenderError.
    """
    new = Side.of(after, context)
    old = Side.of(before, context) if before is not None else None
    fields = manifest_differences(before, after)
    moving = motions(old, new, fields, ready or {})
    return Preview(
        fields=fields if before is not None else (),
        objects=(*_root(old, new, fields), *_objects(old, new)),
        components=tuple(_change(each, old, new) for each in moving),
        steps=_steps(moving, old, new),
        gpus_before=_all_gpus(old) if old else 0,
        gpus_after=_all_gpus(new),
        workers_before=_workers(old) if old else 0,
        notes=_notes(old, new, moving),
    )


def manifest_preview(before: Document | None, after: Document, namespace: str) -> Preview:
    """Of an object that nothing is rendered from: an adapter, a model."""
    fields = manifest_differences(before, after)
    ref = ref_of(after, namespace)
    if before is None:
        return Preview((), (ObjectChange("create", ref),), (), ())
    return Preview(fields, (ObjectChange("change", ref, fields),) if fields else (), (), ())


def manifest_differences(before: Document | None, after: Document) -> tuple[Difference, ...]:
    """Of what an author writes: the spec, labels and annotations."""
    return differences(_written(before or {}), _written(after))


def _written(document: Mapping[str, Any]) -> Document:
    metadata = document.get("metadata") or {}
    shown = {key: dict(metadata.get(key) or {}) for key in _SPOKEN_OF}
    return {"spec": document.get("spec") or {}, "metadata": shown}


def _root(old: Side | None, new: Side, fields: tuple[Difference, ...]) -> tuple[ObjectChange, ...]:
    if old is None:
        return (ObjectChange("create", new.root.ref),)
    return (ObjectChange("change", new.root.ref, fields),) if fields else ()


def _objects(old: Side | None, new: Side) -> Iterable[ObjectChange]:
    was = {intent.ref: intent for intent in old.intents} if old else {}
    now = {intent.ref: intent for intent in new.intents}
    for ref, intent in now.items():
        if ref not in was:
            yield ObjectChange("create", ref)
        elif fields := differences(was[ref].document, _applied(intent, was[ref].document)):
            yield ObjectChange("change", ref, fields)
    for ref, intent in was.items():
        # Claims hold data and stay; shared objects stay as long as another graph asks for them.
        if ref not in now and ref.kind in PRUNED_KINDS and intent.owner is not None:
            yield ObjectChange("delete", ref)
    if old is not None and old.is_gang and new.is_gang:
        yield from _scaled(old, new)


def _scaled(old: Side, new: Side) -> Iterable[ObjectChange]:
    """Members of a set, which are no rendered objects: Grove's controller makes them."""
    for name, backing in new.backings.items():
        before = old.backings.get(name)
        if before is not None and before.replicas != backing.replicas:
            ref = Ref(backing.kind, new.root.ref.namespace, backing.names[0])
            yield ObjectChange("change", ref, (Difference("spec.replicas", before.replicas, backing.replicas),))


def _applied(intent: Intent, existing: Document) -> Document:
    """What is applied where the older object exists: a claim stays; a set of Grove's keeps what its members had."""
    if intent.ref.kind == CLAIM:
        return existing
    return kept(intent.document, existing) if intent.ref.kind == POD_CLIQUE_SET else intent.document


def _change(motion: Motion, old: Side | None, new: Side) -> ComponentChange:
    roll = motion.roll
    was = sum(each.replicas for each in roll.old) if roll.old else roll.new.replicas
    ends, starts = (was, roll.desired) if roll.old else (max(0, was - roll.desired), max(0, roll.desired - was))
    component = new.components.get(roll.component) or (old.components[roll.component] if old else None)
    assert component is not None, "a component moves that is in one of the graphs"
    return ComponentChange(roll.component, component.is_worker, was, roll.desired, ends, starts, motion.reasons)


def _steps(moving: tuple[Motion, ...], old: Side | None, new: Side) -> tuple[Step, ...]:
    """Workers roll together; each other component on its own, all at the same time."""
    shared = tuple(each.roll for each in moving if each.is_with_others)
    groups = ([shared] if shared else []) + [(each.roll,) for each in moving if not each.is_with_others]
    played = [rehearse(group) for group in groups]
    if not played:
        return ()
    resting = _gpus_at_rest(new, {each.roll.component for each in moving})
    steps, last = [], [states[0] for states in played]
    for row in zip_longest(*played):
        last = [state or known for state, known in zip(row, last, strict=True)]
        moments = tuple(moment for state in last for moment in state)
        steps.append(Step(moments, resting + sum(_gpus(moment, old, new) for moment in moments)))
    return tuple(steps)


def _gpus_at_rest(new: Side, moving: set[str]) -> int:
    return sum(_per_replica(each) * each.replicas for name, each in new.components.items() if name not in moving)


def _workers(side: Side) -> int:
    return sum(each.replicas for each in side.components.values() if each.is_worker)


def _all_gpus(side: Side) -> int:
    return sum(_per_replica(each) * each.replicas for each in side.components.values())


def _gpus(moment: Moment, old: Side | None, new: Side) -> int:
    was = old.components.get(moment.component) if old else None
    now = new.components.get(moment.component)
    each_old, each_new = (_per_replica(part) if part else 0 for part in (was, now))
    return (moment.old + moment.ending) * each_old + moment.new * each_new


def _per_replica(component: Component) -> int:
    return gpus_per_pod(component) * component.node_count


def _notes(old: Side | None, new: Side, moving: tuple[Motion, ...]) -> tuple[str, ...]:
    notes = []
    if new.is_gang and any(each.roll.old for each in moving):
        notes.append("Grove replaces the replicas of a component one after the other; its steps are an estimate")
    if old is not None and old.is_gang != new.is_gang:
        notes.append("the graph moves between Grove and component deployments: both run until the old ones are gone")
    return tuple(notes)
