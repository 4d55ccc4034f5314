"""Who doubts is answered by the API server, seldom; what changed ends the process; at rest nothing is asked."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import threading
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field

import pytest

from dynamo_operator.handlers.facts import JUDGED_BY
from dynamo_operator.handlers.neighbours import (
    ASK_CAP_S,
    IMPATIENCE_S,
    LISTS_LIMIT_S,
    LOOK_APART_S,
    LOOKS,
    SETTLING_S,
    Neighbours,
    Refusals,
    Wanted,
    until_served,
)
from dynamo_operator.handlers.running import ServiceEnded
from dynamo_operator.kube import Kind, Unreachable
from dynamo_operator.kube.objects import (
    DEPLOYMENT,
    GRAPH,
    LEADER_WORKER_SET,
    MODEL,
    POD_CLIQUE,
    POD_CLIQUE_SET,
    VIRTUAL_SERVICE,
)
from tests.unit.operator_plane.handlers.objects import packed
from tests.unit.operator_plane.handlers.virtual import in_virtual_time

PLAIN = frozenset({DEPLOYMENT, GRAPH, MODEL})
WANTED = Wanted(PLAIN | JUDGED_BY | {POD_CLIQUE, VIRTUAL_SERVICE}, frozenset({GRAPH, MODEL}), JUDGED_BY)
LONG_S = 7 * 24 * 3600.0


@dataclass
class Server:
    """What it serves changes by the schedule: from each moment on, these kinds, or an error."""

    schedule: list[tuple[float, frozenset[Kind] | None]] = field(default_factory=lambda: [(0.0, PLAIN)])
    asked_at_s: list[float] = field(default_factory=list)

    async def served(self) -> frozenset[tuple[str, str]]:
        now_s = asyncio.get_running_loop().time()
        self.asked_at_s.append(now_s)
        kinds = [kinds for since_s, kinds in self.schedule if since_s <= now_s][-1]
        if kinds is None:
            raise Unreachable("GET /apis: connection refused")
        return frozenset((kind.api_version, kind.name) for kind in kinds)


@dataclass
class Stage:
    neighbours: Neighbours
    server: Server
    unlisted: set[Kind]
    running: asyncio.Task[None]

    async def until_ended(self) -> tuple[str, float]:
        """Why it ended, and when."""
        with pytest.raises(ServiceEnded) as ended:
            await asyncio.wait_for(self.running, LONG_S)
        return str(ended.value), asyncio.get_running_loop().time()


@contextlib.asynccontextmanager
async def running(
    *schedule: tuple[float, frozenset[Kind] | None],
    found: Collection[Kind] = PLAIN,
    unlisted: Collection[Kind] = (),
) -> AsyncIterator[Stage]:
    server, lacking = Server(list(schedule) or [(0.0, PLAIN)]), set(unlisted)
    served = {(kind.api_version, kind.name) for kind in found}
    neighbours = Neighbours(server, WANTED, served, unlisted=lambda: lacking)
    task = asyncio.create_task(neighbours.run())
    yield Stage(neighbours, server, lacking, task)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def at(delay_s: float, act: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(delay_s, act)


def test_without_doubts_nothing_is_asked_for_a_week() -> None:
    async def main() -> list[float]:
        async with running() as stage:
            await asyncio.sleep(LONG_S)
            assert not stage.running.done()
            return stage.server.asked_at_s

    assert in_virtual_time(main) == []


def test_a_doubt_that_proves_unfounded_costs_two_looks_and_then_rest() -> None:
    async def main() -> list[float]:
        async with running() as stage:
            stage.neighbours.doubt("somebody wonders")
            await asyncio.sleep(LONG_S)
            return stage.server.asked_at_s

    assert in_virtual_time(main) == [0.0, LOOK_APART_S]


def test_steady_doubts_ask_no_more_often_than_every_ten_seconds() -> None:
    async def main() -> list[float]:
        async with running() as stage:
            for _ in range(800):
                stage.neighbours.doubt("again")
                await asyncio.sleep(0.125)
            return stage.server.asked_at_s

    asked = in_virtual_time(main)
    assert len(asked) <= 1 + 100 / LOOK_APART_S
    assert min(later - earlier for earlier, later in itertools.pairwise(asked)) >= LOOK_APART_S


def test_a_kind_that_came_ends_the_process_by_name() -> None:
    async def main() -> tuple[str, float]:
        async with running((0.0, PLAIN | {LEADER_WORKER_SET})) as stage:
            stage.neighbours.doubt("a graph needs it")
            return await stage.until_ended()

    why, when_s = in_virtual_time(main)
    assert why.startswith("LeaderWorkerSet came;")
    assert when_s == SETTLING_S


def test_a_kind_that_went_ends_the_process_by_name() -> None:
    async def main() -> tuple[str, float]:
        async with running(found=PLAIN | {LEADER_WORKER_SET}) as stage:
            stage.neighbours.doubt("the watches begin anew")
            return await stage.until_ended()

    assert in_virtual_time(main)[0].startswith("LeaderWorkerSet went;")


def test_a_doubt_before_the_api_server_knows_is_answered_by_the_second_look() -> None:
    async def main() -> tuple[str, float]:
        async with running((0.0, PLAIN), (1.0, PLAIN | {LEADER_WORKER_SET})) as stage:
            stage.neighbours.doubt("a graph needs it")
            return await stage.until_ended()

    assert in_virtual_time(main)[1] == LOOK_APART_S + SETTLING_S


def test_half_installed_neighbours_are_waited_for() -> None:
    """Begun anew between its two kinds, the process would never hear of the second."""

    async def main() -> tuple[str, float]:
        both = PLAIN | {POD_CLIQUE, POD_CLIQUE_SET}
        async with running((0.0, PLAIN | {POD_CLIQUE_SET}), (1.0, both)) as stage:
            stage.neighbours.doubt("a graph needs it")
            return await stage.until_ended()

    assert in_virtual_time(main)[0].startswith("PodClique, PodCliqueSet came;")


def test_an_api_server_that_does_not_answer_is_asked_again_ever_more_seldom() -> None:
    async def main() -> tuple[list[float], tuple[str, float]]:
        async with running((0.0, None), (200.0, PLAIN | {LEADER_WORKER_SET})) as stage:
            stage.neighbours.doubt("the watches begin anew")
            ended = await stage.until_ended()
            return stage.server.asked_at_s, ended

    asked, (why, _) = in_virtual_time(main)
    fifth_s = 10.0 + 20.0 + 40.0 + ASK_CAP_S
    assert asked == [0.0, 10.0, 30.0, 70.0, fifth_s, fifth_s + 60.0, fifth_s + 120.0, fifth_s + 120.0 + SETTLING_S]
    assert why.startswith("LeaderWorkerSet came;")


def test_a_kind_that_is_served_and_never_listed_ends_the_process_by_name() -> None:
    async def main() -> tuple[str, float]:
        async with running(unlisted={DEPLOYMENT}) as stage:
            return await stage.until_ended()

    why, when_s = in_virtual_time(main)
    assert why == "Deployment: served, but not listed within 120 s"
    assert LISTS_LIMIT_S <= when_s <= LISTS_LIMIT_S + IMPATIENCE_S


def test_a_kind_that_went_before_its_first_list_ends_the_process_soon() -> None:
    """Half deleted when the process looked for what is served: nobody will ever list it."""

    async def main() -> tuple[str, float]:
        async with running(found=PLAIN | {POD_CLIQUE}, unlisted={POD_CLIQUE}) as stage:
            return await stage.until_ended()

    why, when_s = in_virtual_time(main)
    assert why.startswith("PodClique went;")
    assert when_s == IMPATIENCE_S + SETTLING_S


def test_late_lists_are_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with running(unlisted={DEPLOYMENT, MODEL}):
            await asyncio.sleep(IMPATIENCE_S + 1)

    in_virtual_time(main)
    assert "kinds_missing kinds='Deployment, DynamoModel'" in caplog.text


def test_lists_that_still_come_one_by_one_are_waited_for() -> None:
    async def main() -> bool:
        async with running(unlisted=PLAIN) as stage:
            for number, kind in enumerate(sorted(PLAIN), start=1):
                at(number * (LISTS_LIMIT_S - 50), lambda kind=kind: stage.unlisted.discard(kind))  # type: ignore[misc]
            await asyncio.sleep(10 * LISTS_LIMIT_S)
            return stage.running.done()

    assert in_virtual_time(main) is False


def test_no_list_is_held_against_an_api_server_that_is_away() -> None:
    async def main() -> bool:
        async with running((0.0, None), (1000.0, PLAIN), unlisted={DEPLOYMENT}) as stage:
            at(1100.0, stage.unlisted.clear)
            await asyncio.sleep(2000.0)
            return stage.running.done()

    assert in_virtual_time(main) is False


def test_the_patience_with_lists_begins_anew_with_the_watches() -> None:
    """What was slow last week is not held against the watches of today."""

    async def main() -> bool:
        async with running(unlisted={DEPLOYMENT}) as stage:
            at(IMPATIENCE_S + LOOK_APART_S + 1, stage.unlisted.clear)
            await asyncio.sleep(LONG_S)
            stage.unlisted |= PLAIN
            stage.neighbours.doubt("the watches begin anew")
            at(30.0, stage.unlisted.clear)
            await asyncio.sleep(LONG_S)
            return stage.running.done()

    assert in_virtual_time(main) is False


def test_without_our_own_kinds_there_is_doubt_until_they_come() -> None:
    async def main() -> tuple[str, float]:
        async with running((0.0, PLAIN - {GRAPH}), (3600.0, PLAIN), found=PLAIN - {GRAPH}) as stage:
            return await stage.until_ended()

    why, when_s = in_virtual_time(main)
    assert why.startswith("DynamoGraphDeployment came;")
    assert 3600.0 <= when_s <= 3600.0 + IMPATIENCE_S + LOOKS * LOOK_APART_S + SETTLING_S


def test_kinds_that_flap_end_nothing_while_two_looks_disagree() -> None:
    async def main() -> tuple[bool, list[float]]:
        flapping = [(SETTLING_S * step, PLAIN if step % 2 else PLAIN | {POD_CLIQUE}) for step in range(500)]
        async with running(*flapping) as stage:
            stage.neighbours.doubt("somebody wonders")
            await asyncio.sleep(600.0)
            return stage.running.done(), stage.server.asked_at_s

    is_done, asked = in_virtual_time(main)
    assert not is_done
    assert len(asked) <= 2 * 600.0 / LOOK_APART_S


def test_a_doubt_from_another_thread_is_heard() -> None:
    async def main() -> list[float]:
        async with running() as stage:
            thread = threading.Thread(target=stage.neighbours.doubt, args=("the watches begin anew",))
            thread.start()
            thread.join()
            await asyncio.sleep(1)
            return stage.server.asked_at_s

    assert len(in_virtual_time(main)) == 1


@pytest.mark.parametrize(
    ("kind", "looks"),
    [
        pytest.param(VIRTUAL_SERVICE, LOOKS, id="it-was-not-there"),
        pytest.param(DEPLOYMENT, 0, id="it-was-there"),
    ],
)
def test_a_written_object_raises_doubt_where_its_kind_was_not_served(kind: Kind, looks: int) -> None:
    async def main() -> list[float]:
        async with running() as stage:
            stage.neighbours.wrote(packed("shop", kind=kind))
            await asyncio.sleep(LONG_S)
            return stage.server.asked_at_s

    assert len(in_virtual_time(main)) == looks


class Counted:
    def __init__(self) -> None:
        self.results: list[str] = []

    def answered(
        self,
        operation: str,
        result: str,
        duration_s: float,
        *,
        denied_fields: tuple[str, ...] = (),
    ) -> None:
        self.results.append(result)


@pytest.mark.parametrize(
    ("found", "result", "fields", "looks"),
    [
        pytest.param(PLAIN, "denied", ("spec.components.multinode",), LOOKS, id="refused-where-one-lacks"),
        pytest.param(PLAIN | JUDGED_BY, "denied", ("spec.components.multinode",), 0, id="refused-for-what-it-says"),
        pytest.param(PLAIN, "allowed", (), 0, id="allowed"),
    ],
)
def test_a_refusal_raises_doubt_where_it_may_be_for_what_came_since(
    found: frozenset[Kind], result: str, fields: tuple[str, ...], looks: int
) -> None:
    async def main() -> tuple[list[str], list[float]]:
        async with running((0.0, found), found=found) as stage:
            counted = Counted()
            Refusals(counted, stage.neighbours).answered("mutate", result, 0.01, denied_fields=fields)
            await asyncio.sleep(LONG_S)
            return counted.results, stage.server.asked_at_s

    results, asked = in_virtual_time(main)
    assert results == [result]
    assert len(asked) == looks


def test_a_start_waits_for_the_api_server() -> None:
    async def main() -> float:
        served = await until_served(Server([(0.0, None), (60.0, PLAIN)]), asyncio.Event())
        assert served
        return asyncio.get_running_loop().time()

    assert 60.0 <= in_virtual_time(main) < 70.0


def test_a_start_that_waits_can_be_stopped() -> None:
    async def main() -> float:
        stop = asyncio.Event()
        at(7.0, stop.set)
        assert await until_served(Server([(0.0, None)]), stop) is None
        return asyncio.get_running_loop().time()

    assert in_virtual_time(main) == 7.0


@pytest.fixture(autouse=True)
def loud(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
