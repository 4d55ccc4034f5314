"""`python -m dynamo.mocker` as a process: it announces itself, drains on SIGTERM and names a wrong flag."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx

from dynamo.wire.cards import WorkerCard, decode_card
from tests.integration.mocker.running import frames


@contextlib.asynccontextmanager
async def command(folder: Path, *flags: str, **env: str) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {
        "DYN_FILE_KV": str(folder),
        "DYN_TCP_RPC_HOST": "127.0.0.1",
        "DYN_NAMESPACE": "ns",
        "DYN_GRACEFUL_SHUTDOWN_GRACE_PERIOD_SECS": "0",
        **env,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dynamo.mocker", *flags), env=environment, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def wait_for_lines(process: asyncio.subprocess.Process, event: str, count: int = 1) -> list[str]:
    assert process.stderr is not None
    found: list[str] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            line = (await process.stderr.readline()).decode()
            assert line, f"the process ended before {event}"
            if event in line:
                found.append(line)
    return found


def cards(folder: Path) -> list[WorkerCard]:
    return [decode_card(path.read_bytes()) for path in sorted(folder.rglob("*.json"))]


async def test_workers_of_one_process_announce_themselves_and_serve(tmp_path: Path) -> None:
    flags = ("--num-workers", "2", "--served-model-name", "m", "--served-model-name", "a", "--speedup-ratio", "0")
    async with command(
        tmp_path, *flags, "--disaggregation-mode", "prefill", DYN_NAMESPACE_WORKER_SUFFIX="g1"
    ) as process:
        await wait_for_lines(process, "worker_serving", 2)
        first, second = cards(tmp_path)
        for card in (first, second):
            assert (card.namespace, card.component, card.role.value) == ("ns-g1", "prefill", "prefill")
            assert (card.model, card.aliases, card.engine) == ("m", ("a",), "mocker")
            assert (card.block_size, card.total_kv_blocks, card.max_num_seqs) == (64, 16384, 256)
        assert len({first.worker_id, second.worker_id}) == len({first.address, second.address}) == 2
        async with httpx.AsyncClient() as http:
            for card in (first, second):
                answer = await http.post(f"{card.address}/v1/completions", json={"prompt": "x", "max_tokens": 2})
                assert answer.status_code == 200
                assert "vllm:generation_tokens_total" in (await http.get(f"{card.system_address}/metrics")).text
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        assert cards(tmp_path) == []


async def test_sigterm_lets_streams_finish(tmp_path: Path) -> None:
    async with command(tmp_path, "--speedup-ratio", "1") as process:
        await wait_for_lines(process, "worker_serving")
        (card,) = cards(tmp_path)
        body = {"prompt": "x", "max_tokens": 60, "stream": True}
        async with (
            httpx.AsyncClient() as http,
            http.stream("POST", f"{card.address}/v1/completions", json=body) as response,
        ):
            text = ""
            async for piece in response.aiter_text():
                if not text:
                    process.send_signal(signal.SIGTERM)
                text += piece
        assert len(frames(text)) == 60
        assert await process.wait() == 0


async def test_unknown_flag_stops_with_the_nearest_name(tmp_path: Path) -> None:
    async with command(tmp_path, "--speed-ratio", "1") as process:
        _, errors = await process.communicate()
        assert process.returncode == 2
        assert "--speedup-ratio" in errors.decode()


async def test_taken_port_stops_with_its_number(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with command(tmp_path, "--port", str(port)) as process:
            _, errors = await process.communicate()
            assert process.returncode == 1
            assert f"127.0.0.1:{port}" in errors.decode()


async def test_broken_tokenizer_stops_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    async with command(tmp_path / "kv", "--model-path", str(tmp_path)) as process:
        _, errors = await process.communicate()
        assert process.returncode == 1
        assert str(tmp_path / "tokenizer.json") in errors.decode()


async def test_a_node_that_does_not_lead_answers_probes_and_announces_nothing(tmp_path: Path) -> None:
    async with command(tmp_path, "--model-name", "m", DYNAMO_RANK="1") as process:
        (line,) = await wait_for_lines(process, "follower_waiting")
        port = int(re.search(r"system_port\W+(\d+)", line)[1])  # type: ignore[index]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            statuses = [(await http.get(path)).status_code for path in ("/health", "/live", "/v1/models")]
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert statuses == [200, 200, 404]
    assert cards(tmp_path) == []
