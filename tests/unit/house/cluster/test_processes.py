"""Processes are stopped by who they are, not by their number."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.commands import wait_until
from tests.cluster.local.processes import Processes

FOREVER = [sys.executable, "-c", "import signal; signal.pause()"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()",
]


def test_a_later_run_stops_what_an_earlier_one_started(tmp_path: Path) -> None:
    Processes(tmp_path, die_with_us=False).start("p", FOREVER, os.environ)
    later = Processes(tmp_path, die_with_us=False)
    assert later.is_running("p")
    later.stop("p")
    assert not later.is_running("p")
    assert later.names() == []


def test_starting_twice_starts_once(tmp_path: Path) -> None:
    processes = Processes(tmp_path, die_with_us=False)
    processes.start("p", FOREVER, os.environ)
    first = processes.pid("p")
    processes.start("p", FOREVER, os.environ)
    assert processes.pid("p") == first
    processes.stop("p")


def test_a_reused_id_is_left_alone(tmp_path: Path) -> None:
    innocent = subprocess.Popen(FOREVER)
    try:
        record = {"name": "p", "pid": innocent.pid, "started_ticks": 1}
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "p.json").write_text(json.dumps(record))
        processes = Processes(tmp_path, die_with_us=False)
        assert not processes.is_running("p")
        processes.stop("p")
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


def test_a_process_that_ignores_the_request_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.cluster.local.processes.STOP_DEADLINE_S", 0.2)
    processes = Processes(tmp_path, die_with_us=False)
    processes.start("p", DEAF, os.environ)
    wait_until(lambda: "deaf" in processes.tails("p"), "it ignores SIGTERM", deadline_s=10)
    processes.stop("p")
    assert not processes.is_running("p")


def test_an_ended_process_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    processes = Processes(tmp_path, die_with_us=False)
    processes.start("p", [sys.executable, "-c", "print('last words')"], os.environ)
    wait_until(lambda: not processes.is_running("p"), "it ended", deadline_s=10)
    assert "last words" in processes.tails("p")


def test_leashed_processes_end_with_their_starter(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from tests.cluster.local.processes import Processes\n"
        f"Processes(Path({str(tmp_path)!r}), die_with_us=True).start('p', {FOREVER!r}, os.environ)\n"
        "sys.stdout.write('started'); sys.stdout.flush(); sys.stdin.read()"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with starter:
        assert starter.stdout is not None
        assert starter.stdout.read(7) == b"started"
        processes = Processes(tmp_path, die_with_us=False)
        assert processes.is_running("p")
        starter.send_signal(signal.SIGKILL)
    wait_until(lambda: not processes.is_running("p"), "the leash pulled", deadline_s=10)
