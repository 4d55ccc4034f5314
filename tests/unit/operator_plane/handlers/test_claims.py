"""Namespaces that another operator claims are left alone, and taken back when its lease falls silent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from dynamo_operator.handlers.claims import CLAIM_NAME, Claims
from dynamo_operator.handlers.store import Change
from dynamo_operator.kube import Packed, Ref
from dynamo_operator.kube.objects import GRAPH, LEASE
from tests.unit.operator_plane.handlers.objects import packed


@dataclass
class Released:
    names: list[str] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, namespace: str) -> None:
        self.names.append(namespace)
        self.news.set()


def lease(version: int, holder: str = "other/1.0", seconds: int = 30, name: str = CLAIM_NAME) -> Packed:
    spec = {"holderIdentity": holder, "leaseDurationSeconds": seconds}
    return packed(name, version, kind=LEASE, namespace="shop", spec=spec)


def claims_of(released: Released) -> Claims:
    return Claims(clock=asyncio.get_running_loop().time, on_release=released)


async def test_a_claimed_namespace_is_not_admitted() -> None:
    claims = claims_of(Released())
    claims.note(Change(None, lease(1)))
    assert not claims.admits(Ref(GRAPH, "shop", "g"))
    assert claims.admits(Ref(GRAPH, "other", "g"))


async def test_other_leases_claim_nothing() -> None:
    claims = claims_of(Released())
    claims.note(Change(None, lease(1, name="dynamo-operator")))
    assert claims.admits(Ref(GRAPH, "shop", "g"))


async def test_a_released_claim_frees_at_once() -> None:
    released = Released()
    claims = claims_of(released)
    claims.note(Change(None, lease(1)))
    claims.note(Change(lease(1), lease(2, holder="", seconds=1)))
    assert released.names == ["shop"]
    assert claims.admits(Ref(GRAPH, "shop", "g"))


async def test_a_deleted_claim_frees_at_once() -> None:
    released = Released()
    claims = claims_of(released)
    claims.note(Change(None, lease(1)))
    claims.note(Change(lease(1), None))
    assert released.names == ["shop"]


async def test_a_silent_claim_runs_out_by_itself() -> None:
    released = Released()
    claims = claims_of(released)
    claims.note(Change(None, lease(1, seconds=1)))
    assert not claims.admits(Ref(GRAPH, "shop", "g"))
    await asyncio.wait_for(released.news.wait(), 5)
    assert claims.admits(Ref(GRAPH, "shop", "g"))
    assert released.names == ["shop"]


async def test_a_renewed_claim_lasts() -> None:
    released = Released()
    now_s = [0.0]
    claims = Claims(clock=lambda: now_s[0], on_release=released)
    claims.note(Change(None, lease(1)))
    now_s[0] = 29
    claims.note(Change(lease(1), lease(2)))
    now_s[0] = 58
    assert claims.is_claimed("shop")
    assert released.names == []
