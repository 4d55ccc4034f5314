"""The worker while it lives: its phase, card, event relay and adapters. One owner for what changes.

The shell moves it through its phases, the system server reads it and asks for adapters. Does no HTTP itself.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Mapping

import msgspec
import zmq

from dynamo.events.publisher import EventPublisher
from dynamo.events.relay import EventRelay
from dynamo.process.logs import EventLog
from dynamo.wire.cards import WorkerCard
from dynamo.wire.router_events import Load
from dynamo.worker import tokenizer_files
from dynamo.worker.canary import Verdict
from dynamo.worker.config import WorkerConfig
from dynamo.worker.ports import Engine, EngineFacts, EngineFailed, EngineLoad, Registry


class Phase(enum.Enum):
    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    STOPPING = "stopping"
    DEAD = "dead"


class LiveWorker:
    """Changed by the shell only, through its verbs."""

    def __init__(self, engine: Engine, config: WorkerConfig, registry: Registry, log: EventLog) -> None:
        self.engine = engine
        self.config = config
        self.phase = Phase.STARTING
        self.facts: EngineFacts | None = None
        self.card: WorkerCard | None = None
        self.relay: EventRelay | None = None
        self.is_registered = False
        self.started_s = time.monotonic()
        self.engine_start_s: float | None = None
        """How long the engine took to get ready."""
        self._registry = registry
        self._log = log
        self._publisher: EventPublisher | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._publishing = asyncio.Lock()
        self._told_loads: tuple[EngineLoad, ...] = ()
        self._silent_ranks: set[int] = set()
        self._refusing_ranks: set[int] = set()

    @property
    def is_answering(self) -> bool:
        """No rank of the engine left its canary without an answer; True where none is sent."""
        return not self._silent_ranks

    def heard(self, rank: int, verdict: Verdict) -> None:
        """What a canary's fate, or a rank's progress, says of it."""
        name = self.config.name
        if verdict is Verdict.SILENT and rank not in self._silent_ranks:
            self._silent_ranks.add(rank)
            self._log.warning("engine_silent", worker=name, rank=rank, in_flight=self.engine.in_flight)
        elif verdict is Verdict.ANSWERS and rank in self._silent_ranks:
            self._silent_ranks.remove(rank)
            self._log.info("engine_answers_again", worker=name, rank=rank)
        elif verdict is Verdict.REFUSED and rank not in self._refusing_ranks:
            self._refusing_ranks.add(rank)
            self._log.warning("canary_refused", worker=name, rank=rank, check="DYN_HEALTH_CHECK_PAYLOAD")

    async def open_events(self, facts: EngineFacts) -> None:
        """Binds the publisher and connects to the engine's. Raises EngineFailed, zmq.ZMQError or TimeoutError."""
        for endpoints in (facts.kv_event_endpoints, facts.kv_replay_endpoints):
            if len(endpoints) not in (0, facts.data_parallel_size):
                raise EngineFailed(f"KV events: found {len(endpoints)} endpoints for {facts.data_parallel_size} ranks")
        self._context = zmq.Context()
        self._publisher = EventPublisher(self._context, self.config.worker_id, self.config.event_host)
        self.relay = EventRelay(
            self._context,
            self._publisher,
            self._log,
            worker_id=self.config.worker_id,
            ranks=facts.data_parallel_size,
            endpoints=facts.kv_event_endpoints,
            replay_endpoints=facts.kv_replay_endpoints,
            block_size=facts.block_size,
        )
        await self.relay.start()

    async def register(self, facts: EngineFacts, system_address: str, created_s: int) -> None:
        """Makes and publishes the card. Raises what the registry raises."""
        assert self._publisher is not None
        self.facts = facts
        self.card = await asyncio.to_thread(
            make_card,
            self.config,
            facts,
            system_address=system_address,
            event_address=f"tcp://{_in_url(self.config.peer_host)}:{self._publisher.port}",
            created_s=created_s,
            loras=tuple(sorted(self.engine.loras)),
        )
        async with self._publishing:
            await self._registry.publish(self.card)
            self.is_registered = True
        self.phase = Phase.SERVING

    async def keep_registered(self) -> None:
        """The heartbeat; nothing once the worker has left."""
        async with self._publishing:
            if self.is_registered and self.card is not None:
                await self._registry.publish(self.card)

    async def leave(self) -> None:
        """Out of discovery. Raises what the registry raises."""
        async with self._publishing:
            self.is_registered = False
            await self._registry.withdraw(self.config.worker_id)

    def publish_load(self, *, even_if_unchanged: bool) -> None:
        """Tells routers what the ranks are busy with."""
        assert self._publisher is not None
        loads = self.engine.read_load()
        if loads == self._told_loads and not even_if_unchanged:
            return
        self._told_loads = loads
        for load in loads:
            self._publisher.publish_load(
                Load(
                    worker_id=self.config.worker_id,
                    dp_rank=load.dp_rank,
                    active_decode_blocks=load.active_decode_blocks,
                    active_prefill_tokens=load.active_prefill_tokens,
                    kv_used_blocks=load.kv_used_blocks,
                    running_requests=load.running_requests,
                    waiting_requests=load.waiting_requests,
                )
            )

    async def load_lora(self, name: str, uri: str) -> Mapping[str, int]:
        """Loads the adapter and tells the fleet. Raises LoraRefused."""
        await self.engine.load_lora(name, uri)
        await self._tell_loras()
        return self.engine.loras

    async def unload_lora(self, name: str) -> None:
        """The fleet forgets the adapter before the engine does, so that nothing is sent to it in between."""
        await self._tell_loras(without=name)
        try:
            await self.engine.unload_lora(name)
        finally:
            await self._tell_loras()

    async def _tell_loras(self, without: str | None = None) -> None:
        if self.card is not None:
            loras = tuple(sorted(name for name in self.engine.loras if name != without))
            self.card = msgspec.structs.replace(self.card, loras=loras)
            await self.keep_registered()

    def close_events(self) -> None:
        if self.relay is not None:
            self.relay.close()
        if self._publisher is not None:
            self._publisher.close()
        if self._context is not None:
            self._context.destroy(linger=0)


def make_card(
    config: WorkerConfig,
    facts: EngineFacts,
    *,
    system_address: str,
    event_address: str,
    created_s: int,
    loras: tuple[str, ...],
) -> WorkerCard:
    """Reads the tokenizer files for their checksum."""
    return WorkerCard(
        worker_id=config.worker_id,
        name=config.name,
        namespace=config.namespace,
        component=config.component,
        role=config.role,
        engine=config.engine,
        model=config.model,
        aliases=config.aliases,
        model_types=config.model_types or facts.model_types,
        created_s=created_s,
        loras=loras,
        address=facts.address,
        system_address=system_address,
        event_address=event_address,
        block_size=facts.block_size,
        total_kv_blocks=facts.total_kv_blocks,
        max_num_seqs=facts.max_num_seqs,
        max_num_batched_tokens=facts.max_num_batched_tokens,
        context_length=facts.context_length,
        data_parallel_size=facts.data_parallel_size,
        tokenizer=None
        if facts.tokenizer_dir is None
        else tokenizer_files.describe(
            facts.tokenizer_dir, namespace=config.namespace, component=config.component, model=config.model
        ),
        bootstrap_host=facts.bootstrap_host,
        bootstrap_port=facts.bootstrap_port,
        user_data=dict(config.user_data),
    )


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
