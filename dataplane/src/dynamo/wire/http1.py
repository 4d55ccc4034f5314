"""HTTP/1.1 as bytes: heads to send, heads and chunked bodies of answers to read.

Only what a proxy of its own workers needs, without sockets: the frontend's upstream connections and benchmarks use it.
Requests of strangers are not parsed here; the frontend's listener leaves them to llhttp.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

MAX_HEAD_BYTES = 64 * 1024
MAX_CHUNK_LINE_BYTES = 1024

Headers = tuple[tuple[bytes, bytes], ...]
"""Names in lower case."""

REASONS = {
    100: b"Continue",
    200: b"OK",
    202: b"Accepted",
    204: b"No Content",
    307: b"Temporary Redirect",
    400: b"Bad Request",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    415: b"Unsupported Media Type",
    422: b"Unprocessable Content",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    499: b"Client Closed Request",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    529: b"Overloaded",
}


class HttpFormatError(ValueError):
    """A peer's bytes are no HTTP/1.1 message."""


class AnswerHead(NamedTuple):
    """Status line and headers of an answer, and what they say about its body."""

    status: int
    fields: Mapping[bytes, bytes]
    """Headers by lower-case name; of repeated ones the last."""
    content_length: int | None
    """None: chunked, or up to the end of the connection."""
    is_chunked: bool
    keeps_alive: bool


def parse_answer_head(block: bytes) -> AnswerHead:
    """Reads status line and headers, without the empty line that ends them; raises HttpFormatError."""
    first, *lines = block.split(b"\r\n")
    version, status = first[:9], first[9:12]
    if version not in (b"HTTP/1.1 ", b"HTTP/1.0 ") or len(status) != 3 or not status.isdigit():
        raise HttpFormatError(f"status line: found {first[:80]!r}")
    fields: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip():
            raise HttpFormatError(f"header: found {line[:80]!r}")
        fields[name.lower()] = value.strip()
    is_chunked = fields.get(b"transfer-encoding", b"").lower().endswith(b"chunked")
    length = fields.get(b"content-length")
    if length is not None and not length.isdigit():
        raise HttpFormatError(f"content-length: found {length[:40]!r}, expected a number")
    tokens = fields.get(b"connection", b"").lower()
    keeps_alive = b"close" not in tokens if version == b"HTTP/1.1 " else b"keep-alive" in tokens
    if status in (b"204", b"304"):
        return AnswerHead(int(status), fields, 0, False, keeps_alive)
    if is_chunked:
        return AnswerHead(int(status), fields, None, True, keeps_alive)
    return AnswerHead(
        int(status), fields, None if length is None else int(length), False, keeps_alive and length is not None
    )


def single_chunk(data: bytes) -> int:
    """Where the payload begins when `data` is exactly one non-empty chunk, else -1; the payload ends at `len - 2`."""
    line_end = data.find(b"\r\n", 0, 10)
    if line_end < 1:
        return -1
    try:
        size = int(data[:line_end], 16)
    except ValueError:
        return -1
    return line_end + 2 if size > 0 and len(data) == line_end + size + 4 else -1


class ChunkedBody:
    """Decodes a chunked body fed in pieces of any size. Owned by one answer."""

    __slots__ = ("_closing", "_left", "_line", "_trailer", "is_done", "rest")

    def __init__(self) -> None:
        self._left = 0
        """Payload bytes still missing of the current chunk."""
        self._closing = b""
        """What of the current chunk's CRLF is still missing."""
        self._line = b""
        self._trailer: bytes | None = None
        self.is_done = False
        self.rest = b""
        """What followed the body in the same piece."""

    @property
    def is_between_chunks(self) -> bool:
        return not (self._left or self._closing or self._line or self.is_done) and self._trailer is None

    def feed(self, data: bytes) -> bytes:
        """The payload that `data` carries; raises HttpFormatError."""
        payload: list[bytes] = []
        position = 0
        while position < len(data) and not self.is_done:
            if self._left:
                piece = data[position : position + self._left]
                payload.append(piece)
                self._left -= len(piece)
                position += len(piece)
            elif self._closing:
                if data[position] != self._closing[0]:
                    raise HttpFormatError("chunk: its end is not where its size says")
                self._closing = self._closing[1:]
                position += 1
            elif self._trailer is not None:
                position = self._end(data, position)
            else:
                position = self._size(data, position)
        self.rest = data[position:]
        return payload[0] if len(payload) == 1 else b"".join(payload)

    def _size(self, data: bytes, position: int) -> int:
        end = data.find(b"\n", position)
        line = self._line + data[position : end + 1 if end >= 0 else len(data)]
        if len(line) > MAX_CHUNK_LINE_BYTES:
            raise HttpFormatError("chunk size: the line is too long")
        if end < 0:
            self._line = line
            return len(data)
        digits = line.split(b";", 1)[0].strip()
        if not digits or digits.strip(b"0123456789abcdefABCDEF") or len(digits) > 15:
            raise HttpFormatError(f"chunk size: found {line[:40]!r}, expected hexadecimal digits")
        self._line = b""
        self._left = int(digits, 16)
        if self._left:
            self._closing = b"\r\n"
        else:
            self._trailer = b""
        return end + 1

    def _end(self, data: bytes, position: int) -> int:
        """Skips trailers up to the empty line."""
        assert self._trailer is not None
        end = data.find(b"\n", position)
        line = self._trailer + data[position : end + 1 if end >= 0 else len(data)]
        if len(line) > MAX_HEAD_BYTES:
            raise HttpFormatError("trailer: the line is too long")
        if end < 0:
            self._trailer = line
            return len(data)
        self._trailer = b""
        self.is_done = not line.strip()
        return end + 1


def chunk(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)


LAST_CHUNK = b"0\r\n\r\n"


def answer_head(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Status line and headers of an answer, with the empty line."""
    lines = [b"HTTP/1.1 %d %b" % (status, REASONS.get(status, b"Unknown"))]
    lines += [b"%b: %b" % header for header in headers]
    return b"\r\n".join((*lines, b"", b""))


def request_head(method: bytes, target: bytes, host: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Request line and headers, with the empty line."""
    lines = [b"%b %b HTTP/1.1\r\nhost: %b" % (method, target, host)]
    lines += [b"%b: %b" % header for header in headers]
    return b"\r\n".join((*lines, b"", b""))
