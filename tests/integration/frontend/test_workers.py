"""Which worker a request reaches, and what becomes of workers that fail."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from dynamo.wire.cards import Role
from tests.integration.frontend.harness import (
    DONE,
    Line,
    Request,
    Script,
    a_chat,
    a_frame,
    a_json,
    a_stage,
    a_stream,
    always,
)

ANSWER = {"id": "c", "object": "chat.completion", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}


async def ask(
    url: str, document: object, headers: dict[str, str] | None = None, path: str = "chat/completions"
) -> httpx.Response:
    async with httpx.AsyncClient(timeout=10) as client:
        return await client.post(f"{url}/v1/{path}", json=document, headers=headers)


async def test_body_reaches_the_worker_byte_for_byte_and_its_answer_the_client() -> None:
    body = b'{"messages" : [{"role":"user","content":"\\u00fc \xc3\xbc"}],\n "model":"m", "temperature":1.50}'
    async with a_stage(always(a_json(ANSWER))) as stage, httpx.AsyncClient() as client:
        answer = await client.post(
            f"{stage.url}/v1/chat/completions",
            content=body,
            headers={"content-type": "application/json", "x-request-id": "mine", "traceparent": "00-1-2-01"},
        )

    request = stage.workers[0].requests[0]
    assert request.body == body
    assert request.target == "/v1/chat/completions"
    assert (request.headers["x-request-id"], request.headers["traceparent"]) == ("mine", "00-1-2-01")
    assert "x-data-parallel-rank" not in request.headers
    assert answer.headers["x-request-id"] == "mine"
    assert answer.json() == ANSWER


async def test_no_refusal_puts_a_prompt_into_the_log() -> None:
    quoting = a_json({"error": {"message": "prompt[0]: found ['SECRET']"}}, status=400)
    async with a_stage(always(quoting)) as stage:
        by_worker = await ask(stage.url, {"model": "m", "prompt": [["SECRET"]]}, path="completions")
        by_us = await ask(stage.url, a_chat(messages=[{"role": "SECRET", "content": "x"}]))

    assert (by_worker.status_code, by_us.status_code) == (400, 400)
    assert "SECRET" in by_worker.text
    assert "SECRET" in by_us.text
    assert stage.log.getvalue().count("error=validation") == 2
    assert "SECRET" not in stage.log.getvalue()


async def test_requests_take_turns_and_keep_their_connections() -> None:
    async with a_stage(always(a_json(ANSWER)), always(a_json(ANSWER))) as stage:
        for _ in range(6):
            assert (await ask(stage.url, a_chat())).status_code == 200

    assert [len(worker.requests) for worker in stage.workers] == [3, 3]
    assert [worker.connections for worker in stage.workers] == [1, 1]


async def test_explained_answer_names_worker_and_reason() -> None:
    async with a_stage(always(a_json(ANSWER))) as stage:
        answer = await ask(stage.url, a_chat(), {"x-dynamo-explain": "true"})
        plain = await ask(stage.url, a_chat())

    assert answer.headers["x-dynamo-worker-name"] == "w0"
    assert int(answer.headers["x-dynamo-worker-id"], 16) == stage.workers[0].port
    assert answer.headers["x-dynamo-decision"].startswith("round-robin")
    assert answer.headers["x-dynamo-cached-blocks"] == "0/0"
    assert not [name for name in plain.headers if name.startswith("x-dynamo")]


async def test_pinned_request_goes_to_its_worker() -> None:
    async with a_stage(always(a_json(ANSWER)), always(a_json(ANSWER))) as stage:
        pin = stage.workers[1].port
        for _ in range(3):
            await ask(stage.url, a_chat(), {"x-dynamo-worker-instance-id": str(pin)})
            await ask(stage.url, a_chat(nvext={"backend_instance_id": pin}))
        unknown = await ask(stage.url, a_chat(), {"x-dynamo-worker-instance-id": "12"})

    assert len(stage.workers[1].requests) == 6
    assert unknown.status_code == 400


async def test_unreachable_worker_is_avoided_and_its_request_answered_by_another() -> None:
    async with a_stage(always(a_json(ANSWER)), always(a_json(ANSWER))) as stage:
        await stage.workers[0].close()
        statuses = [(await ask(stage.url, a_chat())).status_code for _ in range(6)]

    assert statuses == [200] * 6
    assert stage.log.getvalue().count("worker_unreachable") == 1


async def test_worker_lost_before_its_answer_costs_one_more_try() -> None:
    async def dies(request: Request, line: Line) -> None:
        line.cut()

    async with a_stage(dies, always(a_json(ANSWER))) as stage:
        statuses = [(await ask(stage.url, a_chat())).status_code for _ in range(4)]

    assert statuses == [200] * 4


async def test_worker_that_shuts_down_costs_nothing_while_another_serves() -> None:
    leaves = always(a_json({"error": {"message": "the engine is shutting down"}}, 503))
    async with a_stage(leaves, always(a_json(ANSWER))) as stage:
        statuses = [(await ask(stage.url, a_chat())).status_code for _ in range(4)]
        asked = len(stage.workers[0].requests)

    assert statuses == [200] * 4
    assert asked == 1, "it is avoided from then on"


async def test_request_that_loses_two_workers_is_not_given_a_third() -> None:
    async def dies(request: Request, line: Line) -> None:
        line.cut()

    async with a_stage(dies, dies, dies) as stage:
        answer = await ask(stage.url, a_chat())

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert sum(len(worker.requests) for worker in stage.workers) == 2


async def test_request_never_returns_to_the_worker_it_cost() -> None:
    async def dies(request: Request, line: Line) -> None:
        line.cut()

    async with a_stage(dies) as stage:
        answer = await ask(stage.url, a_chat())

    assert answer.status_code == 503
    assert len(stage.workers[0].requests) == 1


async def test_kept_connection_that_the_worker_closed_is_no_failure() -> None:
    closes: Script

    async def closes(request: Request, line: Line) -> None:
        await line.say(a_json(ANSWER))
        line.writer.close()

    async with a_stage(closes) as stage:
        statuses = [(await ask(stage.url, a_chat())).status_code for _ in range(5)]

    assert statuses == [200] * 5
    assert "unreachable" not in stage.log.getvalue()


async def test_answer_without_length_ends_with_its_connection() -> None:
    body = json.dumps(ANSWER).encode()

    async def script(request: Request, line: Line) -> None:
        await line.say(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n" + body)
        line.writer.close()

    async with a_stage(script) as stage:
        answer = await ask(stage.url, a_chat())

    assert (answer.status_code, answer.json()) == (200, ANSWER)


async def test_answer_shorter_than_it_said_is_an_error() -> None:
    async def script(request: Request, line: Line) -> None:
        await line.say(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{}")
        line.cut()

    async with a_stage(script) as stage:
        answer = await ask(stage.url, a_chat())

    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "internal_server_error"


@pytest.mark.parametrize(
    ("status", "document", "expected", "message"),
    [
        pytest.param(400, {"error": {"message": "bad", "type": "x", "param": "p"}}, 400, "bad", id="nested"),
        pytest.param(400, {"object": "error", "message": "flat"}, 400, "flat", id="flat"),
        pytest.param(422, {"detail": "no"}, 400, "no", id="unprocessable"),
        pytest.param(404, {"error": "gone"}, 404, "gone", id="not-found"),
        pytest.param(500, {"error": {"message": "/secret/path"}}, 500, "The worker failed (status 500)", id="hidden"),
        pytest.param(503, {"error": {"message": "later"}}, 503, "later", id="unavailable"),
        pytest.param(429, {}, 529, "The worker refused the request (status 429)", id="overloaded"),
    ],
)
async def test_refusals_of_workers_come_in_our_form(status: int, document: object, expected: int, message: str) -> None:
    async with a_stage(always(a_json(document, status))) as stage:
        answer = await ask(stage.url, a_chat())

    assert answer.status_code == expected
    assert answer.json()["error"]["message"] == message


async def test_overload_status_is_configurable() -> None:
    async with a_stage(always(a_json({}, 429)), env={"DYN_HTTP_OVERLOAD_STATUS_CODE": "503"}) as stage:
        answer = await ask(stage.url, a_chat())

    assert answer.status_code == 503
    assert answer.json()["error"]["type"] == "overloaded_error"
    assert " status=503 " in stage.log.getvalue()


async def test_models_come_and_go_with_their_workers() -> None:
    async with (
        a_stage(
            always(a_json(ANSWER)), cards=({"aliases": ("alias",), "loras": ("ns/lora",), "context_length": 4096},)
        ) as stage,
        httpx.AsyncClient(base_url=stage.url) as client,
    ):
        listed = (await client.get("/v1/models")).json()["data"]
        one = await client.get("/v1/models/ns/lora")
        ready = (await client.get("/v1/models/m/ready")).json()
        answered = await client.post("/v1/chat/completions", json=a_chat(model="alias"))
        await stage.discovery.withdraw(stage.workers[0].port)
        await stage.until(lambda: not stage.running.fleet.cards)
        refused = await client.post("/v1/chat/completions", json=a_chat())
        gone = await client.get("/v1/models")

    assert [model["id"] for model in listed] == ["alias", "m", "ns/lora"]
    assert listed[1]["context_window"] == 4096
    assert one.json()["parent"] == "m"
    assert ready == {
        "model": "m",
        "ready": True,
        "namespaces": {
            "test": {
                "ready": True,
                "worker_types": {"aggregated": {"workers": 1, "needs": []}},
                "present": ["aggregated"],
                "missing_worker_types": [],
            }
        },
    }
    assert answered.status_code == 200
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
    assert gone.json()["data"] == []


TRANSFER = {"do_remote_prefill": True, "remote_block_ids": [[1, 2]], "remote_host": "10.0.0.1"}


async def test_prefill_worker_computes_and_decode_worker_answers() -> None:
    prefill = always(a_json({**ANSWER, "kv_transfer_params": TRANSFER}))
    decode = always(a_stream(a_frame("one"), DONE))
    roles = ({"role": Role.PREFILL}, {"role": Role.DECODE})
    async with a_stage(prefill, decode, cards=roles) as stage:
        answer = await ask(stage.url, a_chat(stream=True, max_tokens=9, stream_options={"include_usage": True}))

    assert answer.content == a_frame("one") + DONE
    asked, answered = stage.workers[0].requests[0].document, stage.workers[1].requests[0].document
    assert (asked["max_tokens"], asked["stream"], "stream_options" in asked) == (1, False, False)
    assert asked["kv_transfer_params"]["do_remote_decode"] is True
    assert answered["kv_transfer_params"] == TRANSFER
    assert (answered["max_tokens"], answered["stream"]) == (9, True)


async def test_decode_worker_alone_is_not_ready_and_says_what_is_missing() -> None:
    async with a_stage(always(a_json(ANSWER)), cards=({"role": Role.DECODE},)) as stage:
        answer = await ask(stage.url, a_chat())
        async with httpx.AsyncClient(base_url=stage.url) as client:
            ready = (await client.get("/v1/models/m/ready")).json()
            listed = (await client.get("/v1/models")).json()["data"]

    assert answer.status_code == 503
    assert "missing worker types: prefill" in answer.json()["error"]["message"]
    assert ready["namespaces"]["test"]["missing_worker_types"] == ["prefill"]
    assert (ready["ready"], listed) == (False, [])


async def test_prefill_without_transfer_parameters_is_an_error_not_a_silent_recompute() -> None:
    roles = ({"role": Role.PREFILL}, {"role": Role.DECODE})
    async with a_stage(always(a_json(ANSWER)), always(a_json(ANSWER)), cards=roles) as stage:
        answer = await ask(stage.url, a_chat())

    assert answer.status_code == 500
    assert stage.workers[1].requests == []


async def test_prompt_and_answer_never_reach_the_log() -> None:
    secret = "canary-7f3a"
    chat = a_chat(messages=[{"role": "user", "content": secret}])
    async with a_stage(always(a_json({**ANSWER, "text": secret}))) as stage:
        await ask(stage.url, chat)
        await ask(stage.url, {**chat, "temperature": 9})
        await asyncio.sleep(0.15)

    assert stage.log.getvalue().count(" request ") == 2
    assert secret not in stage.log.getvalue()
