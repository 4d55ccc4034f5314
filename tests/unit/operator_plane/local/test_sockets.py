from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator

import pytest

from dynamo_operator.local.errors import PortInUse, Refused
from dynamo_operator.local.sockets import FreePorts

HOST = "127.0.0.1"


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server((HOST, 0)) as server:
        yield server.getsockname()[1]


def test_a_taken_port_is_refused_with_its_holder_and_a_free_one(taken: int) -> None:
    with pytest.raises(
        PortInUse, match=rf"port {taken} on 127\.0\.0\.1 is in use by .* \(pid {os.getpid()}\)"
    ) as error:
        FreePorts(HOST, random.Random(1)).claim(taken)

    assert "--port" in error.value.hint


def test_the_next_free_port_follows_a_taken_one(taken: int) -> None:
    port = FreePorts(HOST, random.Random(1)).take(taken)

    assert taken < port <= taken + 100


def test_no_port_is_given_twice() -> None:
    ports = FreePorts(HOST, random.Random(1))

    given = [ports.take(None) for _ in range(20)]

    assert len(set(given)) == 20
    with pytest.raises(PortInUse):
        ports.claim(given[0])


@pytest.mark.parametrize("port", [0, -1, 65_536])
def test_a_number_that_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(Refused, match="1 to 65535"):
        FreePorts(HOST, random.Random(1)).claim(port)


@pytest.mark.parametrize("host", ["203.0.113.9", "no-such-host.invalid"])
def test_a_host_that_is_not_this_machine_is_refused(host: str) -> None:
    with pytest.raises(Refused, match=f"--host: cannot listen on '{host}'"):
        FreePorts(host, random.Random(1))
