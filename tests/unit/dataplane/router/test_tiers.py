from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dynamo.router.tiers import TieredIndex
from dynamo.wire.router_events import Tier

CHAIN = list(range(10, 20))
HELD = st.sets(st.sampled_from(CHAIN))


def _run(held: set[int], start: int) -> int:
    return next((count for count, name in enumerate(CHAIN[start:]) if name not in held), len(CHAIN) - start)


@given(st.lists(st.tuples(HELD, HELD, HELD), min_size=1, max_size=5))
def test_each_tier_continues_where_the_one_before_stops(slots: list[tuple[set[int], set[int], set[int]]]) -> None:
    index = TieredIndex()
    for slot, tiers in enumerate(slots):
        for tier, held in zip((Tier.DEVICE, Tier.HOST, Tier.DISK), tiers, strict=True):
            index.store(slot, sorted(held), tier)
    index.check()
    found = index.match(CHAIN, {})
    for slot, (device, host, disk) in enumerate(slots):
        on_device = _run(device, 0)
        on_host = _run(host, on_device)
        assert found.device.get(slot, 0) == on_device
        assert found.host.get(slot, 0) == on_host
        assert found.disk.get(slot, 0) == _run(disk, on_device + on_host)


def test_prediction_counts_where_it_reaches_further() -> None:
    index = TieredIndex()
    index.store(0, CHAIN[:4], Tier.DEVICE)
    index.store(1, CHAIN[:4], Tier.DEVICE)
    assert index.match(CHAIN, {0: 2, 1: 6, 2: 1}).device == {0: 4, 1: 6, 2: 1}


def test_external_blocks_belong_to_no_worker() -> None:
    index = TieredIndex()
    index.store(0, CHAIN, Tier.EXTERNAL)
    index.remove(0, CHAIN, Tier.EXTERNAL)
    assert index.match(CHAIN, {}).device == {}
