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


Tasks = dict[Exchange, asyncio.Task[None]]


class Front:
    """Starts a task per request and knows which are under way."""

    def __init__(self, pipeline: Pipeline, log: EventLog) -> None:
        self._pipeline = pipeline
        self._log = log
        self._app: App | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._inference: Tasks = {}
        self._others: Tasks = {}
        self._is_drained = asyncio.Event()
        self._has_started = asyncio.Event()
        self._is_closed = False
        self.is_draining = False
        """Not ready any more, so that whoever sends clients here stops; requests are still served."""

    def mount(self, app: App) -> None:
        """The application behind all routes that are not inference; needs `is_draining`, hence comes later."""
        self._app = app

    def serve(self, exchange: Exchange) -> None:
        endpoint = INFERENCE_ROUTES.get(exchange.target.partition(b"?")[0]) if exchange.method == b"POST" else None
        if endpoint is None:
            assert self._app is not None
            self._start(self._others, exchange, serve_app(self._app, exchange, self._log))
        elif self._is_closed:
            exchange.keeps_alive = False
            exchange.refuse(Unavailable("Service is not ready: it is shutting down", retry_after_s=1))
        else:
            # Who still comes is served, and told to connect elsewhere for the next request.
            exchange.keeps_alive = exchange.keeps_alive and not self.is_draining
            self._has_started.set()
            self._start(self._inference, exchange, self._pipeline.serve(exchange, endpoint))

    async def drain(self, timeout_s: float, *, linger_s: float = 0.0) -> bool:
        """Waits for what is under way, then refuses; False when some was cut at the deadline.

        `linger_s`: how long nothing may have begun at the end. A client whose stream has just ended may send its next
        request on the same connection, which nobody told it to leave.
        """
        self.is_draining = True
        try:
            async with asyncio.timeout(timeout_s):
                await self._until_quiet(linger_s)
        except TimeoutError:
            pass
        self._is_closed = True
        tasks = tuple(self._inference.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return not tasks

    async def _until_quiet(self, linger_s: float) -> None:
        while True:
            while self._inference:
                self._is_drained.clear()
                await self._is_drained.wait()
            if not linger_s:
                return
            self._has_started.clear()
            try:
                async with asyncio.timeout(linger_s):
                    await self._has_started.wait()
            except TimeoutError:
                return

    def _start(self, under_way: Tasks, exchange: Exchange, serving: Coroutine[None, None, None]) -> None:
        # The loop is kept: asking for the running one is a system call in CPython 3.11.
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        under_way[exchange] = self._loop.create_task(serving)
        exchange.on_hangup = self._cancel
        exchange.on_end = self._forget

    def _cancel(self, exchange: Exchange) -> None:
        task = self._inference.get(exchange) or self._others.get(exchange)
        self._forget(exchange)
        if task is not None:
            task.cancel()

    def _forget(self, exchange: Exchange) -> None:
        if self._inference.pop(exchange, None) is None:
            self._others.pop(exchange, None)
        elif self.is_draining and not self._inference:
            self._is_drained.set()
