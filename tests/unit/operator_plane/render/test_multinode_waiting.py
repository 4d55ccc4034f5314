"""The script with which workers wait for their leader, run as the module that it is and as the text it is sent as."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from dynamo_operator.render.multinode import render_wait_script
from dynamo_operator.render.multinode.wait_for_leader import missing, wait

HOST = "127.0.0.1"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with closing(socket.create_server((HOST, 0))) as server:
        yield server


@pytest.fixture
def closed_port() -> int:
    with closing(socket.create_server((HOST, 0))) as server:
        return int(server.getsockname()[1])


def _nobody(_address: str) -> list[dict[str, dict[str, object]]]:
    return []


def _port(server: socket.socket) -> int:
    return int(server.getsockname()[1])


def test_a_leader_that_answers_can_be_joined(listener: socket.socket) -> None:
    assert missing(HOST, _port(listener), _nobody) is None


def test_a_closed_port_and_an_unknown_name_are_reasons_to_wait(closed_port: int) -> None:
    assert f"{HOST}:{closed_port} does not accept connections" in str(missing(HOST, closed_port, _nobody))
    assert "does not resolve" in str(missing("no-such-host.invalid", closed_port, _nobody))


def test_a_leader_that_is_being_deleted_does_not_count(listener: socket.socket) -> None:
    def leaving(address: str) -> list[dict[str, dict[str, object]]]:
        assert address == HOST
        return [{"metadata": {"name": "old", "deletionTimestamp": "2026-01-01T00:00:00Z"}}]

    assert missing(HOST, _port(listener), leaving) == "pod old is being deleted"


def test_without_the_api_server_the_connection_decides(listener: socket.socket) -> None:
    def unreachable(_address: str) -> list[dict[str, dict[str, object]]]:
        raise OSError("no route")

    assert missing(HOST, _port(listener), unreachable) is None


def test_waiting_ends_with_the_leader_and_says_what_was_missing(
    closed_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[socket.socket] = []
    passed_s = [0.0]

    def pause(seconds: float) -> None:
        passed_s[0] += seconds
        if passed_s[0] > 40:
            opened.append(socket.create_server((HOST, closed_port)))

    wait(HOST, closed_port, _nobody, pause, lambda: passed_s[0])
    for server in opened:
        server.close()
    lines = capsys.readouterr().out.splitlines()
    assert len(opened) == 1
    assert len(lines) == 3
    assert "still waiting after 30 s" in lines[1]


def test_the_config_map_holds_a_script_that_runs_on_its_own(listener: socket.socket) -> None:
    document: dict[str, Any] = render_wait_script("g")
    assert document["metadata"]["name"] == "g-wait-leader-script"
    finished = subprocess.run(
        [sys.executable, "-I", "-c", document["data"]["wait-for-leader.py"]],
        env={"LEADER_HOST": HOST, "LEADER_PORT": str(_port(listener))},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "the leader answers" in finished.stdout
