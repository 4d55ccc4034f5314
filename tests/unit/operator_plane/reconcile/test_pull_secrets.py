"""Image-pull secrets: found by host, listed rarely, broken ones harmless."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from dynamo_operator.kube import Kind, Live, Unreachable
from dynamo_operator.reconcile.pull_secrets import KEPT_S, PullSecrets, hosts_of
from tests.unit.operator_plane.reconcile.world import World


def a_secret(name: str, *hosts: str, **data: Any) -> dict[str, Any]:
    text = json.dumps({"auths": {host: {} for host in hosts}})
    encoded = {".dockerconfigjson": base64.b64encode(text.encode()).decode(), **data}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": encoded}


def test_secrets_are_found_by_host_and_all_serve_images_without_one() -> None:
    world = World()
    lives = [
        world.put(a_secret("b", "https://one.example/v1/")),
        world.put(a_secret("a", "one.example", "two.example")),
    ]
    assert hosts_of(lives) == {"": ("a", "b"), "one.example": ("a", "b"), "two.example": ("a",)}


@pytest.mark.parametrize("broken", ["%%%", "bm90IGpzb24=", "W10=", ""])
def test_secret_that_cannot_be_read_serves_no_host(broken: str) -> None:
    live = World().put(a_secret("a", **{".dockerconfigjson": broken}))
    assert hosts_of([live]) == {"": ("a",)}


async def test_namespace_is_listed_at_most_once_a_minute() -> None:
    world, now = World(), 0.0
    secrets = PullSecrets(world, lambda: now)
    await secrets.of("ns")
    world.put(a_secret("a", "one.example"))
    assert await secrets.of("ns") == {}
    now = KEPT_S + 1
    assert "one.example" in await secrets.of("ns")
    assert world.calls == ["find Secret"] * 2


class Slow(World):
    """Lists wait for `answer`, which sets what they give: secrets or an error."""

    def __init__(self) -> None:
        super().__init__()
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def find(
        self, kind: Kind, namespace: str = "", *, labels: Mapping[str, str] | None = None, fields: str = ""
    ) -> tuple[Live, ...]:
        found = await super().find(kind, namespace, labels=labels, fields=fields)
        await asyncio.shield(self.answer)
        return found


async def test_those_who_ask_at_once_share_a_list_and_one_who_gives_up_leaves_it_to_the_others() -> None:
    world = Slow()
    world.put(a_secret("a", "one.example"))
    secrets = PullSecrets(world, lambda: 0.0)
    first, *others = (asyncio.create_task(secrets.of("ns")) for _ in range(3))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    world.answer.set_result(None)
    assert [sorted(hosts) for hosts in await asyncio.gather(*others)] == [["", "one.example"]] * 2
    assert first.cancelled()
    assert world.calls == ["find Secret"]


async def test_a_list_that_failed_is_made_again_by_the_next_who_asks() -> None:
    world = Slow()
    secrets = PullSecrets(world, lambda: 0.0)
    asking = [asyncio.create_task(secrets.of("ns")) for _ in range(2)]
    await asyncio.sleep(0)
    world.answer.set_exception(Unreachable("away"))
    assert [type(error) for error in await asyncio.gather(*asking, return_exceptions=True)] == [Unreachable] * 2

    world.answer = asyncio.get_running_loop().create_future()
    world.answer.set_result(None)
    assert await secrets.of("ns") == {}
    assert world.calls == ["find Secret"] * 2
