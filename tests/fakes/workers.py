"""Workers in memory that load adapters, with faults: the `Workers` port of the models' reconciler."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from dynamo_operator.reconcile.models_workers import WorkerFailed


@dataclass
class FakeWorker:
    """`adapters`: name -> address that it was loaded from. `calls` lists verbs and names.

    trouble: said instead of doing anything. is_hanging: never answers, and `hung` is set when it is asked.
    is_slow_to_load: accepts a load and lists it only after `finish`.
    """

    adapters: dict[str, str] = field(default_factory=dict)
    loading: dict[str, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    trouble: str = ""
    is_hanging: bool = False
    is_slow_to_load: bool = False
    hung: asyncio.Event = field(default_factory=asyncio.Event)

    def finish(self) -> None:
        self.adapters |= self.loading
        self.loading = {}


class FakeWorkers:
    """Workers by address; others cannot be reached."""

    def __init__(self, **workers: FakeWorker) -> None:
        self.by_address = {f"http://{name}:9090": worker for name, worker in workers.items()}
        self.most_at_once = 0
        self._now = 0

    async def loras(self, address: str) -> frozenset[str]:
        return frozenset((await self._reached(address, "list")).adapters)

    async def load(self, address: str, name: str, uri: str) -> None:
        worker = await self._reached(address, f"load {name}")
        if worker.adapters.get(name, uri) != uri:
            raise WorkerFailed(f"answers POST with 400: {name} is loaded from elsewhere")
        (worker.loading if worker.is_slow_to_load else worker.adapters)[name] = uri

    async def unload(self, address: str, name: str) -> None:
        worker = await self._reached(address, f"unload {name}")
        worker.adapters.pop(name, None)

    async def _reached(self, address: str, call: str) -> FakeWorker:
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            await asyncio.sleep(0)
            worker = self.by_address.get(address)
            if worker is None:
                raise WorkerFailed("cannot be reached (ConnectError)")
            worker.calls.append(call)
            if worker.is_hanging:
                worker.hung.set()
                await asyncio.Event().wait()
            if worker.trouble:
                raise WorkerFailed(worker.trouble)
            return worker
        finally:
            self._now -= 1
