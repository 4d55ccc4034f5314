"""One generation request from its acceptance to its last byte: queue the work, write tokens as they come, clean up.

The client's hang-up aborts the work at once and frees its blocks. Memory that a slow reader holds is bounded by the
answer's own length. The routes create exchanges; the engine counts them.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dynamo.mocker.asks import Ask, Prompt
from dynamo.mocker.choice import Choice
from dynamo.mocker.connection import Responder
from dynamo.mocker.faults import FaultyPath, Script
from dynamo.mocker.frames import ChatFrames, Collected, Frames, TextFrames, Usage, error_frame
from dynamo.mocker.rank import RankLoop
from dynamo.mocker.sequence import cache_root
from dynamo.mocker.tokenizer import ModelTokenizer
from dynamo.mocker.tokens import Answer, ForcedAnswer, FreeAnswer
from dynamo.mocker.work import Emitted, Work
from dynamo.process.logs import Value
from dynamo.wire.errors import Internal


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the engine decided about a request before it starts."""

    serial: int
    """Unique in the process: clients may repeat their ids."""
    response_id: str
    created_s: int
    lora: str | None
    script: Script | None = None
    headers: Mapping[str, str]
    """Sent with the answer."""
    transfer_delay_s: float | None = None
    """The prompt's KV comes from a prefill worker and takes this long; None: computed here."""
    transfer_answer: Mapping[str, Any] | None = None
    """kv_transfer_params to hand to the decode worker."""


class Outcome(enum.Enum):
    """How an answer ended."""

    FINISHED = "finished"
    ABORTED = "aborted"
    """The client hung up."""
    FAILED = "failed"
    CUT = "cut"


class Exchange:
    """Owns one answer. `on_end` is called once, when nothing of it is left in the engine."""

    def __init__(self, ask: Ask, terms: Terms, rank: RankLoop, tokenizer: ModelTokenizer, responder: Responder) -> None:
        self.on_end: Callable[[Exchange], None] = lambda _: None
        self._ask = ask
        self._terms = terms
        self._rank = rank
        self._tokenizer = tokenizer
        self._responder = responder
        self._frames: Frames = (ChatFrames if ask.is_chat else TextFrames)(
            ask, terms.response_id, terms.created_s, tokenizer
        )
        self._choices: dict[str, Choice] = {}
        self._said: list[Collected] = []
        self._waiting: asyncio.TimerHandle | None = None
        self._has_ended = False
        self._outcome = Outcome.ABORTED

    def start(self, loop: asyncio.AbstractEventLoop, die: Callable[[], None]) -> None:
        self._responder.on_hangup = self.end
        for index, (at, _) in enumerate(self._sequences()):
            choice = Choice(self._ask, self._tokenizer, index, len(self._ask.prompts[at].tokens))
            self._choices[f"{self._terms.serial}:{index}"] = choice
            self._said.append(Collected())
        listener = self.deliver
        if self._terms.script is not None:
            listener = FaultyPath(self._terms.script, self, loop, die).push
        if self._ask.stream:
            # Before the first token, as real engines do: a slow prefill shows as headers without content.
            splits = self._terms.script is not None and self._terms.script.splits
            self._responder.open_stream(self._terms.headers, splits=splits)
        if self._terms.transfer_delay_s:
            self._waiting = loop.call_later(self._terms.transfer_delay_s, self._submit, listener)
        else:
            self._submit(listener)

    def deliver(self, emitted: Emitted) -> None:
        """Takes the next token of a choice."""
        choice = self._choices[emitted.request_id]
        if choice.is_done or self._has_ended:
            return
        is_first = choice.tokens == 0
        delta = choice.push(emitted)
        if self._ask.stream:
            usage = self._usage() if self._ask.continuous_usage else None
            opening = self._frames.opening(choice.index, usage) if is_first else b""
            self._responder.write(opening + self._frames.delta(choice.index, delta, usage))
        else:
            self._said[choice.index].add(delta)
        if delta.finish is not None:
            if emitted.finish is None:
                self._rank.abort(emitted.request_id)
            if all(each.is_done for each in self._choices.values()):
                self._complete()

    def fail(self, message: str) -> None:
        """The engine cannot go on with this answer."""
        self._outcome = Outcome.FAILED
        if self._ask.stream:
            self._responder.close_stream(error_frame(message))
        else:
            self._responder.send_error(Internal(message))
        self.end()

    def cut(self) -> None:
        """Closes the connection in the middle."""
        self._outcome = Outcome.CUT
        self._responder.cut()
        self.end()

    def end(self) -> None:
        """Forgets the request: unfinished work is aborted, its blocks are free when this returns."""
        if self._has_ended:
            return
        self._has_ended = True
        if self._waiting is not None:
            self._waiting.cancel()
        for request_id, choice in self._choices.items():
            if not choice.is_done:
                self._rank.abort(request_id)
        self.on_end(self)

    def report(self) -> dict[str, Value]:
        """What the log says of it: names and numbers, nothing of its text."""
        usage = self._usage()
        return {
            "request_id": self._terms.response_id,
            "kind": "stream" if self._ask.stream else "unary",
            "outcome": self._outcome.value,
            "lora": self._terms.lora,
            "input_tokens": usage.prompt_tokens,
            "cached_tokens": usage.cached_tokens,
            "output_tokens": usage.completion_tokens,
        }

    def _submit(self, listener: Callable[[Emitted], None]) -> None:
        for request_id, (at, number) in zip(self._choices, self._sequences(), strict=True):
            self._rank.submit(self._work(request_id, at, number), listener)

    def _sequences(self) -> Iterator[tuple[int, int]]:
        """(number of the prompt, number of the choice for it) in the order of the answer's indices."""
        return ((at, number) for at in range(len(self._ask.prompts)) for number in range(self._ask.choices))

    def _work(self, request_id: str, at: int, number: int) -> Work:
        prompt = self._ask.prompts[at]
        ask, end = self._ask, self._tokenizer.vocabulary.end
        is_forced = ask.forced_text is not None
        ends = {end} if (ask.ends_freely or is_forced) and not ask.ignore_eos else set()
        return Work(
            request_id=request_id,
            prompt=prompt.tokens,
            max_tokens=ask.max_tokens[at],
            answer=self._answer(prompt, number),
            stop_tokens=ask.stop_tokens | ends,
            min_tokens=ask.min_tokens,
            cache_root=cache_root(self._terms.lora, ask.salt),
            lora=self._terms.lora,
            salt=ask.salt,
            prompt_is_transferred=self._terms.transfer_delay_s is not None,
        )

    def _answer(self, prompt: Prompt, number: int) -> Answer:
        vocabulary = self._tokenizer.vocabulary
        if self._ask.forced_text is not None:
            return ForcedAnswer(self._tokenizer.encode(self._ask.forced_text), vocabulary.end)
        tokens = np.asarray(prompt.tokens, dtype=np.uint32)
        return FreeAnswer(tokens, vocabulary, choice=number, ends=self._ask.ends_freely)

    def _complete(self) -> None:
        usage, transfer = self._usage(), self._terms.transfer_answer
        if self._ask.stream:
            self._responder.close_stream(self._frames.closing(usage, transfer))
        else:
            body = self._frames.whole(self._said, usage, transfer)
            self._responder.send(200, body, headers=self._terms.headers)
        self._outcome = Outcome.FINISHED
        self.end()

    def _usage(self) -> Usage:
        choices = list(self._choices.values())
        return Usage(
            prompt_tokens=sum(choice.prompt_tokens for choice in choices[:: self._ask.choices]),
            completion_tokens=sum(choice.tokens for choice in choices),
            cached_tokens=sum(choice.cached_tokens for choice in choices[:: self._ask.choices]),
        )
