"""Scripted faults do what they say, to their own request only, and only where they are enabled."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dynamo.mocker.timing import Polynomial, Speed
from tests.integration.mocker.running import Running, frames, running, text_of, until

STREAM: dict[str, Any] = {"stream": True, "max_tokens": 12}


@pytest.fixture
async def mocker() -> AsyncIterator[Running]:
    async with running(enable_faults=True) as it:
        yield it


async def clean_text(mocker: Running) -> str:
    return text_of(frames((await mocker.complete("x", **STREAM)).text))


async def read_until_cut(mocker: Running, script: str) -> tuple[list[Any], bool]:
    """Frames that arrived, and whether the connection broke before the answer's end."""
    seen: list[Any] = []
    body = {"prompt": "x", **STREAM, "mocker_fault": script}
    try:
        async with mocker.http.stream("POST", "/v1/completions", json=body) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: {"):
                    seen.append(json.loads(line[6:]))
    except httpx.RemoteProtocolError:
        return seen, True
    return seen, False


async def test_close_cuts_the_connection_after_exactly_n_tokens(mocker: Running) -> None:
    seen, was_cut = await read_until_cut(mocker, "close@7")
    assert was_cut
    assert len(seen) == 7
    assert (await clean_text(mocker)).startswith(text_of(seen))
    assert mocker.engine.in_flight == 0


async def test_error_frame_ends_the_stream_after_n_tokens(mocker: Running) -> None:
    *seen, error = frames((await mocker.complete("x", **STREAM, headers={"X-Mocker-Fault": "error@3"})).text)
    assert len(seen) == 3
    assert error["error"]["type"] == "internal_server_error"
    assert mocker.engine.in_flight == 0


@pytest.mark.parametrize("stream", [True, False])
async def test_error_status_comes_before_any_token(mocker: Running, stream: bool) -> None:
    response = await mocker.complete("x", stream=stream, mocker_fault="error:503")
    assert (response.status_code, response.json()["error"]["code"]) == (503, 503)


async def test_split_frames_carry_the_same_bytes_in_small_pieces(mocker: Running) -> None:
    expected = await clean_text(mocker)
    pieces: list[bytes] = []
    body = {"prompt": "x", **STREAM, "mocker_fault": "split@*"}
    async with mocker.http.stream("POST", "/v1/completions", json=body) as response:
        async for piece in response.aiter_raw():
            pieces.append(piece)
    assert text_of(frames(b"".join(pieces).decode())) == expected
    assert max(map(len, pieces)) <= 7


async def test_stall_pauses_once_and_then_everything_arrives_in_order(mocker: Running) -> None:
    expected = await clean_text(mocker)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    assert text_of(frames((await mocker.complete("x", **STREAM, mocker_fault="stall:0.3@5")).text)) == expected
    assert loop.time() - began_s >= 0.3


async def test_slow_stretches_the_time_of_its_own_stream_only() -> None:
    async with running(enable_faults=True, speed=Speed(Polynomial(), ratio=2)) as mocker:
        loop = asyncio.get_running_loop()

        async def timed(**fields: Any) -> tuple[str, float]:
            began_s = loop.time()
            answer = await mocker.complete("x", **STREAM, **fields)
            return text_of(frames(answer.text)), loop.time() - began_s

        (slow, slow_s), (plain, plain_s) = await asyncio.gather(timed(mocker_fault="slow:6"), timed())
        assert slow == plain
        assert slow_s > 2 * plain_s


async def test_freeze_keeps_the_connection_and_the_others_go_on(mocker: Running) -> None:
    body = {"prompt": "x", **STREAM, "mocker_fault": "freeze@2"}
    async with mocker.http.stream("POST", "/v1/completions", json=body) as response:
        lines = response.aiter_lines()
        seen = [line async for line in _first_frames(lines, 2)]
        assert len(seen) == 2
        assert await clean_text(mocker)
        assert mocker.engine.in_flight == 1
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await anext(_first_frames(lines, 1))
    await until(lambda: not mocker.engine.in_flight)


async def _first_frames(lines: AsyncIterator[str], count: int) -> AsyncIterator[str]:
    async for line in lines:
        if line.startswith("data: "):
            count -= 1
            yield line
        if count == 0:
            return


@pytest.mark.parametrize("script", ["die", "die@x", "slow:0.5", "error:200", "stall@5", "freeze@1,boom"])
async def test_bad_script_is_refused_with_the_allowed_forms(mocker: Running, script: str) -> None:
    response = await mocker.complete("x", headers={"X-Mocker-Fault": script})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == "mocker_fault"
    assert "split@*" in error["message"]


async def test_scripts_do_nothing_unless_enabled() -> None:
    async with running() as mocker:
        plain = await mocker.complete("x", **STREAM)
        scripted = await mocker.complete("x", **STREAM, mocker_fault="close@0", headers={"X-Mocker-Fault": "close@0"})
        assert text_of(frames(scripted.text)) == text_of(frames(plain.text))


async def test_die_ends_the_process_after_exactly_n_tokens(tmp_path: Path) -> None:
    environment = {"DYN_FILE_KV": str(tmp_path), "DYN_TCP_RPC_HOST": "127.0.0.1", "DYN_MOCKER_FAULTS": "1"}
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dynamo.mocker", "--speedup-ratio", "5"),
        env=environment,
        stderr=asyncio.subprocess.PIPE,
    )
    assert worker.stderr is not None
    try:
        async with asyncio.timeout(30):
            line = ""
            while "worker_serving" not in line:
                line = (await worker.stderr.readline()).decode()
                assert line, "the worker ended before it served"
            address = line.partition(" address=")[2].split()[0]
            seen, was_cut = await read_tokens(address)
            assert (seen, was_cut) == (4, True)
            assert await worker.wait() == -signal.SIGKILL
    finally:
        if worker.returncode is None:
            worker.kill()
            await worker.wait()


async def read_tokens(address: str) -> tuple[int, bool]:
    """Token frames until the answer or the connection ended, and whether it was cut."""
    seen = 0
    body = {"prompt": "x", **STREAM, "mocker_fault": "die@4"}
    try:
        async with (
            httpx.AsyncClient() as http,
            http.stream("POST", f"{address}/v1/completions", json=body) as response,
        ):
            async for text in response.aiter_lines():
                seen += text.startswith("data: {")
    except httpx.TransportError:
        return seen, True
    return seen, False
