"""Tests of one group run in one process: each cluster of the tests is started once, not once for every process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = """
import os
from pathlib import Path

import pytest


@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(8))
def test_of_the_group(number):
    Path(os.environ["PYTEST_XDIST_WORKER"]).touch()
"""


def test_a_group_stays_together(tmp_path: Path) -> None:
    (tmp_path / "test_group.py").write_text(TESTS)
    (tmp_path / "pytest.ini").touch()
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup", "-p", "no:asyncio"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    subprocess.run(command, cwd=tmp_path, env=env, check=True, capture_output=True, timeout=60)
    assert len(list(tmp_path.glob("gw*"))) == 1
