"""One leader at a time, on clocks that a test turns."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from dynamo_operator.handlers.election import Election, Timing
from dynamo_operator.kube import Conflict, Deposed, Ref, Unreachable
from dynamo_operator.kube.objects import LEASE
from tests.fakes.kube import FakeKube, Fault

LEASE_REF = Ref(LEASE, "dynamo-system", "dynamo-operator")
TIMING = Timing(duration_s=14, interval_s=4, retry_s=1, margin_s=3)


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


def candidate(kube: FakeKube, name: str, clock: Clock) -> Election:
    return Election(
        kube, LEASE_REF, name, clock=clock, now=lambda: datetime.fromtimestamp(clock.now_s, UTC), timing=TIMING
    )


def holder(kube: FakeKube) -> str:
    lease = kube.store.get(LEASE_REF)
    assert lease is not None
    return str(lease.document["spec"]["holderIdentity"])


async def test_the_first_to_come_leads() -> None:
    kube, clock = FakeKube(), Clock()
    first, second = candidate(kube, "first", clock), candidate(kube, "second", clock)
    await first.round()
    await second.round()
    assert (first.is_leading, second.is_leading) == (True, False)
    assert holder(kube) == "first"


async def test_a_standby_takes_over_when_the_lease_stood_still_for_its_duration() -> None:
    kube, clock = FakeKube(), Clock()
    first, second = candidate(kube, "first", clock), candidate(kube, "second", clock)
    await first.round()
    await second.round()
    clock.now_s += TIMING.duration_s - 0.1
    await second.round()
    assert not second.is_leading
    clock.now_s += 0.1
    await second.round()
    assert second.is_leading
    assert holder(kube) == "second"


async def test_a_renewed_lease_is_not_taken() -> None:
    kube, clock = FakeKube(), Clock()
    first, second = candidate(kube, "first", clock), candidate(kube, "second", clock)
    await first.round()
    for _ in range(20):
        clock.now_s += TIMING.interval_s
        await first.round()
        await second.round()
    assert (first.is_leading, second.is_leading) == (True, False)


async def test_the_fence_falls_before_the_lease_ends() -> None:
    kube, clock = FakeKube(), Clock()
    first = candidate(kube, "first", clock)
    await first.round()
    clock.now_s += TIMING.duration_s - TIMING.margin_s - 0.1
    first.fence()
    clock.now_s += 0.1
    with pytest.raises(Deposed, match="first does not hold"):
        first.fence()


async def test_two_never_may_write_at_once() -> None:
    """Whoever is frozen when, whichever rounds are lost: at no moment do two fences stand."""
    kube, clock = FakeKube(), Clock()
    both = [candidate(kube, "first", clock), candidate(kube, "second", clock)]
    pattern = [0, 1, 0, 1, 1, 1, 1, 0, 0, 1, 1, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 1]
    leaders = set()
    for turn in pattern * 3:
        for _ in range(8):
            clock.now_s += 0.5
            assert not (both[0].is_leading and both[1].is_leading)
        await both[turn].round()
        leaders |= {election for election in both if election.is_leading}
    assert leaders == set(both), "both led at some time"


async def test_a_frozen_leader_wakes_deposed_and_steps_back() -> None:
    kube, clock = FakeKube(), Clock()
    first, second = candidate(kube, "first", clock), candidate(kube, "second", clock)
    await first.round()
    await second.round()
    clock.now_s += 30
    await second.round()
    with pytest.raises(Deposed):
        first.fence()
    await first.round()
    await first.round()
    assert (first.is_leading, second.is_leading) == (False, True)
    assert holder(kube) == "second"


async def test_a_leader_that_cannot_renew_steps_back_in_time() -> None:
    kube, clock = FakeKube(), Clock()
    first = candidate(kube, "first", clock)
    await first.round()
    kube.faults = [Fault(Unreachable("down")), Fault(Unreachable("down"))]
    clock.now_s += 5
    assert not await first.round()
    assert first.is_leading
    clock.now_s += TIMING.duration_s
    assert not await first.round()
    assert not first.is_leading


async def test_somebody_elses_edit_of_the_lease_does_not_cost_it() -> None:
    kube, clock = FakeKube(), Clock()
    first = candidate(kube, "first", clock)
    await first.round()
    lease = kube.store.get(LEASE_REF)
    assert lease is not None
    document = dict(lease.document)
    document["metadata"] = {**document["metadata"], "annotations": {"seen": "yes"}}
    kube.place(document)
    assert not await first.round()
    await first.round()
    assert first.is_leading


async def test_a_lost_race_is_no_leadership() -> None:
    kube, clock = FakeKube(), Clock()
    first = candidate(kube, "first", clock)
    kube.faults = [Fault(Conflict("exists"))]
    assert not await first.round()
    assert not first.is_leading


async def test_a_renewal_whose_answer_was_lost_is_found_again() -> None:
    kube, clock = FakeKube(), Clock()
    first = candidate(kube, "first", clock)
    await first.round()
    kube.faults = [Fault(Unreachable("broken pipe"), "after")]
    clock.now_s += 4
    await first.round()
    await first.round()
    await first.round()
    assert first.is_leading
    assert holder(kube) == "first"


async def test_a_released_lease_is_free_at_once() -> None:
    kube, clock = FakeKube(), Clock()
    first, second = candidate(kube, "first", clock), candidate(kube, "second", clock)
    await first.round()
    await second.round()
    await first.release()
    with pytest.raises(Deposed):
        first.fence()
    await second.round()
    assert second.is_leading


async def test_a_deposed_process_releases_nothing() -> None:
    kube, clock = FakeKube(), Clock()
    first, second = candidate(kube, "first", clock), candidate(kube, "second", clock)
    await first.round()
    await second.round()
    clock.now_s += 30
    await second.round()
    await first.release()
    assert holder(kube) == "second"
