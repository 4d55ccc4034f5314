"""One choice of an answer: tokens in, text pieces out, with stop strings and log-probabilities. Pure.

The exchange owns one per (prompt, choice) and feeds it in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dynamo.mocker.asks import Ask
from dynamo.mocker.tokenizer import ModelTokenizer, TextStream
from dynamo.mocker.work import Emitted, Finish


@dataclass(frozen=True, slots=True)
class Alternative:
    token: int
    logprob: float


@dataclass(frozen=True, slots=True)
class Scored:
    """A token with its made-up but reproducible log-probability, and the best alternatives, best first."""

    token: int
    logprob: float
    alternatives: tuple[Alternative, ...]


@dataclass(frozen=True, slots=True)
class Delta:
    """What one token adds to a choice."""

    text: str
    tokens: tuple[int, ...]
    scores: tuple[Scored, ...]
    finish: str | None = None
    """stop or length, on the last delta."""
    stop_reason: str | int | None = None


class Choice:
    """State of one choice; `index` is its number in the answer."""

    def __init__(self, ask: Ask, tokenizer: ModelTokenizer, index: int, prompt_tokens: int) -> None:
        self.index = index
        self.prompt_tokens = prompt_tokens
        self.cached_tokens = 0
        self.tokens = 0
        self.is_done = False
        self._ask = ask
        self._tokenizer = tokenizer
        self._stream = TextStream(tokenizer)
        self._held = ""

    def push(self, emitted: Emitted) -> Delta:
        """The delta of the next token; sets `is_done` when it is the last, or completes a stop string."""
        self.cached_tokens = emitted.cached_tokens
        if emitted.token is None:
            self.is_done = True
            return Delta("", (), (), finish=Finish.LENGTH.value)
        token = emitted.token
        self.tokens += 1
        is_stop_token = emitted.finish is Finish.STOP
        if not is_stop_token or (self._ask.keeps_stop and token in self._ask.stop_tokens):
            self._held += self._stream.push(token)
        finish = emitted.finish.value if emitted.finish else None
        if finish:
            self._held += self._stream.end()
        stop = self._find_stop()
        scores = (score(self._tokenizer, token, self.tokens, self._ask.logprobs),) if self._wants_scores else ()
        if stop is not None:
            text = self._held[: stop[0] + (len(stop[1]) if self._ask.keeps_stop else 0)]
            self.is_done = True
            return Delta(text, (token,), scores, Finish.STOP.value, stop[1])
        self.is_done = finish is not None
        stop_reason = token if is_stop_token and token in self._ask.stop_tokens else None
        return Delta(self._release(), (token,), scores, finish, stop_reason)

    @property
    def _wants_scores(self) -> bool:
        return self._ask.logprobs is not None

    def _find_stop(self) -> tuple[int, str] | None:
        """Position and text of the first stop string in the text not yet given out."""
        if not self._ask.stops or self.tokens < self._ask.min_tokens:
            return None
        found = [(self._held.find(stop), stop) for stop in self._ask.stops]
        return min(((at, stop) for at, stop in found if at >= 0), default=None)

    def _release(self) -> str:
        """The held text except an ending that may become a stop string."""
        keep = 0
        if self._ask.stops and not self.is_done:
            longest = max(map(len, self._ask.stops)) - 1
            for size in range(min(longest, len(self._held)), 0, -1):
                if any(stop.startswith(self._held[-size:]) for stop in self._ask.stops):
                    keep = size
                    break
        cut = len(self._held) - keep
        text, self._held = self._held[:cut], self._held[cut:]
        return text


def score(tokenizer: ModelTokenizer, token: int, position: int, alternatives: int | None) -> Scored:
    """A log-probability in (-0.5, 0], and `alternatives` entries: the token itself, then less likely words."""
    own = -((token * 2654435761 + position * 40503) % 4096) / 8192
    words = tokenizer.vocabulary.words
    first = (token * 31 + position * 17) % len(words)
    others: list[Alternative] = []
    while len(others) < (alternatives or 0) - 1 and len(others) < len(words) - 1:
        candidate = words[(first + len(others)) % len(words)]
        if candidate == token:
            first += 1
            continue
        others.append(Alternative(candidate, own - 1.0 - 0.5 * len(others)))
    tops = (Alternative(token, own), *others) if alternatives else ()
    return Scored(token, own, tops)


def score_prompt(tokenizer: ModelTokenizer, tokens: Sequence[int], alternatives: int) -> tuple[Scored, ...]:
    """Scores of echoed prompt tokens."""
    return tuple(score(tokenizer, token, position, alternatives) for position, token in enumerate(tokens))
