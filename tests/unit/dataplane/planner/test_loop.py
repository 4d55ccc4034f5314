"""The loop with a connector and pages of its own: what it writes, what it says, and that nothing stops it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from dynamo.planner.connector import Happening
from dynamo.planner.errors import PlannerError, Refused, Unreachable
from dynamo.planner.exposition import Exposition
from dynamo.planner.loop import Planner
from dynamo.planner.measure import Measure, Scope
from dynamo.planner.observation import Bounds, Decision, Pace, Policy, State, Targets
from dynamo.planner.scrape import Page
from dynamo.planner.sight import Component, Sight, Source, Steadiness
from dynamo.planner.writes import writes
from dynamo.process.logs import EventLog
from dynamo.wire.cards import Role

A = Role.AGGREGATED
POLICY = Policy(Targets(1.0, 0.05), Bounds({A: 1}, 8), Pace(5, 20))


@dataclass
class FakeGraph:
    """A connector whose graph obeys at once, or refuses."""

    desired: int = 2
    steadiness: Steadiness = Steadiness.SETTLED
    error: PlannerError | None = None
    refuses: PlannerError | None = None
    told: list[tuple[Happening, str]] = field(default_factory=list)

    async def look(self) -> Sight:
        if self.error is not None:
            raise self.error
        component = Component("decode", self.desired, self.desired, self.desired)
        return Sight({A: component}, (Source("f", ""),), {A: (Source("w", ""),)}, self.steadiness, "a rollout")

    async def scale(self, component: str, replicas: int) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.desired = replicas

    async def tell(self, happening: Happening, message: str, *, is_warning: bool = False) -> None:
        self.told.append((happening, message))

    async def close(self) -> None:
        """Nothing is held."""


@dataclass
class FakePages:
    started: float = 0.0
    is_silent: bool = False

    async def fetch(self, sources: Iterable[Source]) -> dict[str, Page]:
        if self.is_silent:
            return {source.name: Page(None, "no metrics within 4 s") for source in sources}
        frontend = f"dynamo_frontend_requests_started_total {self.started}\n"
        worker = "vllm:num_requests_running 0\nvllm:num_requests_waiting 0\n"
        return {source.name: Page(frontend if source.name == "f" else worker) for source in sources}


@dataclass
class Stage:
    graph: FakeGraph = field(default_factory=FakeGraph)
    pages: FakePages = field(default_factory=FakePages)
    is_advisory: bool = False
    now_s: float = 100.0

    def __post_init__(self) -> None:
        self._text = io.StringIO()
        self.log = EventLog(self._text)
        self.exposition = Exposition(POLICY)
        self.planner = Planner(
            self.graph, self.pages, Measure(Scope(), 5), POLICY, self.exposition, self.log,
            is_advisory=self.is_advisory, clock=lambda: self.now_s,
        )  # fmt: skip

    async def ticks(self, count: int) -> None:
        for _ in range(count):
            self.now_s += 5
            await self.planner.tick()

    @property
    def text(self) -> str:
        self.log.flush()
        return self._text.getvalue()

    @property
    def happenings(self) -> list[Happening]:
        return [happening for happening, _ in self.graph.told]


async def test_idle_graph_shrinks_to_its_floor_with_one_event() -> None:
    stage = Stage()

    await stage.ticks(8)

    assert stage.graph.desired == 1
    assert stage.happenings == [Happening.HOLDING, Happening.RESUMED, Happening.SCALED]
    assert stage.text.count("planner_scaled") == 1
    assert 'dynamo_planner_load_scaling_decision{dynamo_planner_load_scaling_decision="no_change"} 1.0' in (
        stage.exposition.text().decode()
    )


async def test_silence_holds_with_one_event_and_goes_on_after() -> None:
    stage = Stage(FakeGraph(desired=4))
    await stage.ticks(2)
    stage.pages.is_silent = True

    await stage.ticks(9)

    assert stage.graph.desired == 4
    assert stage.happenings[2:] == [Happening.HOLDING]
    assert "f: no metrics within 4 s" in stage.graph.told[-1][1]
    assert "dynamo_planner_holding 1.0" in stage.exposition.text().decode()


async def test_refused_write_is_told_and_tried_again() -> None:
    stage = Stage(FakeGraph(refuses=Refused("adapters are forbidden")))
    await stage.ticks(8)

    assert stage.graph.desired == 2
    assert (Happening.REFUSED, "decode 2 -> 1: adapters are forbidden") in stage.graph.told

    stage.graph.refuses = None
    await stage.ticks(1)
    assert stage.graph.desired == 1


async def test_rollout_keeps_writes_back_and_says_so() -> None:
    stage = Stage(FakeGraph(steadiness=Steadiness.BLOCKED))

    await stage.ticks(8)

    assert stage.graph.desired == 2
    assert (Happening.HOLDING, "holding: a rollout") in stage.graph.told


async def test_advice_changes_nothing() -> None:
    stage = Stage(is_advisory=True)

    await stage.ticks(8)

    assert stage.graph.desired == 2
    assert 'planner_advises change="decode 2 -> 1"' in stage.text


async def test_dead_control_plane_never_ends_the_loop() -> None:
    stage = Stage(FakeGraph(error=Unreachable("reading graph g: no answer within 10 s")))

    await stage.ticks(5)

    assert stage.text.count("planner_holds") == 1
    assert stage.planner.is_alive()
    assert "dynamo_planner_tick_skipped_total 5.0" in stage.exposition.text().decode()


async def test_loop_that_stands_still_is_not_alive() -> None:
    stage = Stage()
    stage.now_s += 121

    assert not stage.planner.is_alive()


async def test_stop_breaks_off_a_tick_that_hangs() -> None:
    stage, stop = Stage(), asyncio.Event()
    looked = asyncio.Event()

    async def hang() -> Sight:
        looked.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    stage.graph.look = hang  # type: ignore[method-assign]
    running = asyncio.create_task(stage.planner.run(stop))
    await asyncio.wait_for(looked.wait(), 5)
    stop.set()

    await asyncio.wait_for(running, 5)


def test_growing_graph_may_grow_more_but_not_lose_ready_workers() -> None:
    component = Component("decode", desired=6, ready=4, present=6)
    sight = Sight({A: component}, (), {}, Steadiness.GROWING, "decode is not stable")

    def written(after: int, found: Sight = sight) -> list[int]:
        return [write.after for write in writes(Decision({A: after}, "", State()), found)[0]]

    assert (written(8), written(5), written(4), written(3), written(6)) == ([8], [5], [4], [], [])
    assert written(3, replace(sight, steadiness=Steadiness.SETTLED)) == [3]
    assert written(8, replace(sight, steadiness=Steadiness.BLOCKED)) == []
