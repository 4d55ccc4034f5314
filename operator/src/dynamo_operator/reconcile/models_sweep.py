"""One round over the workers of a model: a few at a time, and over by its deadline whatever they do.

Duty: have each ready worker load or unload what it should, the longest untried first, so that workers that hang keep no
others from their turn. It must not know Kubernetes. Caller: the models' reconciler.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from dynamo_operator.plan.models import Endpoint, Finding, Wish, steps_of
from dynamo_operator.plan.models_secrets import without_secrets
from dynamo_operator.reconcile.models_workers import LONGEST_REASON, WorkerFailed, Workers

CONCURRENT_WORKERS = 10
ROUND_S = 30.0
REPEAT_S = 30.0  # an accepted load that does not show is asked for again after this long; downloads take minutes

Place = tuple[str, str]  # a model's uid and an endpoint's address


@dataclass(frozen=True, slots=True)
class _Try:
    """`accepted`: the mark of a load that the worker accepted, and when; empty before."""

    at_s: float
    accepted: str = ""
    accepted_at_s: float = 0.0


class Sweep:
    """Remembers only when workers were asked; lost without harm. `monotonic` gives seconds."""

    def __init__(
        self,
        workers: Workers,
        monotonic: Callable[[], float],
        *,
        round_s: float = ROUND_S,
        concurrency: int = CONCURRENT_WORKERS,
    ) -> None:
        self._workers = workers
        self._monotonic = monotonic
        self._round_s = round_s
        self._concurrency = concurrency
        self._tries: dict[Place, _Try] = {}

    @property
    def remembered(self) -> int:
        """Workers of models that it knows the last try of."""
        return len(self._tries)

    async def load(
        self,
        uid: str,
        wish: Wish,
        marks: Mapping[Endpoint, str],
        kept: frozenset[str],
    ) -> tuple[Finding, ...]:
        """Findings in the order of `marks`, which has every endpoint with what we loaded there before."""
        self._forget(uid, {endpoint.address for endpoint in marks})

        async def visit(endpoint: Endpoint) -> Finding:
            return await self._load_one(uid, wish, endpoint, marks[endpoint], kept)

        ready = [each for each in marks if each.is_ready]
        found = await self._round(uid, ready, visit, wish.uri)
        findings = (found.get(each) or Finding(each) for each in marks)
        return tuple(replace(each, mark=each.mark or marks[each.endpoint]) for each in findings)

    async def unload(self, uid: str, wish: Wish, marks: Mapping[Endpoint, str], adapters: frozenset[str]) -> list[str]:
        """Have every worker drop the adapters, unready ones too: they may come back. One sentence for each failure."""

        async def visit(endpoint: Endpoint) -> Finding:
            for name in sorted(adapters):
                await self._workers.unload(endpoint.address, name)
            return Finding(endpoint, is_ready=True)

        found = await self._round(uid, marks, visit, wish.uri)
        self._forget(uid, set())
        return [
            f"{each.endpoint.pod or each.endpoint.address} {each.failure}" for each in found.values() if each.failure
        ]

    def forget(self, uid: str) -> None:
        """The model is gone."""
        self._forget(uid, set())

    async def _round(
        self, uid: str, endpoints: Iterable[Endpoint], visit: Callable[[Endpoint], Awaitable[Finding]], uri: str
    ) -> dict[Endpoint, Finding]:
        waiting = sorted(endpoints, key=lambda each: self._tried_at_s(uid, each))
        found: dict[Endpoint, Finding] = {}

        async def serve() -> None:
            while waiting:
                endpoint = waiting.pop(0)
                last = self._tries.get((uid, endpoint.address), _Try(0.0))
                self._tries[uid, endpoint.address] = _Try(self._monotonic(), last.accepted, last.accepted_at_s)
                found[endpoint] = Finding(endpoint, failure=f"does not answer within {self._round_s:g} s")
                try:
                    found[endpoint] = await visit(endpoint)
                except WorkerFailed as error:
                    found[endpoint] = Finding(endpoint, failure=_shown(error, uri))

        try:
            async with asyncio.timeout(self._round_s), asyncio.TaskGroup() as group:
                for _ in range(min(self._concurrency, len(waiting))):
                    group.create_task(serve())
        except TimeoutError:
            late = f"was not asked within {self._round_s:g} s"
            found |= {each: Finding(each, failure=late) for each in waiting}
        return found

    async def _load_one(self, uid: str, wish: Wish, endpoint: Endpoint, mark: str, kept: frozenset[str]) -> Finding:
        address = endpoint.address
        try:
            loaded = await self._workers.loras(address)
            steps = steps_of(wish, mark, loaded, kept)
            if steps.unload:
                await self._workers.unload(address, steps.unload)
            if steps.load and (steps.unload or not self._is_loading(uid, address, wish.mark)):
                await self._workers.load(address, wish.name, wish.uri)
                now_s = self._monotonic()
                self._tries[uid, address] = _Try(now_s, wish.mark, now_s)
                mark = wish.mark
            if steps.unload or steps.load:
                loaded = await self._workers.loras(address)
        except WorkerFailed as error:
            return Finding(endpoint, mark, failure=_shown(error, wish.uri))
        is_ready = wish.name in loaded
        return Finding(endpoint, wish.mark if is_ready else mark, is_ready)

    def _is_loading(self, uid: str, address: str, mark: str) -> bool:
        last = self._tries.get((uid, address))
        return last is not None and last.accepted == mark and self._monotonic() - last.accepted_at_s < REPEAT_S

    def _tried_at_s(self, uid: str, endpoint: Endpoint) -> float:
        last = self._tries.get((uid, endpoint.address))
        return last.at_s if last else float("-inf")

    def _forget(self, uid: str, addresses: set[str]) -> None:
        gone = [place for place in self._tries if place[0] == uid and place[1] not in addresses]
        for place in gone:
            del self._tries[place]


def _shown(error: WorkerFailed, uri: str) -> str:
    """Secrets go first: a cut through one would hide it from the search."""
    return without_secrets(str(error), uri)[:LONGEST_REASON]
