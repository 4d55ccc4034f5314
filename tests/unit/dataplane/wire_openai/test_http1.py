from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo.wire.http1 import (
    LAST_CHUNK,
    ChunkedBody,
    HttpFormatError,
    answer_head,
    chunk,
    parse_answer_head,
    request_head,
    single_chunk,
)


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.lists(st.integers(0, 5000), max_size=12))
def test_chunked_body_is_read_whatever_the_pieces(payloads: list[bytes], cuts: list[int]) -> None:
    body = ChunkedBody()
    wire = b"".join(map(chunk, payloads)) + LAST_CHUNK

    read = b"".join(body.feed(piece) for piece in in_pieces(wire, cuts) if not body.is_done)

    assert read == b"".join(payloads)
    assert body.is_done
    assert body.rest == b""


def test_what_follows_a_chunked_body_is_kept() -> None:
    body = ChunkedBody()

    assert body.feed(chunk(b"ab") + b"0\r\nx-trailer: 1\r\n\r\nHTTP") == b"ab"
    assert (body.is_done, body.rest) == (True, b"HTTP")


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(b"zz\r\nab\r\n", id="no-number"),
        pytest.param(b"-1\r\nab\r\n", id="negative"),
        pytest.param(b"\r\nab\r\n", id="no-size"),
        pytest.param(b"2\r\nabc\r\n", id="too-long"),
        pytest.param(b"fffffffffffffffff\r\n", id="overflow"),
        pytest.param(b"1" * 5000, id="endless-size-line"),
    ],
)
def test_garbled_chunk_is_refused(wire: bytes) -> None:
    with pytest.raises(HttpFormatError):
        ChunkedBody().feed(wire)


@given(st.binary(max_size=60))
def test_no_bytes_break_the_chunk_reader_in_another_way(wire: bytes) -> None:
    body = ChunkedBody()
    with contextlib.suppress(HttpFormatError):
        body.feed(wire)


@given(st.binary(min_size=1, max_size=3000))
def test_single_chunk_is_recognized_with_its_payload(payload: bytes) -> None:
    wire = chunk(payload)

    assert wire[single_chunk(wire) : -2] == payload
    assert single_chunk(wire[:-1]) == -1
    assert single_chunk(wire + b"1") == -1


def test_last_chunk_is_no_single_chunk() -> None:
    assert single_chunk(LAST_CHUNK) == -1
    assert single_chunk(b"") == -1


@pytest.mark.parametrize(
    ("block", "status", "length", "is_chunked", "keeps_alive"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5", 200, 5, False, True, id="length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", 200, None, True, True, id="chunked"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5", 200, None, True, True, id="both"
        ),
        pytest.param(b"HTTP/1.1 200", 200, None, False, False, id="up-to-the-end"),
        pytest.param(b"HTTP/1.1 204 No Content", 204, 0, False, True, id="empty"),
        pytest.param(b"HTTP/1.1 500 x\r\ncontent-length: 0\r\nconnection: close", 500, 0, False, False, id="close"),
        pytest.param(b"HTTP/1.0 200 OK\r\ncontent-length: 1", 200, 1, False, False, id="old"),
    ],
)
def test_answer_head_says_how_long_the_body_is(
    block: bytes, status: int, length: int | None, is_chunked: bool, keeps_alive: bool
) -> None:
    head = parse_answer_head(block)

    assert (head.status, head.content_length, head.is_chunked, head.keeps_alive) == (
        status,
        length,
        is_chunked,
        keeps_alive,
    )


@pytest.mark.parametrize(
    "block",
    [b"HTTP/2 200", b"", b"SSH-2.0", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nno colon", b"HTTP/1.1 200 OK\r\nlength : 1",
     b"HTTP/1.1 200 OK\r\ncontent-length: -1"],
)  # fmt: skip
def test_what_is_no_answer_head_is_refused(block: bytes) -> None:
    with pytest.raises(HttpFormatError):
        parse_answer_head(block)


def test_heads_are_written_as_they_are_read() -> None:
    written = answer_head(404, [(b"content-length", b"0"), (b"x", b"y")])

    assert parse_answer_head(written.removesuffix(b"\r\n\r\n")).fields == {b"content-length": b"0", b"x": b"y"}
    assert request_head(b"POST", b"/a", b"h:1", [(b"x", b"y")]) == b"POST /a HTTP/1.1\r\nhost: h:1\r\nx: y\r\n\r\n"
