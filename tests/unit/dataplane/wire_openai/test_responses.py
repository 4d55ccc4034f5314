from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from dynamo.wire.errors import Internal, InvalidRequest
from dynamo.wire.openai_responses_in import parse_responses, to_chat
from dynamo.wire.openai_responses_out import ResponsesStream, base_document, whole_answer
from dynamo.wire.sse import DONE, data_frame, data_of, frames


def chat_of(**changes: Any) -> dict[str, Any]:
    return to_chat(parse_responses(json.dumps({"model": "m", "input": "Hi.", **changes}).encode()))


def ids() -> Any:
    counter = itertools.count()
    return lambda prefix: f"{prefix}{next(counter)}"


def base(**changes: Any) -> dict[str, Any]:
    return base_document(parse_responses(json.dumps({"model": "m", "input": "Hi.", **changes}).encode()), "resp_1", 7)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, {"messages": [{"role": "user", "content": "Hi."}]}, id="text"),
        pytest.param(
            {"instructions": "Be brief."},
            {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi."}]},
            id="instructions",
        ),
        pytest.param(
            {"input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}]}]},
            {"messages": [{"role": "user", "content": "a"}]},
            id="text-parts",
        ),
        pytest.param(
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:x"}]}]},
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}]},
            id="image",
        ),
        pytest.param(
            {
                "input": [
                    {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
                    {"type": "function_call", "call_id": "2", "name": "g", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "1", "output": "x"},
                ]
            },
            {
                "messages": [
                    {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [
                            {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                            {"id": "2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
                        ],
                    },
                    {"role": "tool", "tool_call_id": "1", "content": "x"},
                ]
            },
            id="parallel-tool-calls",
        ),
        pytest.param({"max_output_tokens": 5}, {"max_completion_tokens": 5}, id="limit"),
        pytest.param(
            {"tools": [{"type": "function", "name": "f", "parameters": {}, "strict": True}], "tool_choice": "required"},
            {
                "tools": [{"type": "function", "function": {"name": "f", "parameters": {}, "strict": True}}],
                "tool_choice": "required",
            },
            id="tools",
        ),
        pytest.param(
            {"text": {"format": {"type": "json_schema", "name": "s", "schema": {"type": "object"}}}},
            {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}},
            id="schema",
        ),
        pytest.param({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}, id="stream"),
        pytest.param({"reasoning": {"effort": "low"}}, {"reasoning_effort": "low"}, id="effort"),
    ],
)
def test_request_becomes_a_chat(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    chat = chat_of(**changes)

    assert {name: chat[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"previous_response_id": "r"}, ["previous_response_id", "nothing is stored"], id="memory"),
        pytest.param({"background": True}, ["background"], id="background"),
        pytest.param({"tools": [{"type": "web_search"}]}, ["tools[0]", "web_search"], id="foreign-tool"),
        pytest.param({"input": []}, ["input", "empty"], id="no-input"),
        pytest.param({"input": [{"type": "zzz"}]}, ["input[0].type", "zzz"], id="unknown-item"),
        pytest.param({"input": [{"role": "king", "content": "x"}]}, ["input[0].role", "king"], id="unknown-role"),
        pytest.param({"max_output_tokens": 0}, ["max_output_tokens", "0"], id="limit"),
        pytest.param({"zzz": 1}, ["`zzz`"], id="unknown-field"),
        pytest.param({"input": 7}, ["input"], id="type"),
        pytest.param({"text": {"format": "json"}}, ["text.format", "json"], id="format-no-object"),
        pytest.param({"text": {"format": {"type": "zzz"}}}, ["text.format", "zzz", "json_schema"], id="format"),
        pytest.param({"reasoning": {"effort": 5}}, ["reasoning.effort", "a string"], id="effort"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_name(changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        chat_of(**changes)

    assert [word for word in words if word not in refused.value.message] == [], refused.value.message


def test_tool_choice_reaches_the_chat_without_tools_so_that_it_is_refused_there() -> None:
    assert chat_of(tool_choice="required")["tool_choice"] == "required"
    assert "tool_choice" not in chat_of(tool_choice="auto")


def test_whole_chat_becomes_a_response() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": "Hi.", "reasoning_content": "hm", "tool_calls": [call]}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}}
    chat = json.dumps({"choices": [{"message": message, "finish_reason": "length"}], "usage": usage}).encode()

    document = json.loads(whole_answer(base(), chat, ids()))

    assert [item["type"] for item in document["output"]] == ["reasoning", "message", "function_call"]
    assert document["output"][1]["content"][0]["text"] == "Hi."
    assert (document["status"], document["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert document["usage"]["input_tokens_details"]["cached_tokens"] == 1
    assert document["usage"]["total_tokens"] == 5
    assert document["store"] is False


def events_of(*deltas: dict[str, Any]) -> list[dict[str, Any]]:
    stream = ResponsesStream(base(), ids())
    wire = stream.start()
    for delta in deltas:
        chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        wire += stream.feed(data_frame(json.dumps(chunk).encode()))
    wire += stream.feed(data_frame(b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}') + DONE)
    return [json.loads(data_of(frame)) for frame in frames(wire)]


def test_streamed_text_becomes_events_in_order() -> None:
    events = events_of({"role": "assistant", "content": ""}, {"content": "He"}, {"content": "llo"})

    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "Hello"
    assert events[-1]["response"]["usage"]["output_tokens"] == 2


def test_streamed_tool_call_has_whole_arguments_at_its_end() -> None:
    start = {"index": 0, "id": "call_1", "function": {"name": "f", "arguments": ""}}
    events = events_of(
        {"reasoning_content": "hm"},
        {"tool_calls": [start]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
    )

    done = next(event for event in events if event["type"] == "response.function_call_arguments.done")
    assert (done["name"], done["arguments"]) == ("f", '{"a":1}')
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["reasoning", "function_call"]
    assert events[-1]["response"]["output"][1]["call_id"] == "call_1"


def test_failed_stream_says_so() -> None:
    stream = ResponsesStream(base(), ids())
    event = json.loads(data_of(stream.fail(Internal("gone"))))

    assert event["type"] == "response.failed"
    assert event["response"]["error"] == {"code": "server_error", "message": "gone"}
