"""What the worker shell needs from an engine and from discovery.

Engines (`dynamo.mocker`, later vLLM, SGLang, TensorRT-LLM) implement `Engine`; `dynamo.discovery` implements
`Registry`. The shell owns everything else. No code here, only the seams.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dynamo.wire.cards import ModelType, WorkerCard


class EngineFailed(Exception):
    """The engine could not start; the message says why and what to change."""


class LoraRefused(Exception):
    """The engine will not load or unload this adapter: bad files, no room, engine without adapters."""


class UnknownLora(LoraRefused):
    """No adapter of that name is loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What only a started engine knows; constant for the engine's life."""

    address: str
    """Base URL of its OpenAI server as peers reach it, e.g. `http://127.0.0.1:41233`."""
    block_size: int
    """Tokens per KV block."""
    kv_event_endpoints: tuple[str, ...] = ()
    """One ZMQ PUB address per data-parallel rank (vLLM's wire format); empty: the engine tells nothing."""
    kv_replay_endpoints: tuple[str, ...] = ()
    """One ZMQ ROUTER address per rank that repeats past events; empty: what is lost stays lost."""
    total_kv_blocks: int | None = None
    """Per rank."""
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    context_length: int | None = None
    data_parallel_size: int = 1
    model_types: tuple[ModelType, ...] = (ModelType.CHAT, ModelType.COMPLETIONS)
    tokenizer_dir: Path | None = None
    """Folder with `tokenizer.json`, `tokenizer_config.json` and possibly `chat_template.jinja`."""
    bootstrap_host: str | None = None
    bootstrap_port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLoad:
    """What one data-parallel rank is busy with now."""

    dp_rank: int = 0
    running_requests: int = 0
    waiting_requests: int = 0
    active_decode_blocks: int = 0
    """Distinct KV blocks held by running requests."""
    active_prefill_tokens: int = 0
    """Prompt tokens accepted and not computed yet."""
    kv_used_blocks: int = 0


class Engine(Protocol):
    """One engine replica behind its own OpenAI server."""

    async def start(self) -> EngineFacts:
        """Returns when requests can be served. Raises EngineFailed."""
        ...

    async def wait_dead(self) -> str:
        """Returns the reason when the engine dies without having been asked to; else never."""
        ...

    async def stop_accepting(self) -> None:
        """Refuse new requests with 503; those in flight go on."""
        ...

    @property
    def in_flight(self) -> int:
        """Requests accepted and not finished."""
        ...

    async def stop(self) -> None:
        """Ends everything, requests in flight included; safe to call twice and before `start` ended."""
        ...

    async def metrics_text(self) -> bytes:
        """The engine's own families (`vllm:*` …) in Prometheus text form."""
        ...

    def read_load(self) -> tuple[EngineLoad, ...]:
        """One value per rank; cheap, called ten times a second."""
        ...

    @property
    def progress(self) -> tuple[int, ...]:
        """One number per rank that changes whenever it gets something done: steps, or tokens. Cheap."""
        ...

    async def load_lora(self, name: str, uri: str) -> None:
        """Raises LoraRefused. Loading what is loaded from the same uri changes nothing."""
        ...

    async def unload_lora(self, name: str) -> None:
        """Raises UnknownLora."""
        ...

    @property
    def loras(self) -> Mapping[str, int]:
        """Adapters loaded now: name -> numeric id."""
        ...


class Registry(Protocol):
    """Where a worker announces itself."""

    async def check(self) -> None:
        """Before the engine starts: raises DiscoveryError when announcing could not work as configured."""
        ...

    async def publish(self, card: WorkerCard) -> None:
        """Adds or replaces the card of `card.worker_id`.

        Idempotent; doubles as the heartbeat, so call it again every `dynamo.discovery.HEARTBEAT_S`.
        """
        ...

    async def withdraw(self, worker_id: int) -> None:
        """Removes the card; unknown ids are fine."""
        ...
