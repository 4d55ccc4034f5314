"""The answer is a function of the tokens so far, like greedy decoding."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from dynamo.mocker.tokens import ForcedAnswer, FreeAnswer, Vocabulary, rolling_hash

WORDS = Vocabulary(tuple(range(100, 1000)), end=7)
prompts = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=70)


def answer(prompt: list[int], count: int, choice: int = 0) -> list[int]:
    it = FreeAnswer(np.array(prompt, dtype=np.uint32), WORDS, choice=choice, ends=False)
    return [it.next_token() for _ in range(count)]


@given(prompts)
def test_vectorised_hash_equals_the_definition(prompt: list[int]) -> None:
    expected = 0
    for token in prompt:
        expected = (expected * 0x9E3779B97F4A7C15 + token + 1) % 2**64
    assert rolling_hash(np.array(prompt, dtype=np.uint32)) == expected


@given(prompts, st.integers(1, 20))
def test_a_prompt_extended_by_its_answer_continues_it(prompt: list[int], cut: int) -> None:
    whole = answer(prompt, 30)
    assert answer(prompt + whole[:cut], 30 - cut) == whole[cut:]


@given(prompts)
def test_choices_differ(prompt: list[int]) -> None:
    assert answer(prompt, 8) != answer(prompt, 8, choice=1)


def test_a_free_answer_ends_by_itself_after_some_tokens() -> None:
    lengths = []
    for seed in range(40):
        it = FreeAnswer(np.array([seed], dtype=np.uint32), WORDS, choice=0, ends=True)
        lengths.append(next(n for n in range(5000) if it.next_token() == WORDS.end))
    assert min(lengths) >= 8
    assert 20 < sum(lengths) / len(lengths) < 200


def test_a_forced_answer_ends_after_its_tokens() -> None:
    it = ForcedAnswer([1, 2], end=7)
    assert [it.next_token() for _ in range(4)] == [1, 2, 7, 7]
