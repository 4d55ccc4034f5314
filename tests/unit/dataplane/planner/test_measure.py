"""From Prometheus text to an observation: what counts, what is missing, and what restarts and gaps do."""

from __future__ import annotations

import pytest

from dynamo.planner.ledger import Ledger
from dynamo.planner.measure import Measure, Scope
from dynamo.planner.observation import Observation
from dynamo.planner.reading import Reading, Unreadable, read_frontend, read_worker
from dynamo.planner.scrape import Page
from dynamo.planner.sight import Component, Sight, Source
from dynamo.wire.cards import Role

TICK_S = 5.0
PREFIX = "dynamo_frontend"


def a_frontend(
    started: float, *, queued: float | str = 0, finished: float = 0, model: str = "m", isl: float = 100
) -> str:
    return (
        f'# TYPE {PREFIX}_requests_started_total counter\n'
        f'{PREFIX}_requests_started_total{{model="{model}",endpoint="chat"}} {started}\n'
        f'{PREFIX}_requests_started_total{{model="unknown",endpoint="chat"}} 9999\n'
        f'{PREFIX}_queued_requests{{model="{model}"}} {queued}\n'
        f'{PREFIX}_input_sequence_tokens_sum{{model="{model}"}} {finished * isl}\n'
        f'{PREFIX}_input_sequence_tokens_count{{model="{model}"}} {finished}\n'
        f'{PREFIX}_input_sequence_tokens_bucket{{model="{model}",le="210"}} {finished / 2}\n'
        f'{PREFIX}_input_sequence_tokens_bucket{{model="{model}",le="+Inf"}} {finished}\n'
        f'{PREFIX}_cached_tokens_sum{{model="{model}"}} {finished * isl / 4}\n'
        f'{PREFIX}_cached_tokens_count{{model="{model}"}} {finished}\n'
        f'{PREFIX}_output_sequence_tokens_sum{{model="{model}"}} {finished * 7}\n'
        f'{PREFIX}_output_sequence_tokens_count{{model="{model}"}} {finished}\n'
    )  # fmt: skip


def a_worker(running: float | str = 2, waiting: float = 0) -> str:
    return (
        f'vllm:num_requests_running{{engine="0"}} {running}\nvllm:num_requests_running{{engine="1"}} 1\n'
        f"vllm:num_requests_waiting {waiting}\nvllm:kv_cache_usage_perc 0.4\nvllm:something_else nonsense\n"
    )


def a_sight(frontends: int = 1, workers: int = 1, ready: int | None = None) -> Sight:
    found = tuple(Source(f"w{n}", "") for n in range(workers))
    count = workers if ready is None else ready
    component = Component("decode", count, count, count)
    return Sight({Role.AGGREGATED: component}, tuple(Source(f"f{n}", "") for n in range(frontends)),
                 {Role.AGGREGATED: found})  # fmt: skip


def observed(*rounds: dict[str, str | None], sight: Sight | None = None, gap_s: float = TICK_S) -> Observation:
    """The last of several observations, `gap_s` apart; None is a page that could not be had."""
    measure, found = Measure(Scope(), TICK_S), None
    for number, pages in enumerate(rounds):
        read = {name: Page(text, "" if text is not None else "no metrics within 4 s") for name, text in pages.items()}
        found = measure.observe(sight or a_sight(), read, 100 + number * gap_s)
    assert found is not None
    return found


def test_growth_is_summed_over_frontends_and_averaged_over_requests() -> None:
    first = {"f0": a_frontend(10), "f1": a_frontend(100), "w0": a_worker()}
    then = {"f0": a_frontend(15, queued=2, finished=4), "f1": a_frontend(110, queued=1), "w0": a_worker(waiting=3)}

    seen = observed(first, then, sight=a_sight(frontends=2))

    assert seen.missing == ()
    assert seen.traffic is not None
    assert (seen.traffic.arrivals, seen.traffic.queued, seen.traffic.is_partial) == (15, 3, False)
    assert (seen.traffic.isl_tokens, seen.traffic.uncached_tokens, seen.traffic.osl_tokens) == (100, 75, 7)
    assert seen.traffic.isl_cv2 == pytest.approx(0.25)
    fleet = seen.fleets[Role.AGGREGATED]
    assert (fleet.running, fleet.waiting, fleet.kv_share, fleet.seen) == (3, 3, 0.4, 1)


def test_first_reading_is_no_rate() -> None:
    seen = observed({"f0": a_frontend(10), "w0": a_worker()})

    assert seen.traffic is None
    assert seen.missing == ("frontends read for the first time or begun anew, nothing to compare with yet",)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(a_frontend(500), a_frontend(7), id="another-process"),
        pytest.param(a_frontend(3), a_frontend(2, finished=1), id="one-that-has-counted-more-of-something"),
        pytest.param(a_frontend(90_000) + a_frontend(50_000, model="other"), a_frontend(90_000), id="series-gone"),
        pytest.param(a_frontend(90_000, finished=9), "dynamo_frontend_requests_started_total 0", id="totals-gone"),
    ],
)
def test_counters_that_fell_are_no_load_and_the_next_reading_is(before: str, after: str) -> None:
    fallen = observed({"f0": before, "w0": a_worker()}, {"f0": after, "w0": a_worker()})
    again = observed(*({"f0": text, "w0": a_worker()} for text in (before, after, after)))

    assert fallen.traffic is None
    assert "nothing to compare with yet" in fallen.missing[0]
    assert again.traffic is not None
    assert again.traffic.arrivals == 0


def test_restarted_worker_teaches_nothing_of_its_speed() -> None:
    def worker(total_s: float, count: int) -> str:
        times = f"vllm:request_prefill_time_seconds_sum {total_s}\nvllm:request_prefill_time_seconds_count {count}\n"
        return a_worker() + times

    pages = [{"f0": a_frontend(1), "w0": worker(*one)} for one in ((500, 1000), (90, 200), (91, 210))]

    fallen, after = observed(*pages[:2]), observed(*pages)

    assert fallen.fleets[Role.AGGREGATED].prefill_s is None
    assert after.fleets[Role.AGGREGATED].prefill_s == pytest.approx(0.1)


def test_newcomer_makes_numbers_lower_bounds_once() -> None:
    sight = a_sight(frontends=2)
    first: dict[str, str | None] = {"f0": a_frontend(10), "f1": None, "w0": a_worker()}
    then: dict[str, str | None] = {"f0": a_frontend(15), "f1": a_frontend(5000), "w0": a_worker()}
    last: dict[str, str | None] = {"f0": a_frontend(20), "f1": a_frontend(5003), "w0": a_worker()}

    seen, after = observed(first, then, sight=sight), observed(first, then, last, sight=sight)

    assert seen.traffic is not None
    assert after.traffic is not None
    assert (seen.traffic.arrivals, seen.traffic.is_partial) == (5, True)
    assert (after.traffic.arrivals, after.traffic.is_partial) == (8, False)


def test_gap_is_a_rate_not_a_burst() -> None:
    seen = observed({"f0": a_frontend(0), "w0": a_worker()}, {"f0": a_frontend(30), "w0": a_worker()}, gap_s=15)

    assert seen.traffic is not None
    assert seen.traffic.arrivals == 10


def test_counters_from_long_ago_say_nothing() -> None:
    seen = observed({"f0": a_frontend(0), "w0": a_worker()}, {"f0": a_frontend(30), "w0": a_worker()}, gap_s=60)

    assert seen.traffic is None


@pytest.mark.parametrize(
    ("pages", "words"),
    [
        pytest.param({"f0": None, "w0": a_worker()}, "f0: no metrics within 4 s", id="frontend-silent"),
        pytest.param({"f0": a_frontend(9, queued="NaN"), "w0": a_worker()}, "queued_requests is no finite", id="nan"),
        pytest.param({"f0": a_frontend(9, queued="+Inf"), "w0": a_worker()}, "is no finite number", id="infinite"),
        pytest.param({"f0": a_frontend(9, queued="many"), "w0": a_worker()}, "not Prometheus text", id="no-number"),
        pytest.param({"f0": "<html>", "w0": a_worker()}, "requests_started_total is missing", id="another-page"),
    ],
)
def test_unusable_frontend_makes_traffic_unknown(pages: dict[str, str | None], words: str) -> None:
    seen = observed({"f0": a_frontend(5), "w0": a_worker()}, pages)

    assert seen.traffic is None
    assert words in seen.missing[0]


def test_one_silent_frontend_of_two_leaves_lower_bounds() -> None:
    first = {"f0": a_frontend(10), "f1": a_frontend(100), "w0": a_worker()}

    seen = observed(first, {"f0": a_frontend(15), "f1": None, "w0": a_worker()}, sight=a_sight(frontends=2))

    assert seen.traffic is not None
    assert (seen.traffic.arrivals, seen.traffic.is_partial) == (5, True)


def test_silent_workers_count_as_the_others_do() -> None:
    pages = {"f0": a_frontend(5), "w0": a_worker(5), "w1": a_worker("NaN"), "w2": None}

    fleet = observed(pages, sight=a_sight(workers=3)).fleets[Role.AGGREGATED]

    assert (fleet.running, fleet.seen, fleet.is_blind) == (18, 1, True)


def test_crowd_is_what_a_stream_sees_around_it() -> None:
    uneven = {"f0": a_frontend(5), "w0": a_worker(29), "w1": a_worker(0), "w2": a_worker(0)}
    idle = {"f0": a_frontend(5), "w0": "vllm:num_requests_running 0\nvllm:num_requests_waiting 0\n"}

    assert observed(uneven, sight=a_sight(workers=3)).fleets[Role.AGGREGATED].crowd == pytest.approx(902 / 32)
    assert observed(idle).fleets[Role.AGGREGATED].crowd is None


def test_ready_workers_without_an_address_are_named() -> None:
    seen = observed({"f0": a_frontend(5)}, sight=a_sight(workers=0, ready=2))

    assert "no address of a ready aggregated worker" in seen.missing


def test_models_are_told_apart_without_case_and_strangers_never_count() -> None:
    text = a_frontend(5, model="Big") + a_frontend(7, model="small")

    assert read_frontend(text, prefix=PREFIX, model="big").totals["arrivals"] == 5
    assert read_frontend(text, prefix=PREFIX).totals["arrivals"] == 12


def test_other_engines_are_read_by_their_own_words_or_ours() -> None:
    sglang = read_worker("sglang:num_running_reqs 3\nsglang:num_queue_reqs 1\nsglang:token_usage 0.5\n")
    other = read_worker('dynamo_component_inflight_requests{x="y"} 4\n')

    assert sglang.levels == {"running": 3, "waiting": 1, "kv_share": 0.5}
    assert other.levels == {"running": 4}
    with pytest.raises(Unreadable, match="no family"):
        read_worker("up 1\n")


def test_ledger_forgets_who_is_gone() -> None:
    ledger = Ledger()
    ledger.growth("a", Reading({"x": 1}, {}), 1, stale_s=60)
    ledger.keep(["b"])
    ledger.check()

    assert ledger.growth("a", Reading({"x": 2}, {}), 2, stale_s=60) is None
