"""Image-pull secrets: found by host, listed rarely, broken ones harmless."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

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
