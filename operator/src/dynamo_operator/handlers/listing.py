"""Whole lists, taken out of the watching session before kopf sees them.

Duty: recognise the answers that list a watched kind, join their pages, hand each complete list over in one piece, and
show kopf an empty list with the position to watch from. Callers: `watching.py`, as the session's response class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import msgspec

from dynamo_operator.kube import Kind, Packed, pack
from dynamo_operator.kube.client import collection_path

Hear = Callable[[Kind, str, list[Packed], int], None]


class _ListMetadata(msgspec.Struct):
    resourceVersion: str = ""  # noqa: N815  the API's name
    position: str | None = msgspec.field(name="continue", default=None)


class _List(msgspec.Struct):
    metadata: _ListMetadata
    items: list[msgspec.Raw] | None = None


class Lists:
    """Pages arrive in order per kind; a list that begins anew throws away what was begun before."""

    def __init__(self, kinds: tuple[Kind, ...], namespace: str, hear: Hear) -> None:
        self._by_path = {collection_path(kind, namespace if kind.is_namespaced else ""): kind for kind in kinds}
        self._namespace = namespace
        self._hear = hear
        self._begun: dict[Kind, list[Packed]] = {}

    def kind_of(self, path: str, query: Mapping[str, str]) -> Kind | None:
        """The kind that an address lists, if it is one of ours and no watch."""
        return None if "watch" in query else self._by_path.get(path)

    def take(self, kind: Kind, query: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """One page; returns what kopf is shown of it."""
        page = msgspec.json.decode(body, type=_List)
        if "continue" not in query:
            self._begun[kind] = []
        begun = self._begun[kind]
        begun += [pack(msgspec.json.decode(item), kind) for item in page.items or ()]
        if not page.metadata.position:
            del self._begun[kind]
            self._hear(kind, self._namespace if kind.is_namespaced else "", begun, int(page.metadata.resourceVersion))
        return {
            "metadata": {
                "resourceVersion": page.metadata.resourceVersion,
                "continue": page.metadata.position or "",
            },
            "items": [],
        }


def response_class(lists: Lists) -> type[aiohttp.ClientResponse]:
    """The class of a session's answers; all but our lists are as always."""

    class Response(aiohttp.ClientResponse):
        async def json(self, **options: Any) -> Any:
            kind = lists.kind_of(self.url.path, self.url.query) if self.status == 200 else None
            if kind is None:
                return await super().json(**options)
            return lists.take(kind, self.url.query, await self.read())

    return Response
