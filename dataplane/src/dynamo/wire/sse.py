"""Server-sent events as bytes: where frames end, and the frames that this product writes itself.

Frames are kept whole: whoever forwards a stream forwards complete frames, so that an error frame can follow at any
moment without corrupting the one before it.
"""

from __future__ import annotations

from collections.abc import Iterator

from dynamo.wire.errors import RequestError, error_body

DONE = b"data: [DONE]\n\n"
MAX_FRAME_BYTES = 8 * 1024 * 1024


class FrameTooLong(ValueError):
    """A frame without end: the peer does not speak server-sent events."""


class WholeFrames:
    """Cuts a byte stream at frame ends, holding back what is incomplete. Owned by one stream."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    @property
    def holds_back(self) -> bool:
        return bool(self._held)

    def feed(self, payload: bytes) -> bytes:
        """All complete frames so far that were not returned yet; raises FrameTooLong."""
        if self._held:
            payload = self._held + payload
        if payload.endswith(b"\n\n") or payload.endswith(b"\r\n\r\n"):
            self._held = b""
            return payload
        end = max(payload.rfind(b"\n\n") + 2, payload.rfind(b"\r\n\r\n") + 4)
        end = end if end > 3 or payload[:2] == b"\n\n" else 0
        self._held = payload[end:]
        if len(self._held) > MAX_FRAME_BYTES:
            raise FrameTooLong(f"a frame is longer than {MAX_FRAME_BYTES} bytes")
        return payload[:end]


def frames(payload: bytes) -> Iterator[bytes]:
    """Each frame of a run of complete frames, its end included."""
    position = 0
    while position < len(payload):
        plain, windows = payload.find(b"\n\n", position), payload.find(b"\r\n\r\n", position)
        end = windows + 4 if windows >= 0 and (plain < 0 or windows < plain) else plain + 2 if plain >= 0 else 0
        yield payload[position : end or len(payload)]
        position = end or len(payload)


def data_of(frame: bytes) -> bytes:
    """The frame's data, several data lines joined; empty for comments and bare events."""
    lines = [line[5:].strip() for line in frame.splitlines() if line.startswith(b"data:")]
    return lines[0] if len(lines) == 1 else b"\n".join(lines)


def data_frame(document: bytes) -> bytes:
    return b"data: %b\n\n" % document


def event_frame(name: str, document: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), document)


def error_frames(error: RequestError) -> bytes:
    """What ends a stream whose worker failed: the error, then the usual end mark."""
    return data_frame(error_body(error)) + DONE
