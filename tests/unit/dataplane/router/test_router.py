from __future__ import annotations

import random

import numpy as np
import pytest

from dynamo.router import Ask, BusyThresholds, Decision, Mode, Router, RouterConfig
from dynamo.wire.cards import WorkerCard
from dynamo.wire.errors import InvalidRequest, Overloaded, Unavailable
from dynamo.wire.router_events import Load, Tier
from tests.unit.dataplane.router.simulation import Prompt, a_card, an_ask


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def a_router(*cards: WorkerCard, clock: Clock | None = None, **settings: object) -> Router:
    config = RouterConfig(**{"mode": Mode.KV, **settings})  # type: ignore[arg-type]
    router = Router(config, rng=random.Random(1), clock=clock or Clock())
    router.set_workers(cards or [a_card(number, 1000) for number in range(3)])
    return router


def a_prompt(seed: int, blocks: int = 10) -> Prompt:
    rng = random.Random(seed)
    return Prompt(tuple(rng.getrandbits(64) for _ in range(blocks)), 16)


def hashes(prompt: Prompt, blocks: int | None = None) -> np.ndarray:
    return np.array(prompt.chain[:blocks], dtype=np.uint64)


def send(router: Router, name: str, prompt: Prompt, **changes: object) -> Decision:
    ask = an_ask(name, prompt, **changes)
    decision = router.decide(ask)
    router.begin(ask, decision)
    router.check()
    return decision


def load_of(router: Router, worker: int) -> dict[str, object]:
    workers = router.snapshot()["workers"]
    assert isinstance(workers, list)
    found: dict[str, object] = workers[worker]
    return found


def test_prompt_goes_where_its_prefix_is_and_says_why() -> None:
    router, prompt = a_router(), a_prompt(1)
    router.store(2, 0, hashes(prompt, 8))
    decision = router.decide(an_ask("r", prompt))
    assert (decision.worker_id, decision.overlap_blocks, decision.total_blocks) == (2, 8, 10)
    assert decision.reason == ("kv: prefix 8/10 blocks, prefill 2 blocks, decode 10 blocks, cost 12.0 (next: w1 84.0)")
    assert decision.scores == {"w2": 12.0, "w1": 84.0, "w3": 84.0}
    assert router.recent_decisions() == (decision,)


def test_deciding_books_nothing() -> None:
    router = a_router()
    router.decide(an_ask("r", a_prompt(1)))
    assert router.snapshot()["active_requests"] == 0


def test_requests_with_a_prefix_not_yet_cached_follow_the_first() -> None:
    router, shared = a_router(), a_prompt(1, 100)
    prompts = [Prompt((*shared.chain, *a_prompt(number + 2, 4).chain), 16) for number in range(16)]
    chosen = {send(router, f"r{number}", prompt).worker_id for number, prompt in enumerate(prompts)}
    assert len(chosen) == 1


def test_second_request_of_a_group_waits_behind_a_burst_of_first_prompts() -> None:
    router = a_router(*(a_card(number, 2600) for number in range(4)))
    first = [send(router, f"r{number}", a_prompt(number, 260)) for number in range(16)]
    for number, decision in enumerate(first):
        if decision.worker_id != first[0].worker_id:
            router.finish(f"r{number}")
    again = Prompt((*a_prompt(0, 260).chain[:256], *a_prompt(99, 4).chain), 16)
    assert router.decide(an_ask("again", again)).worker_id == first[0].worker_id


def test_deep_prefill_backlog_at_the_holder_sends_its_prefix_elsewhere() -> None:
    router, prompt = a_router(*(a_card(number, 100_000) for number in range(2))), a_prompt(1, 100)
    holder = send(router, "first", prompt).worker_id
    for number in range(10):
        send(router, f"r{number}", a_prompt(number + 2, 260), pinned_worker_id=holder)
    assert router.decide(an_ask("again", prompt)).worker_id != holder


def test_prediction_ends_when_events_never_confirm_it() -> None:
    clock = Clock()
    router, prompt = a_router(clock=clock, predicted_ttl_s=5.0), a_prompt(1)
    send(router, "r", prompt)
    router.first_token("r")
    router.finish("r")
    assert router.decide(an_ask("s", prompt)).best_overlap_blocks == 10
    clock.now_s = 5.0
    assert router.decide(an_ask("t", prompt)).best_overlap_blocks == 0


@pytest.mark.parametrize("policy", ["ttl", "lru"])
def test_without_events_what_was_routed_counts_as_cached(policy: str) -> None:
    from dynamo.router.config import CachePolicy

    router, prompt = a_router(uses_kv_events=False, cache_policy=CachePolicy(policy)), a_prompt(1)
    worker_id = send(router, "r", prompt).worker_id
    router.finish("r")
    decision = router.decide(an_ask("s", prompt))
    assert (decision.worker_id, decision.overlap_blocks) == (worker_id, 10)


def test_load_follows_a_requests_course() -> None:
    router, prompt = a_router(a_card(0, 1000)), a_prompt(1)
    router.store(1, 0, hashes(prompt, 8))
    send(router, "r", prompt)
    assert [load_of(router, 0)[key] for key in ("requests", "prefill_tokens", "decode_blocks")] == [1, 32, 10]
    router.first_token("r")
    router.tokens("r", 1)
    assert load_of(router, 0)["prefill_tokens"] == 0
    router.finish("r")
    assert [load_of(router, 0)[key] for key in ("requests", "prefill_tokens", "decode_blocks")] == [0, 0, 0]


def test_events_of_a_worker_not_yet_announced_are_kept() -> None:
    router, prompt = a_router(a_card(0, 1000)), a_prompt(1)
    router.store(2, 0, hashes(prompt))
    router.set_workers([a_card(0, 1000), a_card(1, 1000)])
    assert router.decide(an_ask("r", prompt)).worker_id == 2


def test_gone_worker_takes_its_state_along() -> None:
    router, prompt = a_router(), a_prompt(1)
    router.store(3, 0, hashes(prompt))
    send(router, "r", prompt)
    router.set_workers([a_card(0, 1000), a_card(1, 1000)])
    router.check()
    assert router.decide(an_ask("s", prompt)).best_overlap_blocks == 0
    assert router.snapshot()["active_requests"] == 0
    router.finish("r")
    router.set_workers([a_card(number, 1000) for number in range(3)])
    assert router.decide(an_ask("t", prompt)).best_overlap_blocks == 0


def test_worker_that_restarts_under_its_old_address_begins_anew() -> None:
    router, prompt = a_router(a_card(0, 1000)), a_prompt(1)
    router.store(1, 0, hashes(prompt))
    send(router, "before", prompt)
    router.inhibit(1, until_s=99.0)
    reborn = a_card(0, 1000, worker_id=77)
    router.set_workers([a_card(0, 1000), reborn])
    router.set_workers([reborn])
    router.finish("before")
    decision = send(router, "after", prompt)
    assert (decision.worker_id, decision.overlap_blocks) == (77, 0)
    assert [load_of(router, 0)[key] for key in ("requests", "held_blocks", "is_inhibited")] == [1, 10, False]


def test_state_of_a_rank_that_the_card_rules_out_is_not_kept() -> None:
    router, prompt = a_router(a_card(0, 1000, data_parallel_size=2)), a_prompt(1)
    for rank in range(1, 100):
        router.store(1, rank, hashes(prompt))
        router.replace(1, rank, {Tier.DEVICE: hashes(prompt)})
    assert len(router._slots) == 2


@pytest.mark.parametrize("uses_kv_events", [True, False], ids=["events", "no-events"])
def test_side_tables_are_as_small_as_what_the_workers_hold(uses_kv_events: bool) -> None:
    clock = Clock()
    router = a_router(uses_kv_events=uses_kv_events, ttl_s=10.0, clock=clock)
    for number in range(300):
        clock.now_s += 1.0
        prompt = a_prompt(number // 2, 20)
        send(router, "r", prompt)
        router.first_token("r")
        router.finish("r")
    proven = [load_of(router, worker)["proven_blocks"] for worker in range(3)]
    held = [load_of(router, worker)["held_blocks"] for worker in range(3)]
    assert sum(held) <= 20 * (5 + 1)  # type: ignore[arg-type]
    assert all(few <= many for few, many in zip(proven, held, strict=True))  # type: ignore[operator]
    assert len(router.recent_decisions()) == 256


@pytest.mark.parametrize("how", ["clear", "drop", "replace", "remove"])
def test_state_is_forgotten_on(how: str) -> None:
    router, prompt = a_router(predicted_ttl_s=None), a_prompt(1)
    router.store(2, 0, hashes(prompt), Tier.DEVICE)
    if how == "clear":
        router.clear(2, 0)
    elif how == "drop":
        router.drop(2)
    elif how == "replace":
        router.replace(2, 0, {Tier.DEVICE: hashes(a_prompt(2))})
    else:
        router.remove(2, 0, hashes(prompt), Tier.DEVICE)
    router.check()
    assert router.decide(an_ask("r", prompt)).best_overlap_blocks == 0


def test_inhibited_worker_is_avoided_while_there_are_others() -> None:
    clock = Clock()
    router, prompt = a_router(clock=clock), a_prompt(1)
    router.store(2, 0, hashes(prompt))
    router.inhibit(2, until_s=5.0)
    assert router.decide(an_ask("r", prompt)).worker_id != 2
    clock.now_s = 5.0
    assert router.decide(an_ask("s", prompt)).worker_id == 2
    router.set_workers([a_card(1, 1000)])
    router.inhibit(2, until_s=99.0)
    assert router.decide(an_ask("t", prompt)).worker_id == 2


def test_prompt_nobody_tokenized_goes_by_requests_in_flight() -> None:
    router = a_router()
    chosen = [send(router, f"r{n}", a_prompt(n), token_count=None, hashes=None).worker_id for n in range(6)]
    assert sorted(chosen) == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        pytest.param(Mode.ROUND_ROBIN, [1, 2, 3, 1, 2, 3], id="round-robin"),
        pytest.param(Mode.LEAST_LOADED, [1, 1, 2, 2, 3, 3], id="least-loaded"),
    ],
)
def test_mode_spreads(mode: Mode, expected: list[int]) -> None:
    router = a_router(mode=mode)
    chosen = [send(router, f"r{n}", a_prompt(n), token_count=None, hashes=None).worker_id for n in range(6)]
    assert (chosen if mode is Mode.ROUND_ROBIN else sorted(chosen)) == expected
    assert not router.needs_tokens


@pytest.mark.parametrize("mode", [Mode.RANDOM, Mode.POWER_OF_TWO])
def test_mode_by_chance_reaches_everybody(mode: Mode) -> None:
    router = a_router(mode=mode)
    assert {send(router, f"r{n}", a_prompt(n)).worker_id for n in range(60)} == {1, 2, 3}


def test_direct_mode_takes_the_named_worker_and_no_other() -> None:
    router = a_router(mode=Mode.DIRECT)
    assert router.decide(an_ask("r", a_prompt(1), pinned_worker_id=3)).worker_id == 3
    with pytest.raises(InvalidRequest, match="router mode direct: the request names no worker"):
        router.decide(an_ask("s", a_prompt(1)))


def test_ranks_are_candidates_of_their_own() -> None:
    router, prompt = a_router(a_card(0, 1000, data_parallel_size=2)), a_prompt(1)
    router.store(1, 1, hashes(prompt))
    decision = router.decide(an_ask("r", prompt))
    assert (decision.dp_rank, set(decision.scores)) == (1, {"w1/0", "w1/1"})
    assert router.decide(an_ask("s", prompt, dp_rank=0)).dp_rank == 0


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        pytest.param(
            {"pinned_worker_id": 255}, InvalidRequest, "found worker id ff, expected one of 1, 2, 3", id="pin"
        ),
        pytest.param({"dp_rank": 4}, InvalidRequest, "found dp_rank 4, expected 0 to 0", id="rank"),
        pytest.param({"lora": "poet"}, Unavailable, "no worker has adapter poet loaded", id="adapter"),
        pytest.param(
            {"allowed_worker_ids": frozenset({9})}, Unavailable, "none of the 1 allowed workers", id="allowed"
        ),
        pytest.param(
            {"excluded_worker_ids": frozenset({1, 2, 3})}, Unavailable, "every worker has failed", id="excluded"
        ),
    ],
)
def test_nobody_eligible_says_why(ask: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        a_router().decide(an_ask("r", a_prompt(1), **ask))


def test_adapter_is_served_where_it_is_loaded() -> None:
    router = a_router(a_card(0, 1000), a_card(1, 1000, loras=("poet",)))
    assert router.decide(an_ask("r", a_prompt(1), lora="poet")).worker_id == 2


def test_no_worker_is_unavailable_and_busy_ones_are_overloaded() -> None:
    router = a_router(busy=BusyThresholds(active_prefill_tokens=100))
    for number in range(3):
        send(router, f"r{number}", a_prompt(number))
    with pytest.raises(Overloaded, match="160 prompt tokens to compute, --active-prefill-tokens-threshold is 100") as e:
        router.decide(an_ask("r", a_prompt(9)))
    assert e.value.retry_after_s == 1
    router.first_token("r1")
    assert router.decide(an_ask("s", a_prompt(9))).worker_id
    router.set_workers([])
    with pytest.raises(Unavailable, match="model m: no worker is there"):
        router.decide(an_ask("t", a_prompt(9)))


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        pytest.param(
            BusyThresholds(active_decode_blocks=0.5),
            r"60 of 100 KV blocks in use \(0.60\), --active-decode-blocks-threshold is 0.5",
            id="decode-blocks",
        ),
        pytest.param(
            BusyThresholds(active_prefill_tokens_frac=0.1),
            r"960 prompt tokens to compute \(0.12 of the 8192 per step\), "
            "--active-prefill-tokens-threshold-frac is 0.1",
            id="prefill-fraction",
        ),
    ],
)
def test_threshold_names_setting_measure_and_limit(thresholds: BusyThresholds, message: str) -> None:
    router = a_router(a_card(0, 100))
    send(router, "r", a_prompt(1, 60))
    router.set_thresholds(thresholds)
    with pytest.raises(Overloaded, match=message):
        router.decide(an_ask("s", a_prompt(2)))
    router.set_thresholds(BusyThresholds())
    assert router.decide(an_ask("t", a_prompt(2))).worker_id == 1


def test_load_of_other_frontends_counts_once_it_lasts() -> None:
    clock = Clock()
    router = a_router(a_card(0, 1000), a_card(1, 1000), clock=clock)
    for _ in range(3):
        router.apply_load(Load(1, 0, active_decode_blocks=500, active_prefill_tokens=0, kv_used_blocks=500))
    assert {router.decide(an_ask(f"r{n}", a_prompt(n))).worker_id for n in range(20)} == {2}
    clock.now_s = 11.0
    assert {router.decide(an_ask(f"r{n}", a_prompt(n))).worker_id for n in range(20)} == {1, 2}


def test_own_load_in_a_report_is_not_counted_twice() -> None:
    router, prompt = a_router(a_card(0, 1000)), a_prompt(1)
    send(router, "r", prompt)
    for _ in range(3):
        router.apply_load(Load(1, 0, 10, 160, 10, running_requests=1))
    assert [load_of(router, 0)[key] for key in ("requests", "prefill_tokens", "decode_blocks")] == [1, 160, 10]


def test_start_waits_for_enough_workers_once() -> None:
    router = a_router(a_card(0, 1000), min_initial_workers=2)
    with pytest.raises(Unavailable, match="1 workers are there, --router-min-initial-workers is 2"):
        router.decide(an_ask("r", a_prompt(1)))
    router.set_workers([a_card(0, 1000), a_card(1, 1000)])
    router.set_workers([a_card(0, 1000)])
    assert router.decide(an_ask("s", a_prompt(1))).worker_id == 1


def test_block_size_follows_the_fleet() -> None:
    router = a_router(a_card(0, 10, block_size=64), a_card(1, 10, block_size=64), a_card(2, 10))
    assert router.block_size == 64
    router.set_workers([a_card(0, 10, block_size=32)])
    assert router.block_size == 32
    assert a_router(block_size=8).block_size == 8


def test_held_requests_go_on_one_by_one_as_prefills_end() -> None:
    router = a_router(a_card(0, 1000, max_num_batched_tokens=100), queue_threshold=1.0)
    send(router, "running", a_prompt(1))
    held: dict[str, Ask] = {name: an_ask(name, a_prompt(n)) for n, name in enumerate(["a", "b", "c"], start=2)}
    woken: list[str] = []
    for name, ask in held.items():
        assert "--router-queue-threshold" in (router.would_wait(ask) or "")
        router.wait(ask, lambda name=name: woken.append(name))  # type: ignore[misc]
    router.abandon("b")
    router.first_token("running")
    assert woken == ["a"]
    router.begin(held["a"], router.decide(held["a"]))
    assert woken == ["a"]
    router.finish("a")
    assert (woken, router.waiting) == (["a", "c"], 0)


def test_woken_request_that_leaves_lets_the_next_one_on() -> None:
    router = a_router(a_card(0, 1000, max_num_batched_tokens=100), queue_threshold=1.0)
    send(router, "running", a_prompt(1))
    woken: list[str] = []
    router.wait(an_ask("a", a_prompt(2)), lambda: woken.append("a"))
    router.wait(an_ask("b", a_prompt(3)), lambda: woken.append("b"))
    router.finish("running")
    router.abandon("a")
    assert woken == ["a", "b"]


def test_newcomer_does_not_overtake_those_who_wait() -> None:
    router = a_router(a_card(0, 1000, max_num_batched_tokens=100), queue_threshold=1.0)
    send(router, "running", a_prompt(1))
    router.wait(an_ask("a", a_prompt(2)), lambda: None)
    router.wait(an_ask("b", a_prompt(3)), lambda: None)
    router.finish("running")
    assert router.would_wait(an_ask("c", a_prompt(4))) == "1 requests wait already (--router-queue-threshold)"


def test_nobody_waits_for_ever_when_the_workers_are_gone() -> None:
    router = a_router(a_card(0, 1000, max_num_batched_tokens=100), queue_threshold=1.0)
    send(router, "running", a_prompt(1))
    asks = {name: an_ask(name, a_prompt(n)) for n, name in enumerate(["a", "b"], start=2)}
    woken: list[str] = []
    for name, ask in asks.items():
        router.wait(ask, lambda name=name: woken.append(name))  # type: ignore[misc]
    router.set_workers([])
    for name in ("a", "b"):
        assert woken[-1] == name
        with pytest.raises(Unavailable):
            router.decide(asks[name])
    assert router.waiting == 0


def test_nothing_waits_without_a_threshold() -> None:
    router = a_router(a_card(0, 1000, max_num_batched_tokens=1))
    send(router, "running", a_prompt(1))
    assert router.would_wait(an_ask("a", a_prompt(2))) is None
