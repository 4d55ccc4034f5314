"""A worker that costs almost nothing: one uvloop process, prepared bytes, every token a write of its own.

`python -m benchmarks.frontend.mock_worker <port>`. It understands as much HTTP as the load generator's requests need.
`max_tokens` in the body sets the number of tokens; `x_gap_ms` in the `user` field ("gap=20") the time between them.
"""

from __future__ import annotations

import asyncio
import re
import sys
from typing import cast

import uvloop

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_TOKENS = re.compile(rb'"max_tokens": ?(\d+)')
_GAP = re.compile(rb'"user": ?"gap=(\d+)"')
_TOKEN = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}]}\n\n'
)
_ROLE = _TOKEN.replace(b'{"content":" token"}', b'{"role":"assistant","content":""}')
_USAGE = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":[],'
    b'"usage":{"prompt_tokens":5,"total_tokens":%d,"completion_tokens":%d}}\n\n'
)
_UNARY = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"m","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"Hello."},"logprobs":null,"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":5,"total_tokens":7,"completion_tokens":2}}'
)
_SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"


def _chunk(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def _json(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


class MockWorker(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._held = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        data = self._held + data
        head, end, rest = data.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        wanted = int(length[1]) if length else 0
        if not end or len(rest) < wanted:
            self._held = data
            return
        self._held = rest[wanted:]
        self._answer(head, rest[:wanted])

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET /v1/models"):
            self._transport.write(_json(b'{"object":"list","data":[{"id":"m","object":"model"}]}'))
        elif head.startswith(b"GET"):
            self._transport.write(_json(b'{"model_path":"m","served_model_name":"m"}'))
        elif b'"stream":true' in body or b'"stream": true' in body:
            tokens, gap = _TOKENS.search(body), _GAP.search(body)
            self._transport.write(_SSE_HEAD + _chunk(_ROLE))
            asyncio.get_running_loop().call_later(
                0, self._token, int(tokens[1]) if tokens else 16, 0, int(gap[1]) / 1e3 if gap else 0.0,
                b"include_usage" in body,
            )  # fmt: skip
        else:
            self._transport.write(_json(_UNARY))

    def _token(self, left: int, sent: int, gap_s: float, wants_usage: bool) -> None:
        if self._transport.is_closing():
            return
        if left:
            self._transport.write(_chunk(_TOKEN))
            asyncio.get_running_loop().call_later(gap_s, self._token, left - 1, sent + 1, gap_s, wants_usage)
            return
        usage = _chunk(_USAGE % (sent + 5, sent)) if wants_usage else b""
        self._transport.write(usage + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(MockWorker, "127.0.0.1", port)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
