from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo.wire import openai_fields as fields
from dynamo.wire.errors import InvalidRequest
from dynamo.wire.openai_requests import parse_chat, parse_completions, parse_embeddings, parse_tokens

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi."}]}
TOOL = {"type": "function", "function": {"name": "f"}}


def a_chat(**changes: Any) -> bytes:
    return json.dumps({**CHAT, **changes}).encode()


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        pytest.param(b"", None, ["JSON", "empty"], id="empty"),
        pytest.param(b"{", None, ["JSON"], id="truncated"),
        pytest.param(b'{"model":"m",}', None, ["JSON", "byte 13"], id="position"),
        pytest.param(b"[]", None, ["object", "a list"], id="no-object"),
        pytest.param(b'{"model":"m","messages":"\xff"}', None, ["UTF-8", "byte 25"], id="broken-utf8"),
        pytest.param(b'{"model":"m","messages":' + b"[" * 100_000, "messages", ["messages[0]"], id="nested"),
        pytest.param(a_chat().replace(b'"m"', b"1e999"), "model", ["model"], id="huge-number"),
        pytest.param(a_chat(temperature=float("nan")), None, ["JSON"], id="nan"),
        pytest.param(a_chat(model=7), "model", ["model", "an integer", "a string"], id="model-type"),
        pytest.param(a_chat(messages=[]), "messages", ["empty"], id="no-messages"),
        pytest.param(a_chat(messages="x"), "messages", ["a string", "a list"], id="messages-type"),
        pytest.param(
            a_chat(messages=[{"role": "king", "content": "x"}]),
            "messages",
            ["messages[0].role", "found 'king'", "allowed system, developer, user, assistant, tool"],
            id="unknown-role",
        ),
        pytest.param(
            a_chat()[:-1] + b',"temperature":1e400}',
            "temperature",
            ["temperature: found", "finite"],
            id="beyond-floats",
        ),
        pytest.param(a_chat()[:-1] + b',"seed":' + b"9" * 99 + b"}", "seed", ["seed: found 999", "allowed"], id="huge"),
        pytest.param(a_chat()[:-1] + b',"seed":' + b"9" * 5000 + b"}", "seed", ["seed: found", "digits"], id="endless"),
        pytest.param(a_chat(messages=[{"content": "x"}]), "messages", ["messages[0].role", "missing"], id="no-role"),
        pytest.param(b'{"messages":[{"role":"user"}]}', "model", ["model", "missing"], id="no-model"),
        pytest.param(a_chat(temperature=2.1), "temperature", ["2.1", "0 to 2"], id="temperature"),
        pytest.param(a_chat(top_p=-1), "top_p", ["-1", "0 to 1"], id="top-p"),
        pytest.param(a_chat(n=0), "n", ["0", "1 to 128"], id="n"),
        pytest.param(a_chat(max_tokens=-1), "max_tokens", ["-1", "0 or more"], id="max-tokens"),
        pytest.param(a_chat(max_tokens=1.5), "max_tokens", ["a number", "an integer or null"], id="fraction"),
        pytest.param(a_chat(logprobs=True, top_logprobs=21), "top_logprobs", ["21", "0 to 20"], id="top-logprobs"),
        pytest.param(a_chat(top_logprobs=2), "top_logprobs", ["without logprobs"], id="top-without-logprobs"),
        pytest.param(a_chat(presence_penalty=3), "presence_penalty", ["3", "-2 to 2"], id="penalty"),
        pytest.param(a_chat(logit_bias={"5": 101}), "logit_bias", ["logit_bias.5", "101", "-100 to 100"], id="bias"),
        pytest.param(a_chat(tool_choice="required"), "tool_choice", ["without tools"], id="required-without-tools"),
        pytest.param(a_chat(tool_choice={"type": "function"}), "tool_choice", ["without tools"], id="named-tool"),
        pytest.param(a_chat(guided_json={}, guided_regex="x"), "guided_regex", ["guided_json"], id="two-constraints"),
        pytest.param(
            a_chat(chat_template_args={}, chat_template_kwargs={}), "chat_template_args", ["the same"], id="two-names"
        ),
        pytest.param(a_chat(temprature=1), "temprature", ["`temprature`", "`temperature`"], id="unknown-with-nearest"),
        pytest.param(a_chat(zzz=1, qqq=2), "qqq", ["`qqq`, `zzz`"], id="two-unknown"),
        pytest.param(a_chat(nvext={"dp_rnk": 1}), "nvext", ["dp_rnk", "dp_rank"], id="unknown-nvext"),
        pytest.param(a_chat(chat_template="{{ x }}"), "chat_template", ["Unsupported"], id="no-foreign-template"),
        pytest.param(a_chat(kv_transfer_params={}), "kv_transfer_params", ["Unsupported"], id="no-foreign-transfer"),
    ],
)
def test_wrong_chat_is_refused_with_field_found_and_allowed(body: bytes, param: str | None, words: list[str]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_chat(body)

    assert refused.value.param == param
    assert [word for word in words if word not in refused.value.message] == [], refused.value.message


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"max_tokens": 0, "max_completion_tokens": 0}, id="no-tokens"),
        pytest.param({"stream": False, "stream_options": {"include_usage": True}}, id="options-without-stream"),
        pytest.param({"tools": [TOOL], "tool_choice": "required"}, id="required-with-tools"),
        pytest.param({"temperature": None, "stop": None, "logit_bias": None}, id="nulls"),
        pytest.param({"stop": ["a", "b", "c", "d", "e"]}, id="five-stop-strings"),
        pytest.param({"seed": -9007199254740991}, id="negative-seed"),
        pytest.param({"nvext": {"agent_hints": {"priority": 3}, "token_data": [1, 2]}}, id="nvext"),
        *(pytest.param({name: None}, id=name) for name in sorted(fields.CHAT_OPENAI - {"model", "messages"})),
    ],
)
def test_every_documented_chat_field_is_taken(changes: dict[str, Any]) -> None:
    assert parse_chat(a_chat(**changes)).model == "m"


def test_unknown_fields_pass_where_they_are_allowed_to() -> None:
    assert parse_chat(a_chat(zzz=1), is_strict=False).model == "m"


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        pytest.param("", ["empty"], id="empty-text"),
        pytest.param([], ["empty"], id="empty-list"),
        pytest.param(None, ["null"], id="null"),
        pytest.param({"a": 1}, ["an object"], id="object"),
        pytest.param(7, ["a number"], id="number"),
    ],
)
def test_wrong_prompt_is_refused(prompt: Any, words: list[str]) -> None:
    for parse, field in ((parse_completions, "prompt"), (parse_embeddings, "input")):
        with pytest.raises(InvalidRequest) as refused:
            parse(json.dumps({"model": "m", field: prompt}).encode())

        assert refused.value.param == field
        assert [word for word in words if word not in refused.value.message] == []


def test_wrong_completion_and_embedding_fields_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="logprobs: found 6; allowed 0 to 5"):
        parse_completions(b'{"model":"m","prompt":"x","logprobs":6}')
    with pytest.raises(InvalidRequest, match="encoding_format: found 'hex'; allowed float, base64"):
        parse_embeddings(b'{"model":"m","input":"x","encoding_format":"hex"}')
    with pytest.raises(InvalidRequest, match="dimensions: found 0; allowed 1 or more"):
        parse_embeddings(b'{"model":"m","input":"x","dimensions":0}')


@pytest.mark.parametrize("token", [-1, 2**32, 10**30])
def test_token_id_that_cannot_be_one_is_refused(token: int) -> None:
    prompt = parse_completions(json.dumps({"model": "m", "prompt": [1, token]}).encode()).prompt
    with pytest.raises(InvalidRequest, match=f"token id {token}; allowed 0 to 4294967295"):
        parse_tokens(prompt)
    with pytest.raises(InvalidRequest, match=r"nvext\.token_data"):
        parse_chat(a_chat(nvext={"token_data": [1, token]}))


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [
        pytest.param([1, 2, 3], [1, 2, 3], id="ids"),
        pytest.param("text", None, id="text"),
        pytest.param(["a"], None, id="texts"),
        pytest.param([[1], [2]], None, id="lists"),
    ],
)
def test_only_a_flat_list_of_ids_is_tokens(prompt: Any, tokens: list[int] | None) -> None:
    assert parse_tokens(parse_completions(json.dumps({"model": "m", "prompt": prompt}).encode()).prompt) == tokens


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_refusal(body: bytes) -> None:
    for parse in (parse_chat, parse_completions, parse_embeddings):
        with contextlib.suppress(InvalidRequest):
            parse(body)


@given(
    st.dictionaries(
        st.sampled_from(sorted(fields.CHAT)),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
            max_leaves=5,
        ),
        max_size=5,
    )
)
def test_no_values_raise_anything_but_a_refusal(changes: dict[str, Any]) -> None:
    with contextlib.suppress(InvalidRequest):
        parse_chat(a_chat(**changes))
