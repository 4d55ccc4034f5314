"""Certificates are looked at once an hour by every replica, without anybody asking, and not more often."""

from __future__ import annotations

import asyncio
import datetime
import itertools

import pytest

from dynamo_operator.kube import Live, Ref
from dynamo_operator.kube.objects import SECRET
from dynamo_operator.webhook import WebhookSettings
from dynamo_operator.webhook.certificates import Pair
from dynamo_operator.webhook.custody import SecretCustody, custody_of
from dynamo_operator.webhook.upkeep import Upkeep
from tests.unit.operator_plane.handlers.virtual import in_virtual_time
from tests.unit.operator_plane.webhook.factories import MemoryKube

SETTINGS = WebhookSettings("default", crd_names=())
HOUR_S = SETTINGS.check_interval_s
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


class Counting(MemoryKube):
    """When its Secret was read."""

    def __init__(self) -> None:
        super().__init__()
        self.read_at_s: list[float] = []

    async def get(self, ref: Ref) -> Live | None:
        if ref.kind == SECRET:
            self.read_at_s.append(asyncio.get_running_loop().time())
        return await super().get(ref)


def a_replica(kube: Counting) -> tuple[Upkeep, list[Pair]]:
    """Its upkeep, and what it has served, in order."""
    served: list[Pair] = []
    return Upkeep(custody_of(SETTINGS, kube, lambda: NOW), kube, SETTINGS, served.append), served


@pytest.mark.parametrize("is_deleted", [False, True], ids=["rotated", "deleted"])
def test_a_secret_that_changes_reaches_every_replica_within_the_hour(*, is_deleted: bool) -> None:
    async def main() -> list[list[Pair]]:
        kube = Counting()
        replicas = [a_replica(kube) for _ in range(2)]
        tasks = [asyncio.create_task(upkeep.run()) for upkeep, _ in replicas]
        await asyncio.sleep(60)
        if is_deleted:
            del kube.objects[SETTINGS.secret_name]
        else:
            other = Counting()
            ref = Ref(SECRET, SETTINGS.namespace, SETTINGS.secret_name)
            await SecretCustody(other, ref, SETTINGS.dns_names, lambda: NOW).current("")
            kube.objects[SETTINGS.secret_name] = other.objects[SETTINGS.secret_name]
        await asyncio.sleep(HOUR_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return [served for _, served in replicas]

    first, second = in_virtual_time(main)
    assert first == second, "all replicas serve the same"
    assert len(first) == 2
    assert first[0] != first[1]


def test_at_rest_the_secret_is_read_once_an_hour() -> None:
    async def main() -> list[float]:
        kube = Counting()
        upkeep, _ = a_replica(kube)
        running = asyncio.create_task(upkeep.run())
        await asyncio.sleep(24.5 * HOUR_S)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return kube.read_at_s

    read = in_virtual_time(main)
    assert len(read) == 25
    assert {later - earlier for earlier, later in itertools.pairwise(read)} == {HOUR_S}
