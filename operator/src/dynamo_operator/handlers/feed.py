"""From what the watches see to what is dirty.

Duty: carry news from the watching thread into the operator's loop, keep the store, and mark the roots that each change
concerns. Nothing is marked before every served kind has been listed: a pass on half a picture would delete what it
cannot see. Callers: the watches, and the client with what its own writes answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator

from dynamo_operator.handlers.queue import Queue, Work
from dynamo_operator.handlers.store import Change, LiveStore
from dynamo_operator.kube import Kind, Packed, Ref
from dynamo_operator.reconcile import Controller

log = logging.getLogger(__name__)


class Feed:
    """`expected` are the kinds that must have been listed before anything is reconciled."""

    def __init__(
        self,
        store: LiveStore,
        queue: Queue,
        controllers: Iterable[Controller],
        *,
        expected: Iterable[Kind],
        on_change: Callable[[Change], None] = lambda _: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._store = store
        self._queue = queue
        self._controllers = tuple(controllers)
        self._root_kinds = frozenset(controller.root_kind for controller in self._controllers)
        self._expected = frozenset(expected)
        self._on_change = on_change
        self._unlisted = set(self._expected)
        self.synced = asyncio.Event()

    @property
    def unlisted(self) -> frozenset[Kind]:
        """The expected kinds of which the watches, since they last began, have brought no list."""
        return frozenset(self._unlisted)

    def begin_anew(self) -> None:
        """The watches end and begin again, each kind with a list."""
        self._hand_over(self._unlisted.update, self._expected)

    def listed(self, kind: Kind, namespace: str, objects: list[Packed], version: int) -> None:
        self._hand_over(self._take_list, kind, namespace, objects, version)

    def seen(self, packed: Packed) -> None:
        self._hand_over(self.take, packed)

    def ended(self, ref: Ref, uid: str) -> None:
        self._hand_over(self._take_end, ref, uid)

    def take(self, packed: Packed) -> None:
        """An object as it is now; for callers in the operator's own loop.

        What nobody watches is not kept: nothing would tell of its changes and its end, and it may be a Secret.
        """
        if packed.ref.kind in self._expected:
            self._note(self._store.put(packed))

    def all_work(self) -> Iterator[Work]:
        """Every root there is, and those that objects without an owner concern, for a process that begins to lead.

        Objects that a whole namespace shares are left behind when their last root ends while nobody leads.
        """
        works: dict[Work, None] = {}
        for controller in self._controllers:
            works.update((Work(controller, packed.ref), None) for packed in self._store.held(controller.root_kind))
        for kind in sorted(self._expected):
            for packed in tuple(self._store.held(kind)):
                if packed.labels and packed.controller_uid is None:
                    works.update((work, None) for work in self._concerned(Change(None, packed)))
        yield from works

    def work_in(self, namespace: str) -> Iterator[Work]:
        return (work for work in self.all_work() if work.root.namespace == namespace)

    def _hand_over(self, take: Callable[..., None], *news: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(take, *news)

    def _take_list(self, kind: Kind, namespace: str, objects: list[Packed], version: int) -> None:
        changes = self._store.replace(kind, namespace, objects, version)
        log.info("listed kind=%s objects=%d changes=%d", kind.name, len(objects), len(changes))
        for change in changes:
            self._note(change)
        self._unlisted.discard(kind)
        if not self.synced.is_set() and all(self._store.has_listed(kind) for kind in self._expected):
            self.synced.set()

    def _take_end(self, ref: Ref, uid: str) -> None:
        self._note(self._store.forget(ref, uid))

    def _note(self, change: Change | None) -> None:
        if change is None:
            return
        self._on_change(change)
        if self.synced.is_set() and not self._queue.is_paused:
            for work in self._concerned(change):
                self._queue.mark(work, is_edit=self._is_edit(change))

    def _is_edit(self, change: Change) -> bool:
        """Somebody changed what a root asks for; its own status does not count."""
        before, after = change.before, change.after
        if before is None or after is None or after.ref.kind not in self._root_kinds:
            return False
        return before.generation != after.generation

    def _concerned(self, change: Change) -> list[Work]:
        """The roots before and after: a change may be that an object left one for another."""
        sides = [packed for packed in (change.before, change.after) if packed]
        kind = sides[0].ref.kind
        watching = [controller for controller in self._controllers if kind in controller.watched_kinds]
        lives = [self._store.unpack(packed) for packed in sides] if watching else []
        works: dict[Work, None] = {}
        for controller in watching:
            for live in lives:
                try:
                    roots = controller.roots_of(live, self._store)
                except Exception as error:  # one object that a controller stumbles over must not blind the others
                    log.error("roots_crashed object=%s error=%r", live.ref, f"{type(error).__name__}: {error}"[:300])
                    continue
                works.update((Work(controller, root), None) for root in roots)
        return list(works)
