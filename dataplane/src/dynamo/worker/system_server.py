"""The worker's system port: health, metrics, KV state for routers, tokenizer files, adapters.

Routes only; what they show and change is `LiveWorker`'s. Built and closed by the shell.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import msgspec

from dynamo.wire.router_events import encode
from dynamo.worker import tokenizer_files
from dynamo.worker.live import LiveWorker, Phase
from dynamo.worker.metrics import metrics_text
from dynamo.worker.ports import LoraRefused, UnknownLora
from dynamo.worker.responder import Request, Responder, Response

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SERVING_PHASES = (Phase.SERVING, Phase.DRAINING)
MAX_NAME_CHARS = 256


class _LoraSource(msgspec.Struct, frozen=True):
    uri: str


class _LoraAsk(msgspec.Struct, frozen=True):
    lora_name: str
    source: _LoraSource


class SystemServer:
    """Answers from its start on: 503 on health until the worker serves."""

    def __init__(self, worker: LiveWorker) -> None:
        self._worker = worker
        self._responder = Responder(self.handle)
        self._exact: dict[str, dict[str, Callable[[Request], Awaitable[Response]]]] = {
            worker.config.health_path: {"GET": self._health},
            worker.config.live_path: {"GET": self._live},
            "/metrics": {"GET": self._metrics},
            "/engine/status": {"GET": self._status},
        }
        self._below: dict[str, dict[str, Callable[[Request], Awaitable[Response]]]] = {
            "/v1/kv_state/": {"GET": self._kv_state},
            "/v1/metadata/": {"GET": self._metadata},
        }
        if worker.config.lora_enabled:
            self._exact["/v1/loras"] = {"GET": self._list_loras, "POST": self._load_lora}
            self._below["/v1/loras/"] = {"DELETE": self._unload_lora}

    async def start(self) -> str:
        """Returns the base URL peers reach it at. Raises OSError when the port is taken."""
        config = self._worker.config
        try:
            port = await self._responder.start(config.system_host, config.system_port)
        except OSError as error:
            where = f"{config.system_host}:{config.system_port}"
            raise OSError(f"DYN_SYSTEM_PORT: cannot listen on {where}: {error.strerror or error}") from error
        host = f"[{config.peer_host}]" if ":" in config.peer_host else config.peer_host
        return f"http://{host}:{port}"

    async def close(self) -> None:
        await self._responder.close()

    async def handle(self, request: Request) -> Response:
        verbs = self._exact.get(request.path) or next(
            (verbs for prefix, verbs in self._below.items() if request.path.startswith(prefix)), None
        )
        if verbs is None:
            return _error(404, "Route not found", request.path)
        answer = verbs.get("GET" if request.method == "HEAD" else request.method)
        if answer is None:
            return _error(405, "Method not allowed", f"{request.path} takes {', '.join(verbs)}")
        return await answer(request)

    async def _health(self, _: Request) -> Response:
        return self._readiness(self._worker.phase is Phase.SERVING and self._worker.is_answering)

    async def _live(self, _: Request) -> Response:
        """A draining worker is alive; one that starts is not yet, which start-up probes wait for.

        One whose engine stands still is not: frontends give it up, and the kubelet starts it anew.
        """
        return self._readiness(self._worker.phase in _SERVING_PHASES and self._worker.is_answering)

    def _readiness(self, is_ready: bool) -> Response:
        word = "ready" if is_ready else "notready"
        uptime_ns = int((time.monotonic() - self._worker.started_s) * 1e9)
        body = {
            "status": word,
            "uptime": {"secs": uptime_ns // 10**9, "nanos": uptime_ns % 10**9},
            "endpoints": {"generate": word},
        }
        return Response(200 if is_ready else 503, msgspec.json.encode(body), "text/plain; charset=utf-8")

    async def _metrics(self, _: Request) -> Response:
        return Response(200, await metrics_text(self._worker), _METRICS_TYPE)

    async def _status(self, _: Request) -> Response:
        worker = self._worker
        return _json(
            {
                "state": worker.phase.value,
                "inflight_requests": worker.engine.in_flight,
                "safe_to_delete": not worker.is_registered and worker.engine.in_flight == 0,
                "discovery_registered": worker.is_registered,
            }
        )

    async def _kv_state(self, request: Request) -> Response:
        rank, after = request.path.rpartition("/")[2], request.query.get("after")
        if after is not None and not after.removeprefix("-").isdecimal():
            return _error(400, "Bad request", f"after: found {after!r}, expected an event id")
        relay = self._worker.relay
        state = relay.state(int(rank), None if after is None else int(after)) if relay and rank.isdecimal() else None
        if state is None:
            return _error(404, "Route not found", f"{request.path}: this worker has no such rank")
        return Response(200, encode(state), "application/msgpack")

    async def _metadata(self, request: Request) -> Response:
        facts, card = self._worker.facts, self._worker.card
        folder, _, name = request.path.rpartition("/")
        if facts is None or facts.tokenizer_dir is None or card is None or card.tokenizer is None:
            return _error(404, "Route not found", request.path)
        if folder != tokenizer_files.decoded(card.tokenizer.path):
            return _error(404, "Route not found", request.path)
        content = await asyncio.to_thread(tokenizer_files.read, facts.tokenizer_dir, name)
        if content is None:
            return _error(404, "Route not found", request.path)
        return Response(200, content, "application/octet-stream")

    async def _list_loras(self, _: Request) -> Response:
        loras = dict(self._worker.engine.loras)
        return _json({"status": "success", "loras": loras, "count": len(loras)})

    async def _load_lora(self, request: Request) -> Response:
        if self._worker.phase is not Phase.SERVING:
            return _error(503, "Unavailable", f"the worker is {self._worker.phase.value}")
        try:
            ask = msgspec.json.decode(request.body, type=_LoraAsk)
        except msgspec.ValidationError as error:
            return _error(422, "Unprocessable entity", f"{error}; expected {{lora_name, source: {{uri}}}}")
        except msgspec.DecodeError as error:
            return _error(400, "Bad request", f"body: {error}")
        if not ask.lora_name or len(ask.lora_name) > MAX_NAME_CHARS:
            return _error(422, "Unprocessable entity", f"lora_name: expected 1 to {MAX_NAME_CHARS} characters")
        if ask.lora_name in (self._worker.config.model, *self._worker.config.aliases):
            return _error(409, "Conflict", f"lora_name: {ask.lora_name!r} is the name of the base model")
        try:
            loras = await self._worker.load_lora(ask.lora_name, ask.source.uri)
        except LoraRefused as error:
            return _error(400, "Not loaded", str(error))
        return _json({"status": "success", "lora_name": ask.lora_name, "lora_id": loras.get(ask.lora_name)})

    async def _unload_lora(self, request: Request) -> Response:
        name = request.path.removeprefix("/v1/loras/")
        try:
            await self._worker.unload_lora(name)
        except UnknownLora as error:
            return _error(404, "Unknown adapter", str(error))
        except LoraRefused as error:
            return _error(400, "Not unloaded", str(error))
        return _json({"status": "success", "lora_name": name})


def _json(body: object) -> Response:
    return Response(200, msgspec.json.encode(body))


def _error(status: int, kind: str, message: str) -> Response:
    return Response(status, msgspec.json.encode({"status": "error", "error": kind, "message": message}))
