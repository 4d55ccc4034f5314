"""What strangers may send: limits, slowness, pipelines, junk. Good clients beside them never notice."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from dynamo.frontend.listener import Limits
from dynamo.wire.cards import Role
from tests.integration.frontend.harness import Line, Request, a_chat, a_json, a_stage, always, post

ANSWER = {"id": "c", "object": "chat.completion", "choices": []}
GOOD = always(a_json(ANSWER))


async def read_answer(line: Line) -> tuple[int, dict[str, str], bytes]:
    async with asyncio.timeout(10):
        head = (await line.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name: value for name, _, value in (text.partition(": ") for text in head[1:] if text)}
        return int(head[0].split(" ")[1]), headers, await line.reader.readexactly(int(headers["content-length"]))


async def test_pipelined_requests_are_answered_in_order() -> None:
    async def echo(request: Request, line: Line) -> None:
        await asyncio.sleep(0.05 if request.document["user"] == "0" else 0)
        await line.say(a_json({"user": request.document["user"], "choices": []}))

    async with a_stage(echo) as stage:
        line = await stage.raw()
        await line.say(b"".join(post(a_chat(user=str(number))) for number in range(5)))
        users = [json.loads((await read_answer(line))[2])["user"] for _ in range(5)]
        line.cut()

    assert users == ["0", "1", "2", "3", "4"]


async def test_request_arriving_byte_by_byte_is_served() -> None:
    async with a_stage(GOOD) as stage:
        line = await stage.raw()
        for byte in post(a_chat()):
            await line.say(bytes([byte]))
        status, _, body = await read_answer(line)
        line.cut()

    assert (status, json.loads(body)) == (200, ANSWER)


async def test_chunked_request_body_is_served() -> None:
    body = json.dumps(a_chat()).encode()
    async with a_stage(GOOD) as stage:
        line = await stage.raw()
        await line.say(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        for start in range(0, len(body), 6):
            piece = body[start : start + 6]
            await line.say(b"%x\r\n%b\r\n" % (len(piece), piece))
        await line.say(b"0\r\n\r\n")
        status, _, _ = await read_answer(line)
        line.cut()

    assert status == 200
    assert stage.workers[0].requests[0].body == body


async def test_client_that_waits_for_leave_to_send_gets_it() -> None:
    async with a_stage(GOOD) as stage:
        line = await stage.raw()
        head, _, body = post(a_chat(), headers="expect: 100-continue\r\n").partition(b"\r\n\r\n")
        await line.say(head + b"\r\n\r\n")
        assert await line.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await line.say(body)
        status, _, _ = await read_answer(line)
        line.cut()

    assert status == 200


async def test_old_client_gets_an_answer_and_the_end_of_the_connection() -> None:
    async with a_stage(GOOD) as stage:
        line = await stage.raw()
        await line.say(post(a_chat()).replace(b"HTTP/1.1", b"HTTP/1.0"))
        status, headers, _ = await read_answer(line)
        rest = await line.reader.read()

    assert (status, headers["connection"], rest) == (200, "close", b"")


async def test_body_over_the_limit_is_refused_before_it_is_read() -> None:
    async with a_stage(GOOD, limits=Limits(body_bytes=1000)) as stage:
        declared, undeclared = await stage.raw(), await stage.raw()
        await declared.say(post(a_chat(user="x" * 2000))[:300])
        status, headers, body = await read_answer(declared)
        await undeclared.say(
            b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
            + (b"400\r\n" + b"x" * 1024 + b"\r\n") * 2
        )
        second, _, _ = await read_answer(undeclared)
        declared.cut()
        undeclared.cut()

    assert (status, second, headers["connection"]) == (413, 413, "close")
    assert "1000" in json.loads(body)["error"]["message"]
    assert stage.workers[0].requests == []


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"GET / HTTP/1.1\r\nx: " + b"a" * 100_000, id="one-endless-header"),
        pytest.param(b"GET /" + b"a" * 100_000, id="endless-path"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 200 + b"\r\n", id="too-many-headers"),
        pytest.param(b"GET /live?" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", id="whole-in-one-piece"),
    ],
)
async def test_headers_over_the_limit_are_refused(head: bytes) -> None:
    async with a_stage(GOOD, limits=Limits(head_bytes=8192, header_count=100)) as stage:
        line = await stage.raw()
        await line.say(head)
        status, _, _ = await read_answer(line)
        line.cut()

    assert status == 431


@pytest.mark.parametrize(
    "junk",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\r\n\r\n", id="tls-hello"),
        pytest.param(b"BREW /pot HTTP/9.9\r\n\r\n", id="no-such-version"),
        pytest.param(b"POST / HTTP/1.1\r\ncontent-length: -5\r\n\r\n", id="negative-length"),
        pytest.param(
            b"POST / HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", id="two-lengths"
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n", id="chunk-overflow"
        ),
        pytest.param(b"GET / HTTP/1.1\r\nbad header: x\r\n\r\n", id="space-in-a-name"),
        pytest.param(b"GET /live HTTP/2.0\r\n\r\n", id="version-two-as-text"),
        pytest.param(b"GET /live\r\n\r\n", id="no-version"),
    ],
)
async def test_what_is_no_http_is_refused_and_closed(junk: bytes) -> None:
    async with a_stage(GOOD) as stage:
        line = await stage.raw()
        await line.say(junk)
        status, headers, _ = await read_answer(line)
        assert await line.reader.read() == b""
        async with httpx.AsyncClient() as client:
            good = await client.post(f"{stage.url}/v1/chat/completions", json=a_chat())

    assert (status, headers["connection"]) == (400, "close")
    assert good.status_code == 200


@pytest.mark.parametrize(
    "start", [pytest.param(b"POST /v1/comp", id="head"), pytest.param(post(a_chat())[:-3], id="body")]
)
async def test_client_that_dawdles_is_told_and_dropped(start: bytes) -> None:
    async with a_stage(GOOD, limits=Limits(head_s=0.1, body_s=0.1)) as stage:
        line = await stage.raw()
        await line.say(start)
        status, _, body = await read_answer(line)
        assert await line.reader.read() == b""

    assert status == 408
    assert "in time" in json.loads(body)["error"]["message"]


async def test_idle_connection_is_closed_without_a_word() -> None:
    async with a_stage(GOOD, limits=Limits(idle_s=0.1)) as stage:
        line = await stage.raw()
        await line.say(post(a_chat()))
        await read_answer(line)
        async with asyncio.timeout(5):
            try:
                rest = await line.reader.read()
            except ConnectionError:
                rest = b""

    assert rest == b""


async def test_one_connection_too_many_is_refused() -> None:
    async with a_stage(GOOD, limits=Limits(connections=2)) as stage:
        lines = [await stage.raw() for _ in range(2)]
        for line in lines:
            await line.say(post(a_chat()))
            assert (await read_answer(line))[0] == 200
        third = await stage.raw()
        status, _, _ = await read_answer(third)
        for line in (*lines, third):
            line.cut()

    assert status == 503


async def test_upgrade_offer_is_passed_over() -> None:
    async with a_stage(GOOD) as stage:
        line = await stage.raw()
        await line.say(
            b"GET /live HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n"
            b"http2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"
        )
        status, _, body = await read_answer(line)
        line.cut()

    assert (status, json.loads(body)["status"]) == (200, "live")


@pytest.mark.parametrize("expects", ["", "expect: 100-continue\r\n"])
async def test_body_of_an_upgrade_offer_is_read_as_a_body(expects: str) -> None:
    offer = f"connection: upgrade, http2-settings\r\nupgrade: h2c\r\n{expects}"
    async with a_stage(GOOD) as stage:
        line = await stage.raw()
        await line.say(post(a_chat(user="1"), headers=offer) + post(a_chat(user="2")))
        if expects:
            assert await line.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        statuses = [(await read_answer(line))[0] for _ in range(2)]
        line.cut()

    assert statuses == [200, 200]
    assert [request.document["user"] for request in stage.workers[0].requests] == ["1", "2"]


async def test_nothing_behind_a_tunnel_request_is_served() -> None:
    async with a_stage(GOOD) as stage:
        line = await stage.raw()
        await line.say(b"CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n" + post(a_chat()))
        status, headers, _ = await read_answer(line)
        rest = await line.reader.read()

    assert (status, headers["connection"], rest) == (404, "close", b"")
    assert stage.workers[0].requests == []


async def test_head_is_answered_as_get_without_a_body() -> None:
    async with a_stage(GOOD) as stage, httpx.AsyncClient(base_url=stage.url) as client:
        head, get = await client.head("/health"), await client.get("/health")

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]


async def test_address_in_a_proxy_clients_form_is_understood() -> None:
    async with a_stage(GOOD) as stage:
        line = await stage.raw()
        await line.say(b"GET http://x:1/live?y HTTP/1.1\r\nhost: x\r\n\r\n")
        status, _, _ = await read_answer(line)
        await line.say(post(a_chat(), path="HTTP://x/v1/chat/completions"))
        second, _, _ = await read_answer(line)
        line.cut()

    assert (status, second) == (200, 200)


async def test_refusal_of_an_endless_model_name_stays_short() -> None:
    async with a_stage(GOOD) as stage, httpx.AsyncClient(base_url=stage.url) as client:
        refused = await client.post("/v1/chat/completions", json=a_chat(model="x" * 1_000_000))

    assert refused.status_code == 404
    assert len(refused.content) < 1000


async def test_health_lists_a_worker_only_once_requests_go_to_it() -> None:
    async with (
        a_stage(GOOD, cards=({"role": Role.DECODE, "namespace": "n-0a1b2c3d"},)) as stage,
        httpx.AsyncClient(base_url=stage.url) as client,
    ):
        alone = (await client.get("/health")).json()["instances"]
        prefill = stage.workers[0].card(worker_id=7, name="p", role=Role.PREFILL, namespace="n-0a1b2c3d")
        await stage.discovery.publish(prefill)
        await stage.until(lambda: len(stage.running.fleet.cards) == 2)
        both = (await client.get("/health")).json()["instances"]

    assert alone == [], "a decode worker without prefill workers gets nothing"
    assert {(one["name"], one["namespace"], one["endpoint"]) for one in both} == {
        ("p", "n-0a1b2c3d", "generate"),
        ("w0", "n-0a1b2c3d", "generate"),
    }


async def test_drain_serves_who_still_comes_and_sends_him_elsewhere() -> None:
    go = asyncio.Event()

    async def waits(request: Request, line: Line) -> None:
        await go.wait()
        await line.say(a_json(ANSWER))

    async with a_stage(waits) as stage, httpx.AsyncClient(base_url=stage.url, timeout=10) as client:
        running = asyncio.create_task(client.post("/v1/chat/completions", json=a_chat()))
        await stage.until(lambda: len(stage.workers[0].requests) == 1)
        drained = asyncio.create_task(stage.running.front.drain(10))
        await asyncio.sleep(0)
        health, live = await client.get("/health"), await client.get("/live")
        late = asyncio.create_task(client.post("/v1/chat/completions", json=a_chat()))
        await stage.until(lambda: len(stage.workers[0].requests) == 2)
        go.set()

        assert (await running).status_code == 200
        assert ((await late).status_code, (await late).headers["connection"]) == (200, "close")
        assert await drained is True
        refused = await client.post("/v1/chat/completions", json=a_chat())
    assert (health.status_code, health.json()["stage"], live.status_code) == (503, "draining", 200)
    assert refused.status_code == 503


async def test_drain_waits_for_the_next_request_of_a_connection_that_just_ended_one() -> None:
    go = asyncio.Event()

    async def waits(request: Request, line: Line) -> None:
        await go.wait()
        await line.say(a_json(ANSWER))

    async with a_stage(waits) as stage, httpx.AsyncClient(base_url=stage.url, timeout=10) as client:
        running = asyncio.create_task(client.post("/v1/chat/completions", json=a_chat()))
        await stage.until(lambda: len(stage.workers[0].requests) == 1)
        drained = asyncio.create_task(stage.running.front.drain(10, linger_s=0.5))
        await asyncio.sleep(0)
        go.set()
        statuses = [(await running).status_code, (await client.post("/v1/chat/completions", json=a_chat())).status_code]

        assert statuses == [200, 200]
        assert await drained is True


async def test_drain_cuts_what_does_not_finish() -> None:
    async def hangs(request: Request, line: Line) -> None:
        await line.heard_hangup()

    async with a_stage(hangs) as stage, httpx.AsyncClient(base_url=stage.url, timeout=10) as client:
        running = asyncio.create_task(client.post("/v1/chat/completions", json=a_chat()))
        await stage.until(lambda: len(stage.workers[0].requests) == 1)

        assert await stage.running.front.drain(0.1) is False
        assert (await running).status_code == 503
