"""A stand-in for Grove's controllers: what they make of a PodCliqueSet, as far as an operator above them can see.

Written from Grove's documented API and behaviour; its own controllers run nowhere in these tests. Kept: names, owners,
that members keep their replicas when the template changes, that a new template changes the set's hash first and the
members' later, and which counts they report. Left out: pods, gangs, schedulers. Works only when told to.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from dynamo_operator.kube import Document, Kind, Live
from dynamo_operator.kube.objects import POD_CLIQUE, POD_CLIQUE_SCALING_GROUP, POD_CLIQUE_SET

TIME = "2026-01-01T00:00:00Z"
TEMPLATE_HASH = "grove.io/pod-template-hash"
MEMBERS = (POD_CLIQUE, POD_CLIQUE_SCALING_GROUP)


class Hands(Protocol):
    """How Grove reads and writes: beside the operator, so that nothing of it counts as the operator's."""

    async def find(self, kind: Kind) -> tuple[Live, ...]: ...

    async def make(self, document: Document) -> None: ...

    async def change(self, live: Live, part: str, value: Document) -> Live:
        """Replaces `spec`, `status` or `annotations` where they differ; the object as it is then."""
        ...

    async def remove(self, live: Live) -> None: ...


class Grove:
    """Remembers which template each member's pods were last made of."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self._made_of: dict[str, str] = {}

    async def act(self, *, replaced: int | None = None, ready: int | None = None) -> None:
        """One pass of all controllers; of an update `replaced` replicas (None is all), and `ready` of each member's."""
        for gang in await self._gangs():
            await self._sync(gang)
            current = template_hash(gang)
            ended = [await self._report(live, current, replaced, ready) for live in await self._members(gang)]
            await self._hands.change(gang, "status", _set_status(gang, current, is_ended=all(ended)))

    async def see(self) -> None:
        """The sets' controller looks at their specs, and the members' not yet at what it made of them."""
        for gang in await self._gangs():
            await self._sync(gang)
            status = _set_status(gang, template_hash(gang), is_ended=False)
            await self._hands.change(gang, "status", {**status, "observedGeneration": gang.generation})

    async def _gangs(self) -> list[Live]:
        return [gang for gang in await self._hands.find(POD_CLIQUE_SET) if not gang.is_terminating]

    async def _members(self, gang: Live) -> list[Live]:
        return [live for kind in MEMBERS for live in await self._hands.find(kind) if live.controller_uid == gang.uid]

    async def _sync(self, gang: Live) -> None:
        there = {live.ref.name: live for kind in MEMBERS for live in await self._hands.find(kind)}
        for document in members_of(gang):
            live = there.get(document["metadata"]["name"])
            if live is None:
                await self._hands.make(document)
            elif live.controller_uid == gang.uid:
                spec = {**document["spec"], "replicas": live.document["spec"]["replicas"]}
                live = await self._hands.change(live, "spec", spec)
                await self._hands.change(live, "annotations", document["metadata"]["annotations"])
        templates = {each["name"]: each for each in gang.document["spec"]["template"]["cliques"]}
        for group in await self._hands.find(POD_CLIQUE_SCALING_GROUP):
            if group.controller_uid == gang.uid:
                await self._sync_group(group, templates, there)

    async def _sync_group(self, group: Live, templates: Mapping[str, Document], there: Mapping[str, Live]) -> None:
        spec = group.document["spec"]
        wanted = {f"{group.ref.name}-{i}-{name}": name for i in range(spec["replicas"]) for name in spec["cliqueNames"]}
        for name in sorted(wanted.keys() - there.keys()):
            await self._hands.make(_clique(group, name, templates[wanted[name]]))
        for live in there.values():
            if live.controller_uid == group.uid and live.ref.name not in wanted:
                await self._hands.remove(live)

    async def _report(self, live: Live, current: str, replaced: int | None, ready: int | None) -> bool:
        """Whether the member is all of the set's present template."""
        own = live.annotations[TEMPLATE_HASH]
        is_ended = replaced is None or self._made_of.setdefault(live.uid, own) == own
        if is_ended:
            self._made_of[live.uid] = own
        await self._hands.change(live, "status", _member_status(live, current, None if is_ended else replaced, ready))
        return is_ended


def template_hash(gang: Live) -> str:
    """Of all that replaces pods: replicas are no part of it, the order of cliques is."""
    return _hash([_pods(each) for each in gang.document["spec"]["template"]["cliques"]])


def members_of(gang: Live) -> Iterator[Document]:
    """As they begin: the cliques that scale on their own, and the scaling groups."""
    template = gang.document["spec"]["template"]
    groups = template.get("podCliqueScalingGroups") or []
    by_name = {each["name"]: each for each in template["cliques"]}
    grouped = {name for group in groups for name in group["cliqueNames"]}
    for clique in template["cliques"]:
        if clique["name"] not in grouped:
            yield _clique(gang, f"{gang.ref.name}-0-{clique['name']}", clique)
    for group in groups:
        spec = {key: group[key] for key in ("replicas", "minAvailable", "cliqueNames")}
        hashed = {TEMPLATE_HASH: _hash([_pods(by_name[name]) for name in group["cliqueNames"]])}
        yield _member(gang, POD_CLIQUE_SCALING_GROUP, f"{gang.ref.name}-0-{group['name']}", spec, hashed)


def _clique(owner: Live, name: str, template: Mapping[str, Any]) -> Document:
    annotations = {**(template.get("annotations") or {}), TEMPLATE_HASH: _hash(_pods(template))}
    return _member(owner, POD_CLIQUE, name, template["spec"], annotations)


def _member(owner: Live, kind: Kind, name: str, spec: Mapping[str, Any], annotations: Document) -> Document:
    reference = {
        "apiVersion": owner.ref.kind.api_version,
        "kind": owner.ref.kind.name,
        "name": owner.ref.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = {
        "name": name,
        "namespace": owner.ref.namespace,
        "annotations": annotations,
        "ownerReferences": [reference],
    }
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, "spec": dict(spec)}


def _member_status(live: Live, current: str, replaced: int | None, ready: int | None) -> Document:
    """During an update the member keeps the hash of the template that it had, and names the one it goes to."""
    before = live.document.get("status") or {}
    desired = live.document["spec"]["replicas"]
    served = desired if ready is None else min(ready, desired)
    status: Document = {
        "observedGeneration": live.generation,
        "replicas": desired,
        "scheduledReplicas": desired,
        "updatedReplicas": desired if replaced is None else min(replaced, desired),
        "currentPodCliqueSetGenerationHash": current,
    }
    if live.ref.kind == POD_CLIQUE:
        status |= {"readyReplicas": served, "scheduleGatedReplicas": 0}
    else:
        status["availableReplicas"] = served
    handed_on = before.get("currentPodCliqueSetGenerationHash")
    if handed_on in (None, current) and replaced is None and "updateProgress" not in before:
        return status
    progress = {"podCliqueSetGenerationHash": current, "updateStartedAt": TIME}
    if live.ref.kind == POD_CLIQUE:
        progress["podTemplateHash"] = live.annotations[TEMPLATE_HASH]
    if replaced is None:
        return {**status, "updateProgress": {**progress, "updateEndedAt": TIME}}
    return {**status, "currentPodCliqueSetGenerationHash": handed_on, "updateProgress": progress}


def _set_status(gang: Live, current: str, *, is_ended: bool) -> Document:
    """The generation counts as seen once all that it asks for is done."""
    before = gang.document.get("status") or {}
    seen = gang.generation if is_ended else before.get("observedGeneration")
    status: Document = {
        **({"observedGeneration": seen} if seen is not None else {}),
        "replicas": 1,
        "updatedReplicas": int(is_ended),
        "availableReplicas": 1,
        "currentGenerationHash": current,
    }
    if before.get("currentGenerationHash") in (None, current) and is_ended and "updateProgress" not in before:
        return status
    ended = {"updateEndedAt": TIME} if is_ended else {}
    return {**status, "updateProgress": {"updateStartedAt": TIME, **ended}}


def _pods(template: Mapping[str, Any]) -> object:
    return [template.get("labels"), template.get("annotations"), template["spec"]["podSpec"]]


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]
