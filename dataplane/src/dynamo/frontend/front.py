"""What happens to a complete request: the hot path for inference, FastAPI for everything else; and the drain.

Owns the tasks that serve requests. Called by the listener once per request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from dynamo.frontend.asgi import App, serve_app
from dynamo.frontend.calls import Endpoint
from dynamo.frontend.exchange import Exchange
from dynamo.frontend.pipeline import Pipeline
from dynamo.process.logs import EventLog
from dynamo.wire.errors import Unavailable

INFERENCE_ROUTES: dict[bytes, Endpoint] = {
    b"/v1/chat/completions": Endpoint.CHAT,
    b"/v1/completions": Endpoint.COMPLETIONS,
    b"/v1/embeddings": Endpoint.EMBEDDINGS,
    b"/v1/responses": Endpoint.RESPONSES,
}


class Front:
    """Starts a task per request and knows which are under way."""

    def __init__(self, pipeline: Pipeline, log: EventLog) -> None:
        self._pipeline = pipeline
        self._log = log
        self._app: App | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._inference = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.is_draining = False

    def mount(self, app: App) -> None:
        """The application behind all routes that are not inference; needs `is_draining`, hence comes later."""
        self._app = app

    def serve(self, exchange: Exchange) -> None:
        endpoint = INFERENCE_ROUTES.get(exchange.target.partition(b"?")[0]) if exchange.method == b"POST" else None
        if endpoint is None:
            assert self._app is not None
            self._start(exchange, serve_app(self._app, exchange, self._log))
        elif self.is_draining:
            exchange.keeps_alive = False
            exchange.refuse(Unavailable("Service is not ready: it is draining", retry_after_s=1))
        else:
            self._inference += 1
            self._idle.clear()
            task = self._start(exchange, self._pipeline.serve(exchange, endpoint))
            task.add_done_callback(self._ended)

    async def drain(self, timeout_s: float) -> bool:
        """Refuses new inference and waits for what is under way; False when some was cut at the deadline."""
        self.is_draining = True
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            tasks = tuple(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            return False
        return True

    def _start(self, exchange: Exchange, serving: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(serving)
        exchange.on_hangup = lambda: _cancel(task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _ended(self, _: asyncio.Task[None]) -> None:
        self._inference -= 1
        if not self._inference:
            self._idle.set()


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
