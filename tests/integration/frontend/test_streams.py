"""Streams reach the client whole, whatever the worker does to them."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from dynamo.frontend.upstream import Deadlines
from tests.integration.frontend.harness import (
    DONE,
    SSE,
    FakeWorker,
    Line,
    Request,
    Script,
    a_chat,
    a_chunk,
    a_frame,
    a_json,
    a_stage,
    a_stream,
    always,
    post,
    usage_frame,
)

FRAMES = [a_frame("one"), a_frame("twö"), a_frame('three "usage" \\n\\n')]


async def streamed(url: str, **changes: object) -> bytes:
    async with httpx.AsyncClient(timeout=10) as client:
        answer = await client.post(f"{url}/v1/chat/completions", json=a_chat(stream=True, **changes))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return answer.content


def in_pieces(answer: bytes, size: int) -> Script:
    """Sends the answer in writes of `size` bytes, each a packet of its own as far as one can tell TCP."""

    async def script(request: Request, line: Line) -> None:
        for start in range(0, len(answer), size):
            await line.say(answer[start : start + size])
            await asyncio.sleep(0)

    return script


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
async def test_frames_split_anywhere_arrive_unchanged(size: int) -> None:
    async with a_stage(in_pieces(a_stream(*FRAMES, usage_frame(3), DONE), size)) as stage:
        assert await streamed(stage.url) == b"".join(FRAMES) + DONE


async def test_many_chunks_in_one_write_arrive_unchanged() -> None:
    async with a_stage(always(a_stream(*FRAMES * 50, DONE))) as stage:
        assert await streamed(stage.url) == b"".join(FRAMES * 50) + DONE


async def test_windows_line_ends_arrive_unchanged() -> None:
    frames = [frame.replace(b"\n", b"\r\n") for frame in [*FRAMES, DONE]]
    async with a_stage(always(a_stream(*frames))) as stage:
        assert await streamed(stage.url) == b"".join(frames)


async def test_usage_is_asked_for_and_kept_from_who_did_not_ask() -> None:
    async with a_stage(always(a_stream(*FRAMES, usage_frame(3), DONE))) as stage:
        body = await streamed(stage.url)
        metrics = (await _get(stage.url, "/metrics")).text

    assert stage.workers[0].requests[0].document["stream_options"] == {"include_usage": True}
    assert b"completion_tokens" not in body
    assert 'dynamo_frontend_output_tokens_total{model="m"} 3.0' in metrics
    assert 'dynamo_frontend_input_sequence_tokens_sum{model="m"} 5.0' in metrics


async def test_usage_reaches_who_asked_and_the_body_stays_as_it_was() -> None:
    async with a_stage(always(a_stream(*FRAMES, usage_frame(3), DONE))) as stage:
        body = await streamed(stage.url, stream_options={"include_usage": True})

    assert body == b"".join(FRAMES) + usage_frame(3) + DONE
    assert stage.workers[0].requests[0].document == a_chat(stream=True, stream_options={"include_usage": True})


async def test_worker_cut_within_a_frame_ends_with_an_error_frame_and_hurts_no_other_stream() -> None:
    go = asyncio.Event()

    async def script(request: Request, line: Line) -> None:
        if request.document["user"] == "victim":
            await line.say(SSE + a_chunk(FRAMES[0]) + a_chunk(FRAMES[1][:20]))
            await go.wait()
            line.cut()
            return
        await line.say(SSE + a_chunk(FRAMES[0]))
        await go.wait()
        await asyncio.sleep(0.05)
        await line.say(a_chunk(FRAMES[1]) + a_chunk(DONE) + b"0\r\n\r\n")

    async with a_stage(script) as stage:
        victim = asyncio.create_task(streamed(stage.url, user="victim"))
        other = asyncio.create_task(streamed(stage.url, user="other"))
        await stage.until(lambda: len(stage.workers[0].requests) == 2)
        go.set()
        cut = await victim

        assert cut.startswith(FRAMES[0] + b'data: {"error":')
        assert cut.endswith(b"\n\n" + DONE)
        assert json.loads(cut.split(b"\n\n")[1].removeprefix(b"data: "))["error"]["message"]
        assert await other == FRAMES[0] + FRAMES[1] + DONE


async def test_stream_without_end_mark_is_no_success() -> None:
    async with a_stage(always(a_stream(FRAMES[0]))) as stage:
        body = await streamed(stage.url)
        metrics = (await _get(stage.url, "/metrics")).text

    assert body.startswith(FRAMES[0] + b'data: {"error":')
    assert 'status="error"' in metrics


async def test_garbled_chunk_is_an_error_and_not_passed_on() -> None:
    async with a_stage(always(SSE + a_chunk(FRAMES[0]) + b"zz\r\njunk\r\n")) as stage:
        body = await streamed(stage.url)

    assert b"junk" not in body
    assert body.endswith(DONE)


async def test_error_before_the_stream_is_a_real_status() -> None:
    refusal = {"error": {"message": "too long", "type": "BadRequestError", "param": "messages", "code": 400}}
    async with a_stage(always(a_json(refusal, 400))) as stage, httpx.AsyncClient() as client:
        answer = await client.post(f"{stage.url}/v1/chat/completions", json=a_chat(stream=True))

    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "too long"


async def test_hang_up_of_the_client_closes_the_workers_connection_at_once() -> None:
    heard = asyncio.Event()

    async def script(request: Request, line: Line) -> None:
        await line.say(SSE + a_chunk(FRAMES[0]))
        await line.heard_hangup()
        heard.set()

    async with a_stage(script) as stage:
        client = await stage.raw()
        await client.say(post(a_chat(stream=True)))
        await client.reader.readuntil(FRAMES[0])
        client.writer.close()
        async with asyncio.timeout(1):
            await heard.wait()
        metrics = (await _get(stage.url, "/metrics")).text

    assert (
        'dynamo_frontend_model_cancellation_total{endpoint="chat_completions",model="m",request_type="stream"} 1.0'
        in metrics
    )
    assert "dynamo_frontend_disconnected_clients 1.0" in metrics
    assert 'dynamo_frontend_active_requests{model="m"} 0.0' in metrics
    assert 'dynamo_frontend_queued_requests{model="m"} 0.0' in metrics


async def test_hang_up_before_the_first_byte_reaches_the_worker_too() -> None:
    heard = asyncio.Event()

    async def script(request: Request, line: Line) -> None:
        await line.heard_hangup()
        heard.set()

    async with a_stage(script) as stage:
        client = await stage.raw()
        await client.say(post(a_chat()))
        await stage.until(lambda: len(stage.workers[0].requests) == 1)
        client.writer.close()
        async with asyncio.timeout(1):
            await heard.wait()
        assert (await _get(stage.url, "/health")).status_code == 200


async def test_slow_client_slows_the_worker_instead_of_filling_memory() -> None:
    sent = 0
    frame = a_chunk(a_frame("x" * 60_000))

    async def script(request: Request, line: Line) -> None:
        nonlocal sent
        line.writer.transport.set_write_buffer_limits(high=0)
        await line.say(SSE)
        for _ in range(2000):
            await line.say(frame)
            sent += len(frame)

    async with a_stage(script) as stage:
        client = await stage.raw()
        await client.say(post(a_chat(stream=True)))
        await client.reader.readuntil(b"\r\n\r\n")
        last = -1
        while last != sent:  # nothing tells that a worker was stopped, but for nothing happening
            last = sent
            await asyncio.sleep(0.3)
        stalled_bytes = sent
        assert stalled_bytes < 40 * 2**20
        while sent < stalled_bytes + 10 * len(frame):
            assert await client.reader.read(1 << 20)


async def test_silent_worker_is_given_up_after_the_deadline() -> None:
    async def script(request: Request, line: Line) -> None:
        await line.say(SSE + a_chunk(FRAMES[0]))
        await line.heard_hangup()

    async with a_stage(script, deadlines=Deadlines(between_bytes_s=0.2)) as stage:
        assert (await streamed(stage.url)).endswith(DONE)


async def test_every_stream_gets_its_own_tokens() -> None:
    async def script(request: Request, line: Line) -> None:
        name = request.document["user"]
        await line.say(SSE)
        for index in range(20):
            await line.say(a_chunk(a_frame(f"{name}/{index}")))
            await asyncio.sleep(0)
        await line.say(a_chunk(DONE) + b"0\r\n\r\n")

    async with a_stage(script, FakeWorker(script, "w1")) as stage:
        bodies = await asyncio.gather(*(streamed(stage.url, user=f"u{number}") for number in range(40)))

    for number, body in enumerate(bodies):
        assert body == b"".join(a_frame(f"u{number}/{index}") for index in range(20)) + DONE


async def _get(url: str, path: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(f"{url}{path}")
