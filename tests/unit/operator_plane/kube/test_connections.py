"""What may have arrived, what cannot have; the fence at the last moment; credentials that expire."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from lightkube.config.kubeconfig import SingleConfig
from lightkube.config.models import Cluster, Context, User, UserExec

from dynamo_operator.kube import Access, Connections, Deposed, Lost, NotSent, Request, unfenced
from dynamo_operator.kube import connections as connections_module

GET = Request("GET", "/api/v1/namespaces/shop/pods?limit=1")
PATCH = Request("PATCH", "/api/v1/namespaces/shop/pods/p", b"{}", "application/json-patch+json")
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
DENIED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}"


@dataclass
class Server:
    """Answers each request with what `answer` makes of its head; None ends the connection. Keeps what it read."""

    answer: Callable[[str], Awaitable[bytes | None]]
    heads: list[str] = field(default_factory=list)
    bytes_read: int = 0
    connected: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected += 1
        self.writers.append(writer)
        while byte := await reader.read(1):
            self.bytes_read += 1
            head = (byte + await reader.readuntil(b"\r\n\r\n")).decode()
            self.bytes_read += len(head) - 1
            length = next((int(line[15:]) for line in head.split("\r\n") if line.startswith("Content-Length:")), 0)
            self.bytes_read += len(await reader.readexactly(length))
            self.heads.append(head)
            answer = await self.answer(head)
            if answer is None:
                break
            writer.write(answer)
        writer.close()


async def fine(_: str) -> bytes | None:
    return FINE


@asynccontextmanager
async def serving(answer: Callable[[str], Awaitable[bytes | None]] = fine) -> AsyncIterator[Server]:
    server = Server(answer)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    yield server
    listening.close()
    for writer in server.writers:
        writer.close()


def access_to(port: int, user: User | None = None, path: str = "") -> Access:
    cluster = Cluster(server=f"http://127.0.0.1:{port}{path}")
    return Access(SingleConfig("c", Context(cluster="c", user="u"), cluster, user))


def connections_to(server: Server, user: User | None = None, path: str = "", timeout_s: float = 5.0) -> Connections:
    return Connections(access_to(server.port, user, path), timeout_s=timeout_s)


async def test_a_request_is_sent_as_it_is_and_its_answer_comes_back_whole() -> None:
    async with serving() as server, connections_to(server, path="/k8s/c-1/") as way:
        answer = await way.send(PATCH, unfenced)
    assert (answer.code, answer.body, answer.headers["content-length"]) == (200, b"{}", "2")
    (head,) = server.heads
    assert head.startswith("PATCH /k8s/c-1/api/v1/namespaces/shop/pods/p HTTP/1.1\r\n")
    assert "Content-Type: application/json-patch+json\r\n" in head
    assert "Accept: application/json\r\n" in head
    assert "User-Agent: dynamo-operator\r\n" in head
    assert "Authorization" not in head


async def test_where_nobody_listens_nothing_was_sent() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        async with Connections(access_to(closed.getsockname()[1]), timeout_s=5) as way:
            with pytest.raises(NotSent):
                await way.send(PATCH, unfenced)


async def hang_up(_: str) -> bytes | None:
    return None


async def cut_short(_: str) -> bytes | None:
    return FINE[:-1].replace(b"Content-Length: 2", b"Connection: close\r\nContent-Length: 9")


async def talk_nonsense(_: str) -> bytes | None:
    return b"nonsense\r\n\r\n"


async def say_nothing(_: str) -> bytes | None:
    await asyncio.sleep(60)
    return FINE


@pytest.mark.parametrize("answer", [hang_up, cut_short, talk_nonsense, say_nothing])
async def test_a_write_without_a_whole_answer_may_have_arrived_and_is_sent_once(
    answer: Callable[[str], Awaitable[bytes | None]],
) -> None:
    async with serving(answer) as server, connections_to(server, timeout_s=0.2) as way:
        with pytest.raises(Lost):
            await way.send(PATCH, unfenced)
        assert len(server.heads) == 1
        server.answer = fine
        assert (await way.send(PATCH, unfenced)).code == 200


async def test_a_connection_that_ended_while_nobody_used_it_costs_no_write() -> None:
    async with serving() as server, connections_to(server) as way:
        await way.send(PATCH, unfenced)
        server.writers[0].close()
        await asyncio.sleep(0.05)
        assert (await way.send(PATCH, unfenced)).code == 200
    assert server.connected == 2


def fallen() -> None:
    raise Deposed("another leads")


async def test_behind_a_fallen_fence_nothing_leaves_and_the_next_request_does() -> None:
    async with serving() as server, connections_to(server) as way:
        for _ in range(2):  # with a new connection, and with a kept one
            before = server.bytes_read
            with pytest.raises(Deposed):
                await way.send(PATCH, fallen)
            await asyncio.sleep(0.05)
            assert server.bytes_read == before
            assert (await way.send(PATCH, unfenced)).code == 200


async def test_the_fence_is_asked_once_a_connection_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections_module, "AT_ONCE", 1)
    may_answer, asked = asyncio.Event(), list[str]()

    async def wait(_: str) -> bytes | None:
        await may_answer.wait()
        return FINE

    async with serving(wait) as server, connections_to(server) as way:
        first = asyncio.create_task(way.send(PATCH, unfenced))
        async with asyncio.timeout(5):
            while not server.heads:  # noqa: ASYNC110  the server tells nobody
                await asyncio.sleep(0.01)
        second = asyncio.create_task(way.send(PATCH, lambda: asked.append("second")))
        await asyncio.sleep(0.05)
        assert asked == []
        may_answer.set()
        await asyncio.gather(first, second)
    assert asked == ["second"]
    assert server.connected == 1


async def test_what_found_no_free_connection_in_time_was_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections_module, "AT_ONCE", 1)
    async with serving(say_nothing) as server, connections_to(server, timeout_s=0.2) as way:
        results = await asyncio.gather(*(way.send(PATCH, unfenced) for _ in range(2)), return_exceptions=True)
    assert {type(result) for result in results} == {Lost, NotSent}
    assert len(server.heads) == 1


def only(token: Callable[[], str]) -> Callable[[str], Awaitable[bytes | None]]:
    async def answer(head: str) -> bytes | None:
        return FINE if f"Authorization: Bearer {token()}\r\n" in head else DENIED

    return answer


async def test_a_token_that_was_renewed_on_disk_is_read_again_when_the_old_one_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old\n")
    valid = "old"
    async with serving(only(lambda: valid)) as server, connections_to(server, User(token_file=str(file))) as way:
        assert (await way.send(GET, unfenced)).code == 200
        file.write_text("new\n")
        assert (await way.send(GET, unfenced)).code == 200, "the old one is still taken"
        valid = "new"
        answers = await asyncio.gather(*(way.send(PATCH, unfenced) for _ in range(5)))
        assert [answer.code for answer in answers] == [200] * 5
        valid = "newer"
        before = len(server.heads)
        assert (await way.send(GET, unfenced)).code == 401
        assert len(server.heads) == before + 1, "nothing newer is there"


async def test_a_program_that_gives_tokens_is_run_once_for_all_who_need_one(tmp_path: Path) -> None:
    said = '{"status": {"token": "t"}}'
    command = ["-c", f"echo run >> {tmp_path / 'runs'}; sleep 0.1; echo '{said}'"]
    user = User(exec=UserExec(apiVersion="client.authentication.k8s.io/v1beta1", command="sh", args=command))
    async with serving(only(lambda: "t")) as server, connections_to(server, user) as way:
        answers = await asyncio.gather(*(way.send(GET, unfenced) for _ in range(5)))
    assert [answer.code for answer in answers] == [200] * 5
    assert (tmp_path / "runs").read_text() == "run\n"


async def test_without_credentials_nothing_was_sent(tmp_path: Path) -> None:
    file = tmp_path / "token"
    async with serving(only(lambda: "t")) as server, connections_to(server, User(token_file=str(file))) as way:
        with pytest.raises(NotSent, match=r"no credentials for the Kubernetes API server: Token file .* not found"):
            await way.send(GET, unfenced)
        file.write_text("t")
        assert (await way.send(GET, unfenced)).code == 200
    assert len(server.heads) == 1
