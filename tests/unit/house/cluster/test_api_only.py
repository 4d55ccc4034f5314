"""Folders of killed test sessions are swept; those of living ones are not."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.cluster.local.api_only import sweep
from tests.cluster.local.processes import Processes


def test_only_folders_without_a_living_process_are_swept(tmp_path: Path) -> None:
    alive, killed, starting = (tmp_path / f"dynamo-api-{name}" for name in ("alive", "killed", "starting"))
    for folder in (alive, killed, starting):
        folder.mkdir()
    running = Processes(alive, die_with_us=True)
    for processes in (running, Processes(killed, die_with_us=True)):
        processes.start("p", [sys.executable, "-c", "import signal; signal.pause()"], os.environ)
    pid = Processes(killed, die_with_us=False).pid("p")
    assert pid
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    sweep(tmp_path)
    assert (alive.exists(), killed.exists(), starting.exists()) == (True, False, True)
    running.stop("p")
