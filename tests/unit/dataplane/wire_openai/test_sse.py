from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo.wire.errors import Internal
from dynamo.wire.openai_usage import ask_for_usage, read_usage, tap
from dynamo.wire.sse import DONE, FrameTooLong, WholeFrames, data_frame, data_of, error_frames, event_frame, frames

USAGE = b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":2}}}'
texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30)
runs = st.lists(texts.map(lambda text: data_frame(json.dumps({"t": text}).encode())), max_size=6)


@given(runs, st.lists(st.integers(0, 2000), max_size=10))
def test_whole_frames_come_out_whatever_the_pieces(run: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(run)
    edges = [0, *sorted(cut % (len(wire) + 1) for cut in cuts), len(wire)]
    splitter = WholeFrames()

    pieces = [splitter.feed(wire[a:b]) for a, b in itertools.pairwise(edges)]

    assert b"".join(pieces) == wire
    assert not splitter.holds_back
    assert all(piece == b"" or piece.endswith(b"\n\n") for piece in pieces)
    assert list(frames(wire)) == run


def test_incomplete_frame_is_held_back() -> None:
    splitter = WholeFrames()

    assert splitter.feed(b"data: 1\n\ndata: 2") == b"data: 1\n\n"
    assert splitter.holds_back
    assert splitter.feed(b"\n") == b""
    assert splitter.feed(b"\n") == b"data: 2\n\n"


def test_windows_line_ends_split_like_plain_ones() -> None:
    wire = b"data: 1\r\n\r\ndata: 2\n\n"

    assert list(frames(wire)) == [b"data: 1\r\n\r\n", b"data: 2\n\n"]
    assert WholeFrames().feed(wire[:-1]) == b"data: 1\r\n\r\n"


def test_frame_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynamo.wire.sse.MAX_FRAME_BYTES", 100)

    with pytest.raises(FrameTooLong):
        WholeFrames().feed(b"x" * 101)


def test_data_of_frames() -> None:
    assert data_of(b"data: 1\n\n") == b"1"
    assert data_of(b"event: e\ndata: 1\ndata:2\n\n") == b"1\n2"
    assert data_of(b": keep-alive\n\n") == b""
    assert event_frame("e", b"1") == b"event: e\ndata: 1\n\n"


def test_error_frames_end_the_stream() -> None:
    first, last = frames(error_frames(Internal("gone")))

    assert json.loads(data_of(first))["error"] == {
        "message": "gone",
        "type": "internal_server_error",
        "param": None,
        "code": 500,
    }
    assert last == DONE


@pytest.mark.parametrize("body", [b'{"model":"m","stream":true}', b' {"a": {"b": 1}} \n', b'{"a":"}"}'])
def test_asking_for_usage_changes_nothing_else(body: bytes) -> None:
    assert json.loads(ask_for_usage(body)) == {**json.loads(body), "stream_options": {"include_usage": True}}


def test_usage_only_frames_are_read_and_stripped() -> None:
    token = data_frame(b'{"choices":[{"delta":{"content":"\\"usage\\": {}"}}],"usage":null}')
    wire = token + data_frame(USAGE) + DONE

    stripped, kept = tap(wire, strips=True), tap(wire, strips=False)

    assert (stripped.payload, kept.payload) == (token + DONE, wire)
    for tapped in (stripped, kept):
        assert tapped.usage is not None
        assert (tapped.usage.prompt_tokens, tapped.usage.completion_tokens, tapped.usage.cached_tokens) == (3, 4, 2)
        assert tapped.token_frames == 2


def test_usage_beside_choices_is_read_and_never_stripped() -> None:
    wire = data_frame(b'{"choices":[{"index":0}],"usage":{"prompt_tokens":1,"completion_tokens":1}}')

    assert tap(wire, strips=True).payload == wire
    assert tap(wire, strips=True).usage is not None


@pytest.mark.parametrize("answer", [b"", b"{", b'{"usage": 1}', b'"usage"', b'{"choices": []}', b"\xff"])
def test_unreadable_usage_is_none(answer: bytes) -> None:
    assert read_usage(answer) is None
