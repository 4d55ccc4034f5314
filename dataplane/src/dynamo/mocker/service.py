"""What the engine does for its routes: generate, embed, adapters, cache, counters. One per engine.

Owns the ranks, the loaded adapters and the requests in flight; changed only through its verbs. It knows HTTP only by
the `Responder` an answer is written to.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from dynamo.mocker.asks import Ask
from dynamo.mocker.config import MockerConfig
from dynamo.mocker.connection import Responder
from dynamo.mocker.exchange import Exchange, Terms
from dynamo.mocker.faults import Script
from dynamo.mocker.rank import RankLoop
from dynamo.mocker.scheduler import Scheduler
from dynamo.mocker.tokenizer import ModelTokenizer
from dynamo.mocker.work import CacheEvent
from dynamo.process.logs import EventLog
from dynamo.wire.errors import InvalidRequest, NotFound, Unavailable

Publish = Callable[[Sequence[CacheEvent]], None]


class AdapterRefused(ValueError):
    """The adapter cannot be loaded; the message says why. `is_missing`: its files are not there."""

    def __init__(self, message: str, *, is_missing: bool = False) -> None:
        super().__init__(message)
        self.is_missing = is_missing


@dataclass(frozen=True, slots=True)
class Adapter:
    number: int
    uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a request's headers say."""

    request_id: str | None = None
    rank: str | None = None
    script: Script | None = None


class Service:
    """One engine's state behind its routes."""

    def __init__(
        self,
        config: MockerConfig,
        tokenizer: ModelTokenizer,
        publishers: Sequence[Publish],
        loop: asyncio.AbstractEventLoop,
        log: EventLog,
    ) -> None:
        """One publisher of cache events per rank."""
        self.config = config
        self.tokenizer = tokenizer
        self.created_s = int(time.time())
        self.engine_id = str(uuid.uuid4())
        self.is_accepting = True
        self.ranks = [RankLoop(Scheduler(config.limits, config.speed), loop, publish) for publish in publishers]
        self._loop = loop
        self._log = log
        self._adapters: dict[str, Adapter] = {}
        self._adapters_ever = 0
        self._exchanges: set[Exchange] = set()
        self._serial = 0

    @property
    def in_flight(self) -> int:
        return len(self._exchanges)

    @property
    def adapters(self) -> Mapping[str, Adapter]:
        return dict(self._adapters)

    def resolve_model(self, name: str | None) -> tuple[str, str | None]:
        """(name to answer under, adapter or None). None asks for the base model. Raises NotFound."""
        if name is None or name == self.config.model or name in self.config.aliases:
            return name or self.config.model, None
        if name in self._adapters:
            return name, name
        raise NotFound(f"The model `{name}` does not exist.", param="model", code="model_not_found")

    def generate(self, ask: Ask, lora: str | None, origin: Origin, responder: Responder) -> None:
        """Starts an answer. Raises RequestError before anything is written."""
        self.check_accepting()
        rank = self._rank(origin.rank)
        kind = "chatcmpl" if ask.is_chat else "cmpl"
        request_id = origin.request_id or uuid.uuid4().hex
        self._serial += 1
        terms = Terms(
            serial=self._serial,
            response_id=f"{kind}-{request_id}",
            created_s=int(time.time()),
            lora=lora,
            script=origin.script,
            headers={"x-request-id": request_id} if origin.request_id else {},
            transfer_delay_s=self._transfer_delay_s(ask),
            transfer_answer=self._transfer_answer(ask, f"{kind}-{request_id}"),
        )
        exchange = Exchange(ask, terms, rank, self.tokenizer, responder)
        began_s = self._loop.time()

        def ended(exchange: Exchange) -> None:
            self._exchanges.discard(exchange)
            self._log.info("request", **exchange.report(), duration_s=self._loop.time() - began_s)

        exchange.on_end = ended
        self._exchanges.add(exchange)
        exchange.start(self._loop, die_now)

    def check_accepting(self) -> None:
        """Raises Unavailable while the worker drains."""
        if not self.is_accepting:
            raise Unavailable("the engine is shutting down; send the request to another worker", retry_after_s=1)

    def load_adapter(self, name: str, uri: str, *, replaces: bool = False) -> None:
        """Raises AdapterRefused. Files named by a path or a file: URI must exist; other URIs are taken on trust."""
        if name == self.config.model or name in self.config.aliases:
            raise AdapterRefused(f"lora_name: {name!r} is the base model's name")
        known = self._adapters.get(name)
        if known is not None and not replaces and known.uri != uri:
            raise AdapterRefused(f"The lora adapter '{name}' has already been loaded.")
        if not uri:
            raise AdapterRefused("lora_path: found an empty path; expected a folder or a URI")
        scheme = urlsplit(uri).scheme
        path = Path(unquote(urlsplit(uri).path)) if scheme == "file" else Path(uri)
        if (scheme == "file" or path.is_absolute()) and not path.exists():
            raise AdapterRefused(f"No adapter found for {path}", is_missing=True)
        if known is None:
            self._adapters_ever += 1
        self._adapters[name] = Adapter(known.number if known else self._adapters_ever, uri)

    def unload_adapter(self, name: str) -> None:
        """Requests in flight finish. Raises KeyError."""
        del self._adapters[name]

    def reset_cache(self) -> bool:
        """False when some rank was busy and kept its blocks."""
        return False not in [rank.clear_cache() for rank in self.ranks]

    def stop(self) -> None:
        """Cuts every answer."""
        self.is_accepting = False
        for exchange in list(self._exchanges):
            exchange.cut()
        for rank in self.ranks:
            rank.stop()

    def _rank(self, asked: str | None) -> RankLoop:
        """The rank the router chose, else the least busy one."""
        if asked is None:
            return min(self.ranks, key=lambda rank: rank.queued)
        if not asked.isdecimal() or int(asked) >= len(self.ranks):
            raise InvalidRequest(
                f"X-data-parallel-rank: found {asked!r}; allowed is from 0 to {len(self.ranks) - 1}",
                param="X-data-parallel-rank",
            )
        return self.ranks[int(asked)]

    def _transfer_delay_s(self, ask: Ask) -> float | None:
        """How long the prompts' KV takes to arrive from a prefill worker; None when it is computed here."""
        transfer = ask.transfer
        if not transfer or not transfer.get("do_remote_prefill"):
            return None
        if not isinstance(transfer.get("remote_engine_id"), str):
            raise InvalidRequest(
                "kv_transfer_params.remote_engine_id: expected the value of the prefill worker's answer",
                param="kv_transfer_params",
            )
        return sum(len(prompt.tokens) for prompt in ask.prompts) * self.config.transfer_s_per_token

    def _transfer_answer(self, ask: Ask, response_id: str) -> dict[str, Any] | None:
        """What a decode worker needs to fetch this prompt's KV, when the request asks for it."""
        if not ask.transfer or not ask.transfer.get("do_remote_decode"):
            return None
        tokens = len(ask.prompts[0].tokens)
        return {
            "do_remote_prefill": True,
            "do_remote_decode": False,
            "remote_block_ids": [list(range(1, -(-tokens // self.config.limits.block_size) + 1))],
            "remote_engine_id": self.engine_id,
            "remote_request_id": response_id,
            "remote_host": self.config.advertised_host,
            "remote_port": 0,
            "tp_size": 1,
            "remote_num_tokens": tokens,
        }


def die_now() -> None:
    """A scripted death: no goodbye, as when the kernel kills a process."""
    os.kill(os.getpid(), signal.SIGKILL)
