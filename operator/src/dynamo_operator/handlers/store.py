"""What the watches saw last, by reference, by owner and by kind.

Duty: hold every watched object packed, never go back in time, and answer the reconcilers' `Store` port. It must not
talk to the API server. Only the loop that owns it changes it: watches and writes hand their news over.
Callers: the watches (through `feed.py`), reconcilers, metrics.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from dynamo_operator.kube import Kind, Live, Packed, Ref

UNPACKED_KEPT = 1024  # a pass reads its graph's two dozen objects several times
FORGOTTEN_KEPT = 8192  # uids of deleted objects, to know late news of them for what it is


@dataclass(frozen=True, slots=True)
class Change:
    """An object's news: `before` is None when it appeared, `after` None when it ended."""

    before: Packed | None
    after: Packed | None


class LiveStore:
    """Every read is of the moment; `Live` values may be kept, and are never changed by anybody."""

    def __init__(self) -> None:
        self._kinds: dict[Kind, dict[str, dict[str, Packed]]] = {}
        self._owned: dict[str, set[Ref]] = {}
        self._listed: dict[tuple[Kind, str], int] = {}
        self._forgotten: OrderedDict[str, None] = OrderedDict()
        self._unpacked: OrderedDict[tuple[str, int], Live] = OrderedDict()

    def get(self, ref: Ref) -> Live | None:
        packed = self._held(ref)
        return self.unpack(packed) if packed else None

    def controlled_by(self, uid: str) -> tuple[Live, ...]:
        held = (self._held(ref) for ref in sorted(self._owned.get(uid, ())))
        return tuple(self.unpack(packed) for packed in held if packed)

    def find(self, kind: Kind, namespace: str = "", *, labels: Mapping[str, str] | None = None) -> tuple[Live, ...]:
        wanted = (labels or {}).items()
        return tuple(self.unpack(packed) for packed in self.held(kind, namespace) if wanted <= packed.labels.items())

    def uncontrolled(self, kind: Kind, namespace: str, labels: Mapping[str, str]) -> tuple[Live, ...]:
        free = (packed for packed in self.held(kind, namespace) if packed.controller_uid is None)
        return tuple(self.unpack(packed) for packed in free if labels.items() <= packed.labels.items())

    def first(self, kind: Kind, namespace: str, wanted: Callable[[Live], bool]) -> Live | None:
        return next((live for packed in self.held(kind, namespace) if wanted(live := self.unpack(packed))), None)

    def unpack(self, packed: Packed) -> Live:
        """The same value as long as the object is read often."""
        key = (packed.uid, packed.version)
        live = self._unpacked.get(key) or packed.unpack()
        self._unpacked[key] = live
        self._unpacked.move_to_end(key)
        if len(self._unpacked) > UNPACKED_KEPT:
            self._unpacked.popitem(last=False)
        return live

    def held(self, kind: Kind, namespace: str = "") -> Iterator[Packed]:
        """The packed objects of a kind, ordered by namespace and name; the store must not change meanwhile."""
        spaces = self._kinds.get(kind, {})
        for space in (namespace,) if namespace else sorted(spaces):
            yield from (spaces[space][name] for name in sorted(spaces.get(space, ())))

    def count(self, kind: Kind) -> int:
        return sum(len(names) for names in self._kinds.get(kind, {}).values())

    def put(self, packed: Packed) -> Change | None:
        """Take an object as seen; None when that is no news (older than what is held, or known to be deleted)."""
        before = self._held(packed.ref)
        if packed.uid in self._forgotten or self._is_old(packed, before):
            return None
        self._drop(before)
        self._kinds.setdefault(packed.ref.kind, {}).setdefault(packed.ref.namespace, {})[packed.ref.name] = packed
        if packed.controller_uid:
            self._owned.setdefault(packed.controller_uid, set()).add(packed.ref)
        return Change(before, packed)

    def forget(self, ref: Ref, uid: str) -> Change | None:
        """The object with this uid was deleted; a successor of the same name stays."""
        self._remember_forgotten(uid)
        held = self._held(ref)
        if held is None or held.uid != uid:
            return None
        self._drop(held)
        return Change(held, None)

    def replace(self, kind: Kind, namespace: str, listed: Collection[Packed], version: int) -> list[Change]:
        """Take a complete list of a kind (of one namespace, or of all): what it lacks has ended."""
        uids = {packed.uid for packed in listed}
        gone = [held for held in self.held(kind, namespace) if held.uid not in uids and held.version <= version]
        self._listed.pop((kind, namespace), None)
        changes = [self.forget(held.ref, held.uid) for held in gone] + [self.put(packed) for packed in listed]
        self._listed[kind, namespace] = version
        return [change for change in changes if change]

    def has_listed(self, kind: Kind) -> bool:
        return any(listed == kind for listed, _ in self._listed)

    def check(self) -> None:
        """Assert that every index tells the same story."""
        held = {packed.ref: packed for kind in self._kinds for packed in self.held(kind)}
        owned = {(uid, ref) for uid, refs in self._owned.items() for ref in refs}
        assert owned == {(packed.controller_uid, ref) for ref, packed in held.items() if packed.controller_uid}
        assert not {packed.uid for packed in held.values()} & self._forgotten.keys()
        assert all(spaces and all(spaces.values()) for spaces in self._kinds.values()), "empty folders are removed"

    def _held(self, ref: Ref) -> Packed | None:
        return self._kinds.get(ref.kind, {}).get(ref.namespace, {}).get(ref.name)

    def _is_old(self, packed: Packed, before: Packed | None) -> bool:
        if before and before.uid == packed.uid:
            return packed.version <= before.version
        if before:
            return packed.version < before.version  # a predecessor of the same name
        # Absent from a list that is younger than it: deleted in between, and nobody told us.
        listed = max(self._listed.get((packed.ref.kind, space), -1) for space in ("", packed.ref.namespace))
        return packed.version <= listed

    def _drop(self, packed: Packed | None) -> None:
        if packed is None:
            return
        ref = packed.ref
        del self._kinds[ref.kind][ref.namespace][ref.name]
        if not self._kinds[ref.kind][ref.namespace]:
            del self._kinds[ref.kind][ref.namespace]
        if not self._kinds[ref.kind]:
            del self._kinds[ref.kind]
        if packed.controller_uid:
            self._owned[packed.controller_uid].discard(ref)
            if not self._owned[packed.controller_uid]:
                del self._owned[packed.controller_uid]

    def _remember_forgotten(self, uid: str) -> None:
        self._forgotten[uid] = None
        self._forgotten.move_to_end(uid)
        while len(self._forgotten) > FORGOTTEN_KEPT:
            self._forgotten.popitem(last=False)
