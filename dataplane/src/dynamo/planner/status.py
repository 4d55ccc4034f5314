"""The planner's HTTP: liveness, readiness and its metrics, on the system port and on the metrics port.

Routes only. Built and closed by `__main__`.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from dynamo.planner.errors import PlannerError
from dynamo.worker.responder import Request, Responder, Response

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class StatusServer:
    """Answers from `start` to `close`."""

    def __init__(
        self, metrics: Callable[[], bytes], is_alive: Callable[[], bool], is_ready: Callable[[], bool]
    ) -> None:
        self._metrics = metrics
        self._is_alive = is_alive
        self._is_ready = is_ready
        self._servers: list[Responder] = []

    async def start(self, variable: str, host: str, port: int) -> int:
        """Listens on one more port and returns it. Raises PlannerError naming `variable` when it is taken."""
        server = Responder(self._answer)
        try:
            bound = await server.start(host, port)
        except OSError as error:
            raise PlannerError(f"{variable}: cannot listen on {host}:{port}: {error.strerror or error}") from error
        self._servers.append(server)
        return bound

    async def close(self) -> None:
        for server in self._servers:
            await server.close()

    async def _answer(self, request: Request) -> Response:
        match request.path:
            case "/live":
                return _health(self._is_alive())
            case "/health":
                return _health(self._is_ready() and self._is_alive())
            case "/metrics":
                return Response(200, self._metrics(), _METRICS_TYPE)
        return Response(404, msgspec.json.encode({"status": "error", "message": f"{request.path}: no such route"}))


def _health(is_well: bool) -> Response:
    word = "ready" if is_well else "notready"
    return Response(200 if is_well else 503, msgspec.json.encode({"status": word, "endpoints": {"generate": word}}))
