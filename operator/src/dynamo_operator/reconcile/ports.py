"""What reconcilers need of the world, and what they offer to whoever runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any, Literal, Protocol

from dynamo_operator.kube import Document, Kind, Live, Ref


@dataclass(frozen=True, slots=True)
class Happening:
    """A Kubernetes Event about an object: `reason` is a CamelCase word, `message` one sentence for its owner."""

    about: Ref
    about_uid: str
    reason: str
    message: str
    is_warning: bool = False


class Kube(Protocol):
    """Reads and fenced writes. Every call has a deadline; all of them raise `KubeError`s and nothing else."""

    async def get(self, ref: Ref) -> Live | None: ...

    async def find(
        self, kind: Kind, namespace: str = "", *, labels: Mapping[str, str] | None = None, fields: str = ""
    ) -> tuple[Live, ...]:
        """All objects of a kind; all namespaces when `namespace` is empty. A kind that is not served gives Gone."""
        ...

    async def apply(self, document: Document, *, is_new: bool = False) -> Live:
        """Server-side apply of the whole intent, with its namespace set, under our one field manager.

        Conflicting fields of others are taken over. With `is_new` it only creates: whatever exists under the name gives
        Conflict. So does an object with another uid than the document's metadata names.
        """
        ...

    async def adopt(self, live: Live) -> Live:
        """Let what upstream's operator wrote into an object count as applied by us, so that applies take it away.

        An object that is gone, or was replaced, gives Conflict; so does one that changes meanwhile.
        """
        ...

    async def create(self, document: Document) -> Live:
        """Plain creation, for what is never applied again; an object that exists gives Conflict."""
        ...

    async def apply_status(self, document: Document) -> Live:
        """Set the whole status of exactly the object that metadata.name, namespace and uid name; else Gone."""
        ...

    async def patch(self, ref: Ref, operations: list[dict[str, Any]], *, subresource: str = "") -> Live:
        """JSON Patch (RFC 6902), for the few writes into objects that users own."""
        ...

    async def delete(
        self, ref: Ref, *, uid: str, propagation: Literal["Background", "Foreground", "Orphan"] = "Background"
    ) -> None:
        """Delete exactly the object with this uid; one that is gone or replaced is left alone without an error."""
        ...

    async def record(self, happening: Happening) -> None:
        """Write an Event; repeated ones are counted up, not written anew; failures are logged and forgotten."""
        ...


class Store(Protocol):
    """What the watches saw last. Reading costs no API call."""

    def get(self, ref: Ref) -> Live | None: ...

    def controlled_by(self, uid: str) -> tuple[Live, ...]:
        """Objects whose controlling owner has this uid, terminating ones included, ordered by reference."""
        ...

    def find(self, kind: Kind, namespace: str = "", *, labels: Mapping[str, str] | None = None) -> tuple[Live, ...]: ...

    def uncontrolled(self, kind: Kind, namespace: str, labels: Mapping[str, str]) -> tuple[Live, ...]:
        """Objects with these labels that no owner controls, ordered by name."""
        ...

    def first(self, kind: Kind, namespace: str, wanted: Callable[[Live], bool]) -> Live | None:
        """The first object by name that is wanted; those behind it are not looked at."""
        ...


@dataclass(frozen=True, slots=True)
class Clocks:
    """What time it is, and how much of it there is.

    monotonic: seconds. slack_s: how much longer than usual what nobody waits for may take, since many roots start.
    """

    wall: Callable[[], datetime]
    monotonic: Callable[[], float]
    slack_s: Callable[[], float]


class Priority(IntEnum):
    """What the next pass of a root is for; where many wait, the lower number goes first."""

    CHANGES = 0
    PODS = 1  # the rest of a new graph, which starts its pods
    STATUS = 2  # to tell that its pods are ready


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one pass came to. `again_after_s`: come back by then, because something is awaited that sends no event."""

    again_after_s: float | None = None
    priority: Priority = Priority.CHANGES


class Controller(Protocol):
    """One kind of root and how it is reconciled."""

    @property
    def root_kind(self) -> Kind: ...

    @property
    def watched_kinds(self) -> tuple[Kind, ...]:
        """Root kind included. Kinds that the cluster does not serve are skipped by the runner."""
        ...

    def roots_of(self, live: Live, store: Store) -> tuple[Ref, ...]:
        """The roots that an object's appearance, change or end concerns; the object itself when it is a root."""
        ...

    async def reconcile(self, root: Ref) -> Outcome:
        """One pass, whether the root still exists or not; raises KubeErrors for the runner to try again."""
        ...
