from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dynamo_operator.local.state import AlreadyUp, GraphState, StateFolder, folders, started, state_root


def a_folder(tmp_path: Path) -> StateFolder:
    folder = StateFolder(tmp_path / "dynamo" / "graph")
    folder.create()
    return folder


def a_state() -> GraphState:
    return GraphState(graph="graph", supervisor_pid=1, supervisor_started="2", url=None, processes=())


def test_state_folders_are_private(tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    folder.write(a_state())

    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert (folder.path / "state.json").stat().st_mode & 0o777 == 0o600


def test_a_state_is_read_back(tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    folder.write(a_state())

    assert folder.read() == a_state()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"graph": 3}', b"\xff"])
def test_a_broken_state_file_counts_as_none(tmp_path: Path, content: bytes) -> None:
    folder = a_folder(tmp_path)
    (folder.path / "state.json").write_bytes(content)

    assert folder.read() is None


def test_only_one_supervisor_holds_a_graph(tmp_path: Path) -> None:
    folder = a_folder(tmp_path)

    with folder.locked():
        assert folder.is_up()
        with pytest.raises(AlreadyUp, match="already up"), folder.locked():
            pass
    assert not folder.is_up()


def test_an_error_inside_the_lock_is_not_taken_for_another_holder(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError), a_folder(tmp_path).locked():
        raise BlockingIOError


def test_a_new_run_keeps_the_last_logs_aside_and_drops_old_cards(tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    folder.discovery.mkdir()
    (folder.discovery / "card").touch()
    folder.log("worker-0").write_text("old")
    folder.write(a_state())

    folder.begin()

    assert list(folder.discovery.iterdir()) == []
    assert [path.name for path in folder.logs.iterdir()] == ["worker-0.log.1"]
    assert folder.read() is None


def test_graphs_are_found_by_their_folders(tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    (tmp_path / "dynamo" / "something-else").mkdir()

    assert folders(tmp_path / "dynamo") == (folder,)
    assert folders(tmp_path / "nowhere") == ()


def test_the_state_root_follows_the_xdg_convention() -> None:
    assert state_root({"XDG_STATE_HOME": "/x", "HOME": "/h"}) == Path("/x/dynamo")
    assert state_root({"HOME": "/h"}) == Path("/h/.local/state/dynamo")


def test_start_times_tell_processes_apart() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert started(child.pid) == started(child.pid) != started(os.getpid())
    finally:
        child.communicate()
    assert started(child.pid) is None
