"""A worker's life: announced when ready, gone before it stops, exit code by cause."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx

from dynamo.wire.blocks import block_hashes, sequence_hashes
from dynamo.wire.router_events import Tier, decode_state, unpack_hashes
from dynamo.worker.ports import EngineLoad
from tests.integration.worker.fake_engine import BLOCK_SIZE, FakeEngine, removed, stored
from tests.integration.worker.running import a_config, client_of, eventually, eventually_async, running
from tests.shared import shared


async def test_card_says_what_engine_and_config_say() -> None:
    async with running(config=a_config(aliases=("small",))) as worker:
        card = await worker.card()

    assert (card.worker_id, card.name, card.model, card.aliases) == (0xABC, "w1", "tiny", ("small",))
    assert (card.block_size, card.total_kv_blocks, card.data_parallel_size) == (BLOCK_SIZE, 100, 1)
    assert card.event_address is not None
    assert card.event_address.startswith("tcp://127.0.0.1:")


async def test_health_is_503_until_the_engine_serves() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    engine = FakeEngine()
    engine.start_gate = asyncio.Event()
    async with (
        running(engine, a_config(system_port=port)) as worker,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        await asyncio.sleep(0)
        for path in ("/health", "/live"):
            answer = await _when_up(client, path)
            assert answer.status_code == 503
            assert answer.json()["status"] == "notready"
        engine.start_gate.set()
        await worker.card()
        for path in ("/health", "/live"):
            body = (await client.get(path)).json()
            assert body["status"] == "ready"
            assert body["endpoints"] == {"generate": "ready"}
            assert set(body["uptime"]) == {"secs", "nanos"}


async def _when_up(client: httpx.AsyncClient, path: str) -> httpx.Response:
    async with asyncio.timeout(5):
        while True:
            try:
                return await client.get(path)
            except httpx.ConnectError:
                await asyncio.sleep(0.01)


async def test_drain_leaves_discovery_first_and_waits_for_streams() -> None:
    async with running() as worker:
        card = await worker.card()
        worker.engine.in_flight = 1
        async with client_of(card) as client:
            worker.stop.set()
            await worker.gone()
            assert worker.engine.is_accepting
            assert (await client.get("/health")).status_code == 503
            assert (await client.get("/live")).status_code == 200
            status = (await client.get("/engine/status")).json()
            assert (status["state"], status["inflight_requests"], status["safe_to_delete"]) == ("draining", 1, False)
            await eventually(lambda: not worker.engine.is_accepting)
            assert not worker.exit_code.done()
            assert not worker.engine.is_stopped
            worker.engine.in_flight = 0
        assert await worker.exit_code == 0

    assert worker.engine.steps == ["stop_accepting", "stop"]
    assert worker.events() == ["worker_serving", "worker_draining", "worker_stopped"]


async def test_drain_ends_at_its_deadline() -> None:
    async with running(config=a_config(drain_s=0.1)) as worker:
        await worker.card()
        worker.engine.in_flight = 3
        worker.stop.set()
        assert await worker.exit_code == 0

    assert "worker_drain_cut" in worker.events()


async def test_dead_engine_is_withdrawn_and_exits_1() -> None:
    async with running() as worker:
        await worker.card()
        worker.engine.die("out of memory")
        assert await worker.exit_code == 1
        await worker.gone()

    assert "engine_died" in worker.events()
    assert "out of memory" in worker.output.getvalue()


async def test_engine_that_dies_in_drain_exits_1() -> None:
    async with running() as worker:
        await worker.card()
        worker.engine.in_flight = 1
        worker.stop.set()
        await worker.gone()
        worker.engine.die("segfault")
        assert await worker.exit_code == 1


async def test_engine_that_cannot_start_is_a_clear_line_and_exits_1() -> None:
    engine = FakeEngine()
    engine.start_error = "--model-path: found /nope, expected a folder"
    async with running(engine) as worker:
        assert await worker.exit_code == 1

    assert "--model-path: found /nope" in worker.output.getvalue()
    assert worker.engine.is_stopped


async def test_stop_before_the_engine_is_ready_exits_0() -> None:
    engine = FakeEngine()
    engine.start_gate = asyncio.Event()
    async with running(engine) as worker:
        worker.stop.set()
        assert await worker.exit_code == 0

    assert worker.engine.is_stopped


async def test_taken_system_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with running(config=a_config(system_port=port)) as worker:
            assert await worker.exit_code == 1

    assert f"DYN_SYSTEM_PORT: cannot listen on 127.0.0.1:{port}" in worker.output.getvalue()


async def test_kv_state_follows_the_engine() -> None:
    tokens = list(range(3 * BLOCK_SIZE))
    names = sequence_hashes(block_hashes(tokens, BLOCK_SIZE))
    async with running() as worker:
        card = await worker.card()
        async with client_of(card) as client:
            worker.engine.emit(stored(1, tokens))
            worker.engine.emit(removed(3))

            async def state(query: str = "") -> bytes:
                return (await client.get(f"/v1/kv_state/0{query}")).raise_for_status().content

            await eventually_async(lambda: _has_event(state, 1))
            whole = decode_state(await state())
            later = decode_state(await state("?after=0"))

            assert whole.tiers is not None
            assert set(unpack_hashes(whole.tiers[Tier.DEVICE]).tolist()) == set(names[:2].tolist())
            assert later.tiers is None
            assert [event.event_id for event in later.events] == [1]
            assert (await client.get("/v1/kv_state/1")).status_code == 404
            assert (await client.get("/v1/kv_state/x")).status_code == 404
            assert (await client.get("/v1/kv_state/0?after=x")).status_code == 400


async def _has_event(state: Callable[[], Awaitable[bytes]], event_id: int) -> bool:
    return decode_state(await state()).last_event_id >= event_id


async def test_unknown_routes_and_verbs_are_refused() -> None:
    async with running() as worker, client_of(await worker.card()) as client:
        assert (await client.get("/nope")).json()["error"] == "Route not found"
        assert (await client.post("/metrics")).status_code == 405
        assert (await client.get("/v1/loras")).status_code == 404


async def test_only_listed_tokenizer_files_are_served(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "tokenizer.json").write_text('{"a": 1}')
    (folder / "secret.txt").write_text("no")
    (tmp_path / "tokenizer_config.json").write_text("outside")
    async with running(FakeEngine(tokenizer_dir=folder), a_config(model="org/tiny")) as worker:
        card = await worker.card()
        assert card.tokenizer is not None
        async with client_of(card) as client:
            assert (await client.get(f"{card.tokenizer.path}/tokenizer.json")).json() == {"a": 1}
            for name in ("secret.txt", "tokenizer_config.json", "..%2Ftokenizer_config.json", "%2Fetc%2Fpasswd", ""):
                assert (await client.get(f"{card.tokenizer.path}/{name}")).status_code == 404, name


async def test_loaded_adapters_are_in_the_card() -> None:
    async with running(config=a_config(lora_enabled=True)) as worker, client_of(await worker.card()) as client:
        body = {"lora_name": "sql", "source": {"uri": "file:///adapters/sql"}}
        assert (await client.post("/v1/loras", json=body)).json()["lora_id"] == 1
        assert (await worker.card()).loras == ("sql",)
        assert (await client.get("/v1/loras")).json() == {"status": "success", "loras": {"sql": 1}, "count": 1}
        assert (await client.delete("/v1/loras/sql")).status_code == 200
        assert (await worker.card()).loras == ()
        assert (await client.delete("/v1/loras/sql")).status_code == 404


async def test_bad_adapter_requests_name_the_field() -> None:
    async with running(config=a_config(lora_enabled=True)) as worker, client_of(await worker.card()) as client:
        for body, status, word in (
            (b"{", 400, "body"),
            (b"{}", 422, "lora_name"),
            (b'{"lora_name": "x"}', 422, "source"),
            (b'{"lora_name": "x", "source": {"uri": 5}}', 422, "uri"),
            (b'{"lora_name": "", "source": {"uri": "file:///x"}}', 422, "lora_name"),
            (b'{"lora_name": "tiny", "source": {"uri": "file:///x"}}', 409, "lora_name"),
            (b'{"lora_name": "x", "source": {"uri": "ftp://x"}}', 400, "source.uri"),
        ):
            answer = await client.post("/v1/loras", content=body)
            assert answer.status_code == status, body
            assert word in answer.json()["message"], body


# Upstream's worker families that this one lacks, each with the reason.
MISSING = {
    "dynamo_component_request_bytes_total": "requests go straight to the engine, whose server does not count bytes",
    "dynamo_component_response_bytes_total": "as request bytes",
    "dynamo_engine_request": "no limit in front of the engine; see dynamo_component_inflight_requests",
    "dynamo_rejection_request_total": "the frontend rejects, and counts",
    "dynamo_request_queue": "requests wait in the engine: vllm:num_requests_waiting",
    **{
        f"dynamo_work_handler_{name}": "there is no request plane of our own with a worker pool"
        for name in (
            "enqueue_rejected_total",
            "network_transit_seconds",
            "permit_wait_seconds",
            "pool_active_tasks",
            "pool_capacity",
            "queue_capacity",
            "queue_depth",
            "time_to_first_response_seconds",
        )
    },
}


async def test_metrics_are_upstreams_but_for_the_listed() -> None:
    upstream = _families(shared("corpus/live/worker-metrics.txt").read_text())
    engine = FakeEngine()
    engine.text = shared("corpus/live/worker-metrics.txt").read_bytes()
    engine.text = (
        b"\n".join(line for line in engine.text.splitlines() if b"vllm:" in line)
        + b'\nvllm:request_success_total{finished_reason="abort",model_name="tiny"} 2\n'
    )
    async with running(engine) as worker, client_of(await worker.card()) as client:
        ours = _families((await client.get("/metrics")).text)

    assert {name for name in upstream if name not in ours} == set(MISSING)
    for name, (kind, labels) in upstream.items():
        if name in ours:
            assert ours[name] == (kind, labels), name
    assert "dynamo_component_cancellation_total" in ours


def _families(text: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Family -> (type, label names)."""
    kinds = dict(line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE"))
    labels: dict[str, set[str]] = {name: set() for name in kinds}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, rest = line.partition("{")
            family = next(
                (f for f in (name, *(name.removesuffix(s) for s in ("_bucket", "_sum", "_count"))) if f in kinds), None
            )
            if family and rest:
                labels[family] |= {pair.partition("=")[0] for pair in rest.rpartition("}")[0].split(",")}
    return {name: (kind, frozenset(labels[name])) for name, kind in kinds.items()}


async def test_load_and_uptime_are_in_metrics() -> None:
    engine = FakeEngine()
    engine.load = EngineLoad(kv_used_blocks=25)
    engine.in_flight = 2
    async with running(engine) as worker, client_of(await worker.card()) as client:
        text = (await client.get("/metrics")).text
        engine.in_flight = 0

    assert 'dynamo_namespace="default_agg",worker_id="abc",model="tiny",dp_rank="0"} 0.25' in text
    assert 'worker_id="abc",dynamo_endpoint="generate"} 2' in text
    assert json.dumps(text)
