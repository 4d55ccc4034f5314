from __future__ import annotations

from rich.console import Console, RenderableType

from dynamo_operator.cli.table import live_table, running_table
from dynamo_operator.local.figures import Figures
from dynamo_operator.local.state import GraphState, ProcessState


def shown(table: RenderableType) -> str:
    console = Console(width=160, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def a_state(*processes: ProcessState) -> GraphState:
    return GraphState("shop", 1, "1", "http://127.0.0.1:8000", processes)


def a_process(**changes: object) -> ProcessState:
    facts = {"name": "worker-0", "pod": "p", "component": "worker", "role": "worker", "status": "ready", **changes}
    return ProcessState(**facts)  # type: ignore[arg-type]


def test_the_live_table_shows_what_each_process_did() -> None:
    table = live_table(a_state(a_process()), {"worker-0": Figures(1234, 56.4, 0.875)})

    row = shown(table).splitlines()[-1].split()
    assert row == ["worker-0", "worker", "ready", "1,234", "56", "88%"]


def test_what_was_not_measured_is_left_empty() -> None:
    table = live_table(a_state(a_process(), a_process(name="frontend-0")), {"frontend-0": Figures(3, 0, None)})

    assert [line.split()[2:] for line in shown(table).splitlines()[-2:]] == [["ready"], ["ready", "3", "0"]]


def test_a_process_between_two_lives_says_how_it_ended() -> None:
    table = live_table(a_state(a_process(status="waiting", last_exit="exit code 3")), {})

    assert "waiting (exit code 3)" in shown(table)


def test_restarts_are_told() -> None:
    assert "ready, 2 restarts" in shown(live_table(a_state(a_process(restarts=2)), {}))


def test_ps_shows_addresses_and_graphs_whose_supervisor_was_killed() -> None:
    state = a_state(a_process(name="frontend-0", http_port=8000, pid=7), a_process(system_port=9000, pid=8))

    up, dead = shown(running_table([(state, True)])), shown(running_table([(state, False)]))

    assert "http://127.0.0.1:8000" in up
    assert "http://127.0.0.1:9000" in up
    assert "killed" in dead
