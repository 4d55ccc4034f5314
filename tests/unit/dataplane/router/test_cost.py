from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo.router.config import CostWeights
from dynamo.router.cost import Copies, Prompt, costs, displaced
from dynamo.router.fleet import Member
from dynamo.router.select import cheapest, next_in_turn, two_choices
from tests.unit.dataplane.router.naive_cost import Candidate, columns, naive_displaced, naive_total
from tests.unit.dataplane.router.simulation import a_card

UPSTREAM = CostWeights(duplicate=0.0, eviction=0.0)
TEN_BLOCKS = Prompt(tokens=160, blocks=10, block_size=16)


def totals(
    candidates: list[Candidate], prompt: Prompt, weights: CostWeights, copies: Copies | None = None
) -> list[float]:
    found: list[float] = costs(columns(candidates), prompt, weights, copies or Copies()).total.tolist()
    return found


blocks = st.integers(0, 12)


@st.composite
def any_candidate(draw: st.DrawFn) -> Candidate:
    device = draw(blocks)
    held = draw(st.integers(device, 40))
    return Candidate(
        requests=draw(blocks),
        prefill_tokens=draw(st.integers(0, 500)),
        decode_blocks=draw(blocks),
        shared_blocks=draw(st.integers(0, device)),
        device_overlap=device,
        host_overlap=draw(blocks),
        disk_overlap=draw(blocks),
        total_blocks=draw(st.integers(held, 50)),
        held_blocks=held,
        proven_blocks=draw(st.integers(0, held)),
    )


weight = st.sampled_from([0.0, 0.5, 1.0, 3.0])


@given(
    st.lists(any_candidate(), min_size=1, max_size=8),
    st.builds(Prompt, tokens=st.integers(1, 300), blocks=st.integers(0, 18), block_size=st.just(16)),
    st.builds(CostWeights, weight, weight, weight, weight, weight, weight, weight, weight),
    st.builds(Copies, st.sampled_from([-2.0, 0.0, 8.0]), blocks),
)
def test_columns_cost_what_candidates_cost_one_by_one(
    candidates: list[Candidate], prompt: Prompt, weights: CostWeights, copies: Copies
) -> None:
    least = min(candidate.prefill_tokens for candidate in candidates)
    naive = [naive_total(candidate, prompt, weights, copies, least) for candidate in candidates]
    assert totals(candidates, prompt, weights, copies) == pytest.approx(naive, rel=1e-12, abs=1e-9)
    pushed_out = displaced(columns(candidates), prompt).tolist()
    assert pushed_out == [naive_displaced(candidate, prompt) for candidate in candidates]


def test_base_equals_upstreams_worked_example() -> None:
    busy = Candidate(prefill_tokens=320, decode_blocks=30, shared_blocks=8, device_overlap=8)
    assert totals([busy, Candidate()], TEN_BLOCKS, UPSTREAM) == [54.0, 20.0]


@pytest.mark.parametrize(
    ("weights", "candidate", "expected"),
    [
        pytest.param(CostWeights(overlap_credit=0.5), Candidate(device_overlap=8), 6 + 10, id="credit"),
        pytest.param(CostWeights(prefill_load_scale=2.0), Candidate(device_overlap=8), 4 + 10, id="scale"),
        pytest.param(CostWeights(), Candidate(host_overlap=4), 7 + 10, id="host-blocks-at-three-quarters"),
        pytest.param(CostWeights(), Candidate(disk_overlap=4), 9 + 10, id="disk-blocks-at-a-quarter"),
        pytest.param(CostWeights(active_request=3.0), Candidate(requests=2), 10 + 10 + 6, id="active-requests"),
        pytest.param(CostWeights(), Candidate(device_overlap=10, host_overlap=9), 0 + 10, id="never-below-zero"),
    ],
)
def test_weight_scales_its_term(weights: CostWeights, candidate: Candidate, expected: float) -> None:
    assert totals([candidate], TEN_BLOCKS, weights) == [expected]


def test_credit_decays_with_prefill_load_above_the_least_loaded() -> None:
    weights = CostWeights(overlap_credit_decay=1.0, duplicate=0.0)
    loaded = Candidate(prefill_tokens=160, device_overlap=10)
    idle = Candidate(device_overlap=10)
    assert totals([loaded, idle], TEN_BLOCKS, weights) == [20 - 5 + 10, 10 - 10 + 10]


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        pytest.param(0.0, [70.0, 20.0], id="copies-are-free"),
        pytest.param(8.0, [70.0, 20.0 + 8 * 10], id="copies-cost-more-than-moderate-load"),
        pytest.param(-2.0, [70.0, 0.0], id="copies-are-wanted"),
    ],
)
def test_copied_blocks_have_their_price(price: float, expected: list[float]) -> None:
    holder = Candidate(requests=3, decode_blocks=60, device_overlap=10)
    assert totals([holder, Candidate()], TEN_BLOCKS, CostWeights(), Copies(price, 10)) == expected


@pytest.mark.parametrize(
    ("candidate", "expected"),
    [
        pytest.param(Candidate(total_blocks=100, held_blocks=90), 0.0, id="fits"),
        pytest.param(Candidate(total_blocks=100, held_blocks=94), 1.0, id="four-unproven-go"),
        pytest.param(Candidate(total_blocks=100, held_blocks=100, proven_blocks=96), 6 + 1.0, id="six-proven-go"),
        pytest.param(Candidate(total_blocks=100, held_blocks=100, proven_blocks=100), 10.0, id="all-proven"),
        pytest.param(
            Candidate(total_blocks=100, held_blocks=100, proven_blocks=100, device_overlap=10), 0.0, id="all-cached"
        ),
        pytest.param(Candidate(held_blocks=100), 0.0, id="capacity-unknown"),
    ],
)
def test_new_blocks_displace(candidate: Candidate, expected: float) -> None:
    assert displaced(columns([candidate]), TEN_BLOCKS).tolist() == [expected]


def test_ties_are_drawn_evenly() -> None:
    rng = random.Random(7)
    drawn = [cheapest(np.array([1.0, 2.0, 1.0]), 0.0, rng) for _ in range(1000)]
    assert 400 < drawn.count(0) < 600
    assert drawn.count(1) == 0


def test_temperature_spreads_by_relative_cost() -> None:
    rng = random.Random(7)
    cold = [cheapest(np.array([10.0, 20.0, 30.0]), 0.1, rng) for _ in range(1000)]
    hot = [cheapest(np.array([10.0, 20.0, 30.0]), 10.0, rng) for _ in range(1000)]
    assert cold.count(0) > 980
    assert min(hot.count(position) for position in range(3)) > 250


def test_two_choices_never_takes_the_most_loaded_of_three() -> None:
    rng = random.Random(7)
    drawn = {two_choices(np.array([1, 9, 2]), rng) for _ in range(200)}
    assert drawn == {0, 2}


@pytest.mark.parametrize(
    ("last", "expected"),
    [(None, 0), ((1, 0), 1), ((2, 0), 2), ((3, 0), 0), ((9, 9), 0)],
    ids=["start", "next", "gone-worker", "round", "gone-last-worker"],
)
def test_turns_follow_ids(last: tuple[int, int] | None, expected: int) -> None:
    members = [Member(0, 0, a_card(worker_id - 1, 10)) for worker_id in (1, 3)]
    members.insert(1, Member(0, 1, a_card(0, 10)))
    assert next_in_turn(members, last) == expected
