"""Applies intents: owners before what they own, roles before their bindings, the rest side by side.

It writes nothing that would change nothing.

Duty: the writes of one pass, and one sentence for each that the API server will not have. It must not decide what is
wanted. Callers: the graph's and the component deployment's reconcilers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dynamo_operator.kube import Blocked, Conflict, Document, Ending, Forbidden, Gone, Invalid, Live, Ref
from dynamo_operator.kube.objects import CLAIM, ROLE_BINDING
from dynamo_operator.plan.compare import needs_apply
from dynamo_operator.plan.conditions import Change
from dynamo_operator.plan.intents import (
    Intent,
    Standing,
    clearance,
    completed,
    is_fixed_otherwise,
    is_model_service,
    standing,
)
from dynamo_operator.reconcile.ports import Kube, Store

CONCURRENT_WRITES = 8


@dataclass(slots=True)
class Done:
    """What became of the intents: `lives` of those that are as wanted, sentences for those that are not.

    conflicts: objects of somebody else under a name that we need. waits: objects that could not be brought in this
    pass, `hindered` a sentence for those of them whose owner is there.
    written: references that this pass wrote. `replaced`: those of them that had existed before.
    is_ending: the namespace goes, and what was not written yet is not tried any more.
    """

    lives: dict[Ref, Live] = field(default_factory=dict)
    failures: dict[Ref, str] = field(default_factory=dict)
    conflicts: dict[Ref, str] = field(default_factory=dict)
    waits: set[Ref] = field(default_factory=set)
    hindered: dict[Ref, str] = field(default_factory=dict)
    written: set[Ref] = field(default_factory=set)
    replaced: set[Ref] = field(default_factory=set)
    is_ending: bool = False

    @property
    def sentences(self) -> tuple[str, ...]:
        return tuple(text for _, text in sorted({**self.conflicts, **self.failures}.items()))

    @property
    def hindrances(self) -> tuple[str, ...]:
        return tuple(text for _, text in sorted(self.hindered.items()))

    def hinder(self, ref: Ref, why: str) -> None:
        self.waits.add(ref)
        self.hindered[ref] = f"{ref.kind.name} {ref.name} {why}"


async def carry_out(kube: Kube, store: Store, root: Live, intents: Iterable[Intent]) -> Done:
    """Apply what `root` and the namespace own first, then what depends on it; raises Ending."""
    done = Done(lives={root.ref: root})
    places = asyncio.Semaphore(CONCURRENT_WRITES)
    intents = tuple(intents)
    later = [each for each in intents if _depends(each, root)]
    first = [each for each in intents if not _depends(each, root)]
    for stage in (first, later):
        results = await asyncio.gather(
            *(_bring(kube, store, each, done, places) for each in stage), return_exceptions=True
        )
        for error in results:
            if error is not None:
                raise error
    return done


def _depends(intent: Intent, root: Live) -> bool:
    """On another object of the same pass: its owner, or the role whose rules the API server looks up for a binding."""
    return intent.owner not in (None, root.ref) or intent.ref.kind == ROLE_BINDING


async def remove(kube: Kube, removals: Iterable[Live]) -> dict[Ref, str]:
    """Delete exactly these objects, not successors of their names; one sentence for each that others keep."""
    kept = {}
    for live in removals:
        try:
            await kube.delete(live.ref, uid=live.uid)
        except (Invalid, Forbidden, Blocked) as error:
            kept[live.ref] = f"{live.ref.kind.name} {live.ref.name} cannot be deleted: {error}"
    return kept


def ownership_conflicts(done: Done) -> tuple[Change, ...]:
    """An Event for each object of others that stands where ours should."""
    return tuple(Change("OwnershipConflict", sentence, is_warning=True) for sentence in done.conflicts.values())


async def _bring(kube: Kube, store: Store, intent: Intent, done: Done, places: asyncio.Semaphore) -> None:
    async with places:
        if done.is_ending:
            return
        owner = None
        if intent.owner is not None:
            owner = done.lives.get(intent.owner) or store.get(intent.owner)
            is_ours = intent.owner not in done.conflicts and intent.owner not in done.waits
            if owner is None or not is_ours or owner.is_terminating:
                done.waits.add(intent.ref)  # its owner could not be made; that is reported already
                return
        uid = owner.uid if owner else None
        try:
            await _bring_lately_seen(kube, store, intent, uid, done)
        except (Invalid, Forbidden, Gone) as error:
            done.failures[intent.ref] = f"{intent.ref.kind.name} {intent.ref.name}: {error}"
        except Ending:
            done.is_ending = True
            raise
        except Blocked as error:
            done.hinder(intent.ref, f"cannot be written: {error}")


async def _bring_lately_seen(kube: Kube, store: Store, intent: Intent, owner_uid: str | None, done: Done) -> None:
    try:
        await _bring_one(kube, intent, store.get(intent.ref), owner_uid, done)
    except Conflict:
        # It was not there, or not like this, when we last saw it.
        await _bring_one(kube, intent, await kube.get(intent.ref), owner_uid, done)


async def _bring_one(kube: Kube, intent: Intent, live: Live | None, owner_uid: str | None, done: Done) -> None:
    match standing(intent, live, owner_uid):
        case Standing.LEAVING:
            done.hinder(intent.ref, "is being deleted; it is made anew when it is gone")
        case Standing.FOREIGN:
            if not _serves_as_it_is(intent):
                done.conflicts[intent.ref] = _conflict(intent, live)
        case _:
            if live is not None and intent.ref.kind == CLAIM:
                done.lives[intent.ref] = live  # made once: its users grow it, and the rest of it never changes
                return
            if live is not None and not live.applied:
                live = await kube.adopt(live)
            document = completed(intent, live, owner_uid)
            if live is not None and is_fixed_otherwise(document, live):
                await kube.delete(live.ref, uid=live.uid)
                live = None
            if live is None or needs_apply(document, live):
                if live is not None and (operations := clearance(document, live)):
                    live = await kube.patch(intent.ref, operations)
                named = document if live is None else _for_this_one(document, live)
                done.lives[intent.ref] = await kube.apply(named, is_new=live is None)
                done.written.add(intent.ref)
                if live is not None:
                    done.replaced.add(intent.ref)
            else:
                done.lives[intent.ref] = live


def _for_this_one(document: Document, live: Live) -> Document:
    """The document for exactly this object: a successor under its name may be somebody else's."""
    return {**document, "metadata": {**document["metadata"], "uid": live.uid}}


def _serves_as_it_is(intent: Intent) -> bool:
    """A user's own claim or account of that name does what ours would do."""
    return intent.ref.kind == CLAIM or (intent.owner is None and not is_model_service(intent.document))


def _conflict(intent: Intent, live: Live | None) -> str:
    owners = (live.document["metadata"].get("ownerReferences") if live else None) or ()
    controller: Mapping[str, str] | None = next((each for each in owners if each.get("controller")), None)
    whose = f"belongs to {controller['kind']} {controller['name']}" if controller else "has no owner"
    what = f"{intent.ref.kind.name} {intent.ref.name}"
    return f"{what} exists and {whose}; delete or rename it, or give yours another name"
