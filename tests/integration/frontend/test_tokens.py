"""In mode kv the frontend fetches tokenizers from workers; without one it routes all the same."""

from __future__ import annotations

import httpx
import pytest

from dynamo.mocker import tiny_model
from dynamo.wire.cards import Tokenizer
from tests.integration.frontend.harness import Line, Request, Script, Stage, a_chat, a_json, a_stage, always

ANSWER = {"id": "c", "object": "chat.completion", "choices": []}
KV = ("--router-mode", "kv", "--no-router-kv-events")
CARD = {"tokenizer": Tokenizer(path="/files", checksum="abc"), "context_length": 64}


def serving_files(status: int = 200) -> Script:
    """A worker with the tiny model's tokenizer files, or none."""
    folder = next(iter(tiny_model.__path__))

    async def script(request: Request, line: Line) -> None:
        if not request.target.startswith("/files/"):
            await line.say(a_json(ANSWER))
            return
        try:
            with open(f"{folder}/{request.target.removeprefix('/files/')}", "rb") as file:  # noqa: ASYNC230, PTH123
                content, found = file.read(), status
        except FileNotFoundError:
            content, found = b"", 404
        await line.say(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (found, len(content), content))

    return script


async def ask(stage: Stage, **changes: object) -> httpx.Response:
    async with httpx.AsyncClient(timeout=10) as client:
        explain = {"x-dynamo-explain": "true"}
        return await client.post(f"{stage.url}/v1/chat/completions", json=a_chat(**changes), headers=explain)


def words(count: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": "word " * count}]


async def test_conversation_goes_where_its_prefix_went() -> None:
    async with a_stage(
        serving_files(), serving_files(), argv=KV, cards=({**CARD, "context_length": 4096},) * 2
    ) as stage:
        first = await ask(stage, messages=words(200))
        again = [await ask(stage, messages=[*words(200), {"role": "assistant", "content": str(n)}]) for n in range(4)]
        async with httpx.AsyncClient() as client:
            page = (await client.get(f"{stage.url}/metrics")).text

    assert {answer.headers["x-dynamo-worker-name"] for answer in again} == {first.headers["x-dynamo-worker-name"]}
    cached, _, total = again[-1].headers["x-dynamo-cached-blocks"].partition("/")
    assert int(total) >= int(cached) >= 10
    assert "dynamo_frontend_tokenize_seconds_count 5.0" in page
    assert "dynamo_frontend_tokenizer_cache_misses_total 0.0" not in page


async def test_prompt_beyond_the_context_is_refused_before_it_costs_a_worker() -> None:
    async with a_stage(serving_files(), argv=KV, cards=(CARD,)) as stage:
        answer = await ask(stage, messages=words(300))

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert "64" in answer.json()["error"]["message"]
    assert [request for request in stage.workers[0].requests if request.target.startswith("/v1")] == []


@pytest.mark.parametrize(
    ("script", "card"),
    [
        pytest.param(serving_files(500), CARD, id="worker-fails"),
        pytest.param(always(a_json({"no": "tokenizer"})), CARD, id="no-tokenizer-file"),
        pytest.param(serving_files(), {}, id="no-tokenizer-on-the-card"),
    ],
)
async def test_routing_goes_on_without_a_tokenizer_and_says_so_once(script: Script, card: dict[str, object]) -> None:
    async with a_stage(script, argv=KV, cards=(card,)) as stage:
        statuses = [(await ask(stage)).status_code for _ in range(3)]

    assert statuses == [200] * 3
    assert stage.log.getvalue().count("routing_without_tokens") == 1


async def test_other_modes_never_fetch_a_tokenizer() -> None:
    async with a_stage(serving_files(), cards=(CARD,)) as stage:
        await ask(stage)

    assert [request.target for request in stage.workers[0].requests] == ["/v1/chat/completions"]


async def test_token_ids_in_the_prompt_need_no_tokenizer() -> None:
    async with a_stage(always(a_json(ANSWER)), argv=KV) as stage, httpx.AsyncClient() as client:
        body = {"model": "m", "prompt": list(range(100))}
        answer = await client.post(f"{stage.url}/v1/completions", json=body, headers={"x-dynamo-explain": "true"})

    assert answer.headers["x-dynamo-cached-blocks"] == "0/6"


async def test_input_tokens_of_a_responses_request_are_counted() -> None:
    async with a_stage(serving_files(), cards=(CARD,)) as stage, httpx.AsyncClient(base_url=stage.url) as client:
        body = {"model": "m", "input": "word " * 20}
        short = await client.post("/v1/responses/input_tokens", json={**body, "input": "word"})
        long = await client.post("/v1/responses/input_tokens", json=body)
        wrong = await client.post("/v1/responses/input_tokens", json={**body, "input": 1})

    assert short.json()["object"] == "response.input_tokens"
    assert long.json()["input_tokens"] >= short.json()["input_tokens"] + 19
    assert wrong.status_code == 400
