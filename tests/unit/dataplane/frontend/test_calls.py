from __future__ import annotations

import json
from typing import Any

import pytest

from dynamo.frontend.calls import Endpoint, check_content_type, parse_call, set_field, with_headers, without_hints
from dynamo.frontend.disagg import prefill_body, transfer_params
from dynamo.frontend.relay import Answer
from dynamo.frontend.worker_answers import error_of
from dynamo.wire.cards import ModelType
from dynamo.wire.errors import Internal, InvalidRequest, Overloaded, UnsupportedMedia


def a_body(**changes: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi."}], **changes}).encode()


def test_compressed_body_is_refused_by_name() -> None:
    headers = {b"content-type": b"application/json", b"content-encoding": b"gzip"}

    with pytest.raises(UnsupportedMedia, match="content-encoding: found gzip"):
        check_content_type(headers)

    check_content_type({**headers, b"content-encoding": b"identity"})


def test_unary_body_is_forwarded_as_it_came() -> None:
    body = b' {"model":"m" , "messages":[{"role":"user","content":"\\u00fc"}]}\n'
    call = parse_call(Endpoint.CHAT, body)

    assert call.body is body
    assert (call.is_stream, call.strips_usage, call.needs, call.target) == (
        False,
        False,
        ModelType.CHAT,
        b"/v1/chat/completions",
    )


@pytest.mark.parametrize(
    ("changes", "hides", "splices", "strips"),
    [
        pytest.param({"stream": True}, True, True, True, id="not-asked"),
        pytest.param({"stream": True}, False, True, False, id="shown-to-all"),
        pytest.param({"stream": True, "stream_options": None}, True, False, False, id="null-is-left-alone"),
        pytest.param({"stream": True, "stream_options": {"include_usage": False}}, True, False, False, id="declined"),
        pytest.param({"stream": False}, True, False, False, id="unary"),
    ],
)
def test_usage_is_asked_for_only_where_it_is_safe(
    changes: dict[str, Any], hides: bool, splices: bool, strips: bool
) -> None:
    call = parse_call(Endpoint.CHAT, a_body(**changes), hides_usage=hides)

    assert (b"include_usage" in call.body and call.body != a_body(**changes)) == splices
    assert call.strips_usage == strips


def test_hints_come_from_the_body_and_headers_win() -> None:
    hints = {"backend_instance_id": 5, "dp_rank": 1, "agent_hints": {"priority": 2, "osl": 9}, "cache_salt": "body"}
    call = parse_call(Endpoint.CHAT, a_body(nvext=hints))
    headed = with_headers(call, {b"x-dynamo-worker-instance-id": b"0x1f", b"x-dp-rank": b"3", b"x-tenant-id": b"t"})

    assert (call.hints.worker_id, call.hints.dp_rank, call.hints.priority) == (5, 1, 2)
    assert (call.hints.expected_output_tokens, call.hints.cache_salt) == (9, "body")
    assert (headed.hints.worker_id, headed.hints.dp_rank, headed.hints.priority) == (0x1F, 3, 2)
    assert headed.hints.cache_salt == "t"
    assert json.loads(headed.body)["cache_salt"] == "t"
    assert without_hints(headed).hints.worker_id is None


def test_no_routing_header_changes_nothing() -> None:
    call = parse_call(Endpoint.CHAT, a_body())

    assert with_headers(call, {b"x-request-id": b"1"}) is call


def test_header_that_is_no_number_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequest, match="x-dynamo-dp-rank: found 'two'; expected an integer"):
        with_headers(parse_call(Endpoint.CHAT, a_body()), {b"x-dynamo-dp-rank": b"two"})


@pytest.mark.parametrize("value", [b"application/json", b"Application/JSON; charset=utf-8", b"application/x+json"])
def test_json_content_types_are_taken(value: bytes) -> None:
    check_content_type({b"content-type": value})


@pytest.mark.parametrize("headers", [{}, {b"content-type": b"text/plain"}])
def test_other_content_types_are_refused(headers: dict[bytes, bytes]) -> None:
    with pytest.raises(UnsupportedMedia, match="expected application/json"):
        check_content_type(headers)


def test_set_field_keeps_what_it_does_not_touch() -> None:
    assert set_field(b'{"a": 1.50, "b": {"c":  2}}', "d", "x") == b'{"a":1.50,"b":{"c":  2},"d":"x"}'


def test_prefill_copy_asks_for_one_token_without_a_stream() -> None:
    copy = json.loads(prefill_body(a_body(stream=True, stream_options={}, max_completion_tokens=50, n=2, seed=3)))

    assert (copy["max_tokens"], copy["min_tokens"], copy["n"], copy["stream"], copy["seed"]) == (1, 1, 1, False, 3)
    assert "max_completion_tokens" not in copy
    assert "stream_options" not in copy
    assert copy["kv_transfer_params"]["do_remote_decode"] is True


@pytest.mark.parametrize("body", [b"{}", b"[]", b"x", b'{"kv_transfer_params": null}', b'{"kv_transfer_params": 1}'])
def test_prefill_answer_without_parameters_is_an_error(body: bytes) -> None:
    with pytest.raises(Internal):
        transfer_params(Answer(200, b"application/json", body))


@pytest.mark.parametrize("body", [b"", b"\xff", b"[1]", b'"x"', b'{"error": {"message": 7}}', b"[" * 100_000])
def test_unreadable_refusals_still_get_a_message(body: bytes) -> None:
    error = error_of(Answer(429, b"text/html", body))

    assert isinstance(error, Overloaded)
    assert error.message == "The worker refused the request (status 429)"
    assert error.retry_after_s == 1
    assert error_of(Answer(200, b"", body)) is None
