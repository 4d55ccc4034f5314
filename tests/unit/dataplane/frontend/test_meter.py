from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo.frontend.meter import Meter
from dynamo.frontend.metrics.counts import ITL_S, ModelCounts
from dynamo.frontend.metrics.histogram import Histogram
from dynamo.wire.openai_usage import Usage

ROLE = b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'
TOKEN = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'
DONE = b"data: [DONE]\n\n"


@dataclass
class Watched:
    counts: ModelCounts = field(default_factory=ModelCounts)
    first_tokens: int = 0
    tokens: list[int] = field(default_factory=list)

    def meter(self) -> Meter:
        def first() -> None:
            self.first_tokens += 1

        return Meter(self.counts, 10.0, on_first_token=first, on_tokens=self.tokens.append)


def test_role_is_no_token_and_gaps_are_measured_between_tokens() -> None:
    watched = Watched()
    meter = watched.meter()

    meter.frames(ROLE, 1, 10.5)
    assert meter.first_token_s is None
    for at_s in (11.0, 11.1, 11.3):
        meter.frames(TOKEN, 1, at_s)
    meter.frames(DONE, 1, 12.0)
    meter.usage = Usage(prompt_tokens=5, completion_tokens=3)
    meter.close()

    assert watched.counts.ttft_s.total == pytest.approx(1.0)
    assert (watched.counts.itl_s.count, watched.counts.itl_s.total) == (2, pytest.approx(0.3))
    assert watched.counts.output_tokens == 3
    assert meter.mean_itl_s == pytest.approx(0.15)
    assert watched.first_tokens == 1


def test_role_and_first_token_in_one_frame_is_a_token() -> None:
    watched = Watched()
    meter = watched.meter()

    meter.frames(ROLE.replace(b'""', b'"Hi"'), 1, 11.0)

    assert meter.first_token_s == 11.0


def test_finish_frame_does_not_count_twice() -> None:
    watched = Watched()
    meter = watched.meter()
    for _ in range(4):  # three tokens and a frame with the finish reason alone
        meter.frames(TOKEN, 1, 11.0)
    meter.usage = Usage(completion_tokens=3)
    meter.close()

    assert watched.counts.output_tokens == 3


def test_engines_count_wins_when_frames_carry_several_tokens() -> None:
    watched = Watched()
    meter = watched.meter()
    meter.frames(TOKEN, 1, 11.0)
    meter.usage = Usage(completion_tokens=40)
    meter.close()

    assert watched.counts.output_tokens == 40


def test_tokens_are_reported_in_batches() -> None:
    watched = Watched()
    meter = watched.meter()
    for index in range(21):
        meter.frames(TOKEN, 1, 11.0 + index * 0.1)

    assert sum(watched.tokens) >= 15
    assert len(watched.tokens) <= 5


@given(st.lists(st.floats(min_value=0, max_value=100), max_size=50))
def test_histogram_counts_like_a_naive_one(values: list[float]) -> None:
    histogram = Histogram(ITL_S)
    for value in values:
        histogram.observe(value)

    expected = [sum(value <= bound for value in values) for bound in ITL_S]
    assert [count for _, count in histogram.cumulative()] == [*expected, len(values)]
    assert histogram.count == len(values)


def test_histograms_add_up() -> None:
    parts = [Histogram((1, 2)), Histogram((1, 2))]
    parts[0].observe(1)
    parts[1].observe(5, times=2)

    whole = Histogram.sum_of(parts, (1, 2))

    assert (whole.counts, whole.total) == ([1, 0, 2], 11)
    assert Histogram.sum_of([], (1, 2)).counts == [0, 0, 0]
