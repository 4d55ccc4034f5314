"""Tokenizers by checksum: fetched once from any worker that has them, kept while the process lives.

A prompt that cannot be tokenized here is routed without tokens; that is said once per tokenizer, not per request.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import httpx
import msgspec
from numpy.typing import NDArray

from dynamo.frontend.calls import Call
from dynamo.frontend.fleet import ServedModel
from dynamo.frontend.metrics.counts import Counts
from dynamo.frontend.tokens.encoder import Encoder, EncoderUnusable, Ids
from dynamo.frontend.tokens.template import TemplateRefused
from dynamo.process.logs import EventLog
from dynamo.wire.cards import Tokenizer, WorkerCard
from dynamo.wire.openai_requests import Chat, Completions

FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
FILE_BYTES_MAX = 256 * 2**20
RETRY_AFTER_S = 10.0
FETCH_WAIT_S = 5.0
"""How long the first requests wait for the files before they are routed without tokens."""
INLINE_CHARACTERS = 32 * 1024
"""Longer prompts are tokenized in a thread: this many take about a millisecond, which other streams can bear."""


class _Conversation(msgspec.Struct):
    messages: list[dict[str, Any]]
    tools: list[Any] | None = None
    tool_choice: Any = None
    chat_template_args: dict[str, Any] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    add_generation_prompt: bool | None = None


_conversation = msgspec.json.Decoder(_Conversation)
_text_or_texts = msgspec.json.Decoder(str | list[Any])


class TokenizerShelf:
    """Every tokenizer the fleet's cards speak of."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        counts: Counts,
        log: EventLog,
        *,
        cache_bytes: int,
        clock: Callable[[], float],
        now: Callable[[], datetime.datetime] = datetime.datetime.now,
    ) -> None:
        self._http = http
        self._counts = counts
        self._log = log
        self._cache_bytes = cache_bytes
        self._clock = clock
        self._now = now
        self._fetches: dict[str, asyncio.Task[Encoder | None]] = {}
        self._retry_at_s: dict[str, float] = {}
        self._told: set[str] = set()

    def warm_up(self, models: Iterable[ServedModel]) -> None:
        """Starts fetching what requests will need."""
        for model in models:
            if model.router.needs_tokens:
                self._fetch(model)

    async def encode(self, call: Call, model: ServedModel) -> Sequence[int] | NDArray[Any] | None:
        """The prompt's token ids; None when this model's prompts cannot be tokenized here."""
        fetch = self._fetch(model)
        if fetch is None:
            return None
        if not fetch.done():
            await asyncio.wait([fetch], timeout=FETCH_WAIT_S)
        encoder = fetch.result() if fetch.done() and not fetch.cancelled() else None
        if encoder is None:
            return None
        try:
            return await self._encode(call, encoder)
        except TemplateRefused as error:
            # The engine will refuse it too, with its own words; routing needs no opinion.
            self._log.debug("prompt_not_rendered", model=model.name, reason=str(error))
            return None

    def close(self) -> None:
        for fetch in self._fetches.values():
            fetch.cancel()

    def cache_stats(self) -> tuple[int, int]:
        """(hits, misses) of text segments, over all tokenizers."""
        done = [fetch.result() for fetch in self._fetches.values() if fetch.done() and not fetch.cancelled()]
        stats = [encoder.codec.stats() for encoder in done if encoder is not None]
        return sum(one.hits for one in stats), sum(one.misses for one in stats)

    async def _encode(self, call: Call, encoder: Encoder) -> Ids | None:
        rendered = self._text(call, encoder)
        if rendered is None:
            return None
        text, adds_special = rendered
        began_s = self._clock()
        if len(text) <= INLINE_CHARACTERS:
            ids = encoder.codec.encode(text, adds_special=adds_special)
        else:
            ids = await asyncio.to_thread(encoder.codec.encode, text, adds_special=adds_special)
        self._counts.tokenize_s.observe(self._clock() - began_s)
        return ids

    def _text(self, call: Call, encoder: Encoder) -> tuple[str, bool] | None:
        """The prompt as one text, and whether the tokenizer adds its special tokens around it."""
        if isinstance(call.request, Completions):
            prompt = _text_or_texts.decode(call.request.prompt)
            first = prompt[0] if isinstance(prompt, list) and prompt else prompt
            return (first, True) if isinstance(first, str) else None
        if not isinstance(call.request, Chat) or encoder.template is None:
            return None
        began_s = self._clock()
        talk = _conversation.decode(call.body)
        arguments = {**(talk.chat_template_args or {}), **(talk.chat_template_kwargs or {})}
        if talk.add_generation_prompt is not None:
            arguments["add_generation_prompt"] = talk.add_generation_prompt
        tools = None if talk.tool_choice == "none" else talk.tools
        text = encoder.template.render(talk.messages, tools, arguments)
        self._counts.template_s.observe(self._clock() - began_s)
        return text, False

    def _fetch(self, model: ServedModel) -> asyncio.Task[Encoder | None] | None:
        card = next((card for card in model.cards.values() if card.tokenizer is not None), None)
        if card is None or card.tokenizer is None:
            self._tell_once(model.name, "no worker offers a tokenizer")
            return None
        checksum = card.tokenizer.checksum
        fetch = self._fetches.get(checksum)
        failed = fetch is not None and fetch.done() and (fetch.cancelled() or fetch.result() is None)
        if fetch is None or (failed and self._clock() > self._retry_at_s.get(checksum, 0.0)):
            fetch = asyncio.get_running_loop().create_task(self._load(card, card.tokenizer))
            self._fetches[checksum] = fetch
        return fetch

    async def _load(self, card: WorkerCard, tokenizer: Tokenizer) -> Encoder | None:
        try:
            names = zip(FILES, [await self._get(card, tokenizer, name) for name in FILES], strict=True)
            files = {name: content for name, content in names if content is not None}
            if "tokenizer.json" not in files:
                raise EncoderUnusable("tokenizer.json: the worker does not serve it")
            encoder = await asyncio.to_thread(Encoder, files, cache_bytes=self._cache_bytes, now=self._now)
        except (httpx.HTTPError, httpx.InvalidURL, EncoderUnusable, TemplateRefused, UnicodeDecodeError) as error:
            self._retry_at_s[tokenizer.checksum] = self._clock() + RETRY_AFTER_S
            self._tell_once(tokenizer.checksum, f"{card.name}: {error or type(error).__name__}", model=card.model)
            return None
        self._log.info("tokenizer_loaded", model=card.model, worker=card.name, checksum=tokenizer.checksum[:12])
        return encoder

    async def _get(self, card: WorkerCard, tokenizer: Tokenizer, name: str) -> bytes | None:
        response = await self._http.get(f"{card.system_address}{tokenizer.path}/{name}")
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        response.raise_for_status()
        if len(response.content) > FILE_BYTES_MAX:
            raise EncoderUnusable(f"{name}: {len(response.content)} bytes; allowed {FILE_BYTES_MAX}")
        return response.content

    def _tell_once(self, key: str, reason: str, model: str | None = None) -> None:
        if key not in self._told:
            self._told.add(key)
            self._log.warning("routing_without_tokens", model=model or key, reason=reason)
