"""The OpenAI server's wire format: what clients, SDKs and the frontend rely on."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import jsonschema
import numpy as np
import openai
import pytest

from dynamo.mocker.timing import Polynomial, Speed
from dynamo.mocker.work import Limits
from dynamo.wire.cards import ModelType
from tests.integration.mocker.running import Running, frames, running, text_of, until
from tests.shared import shared

ALL = (ModelType.CHAT, ModelType.COMPLETIONS, ModelType.EMBEDDINGS)


@pytest.fixture
async def mocker() -> AsyncIterator[Running]:
    async with running(model="m", aliases=("alias",), model_types=ALL) as it:
        yield it


def follows(answer: Any, schema: str) -> None:
    document = json.loads(shared("data/openai_response_schemas.json").read_text())
    jsonschema.validate(answer, {"$ref": f"#/components/schemas/{schema}", "components": document["components"]})


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="plain"),
        pytest.param({"n": 3}, id="three-choices"),
        pytest.param({"logprobs": True, "top_logprobs": 3}, id="logprobs"),
        pytest.param({"max_tokens": 0}, id="no-tokens"),
        pytest.param({"stop": [" "]}, id="stop"),
    ],
)
async def test_chat_answers_follow_the_openai_schema(mocker: Running, fields: dict[str, Any]) -> None:
    answer = (await mocker.chat(model="m", **fields)).json()
    follows(answer, "CreateChatCompletionResponse")
    for chunk in frames((await mocker.chat(model="m", stream=True, **fields)).text):
        follows(chunk, "CreateChatCompletionStreamResponse")


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="plain"),
        pytest.param({"prompt": ["a", "b"], "n": 2}, id="four-choices"),
        pytest.param({"logprobs": 2}, id="logprobs"),
        pytest.param({"echo": True, "logprobs": 1}, id="echo"),
    ],
)
async def test_completions_follow_the_openai_schema(mocker: Running, fields: dict[str, Any]) -> None:
    prompt = fields.pop("prompt", "once upon")
    follows((await mocker.complete(prompt, **fields)).json(), "CreateCompletionResponse")
    for chunk in frames((await mocker.complete(prompt, stream=True, **fields)).text):
        follows(chunk, "CreateCompletionResponse")


async def test_models_and_embeddings_follow_the_openai_schema(mocker: Running) -> None:
    models = (await mocker.http.get("/v1/models")).json()
    follows(models, "ListModelsResponse")
    assert [model["id"] for model in models["data"]] == ["m", "alias"]
    follows((await mocker.http.post("/v1/embeddings", json={"input": "hi"})).json(), "CreateEmbeddingResponse")


async def test_stream_has_role_first_then_tokens_then_usage_then_done(mocker: Running) -> None:
    response = await mocker.chat(stream=True, max_tokens=3, stream_options={"include_usage": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    first, *tokens, usage = frames(response.text)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert all(set(chunk["choices"][0]["delta"]) == {"content"} for chunk in tokens)
    assert [chunk["choices"][0]["finish_reason"] for chunk in tokens] == [None, None, "length"]
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 3


async def test_streamed_and_whole_answers_are_the_same_text(mocker: Running) -> None:
    whole = (await mocker.chat("tell me")).json()
    streamed = frames((await mocker.chat("tell me", stream=True)).text)
    assert text_of(streamed) == whole["choices"][0]["message"]["content"]


async def test_continuous_usage_counts_up_in_every_frame(mocker: Running) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    chunks = frames((await mocker.complete("x", stream=True, max_tokens=4, stream_options=options)).text)
    assert [chunk["usage"]["completion_tokens"] for chunk in chunks] == [1, 2, 3, 4, 4]


async def test_two_workers_say_the_same_and_an_extended_prompt_continues(mocker: Running) -> None:
    prompt = [5, 6, 7, 8]
    whole = (await mocker.complete(prompt, max_tokens=12, return_token_ids=True)).json()["choices"][0]
    async with running(model="m") as other:
        rest = (await other.complete(prompt + whole["token_ids"][:5], max_tokens=7)).json()["choices"][0]
    assert whole["text"].endswith(rest["text"])


async def test_answer_ends_by_itself_only_without_max_tokens(mocker: Running) -> None:
    body = {"messages": [{"role": "user", "content": "free"}]}
    free = (await mocker.http.post("/v1/chat/completions", json=body)).json()
    assert free["choices"][0]["finish_reason"] == "stop"
    assert free["usage"]["completion_tokens"] >= 8
    limited = (await mocker.chat("free", max_tokens=700)).json()
    assert limited["usage"]["completion_tokens"] == 700


@pytest.mark.parametrize("keeps", [False, True], ids=["cut-before", "kept"])
async def test_stop_string_over_token_borders_cuts_the_text(mocker: Running, keeps: bool) -> None:
    words = (await mocker.complete("x", max_tokens=8)).json()["choices"][0]["text"].split(" ")
    stop = f"{words[3][-1]} {words[4][:2]}"
    fields: dict[str, Any] = {"stop": [stop, "never there"], "max_tokens": 8, "include_stop_str_in_output": keeps}
    choice = (await mocker.complete("x", **fields)).json()["choices"][0]
    full = " ".join(words)
    expected = full[: full.index(stop) + (len(stop) if keeps else 0)]
    assert (choice["text"], choice["finish_reason"], choice["stop_reason"]) == (expected, "stop", stop)
    assert text_of(frames((await mocker.complete("x", stream=True, **fields)).text)) == expected
    assert mocker.engine.read_load()[0].running_requests == 0


async def test_min_tokens_delays_a_stop_token(mocker: Running) -> None:
    tokens = (await mocker.complete("x", max_tokens=8, return_token_ids=True)).json()["choices"][0]["token_ids"]
    early = (await mocker.complete("x", max_tokens=8, stop_token_ids=[tokens[1]])).json()
    assert early["usage"]["completion_tokens"] == 2
    late = (await mocker.complete("x", max_tokens=8, min_tokens=5, stop_token_ids=[tokens[1]])).json()
    assert late["usage"]["completion_tokens"] == 8


async def test_cached_tokens_are_told_and_separated_by_salt_and_adapter(mocker: Running) -> None:
    await mocker.engine.load_lora("lo", "s3://bucket/lo")
    prompt = list(range(100, 165))

    async def cached(**fields: Any) -> int:
        usage = (await mocker.complete(prompt, **fields)).json()["usage"]
        return int(usage["prompt_tokens_details"]["cached_tokens"])

    assert [await cached(), await cached()] == [0, 64]
    assert [await cached(cache_salt="s"), await cached(cache_salt="s")] == [0, 64]
    assert [await cached(model="lo"), await cached(model="lo")] == [0, 64]


async def test_request_id_becomes_the_answers_id(mocker: Running) -> None:
    response = await mocker.chat(headers={"X-Request-Id": "abc-1"})
    assert response.json()["id"] == "chatcmpl-abc-1"
    assert response.headers["x-request-id"] == "abc-1"
    twice = await asyncio.gather(*(mocker.complete("x", headers={"X-Request-Id": "same"}) for _ in range(3)))
    assert [answer.json()["id"] for answer in twice] == ["cmpl-same"] * 3


async def test_list_and_token_prompts_fan_out_in_order(mocker: Running) -> None:
    alone = [(await mocker.complete(prompt)).json()["choices"][0]["text"] for prompt in ("one", "two")]
    both = (await mocker.complete(["one", "two"])).json()
    assert [choice["text"] for choice in both["choices"]] == alone
    ids = (await mocker.http.post("/tokenize", json={"prompt": "one"})).json()["tokens"]
    assert (await mocker.complete([ids])).json()["choices"][0]["text"] == alone[0]


async def test_echo_returns_prompt_and_its_logprobs(mocker: Running) -> None:
    choice = (await mocker.complete("one river", echo=True, logprobs=1, max_tokens=0)).json()["choices"][0]
    assert choice["text"] == "one river"
    # vLLM gives null for the first token, which OpenAI's schema and strict clients refuse.
    assert all(isinstance(logprob, float) for logprob in choice["logprobs"]["token_logprobs"])
    assert "".join(choice["logprobs"]["tokens"]) == "one river"
    assert choice["logprobs"]["text_offset"] == [0, 3]


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 6},
        "kind": {"enum": ["x", "y"]},
        "size": {"anyOf": [{"type": "integer", "minimum": 3}, {"type": "null"}]},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "minItems": 2},
        "optional": {"type": "number"},
    },
    "required": ["name", "kind", "size", "tags"],
    "additionalProperties": False,
    "$defs": {"tag": {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}},
}


@pytest.mark.parametrize("max_tokens", [None, 500], ids=["unlimited", "limited"])
async def test_json_schema_answer_is_a_valid_instance(mocker: Running, max_tokens: int | None) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}
    answer = (await mocker.chat(response_format=form, max_tokens=max_tokens)).json()["choices"][0]
    jsonschema.validate(json.loads(answer["message"]["content"]), SCHEMA)
    assert answer["finish_reason"] == "stop"
    plain = (await mocker.chat(response_format={"type": "json_object"}, max_tokens=max_tokens)).json()
    assert isinstance(json.loads(plain["choices"][0]["message"]["content"]), dict)


TOOLS = [
    {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "ping"}},
]


@pytest.mark.parametrize(
    ("choice", "name", "finish"),
    [
        pytest.param("required", "weather", "tool_calls", id="required"),
        pytest.param({"type": "function", "function": {"name": "ping"}}, "ping", "stop", id="named"),
    ],
)
async def test_forced_tool_call_has_valid_arguments(mocker: Running, choice: Any, name: str, finish: str) -> None:
    fields = {"tools": TOOLS, "tool_choice": choice, "max_tokens": None}
    whole = (await mocker.chat(**fields)).json()
    follows(whole, "CreateChatCompletionResponse")
    (call,) = whole["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == name
    arguments = json.loads(call["function"]["arguments"])
    if name == "weather":
        jsonschema.validate(arguments, SCHEMA)
    assert whole["choices"][0]["finish_reason"] == finish
    chunks = frames((await mocker.chat(stream=True, **fields)).text)
    parts = [c["delta"]["tool_calls"][0] for chunk in chunks for c in chunk["choices"] if "tool_calls" in c["delta"]]
    assert parts[0]["function"]["name"] == name
    assert json.loads("".join(part["function"]["arguments"] for part in parts)) == arguments


async def test_tool_results_of_earlier_turns_are_accepted(mocker: Running) -> None:
    call = {"id": "call-1", "type": "function", "function": {"name": "ping", "arguments": '{"a": 1}'}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "go"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call-1", "content": "pong"},
    ]
    response = await mocker.http.post(
        "/v1/chat/completions", json={"messages": messages, "tools": TOOLS, "max_tokens": 3}
    )
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        pytest.param("/v1/chat/completions", b"{", 400, None, id="cut JSON"),
        pytest.param("/v1/chat/completions", b"[]", 400, None, id="a list"),
        pytest.param("/v1/chat/completions", b"\xff\xfe", 400, None, id="not UTF-8"),
        pytest.param("/v1/chat/completions", b"{}", 400, "messages", id="no messages"),
        pytest.param("/v1/chat/completions", b'{"messages": []}', 400, "messages", id="empty messages"),
        pytest.param("/v1/chat/completions", b'{"messages": "hi"}', 400, "messages", id="messages of text"),
        pytest.param(
            "/v1/chat/completions", b'{"messages": [{"content": "x"}]}', 400, "messages[0].role", id="no role"
        ),
        pytest.param("/v1/completions", b'{"prompt": []}', 400, "prompt", id="no prompt"),
        pytest.param("/v1/completions", b'{"prompt": ""}', 400, "prompt", id="empty prompt"),
        pytest.param("/v1/completions", b'{"prompt": [1, "a"]}', 400, "prompt", id="mixed prompt"),
        pytest.param("/v1/completions", b'{"prompt": "x", "n": 0}', 400, "n", id="n too small"),
        pytest.param("/v1/completions", b'{"prompt": "x", "n": 1e9}', 400, "n", id="n too large"),
        pytest.param("/v1/completions", b'{"prompt": "x", "top_p": 2}', 400, "top_p", id="top_p"),
        pytest.param("/v1/completions", b'{"prompt": "x", "max_tokens": "5"}', 400, "max_tokens", id="wrong type"),
        pytest.param("/v1/completions", b'{"prompt": "x", "max_tokens": 99999}', 400, "max_tokens", id="context"),
        pytest.param("/v1/completions", b'{"prompt": "x", "model": "no"}', 404, "model", id="unknown model"),
        pytest.param("/v1/embeddings", b'{"input": []}', 400, "input", id="no input"),
        pytest.param("/v1/embeddings", b'{"input": "a", "dimensions": 0}', 400, "dimensions", id="dimensions"),
        pytest.param(
            "/v1/embeddings",
            b'{"dimensions": 4096, "input": [%b]}' % b",".join([b'"' + b"a " * 500 + b'"'] * 40),
            400,
            "input",
            id="many texts",
        ),
        pytest.param("/nothing", b"{}", 404, None, id="no route"),
        pytest.param("/v1/models", b"{}", 405, None, id="wrong method"),
    ],
)
async def test_wrong_input_gets_an_error_that_names_the_field(
    mocker: Running, path: str, body: bytes, status: int, param: str | None
) -> None:
    response = await mocker.http.post(path, content=body)
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["message"]
    assert error["param"] == param
    assert (await mocker.chat()).status_code == 200


async def test_context_limit_counts_prompt_and_answer() -> None:
    async with running(max_model_len=20) as mocker:
        assert (await mocker.complete([1] * 15, max_tokens=5)).status_code == 200
        refused = await mocker.complete([1] * 16, max_tokens=5)
        assert refused.status_code == 400
        assert refused.json()["error"]["code"] == "context_length_exceeded"
        rest = (await mocker.complete([1] * 18, max_tokens=2)).json()
        assert rest["usage"]["completion_tokens"] == 2


async def test_rank_header_picks_the_rank() -> None:
    async with running(data_parallel_size=2) as mocker:
        prompt = list(range(100, 140))
        for rank, cached in (("0", 0), ("1", 0), ("0", 32), ("1", 32)):
            usage = (await mocker.complete(prompt, headers={"X-data-parallel-rank": rank})).json()["usage"]
            assert usage["prompt_tokens_details"]["cached_tokens"] == cached
        bad = await mocker.complete(prompt, headers={"X-data-parallel-rank": "2"})
        assert (bad.status_code, bad.json()["error"]["param"]) == (400, "X-data-parallel-rank")


async def test_embeddings_are_unit_vectors_in_both_encodings(mocker: Running) -> None:
    body = {"input": ["the river", [5, 6]], "dimensions": 64}
    floats = [e["embedding"] for e in (await mocker.http.post("/v1/embeddings", json=body)).json()["data"]]
    packed = (await mocker.http.post("/v1/embeddings", json={**body, "encoding_format": "base64"})).json()["data"]
    for vector, entry in zip(floats, packed, strict=True):
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
        assert np.allclose(np.frombuffer(base64.b64decode(entry["embedding"]), "<f4"), vector)
    near = await mocker.http.post("/v1/embeddings", json={"input": ["the old river", "the river", "1234 !?"]})
    a, b, c = (np.array(entry["embedding"]) for entry in near.json()["data"])
    assert a @ b > a @ c


async def test_adapters_are_models_until_unloaded(mocker: Running) -> None:
    post = mocker.http.post
    loaded = await post("/v1/load_lora_adapter", json={"lora_name": "lo1", "lora_path": "/tmp"})
    assert (loaded.status_code, loaded.text) == (200, "Success: LoRA adapter 'lo1' added successfully.")
    assert (await post("/v1/load_lora_adapter", json={"lora_name": "lo1", "lora_path": "/tmp"})).status_code == 400
    gone = await post("/v1/load_lora_adapter", json={"lora_name": "lo2", "lora_path": "/does/not/exist"})
    assert gone.status_code == 404
    assert (await mocker.http.get("/v1/models")).json()["data"][-1]["parent"] == "m"
    assert mocker.engine.loras == {"lo1": 1}
    assert (await mocker.chat(model="lo1")).json()["model"] == "lo1"
    assert (await post("/v1/unload_lora_adapter", json={"lora_name": "lo1"})).status_code == 200
    assert (await post("/v1/unload_lora_adapter", json={"lora_name": "lo1"})).status_code == 404
    assert (await mocker.chat(model="lo1")).status_code == 404


async def test_prefill_hands_over_and_decode_skips_the_prompt() -> None:
    slow = Speed(Polynomial(), ratio=20)
    async with running(speed=slow) as prefill, running(speed=slow, transfer_s_per_token=1e-4) as decode:
        prompt = list(range(100, 400))
        ask = {"do_remote_decode": True, "do_remote_prefill": False, "remote_engine_id": None}
        first = (await prefill.complete(prompt, max_tokens=1, kv_transfer_params=ask)).json()
        transfer = first["kv_transfer_params"]
        assert transfer["do_remote_prefill"]
        assert transfer["remote_num_tokens"] == 300
        began_s = asyncio.get_running_loop().time()
        whole = (await decode.complete(prompt, max_tokens=6, kv_transfer_params=transfer)).json()
        assert asyncio.get_running_loop().time() - began_s >= 0.03
        assert whole["choices"][0]["text"].startswith(first["choices"][0]["text"])
        metrics = (await decode.engine.metrics_text()).decode()
        assert 'vllm:external_prefix_cache_hits_total{engine="0",model_name="mock-model"} 300' in metrics
        bad = await decode.complete(prompt, kv_transfer_params={"do_remote_prefill": True})
        assert bad.status_code == 400


async def test_hang_up_frees_blocks_at_once() -> None:
    async with running(speed=Speed(Polynomial(), ratio=1)) as mocker:
        body = {"prompt": [7] * 100, "max_tokens": 4000, "stream": True}
        async with mocker.http.stream("POST", "/v1/completions", json=body) as response:
            async for _ in response.aiter_lines():
                break
            assert mocker.engine.in_flight == 1
            assert mocker.engine.read_load()[0].active_decode_blocks >= 7
        await until(lambda: not mocker.engine.in_flight)
        assert mocker.engine.read_load()[0].active_decode_blocks == 0
        assert 'finished_reason="abort"} 1' in (await mocker.engine.metrics_text()).decode()


@pytest.mark.parametrize("stream", [True, False])
async def test_hang_up_in_a_long_prefill_does_not_wait_for_its_step(stream: bool) -> None:
    async with running(speed=Speed(Polynomial(), ratio=0.001)) as mocker:
        request = asyncio.create_task(mocker.complete([7] * 100, stream=stream))
        await until(lambda: mocker.engine.read_load()[0].running_requests == 1)
        request.cancel()
        await until(lambda: mocker.engine.read_load()[0].active_decode_blocks == 0, timeout_s=2)
        assert mocker.engine.in_flight == 0


async def test_draining_engine_finishes_streams_and_refuses_new_ones() -> None:
    async with running(speed=Speed(Polynomial(), ratio=5)) as mocker:
        running_request = asyncio.create_task(mocker.chat(stream=True, max_tokens=30))
        await until(lambda: mocker.engine.in_flight == 1)
        await mocker.engine.stop_accepting()
        refused = await mocker.chat()
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert len(frames((await running_request).text)) == 31


async def test_many_streams_lose_no_token() -> None:
    limits = Limits(total_blocks=200, block_size=16, max_num_seqs=32, max_num_batched_tokens=256)
    async with running(limits=limits, speed=Speed(Polynomial(), ratio=50)) as mocker:
        async with running() as calm:
            expected = (await calm.complete(list(range(50, 90)), max_tokens=60)).json()["choices"][0]["text"]
        answers = await asyncio.gather(
            *(mocker.complete(list(range(50, 90)), max_tokens=60, stream=True) for _ in range(60))
        )
        assert {text_of(frames(answer.text)) for answer in answers} == {expected}


async def test_official_client_works_sync_shapes(mocker: Running) -> None:
    async with openai.AsyncOpenAI(base_url=f"{mocker.facts.address}/v1", api_key="none") as client:
        chat = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hi"}], max_tokens=4
        )
        assert chat.choices[0].message.content
        stream = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hi"}], max_tokens=4, stream=True
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        assert text == chat.choices[0].message.content
        vectors = await client.embeddings.create(model="m", input=["a"])
        assert len(vectors.data[0].embedding) == 384
        assert [model.id async for model in client.models.list()] == ["m", "alias"]
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="nope", messages=[{"role": "user", "content": "hi"}])


async def test_metrics_carry_upstreams_engine_families(mocker: Running) -> None:
    await mocker.chat()
    ours = (await mocker.http.get("/metrics")).text
    upstream = shared("corpus/live/worker-metrics.txt").read_text()
    kinds = {line.split()[2]: line.split()[3] for line in upstream.splitlines() if line.startswith("# TYPE vllm:")}
    assert kinds
    for name, kind in kinds.items():
        assert f"# TYPE {name} {kind}" in ours
        bounds = [
            line.partition('le="')[2].partition('"')[0] for line in upstream.splitlines() if f"{name}_bucket" in line
        ]
        assert [
            line.partition('le="')[2].partition('"')[0] for line in ours.splitlines() if f"{name}_bucket" in line
        ] == bounds
    assert 'vllm:generation_tokens_total{engine="0",model_name="m"} 5' in ours


async def test_cache_is_reset_when_idle(mocker: Running) -> None:
    await mocker.complete([1] * 40)
    assert mocker.engine.read_load()[0].kv_used_blocks == 2
    assert (await mocker.http.post("/reset_prefix_cache")).status_code == 200
    assert mocker.engine.read_load()[0].kv_used_blocks == 0


@pytest.mark.parametrize("path", ["/health", "/ping", "/version", "/load"])
async def test_probes_answer(mocker: Running, path: str) -> None:
    assert (await mocker.http.get(path)).status_code == 200


async def test_each_answer_is_one_line_without_its_text(mocker: Running) -> None:
    seen = len(mocker.lines())

    await mocker.chat("a secret wish", headers={"x-request-id": "r1"})

    (line,) = mocker.lines()[seen:]
    assert line["event"] == "request"
    assert line["request_id"] == "chatcmpl-r1"
    assert (line["kind"], line["outcome"], line["output_tokens"]) == ("unary", "finished", 5)
    assert "secret" not in mocker.said.getvalue()
