from __future__ import annotations

import random

import pytest

from dynamo.router.config import CostWeights
from dynamo.router.cost import Candidate, Prompt, costs, displaced
from dynamo.router.select import cheapest, next_in_turn, two_choices

UPSTREAM = CostWeights(duplicate=0.0, eviction=0.0)
TEN_BLOCKS = Prompt(tokens=160, blocks=10, block_size=16)


def totals(candidates: list[Candidate], prompt: Prompt, weights: CostWeights) -> list[float]:
    return [cost.total for cost in costs(candidates, prompt, weights)]


def test_base_equals_upstreams_worked_example() -> None:
    busy = Candidate(0, prefill_tokens=320, decode_blocks=30, shared_blocks=8, device_overlap=8)
    assert totals([busy, Candidate(1)], TEN_BLOCKS, UPSTREAM) == [54.0, 20.0]


@pytest.mark.parametrize(
    ("weights", "candidate", "expected"),
    [
        pytest.param(CostWeights(overlap_credit=0.5), Candidate(0, device_overlap=8), 6 + 10, id="credit"),
        pytest.param(CostWeights(prefill_load_scale=2.0), Candidate(0, device_overlap=8), 4 + 10, id="scale"),
        pytest.param(CostWeights(), Candidate(0, host_overlap=4), 7 + 10, id="host-blocks-at-three-quarters"),
        pytest.param(CostWeights(), Candidate(0, disk_overlap=4), 9 + 10, id="disk-blocks-at-a-quarter"),
        pytest.param(CostWeights(active_request=3.0), Candidate(0, requests=2), 10 + 10 + 6, id="active-requests"),
        pytest.param(CostWeights(), Candidate(0, device_overlap=10, host_overlap=9), 0 + 10, id="never-below-zero"),
    ],
)
def test_weight_scales_its_term(weights: CostWeights, candidate: Candidate, expected: float) -> None:
    assert totals([candidate], TEN_BLOCKS, weights) == [expected]


def test_credit_decays_with_prefill_load_above_the_least_loaded() -> None:
    weights = CostWeights(overlap_credit_decay=1.0, duplicate=0.0)
    loaded = Candidate(0, prefill_tokens=160, device_overlap=10)
    idle = Candidate(1, device_overlap=10)
    assert totals([loaded, idle], TEN_BLOCKS, weights) == [20 - 5 + 10, 10 - 10 + 10]


def test_copy_costs_more_than_moderate_load_at_the_holder() -> None:
    holder = Candidate(0, requests=3, decode_blocks=60, device_overlap=10)
    idle = Candidate(1)
    assert totals([holder, idle], TEN_BLOCKS, UPSTREAM) == [70.0, 20.0]
    assert totals([holder, idle], TEN_BLOCKS, CostWeights()) == [70.0, 20.0 + 8 * 10]


def test_saturated_holder_makes_copies_free() -> None:
    holder = Candidate(0, requests=3, decode_blocks=60, device_overlap=10, is_saturated=True)
    assert totals([holder, Candidate(1)], TEN_BLOCKS, CostWeights()) == [70.0, 20.0]


@pytest.mark.parametrize(
    ("users", "duplicate"),
    [
        pytest.param(0, 80.0, id="nobody-else-uses-it"),
        pytest.param(10, 80.0, id="half-a-fair-share"),
        pytest.param(15, 30.0, id="between"),
        pytest.param(20, -20.0, id="a-fair-share"),
        pytest.param(40, -20.0, id="all-the-load"),
    ],
)
def test_copies_get_cheaper_as_the_prefix_becomes_the_load(users: int, duplicate: float) -> None:
    holder = Candidate(0, requests=40, device_overlap=10, prefix_users=users)
    assert costs([holder, Candidate(1)], TEN_BLOCKS, CostWeights())[1].duplicate == duplicate


def test_prefix_still_being_computed_waits_for_a_crowd() -> None:
    holder = Candidate(0, requests=16, device_overlap=10, prefix_users=16, prefix_is_computed=False)
    assert costs([holder, Candidate(1)], TEN_BLOCKS, CostWeights())[1].duplicate == 80.0


def test_waived_copy_still_costs_what_is_new_in_the_prompt() -> None:
    holder = Candidate(0, requests=40, device_overlap=8, prefix_users=40)
    assert totals([holder, Candidate(1)], TEN_BLOCKS, CostWeights())[1] == 2 + 2


def test_without_credit_there_are_no_copies_to_price() -> None:
    holder = Candidate(0, decode_blocks=60, device_overlap=10)
    assert costs([holder, Candidate(1)], TEN_BLOCKS, CostWeights(overlap_credit=0.0))[1].duplicate == 0


@pytest.mark.parametrize(
    ("candidate", "expected"),
    [
        pytest.param(Candidate(0, total_blocks=100, held_blocks=90), 0.0, id="fits"),
        pytest.param(Candidate(0, total_blocks=100, held_blocks=94), 1.0, id="four-unproven-go"),
        pytest.param(Candidate(0, total_blocks=100, held_blocks=100, proven_blocks=96), 6 + 1.0, id="six-proven-go"),
        pytest.param(Candidate(0, total_blocks=100, held_blocks=100, proven_blocks=100), 10.0, id="all-proven"),
        pytest.param(
            Candidate(0, total_blocks=100, held_blocks=100, proven_blocks=100, device_overlap=10), 0.0, id="all-cached"
        ),
        pytest.param(Candidate(0, held_blocks=100), 0.0, id="capacity-unknown"),
    ],
)
def test_new_blocks_displace(candidate: Candidate, expected: float) -> None:
    assert displaced(candidate, TEN_BLOCKS) == expected


def test_ties_are_drawn_evenly() -> None:
    rng = random.Random(7)
    drawn = [cheapest([1.0, 2.0, 1.0], 0.0, rng) for _ in range(1000)]
    assert 400 < drawn.count(0) < 600
    assert drawn.count(1) == 0


def test_temperature_spreads_by_relative_cost() -> None:
    rng = random.Random(7)
    cold = [cheapest([10.0, 20.0, 30.0], 0.1, rng) for _ in range(1000)]
    hot = [cheapest([10.0, 20.0, 30.0], 10.0, rng) for _ in range(1000)]
    assert cold.count(0) > 980
    assert min(hot.count(position) for position in range(3)) > 250


def test_two_choices_never_takes_the_most_loaded_of_three() -> None:
    rng = random.Random(7)
    drawn = {two_choices([1, 9, 2], rng) for _ in range(200)}
    assert drawn == {0, 2}


@pytest.mark.parametrize(
    ("last", "expected"),
    [(None, 1), ((1, 0), 2), ((2, 0), 0), ((9, 9), 1)],
    ids=["start", "next", "last-turn", "gone-worker"],
)
def test_turns_follow_ids(last: tuple[int, int] | None, expected: int) -> None:
    assert next_in_turn([(3, 0), (1, 0), (2, 0)], last) == expected
