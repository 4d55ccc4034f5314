"""Usage in OpenAI answers: asking for it on behalf of a client, reading it, and keeping it from who did not ask."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from dynamo.wire.sse import data_of, frames

USAGE_KEY = b'"usage"'
_ASK = b',"stream_options":{"include_usage":true}}'


class PromptDetails(msgspec.Struct, frozen=True):
    cached_tokens: int | None = None


class Usage(msgspec.Struct, frozen=True):
    """Token counts as the engine reports them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: PromptDetails | None = None

    @property
    def cached_tokens(self) -> int | None:
        return self.prompt_tokens_details.cached_tokens if self.prompt_tokens_details else None


class _Carrier(msgspec.Struct, frozen=True):
    """A unary answer or a streamed chunk, as far as usage is concerned."""

    usage: Usage | None = None
    choices: list[msgspec.Raw] | None = None


_decoder = msgspec.json.Decoder(_Carrier)


@dataclass(frozen=True, slots=True)
class Tapped:
    """A run of frames after looking for usage."""

    payload: bytes
    """What the client may see."""
    usage: Usage | None
    token_frames: int
    """Frames that may carry a token: all but those with nothing but usage."""


def ask_for_usage(body: bytes) -> bytes:
    """The JSON object `body` with usage asked for; the caller knows that it carries no `stream_options`."""
    end = body.rstrip()
    assert end.endswith(b"}"), "the body was parsed as an object"
    return end[:-1] + _ASK


def read_usage(answer: bytes) -> Usage | None:
    """Usage of a unary answer; None when it has none or cannot be read."""
    if USAGE_KEY not in answer:
        return None
    try:
        return _decoder.decode(answer).usage
    except (msgspec.MsgspecError, RecursionError):
        return None


def tap(payload: bytes, *, strips: bool) -> Tapped:
    """Reads usage from complete frames; `strips` drops chunks that carry nothing but usage."""
    usage: Usage | None = None
    kept: list[bytes] = []
    token_frames = 0
    for frame in frames(payload):
        found = _decode(frame) if USAGE_KEY in frame else None
        if found is not None and found.usage is not None:
            usage = found.usage
            if found.choices == []:
                if not strips:
                    kept.append(frame)
                continue
        token_frames += 1
        kept.append(frame)
    return Tapped(b"".join(kept), usage, token_frames)


def _decode(frame: bytes) -> _Carrier | None:
    try:
        return _decoder.decode(data_of(frame))
    except (msgspec.MsgspecError, RecursionError):
        return None
