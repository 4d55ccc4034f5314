"""`dynamo up` with components that need nothing of the product: what runs, what is shown, what is left."""

from __future__ import annotations

import json
import os
import signal
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.local.cli import Laptop, free_port, read_until, wait_until

pytestmark = pytest.mark.xdist_group("local")


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    machine = Laptop(tmp_path)
    yield machine
    machine.clean_up()


def fetch(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=5) as answer:
        return str(answer.read().decode())


def test_a_detached_graph_runs_until_it_is_taken_down(laptop: Laptop) -> None:
    port = str(free_port())

    up = laptop.run("up", "-f", laptop.manifest(workers=2), "--detach", "--port", port)

    assert up.returncode == 0, up.stderr
    assert "toy is ready after" in up.stdout
    assert fetch(f"http://127.0.0.1:{port}/") == "toy-frontend-0"
    (graph,) = json.loads(laptop.run("ps", "-o", "json").stdout)
    assert graph["is_up"]
    assert [(each["name"], each["status"]) for each in graph["processes"]] == [
        ("frontend-0", "ready"),
        ("worker-0", "ready"),
        ("worker-1", "ready"),
    ]
    table = laptop.run("ps").stdout
    assert f"http://127.0.0.1:{port}" in table
    assert "worker-1" in table

    down = laptop.run("down")

    assert (down.returncode, down.stdout) == (0, "toy is down.\n")
    assert laptop.processes() == {}
    assert json.loads(laptop.run("ps", "-o", "json").stdout) == []


def test_logs_are_those_of_the_component_asked_for(laptop: Laptop) -> None:
    laptop.run("up", "-f", laptop.manifest(workers=2), "-d", "--port", str(free_port()))

    everything, one, both = laptop.run("logs"), laptop.run("logs", "toy", "worker-1"), laptop.run("logs", "Worker")
    wrong = laptop.run("logs", "toy", "wroker")
    laptop.run("down", "toy")
    afterwards = laptop.run("logs", "toy", "frontend", "--tail", "1000")

    assert "frontend-0 | hello from toy-frontend-0" in everything.stdout
    assert one.stdout.startswith("hello from toy-worker-")
    assert both.stdout.count("hello from") == 2
    assert "did you mean worker" in wrong.stderr
    assert "hello from toy-frontend-0" in afterwards.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_stop_signal_leaves_nothing_running(laptop: Laptop, number: signal.Signals) -> None:
    up = laptop.start("up", "-f", laptop.manifest(), "--port", str(free_port()))
    read_until(up, "is ready")

    up.send_signal(number)
    rest, _ = up.communicate(timeout=20)

    assert up.returncode == 0, rest
    assert "nothing is left running" in rest
    assert laptop.processes() == {}


def test_a_second_interrupt_does_not_wait_for_deaf_processes(laptop: Laptop) -> None:
    deaf = ["sh", "-c", "trap '' TERM INT; while true; do sleep 60; done"]
    up = laptop.start("up", "-f", laptop.manifest(worker=deaf), "--port", str(free_port()))
    read_until(up, "worker-0: starting")
    read_until(up, "frontend-0: ready")

    up.send_signal(signal.SIGINT)
    read_until(up, "worker-0: stopping")
    up.send_signal(signal.SIGINT)
    up.communicate(timeout=5)  # a single interrupt would take the full grace of ten seconds

    assert laptop.processes() == {}


@pytest.mark.parametrize("detached", [False, True], ids=["foreground", "detached"])
def test_killing_the_supervisor_kills_everything(laptop: Laptop, detached: bool) -> None:
    # The shell script has a child of its own, which no parent-death request of the shell reaches.
    script = laptop.folder / "component.py"
    manifest = laptop.manifest(worker=["sh", "-c", f"python3 {script}; true"])
    arguments = ["up", "-f", str(manifest), "--port", str(free_port())]
    up = laptop.start(*arguments, *(["--detach"] if detached else []))
    read_until(up, "is ready")
    assert len([line for line in laptop.processes().values() if str(script) in line]) >= 3
    supervisor = laptop.state().supervisor_pid

    os.kill(supervisor, signal.SIGKILL)
    up.communicate(timeout=20)

    wait_until(lambda: laptop.processes() == {}, "everything is gone", deadline_s=5)
    assert "killed" in laptop.run("ps").stdout
    if detached:
        again = laptop.run("up", "-f", manifest, "--detach", "--port", str(free_port()))
        assert again.returncode == 0, again.stderr
    assert laptop.run("down").returncode == 0
    assert laptop.processes() == {}


def test_a_process_that_ends_is_started_again(laptop: Laptop) -> None:
    port = free_port()
    laptop.run("up", "-f", laptop.manifest(), "--detach", "--port", str(port))
    before = laptop.state().processes[1]

    with pytest.raises(OSError, match=r".*"):
        fetch(f"http://127.0.0.1:{before.system_port}/die")

    def is_back() -> bool:
        now = laptop.state().processes[1]
        return now.status == "ready" and now.pid != before.pid

    wait_until(is_back, "the worker is back")
    worker = laptop.state().processes[1]
    assert (worker.restarts, worker.last_exit) == (1, "exit code 3")
    assert fetch(f"http://127.0.0.1:{port}/") == "toy-frontend-0"


@pytest.mark.parametrize("detached", [False, True], ids=["foreground", "detached"])
@pytest.mark.parametrize(
    ("worker", "reason"),
    [
        pytest.param(["python3", "-c", "exit('no such flag: --modle')"], "no such flag: --modle", id="ends-at-once"),
        pytest.param(["no-such-program"], "there is no program 'no-such-program'", id="no-such-program"),
    ],
)
def test_a_process_that_never_starts_is_reported_with_its_last_words(
    laptop: Laptop, worker: list[str], reason: str, detached: bool
) -> None:
    arguments = ["up", "-f", str(laptop.manifest(worker=worker)), "--port", str(free_port())]

    up = laptop.run(*arguments, *(["--detach"] if detached else []))

    assert up.returncode == 1
    assert "worker-0 ended before it was ready" in up.stderr
    assert reason in up.stderr
    assert "Traceback" not in up.stderr
    assert laptop.processes() == {}


def test_a_graph_is_up_only_once(laptop: Laptop) -> None:
    manifest = laptop.manifest()
    laptop.run("up", "-f", manifest, "--detach", "--port", str(free_port()))

    second = laptop.run("up", "-f", manifest)

    assert second.returncode == 1
    assert second.stderr == "error: graph 'toy' is already up on this machine\n  stop it first: dynamo down toy\n"
    assert laptop.state().is_ready


def test_a_taken_port_is_named_before_anything_starts(laptop: Laptop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        up = laptop.run("up", "-f", laptop.manifest(), "--port", str(port))

    assert up.returncode == 1
    assert f"port {port} on 127.0.0.1 is in use by" in up.stderr
    assert "--port" in up.stderr
    assert laptop.processes() == {}


def test_two_graphs_run_side_by_side_and_must_be_told_apart(laptop: Laptop) -> None:
    for name in ("north", "south"):
        laptop.run("up", "-f", laptop.manifest(name), "--detach", "--port", str(free_port()))

    unclear, misspelt = laptop.run("down"), laptop.run("down", "nroth")

    assert "several graphs are up: north, south" in unclear.stderr
    assert "did you mean north?" in misspelt.stderr
    assert laptop.run("down", "--all").returncode == 0
    assert laptop.processes() == {}


def test_a_reader_that_goes_away_takes_the_graph_along(laptop: Laptop) -> None:
    up = laptop.start("up", "-f", laptop.manifest(), "--port", str(free_port()))
    assert up.stdout is not None
    up.stdout.readline()
    up.stdout.close()

    up.wait(timeout=20)

    wait_until(lambda: laptop.processes() == {}, "everything is gone")
    assert laptop.run("ps").stdout.startswith("No graph is up")
