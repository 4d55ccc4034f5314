"""The mocker as an `Engine` of the worker shell: starts its server and event sockets, stops them, reports.

`__main__` builds one per worker; several may share a process and an event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import zmq

from dynamo.mocker.api import Api, metrics_text
from dynamo.mocker.config import MockerConfig
from dynamo.mocker.connection import Connection
from dynamo.mocker.kv_events import KvEventPublisher
from dynamo.mocker.service import AdapterRefused, Publish, Service
from dynamo.mocker.tokenizer import TINY_MODEL, ModelTokenizer, TokenizerError
from dynamo.process.logs import EventLog
from dynamo.worker.ports import EngineFacts, EngineFailed, EngineLoad, LoraRefused, UnknownLora

LISTEN_BACKLOG = 1024


class MockerEngine:
    """One simulated engine replica behind its own OpenAI server."""

    def __init__(self, config: MockerConfig, log: EventLog) -> None:
        self._config = config
        self._log = log
        self._service: Service | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._publishers: list[KvEventPublisher] = []
        self._context: zmq.Context[Any] | None = None

    async def start(self) -> EngineFacts:
        config, loop = self._config, asyncio.get_running_loop()
        if config.startup_s:
            await asyncio.sleep(config.startup_s)
        try:
            tokenizer = ModelTokenizer(config.tokenizer_dir or TINY_MODEL)
            publishers = self._open_events(loop)
            self._service = Service(config, tokenizer, publishers, loop, self._log)
            handler = Api(self._service).handle
            self._server = await loop.create_server(
                lambda: Connection(handler, self._connections), config.host, config.port, backlog=LISTEN_BACKLOG
            )
        except TokenizerError as error:
            raise EngineFailed(f"--model-path: {error}") from error
        except zmq.ZMQError as error:
            raise EngineFailed(f"KV event port: {error.strerror or error}") from error
        except OSError as error:
            raise EngineFailed(f"{config.host}:{config.port}: {error.strerror or error}") from error
        return self._facts()

    async def wait_dead(self) -> str:
        """A simulated engine lives in this process: it dies only with it."""
        await asyncio.Future[None]()
        raise AssertionError("unreachable")

    async def stop_accepting(self) -> None:
        if self._service is not None:
            self._service.is_accepting = False

    @property
    def in_flight(self) -> int:
        return self._service.in_flight if self._service is not None else 0

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        if self._service is not None:
            self._service.stop()
        for connection in list(self._connections):
            connection.close()
        if server is not None:
            await server.wait_closed()
        loop = asyncio.get_running_loop()
        for publisher in self._publishers:
            publisher.close(loop)
        self._publishers.clear()
        context, self._context = self._context, None
        if context is not None:
            context.term()

    async def metrics_text(self) -> bytes:
        return metrics_text(self._service) if self._service is not None else b""

    def read_load(self) -> tuple[EngineLoad, ...]:
        if self._service is None:
            return ()
        loads = [rank.scheduler.load() for rank in self._service.ranks]
        return tuple(
            EngineLoad(
                dp_rank=rank,
                running_requests=load.running,
                waiting_requests=load.waiting,
                active_decode_blocks=load.active_blocks,
                active_prefill_tokens=load.prefill_tokens,
                kv_used_blocks=load.used_blocks,
            )
            for rank, load in enumerate(loads)
        )

    @property
    def progress(self) -> tuple[int, ...]:
        return tuple(rank.steps for rank in self._service.ranks) if self._service is not None else ()

    async def load_lora(self, name: str, uri: str) -> None:
        try:
            self._started.load_adapter(name, uri)
        except AdapterRefused as error:
            raise LoraRefused(str(error)) from error

    async def unload_lora(self, name: str) -> None:
        try:
            self._started.unload_adapter(name)
        except KeyError:
            raise UnknownLora(f"no adapter {name!r} is loaded") from None

    @property
    def loras(self) -> Mapping[str, int]:
        if self._service is None:
            return {}
        return {name: adapter.number for name, adapter in self._service.adapters.items()}

    @property
    def _started(self) -> Service:
        if self._service is None:
            raise LoraRefused("the engine has not started")
        return self._service

    def _open_events(self, loop: asyncio.AbstractEventLoop) -> list[Publish]:
        config = self._config
        if not config.publishes_events:
            return [lambda _: None] * config.data_parallel_size
        self._context = zmq.Context()
        for rank in range(config.data_parallel_size):
            # Ports that were asked for are for outsiders too, as upstream binds them.
            is_asked = config.kv_event_port is not None
            bind = f"tcp://*:{(config.kv_event_port or 0) + rank}" if is_asked else "tcp://127.0.0.1:*"
            replay = f"tcp://*:{config.replay_port + rank}" if config.replay_port is not None else "tcp://127.0.0.1:*"
            publisher = KvEventPublisher(self._context, rank, config.limits.block_size, bind, replay)
            publisher.listen(loop)
            self._publishers.append(publisher)
        return [publisher.publish for publisher in self._publishers]

    def _facts(self) -> EngineFacts:
        config = self._config
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        host = f"[{config.advertised_host}]" if ":" in config.advertised_host else config.advertised_host
        return EngineFacts(
            address=f"http://{host}:{port}",
            kv_event_endpoints=tuple(f"tcp://127.0.0.1:{publisher.port}" for publisher in self._publishers),
            kv_replay_endpoints=tuple(f"tcp://127.0.0.1:{publisher.replay_port}" for publisher in self._publishers),
            block_size=config.limits.block_size,
            total_kv_blocks=config.limits.total_blocks,
            max_num_seqs=config.limits.max_num_seqs,
            max_num_batched_tokens=config.limits.max_num_batched_tokens,
            context_length=config.context_tokens,
            data_parallel_size=config.data_parallel_size,
            model_types=config.model_types,
            tokenizer_dir=config.tokenizer_dir or TINY_MODEL,
        )
