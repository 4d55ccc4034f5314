"""Answers as OpenAI objects: stream frames and whole bodies, for chats and for text completions. Pure.

A plain token's frame is three joined byte strings, since it is built once per token; anything richer goes through a
dict. The exchange calls it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from dynamo.mocker.asks import Ask, ToolCall
from dynamo.mocker.choice import Delta, Scored, score_prompt
from dynamo.mocker.tokenizer import ModelTokenizer

_encode = msgspec.json.encode
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int

    def as_object(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "completion_tokens": self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }


@dataclass(slots=True)
class Collected:
    """Everything one choice said, for a whole answer; grows delta by delta."""

    text: list[str] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    scores: list[Scored] = field(default_factory=list)
    finish: str | None = None
    stop_reason: str | int | None = None

    def add(self, delta: Delta) -> None:
        self.text.append(delta.text)
        self.tokens += delta.tokens
        self.scores += delta.scores
        if delta.finish:
            self.finish, self.stop_reason = delta.finish, delta.stop_reason


class Frames(Protocol):
    """One answer's wire form; `index` is the choice's number."""

    def opening(self, index: int, usage: Usage | None) -> bytes:
        """What precedes the first token of a choice; may be empty."""
        ...

    def delta(self, index: int, delta: Delta, usage: Usage | None) -> bytes: ...
    def closing(self, usage: Usage, transfer: Mapping[str, Any] | None) -> bytes:
        """What follows the last token: the usage frame if asked for, then [DONE]."""
        ...

    def whole(self, choices: Sequence[Collected], usage: Usage, transfer: Mapping[str, Any] | None) -> bytes: ...


class ChatFrames:
    """chat.completion and chat.completion.chunk."""

    def __init__(self, ask: Ask, response_id: str, created_s: int, tokenizer: ModelTokenizer) -> None:
        self._ask = ask
        self._head = {"id": response_id, "object": "chat.completion.chunk", "created": created_s, "model": ask.model}
        self._tokenizer = tokenizer
        self._call = ask.tool_call
        self._plain = ask.logprobs is None and not ask.shows_token_ids and self._call is None
        self._prefixes = [self._prefix(index) for index in range(ask.choices)]

    def opening(self, index: int, usage: Usage | None) -> bytes:
        delta: dict[str, Any] = {"role": "assistant", "content": ""}
        frame = self._frame({"index": index, "delta": delta, "logprobs": None, "finish_reason": None}, usage)
        if self._call is None:
            return frame
        call = {"index": 0, **_call_object(self._call, self._head["id"], index, "")}
        delta = {"tool_calls": [call]}
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
        return frame + self._frame(choice, usage)

    def delta(self, index: int, delta: Delta, usage: Usage | None) -> bytes:
        if self._plain and delta.finish is None and usage is None:
            return self._prefixes[index] + _encode(delta.text) + b'},"logprobs":null,"finish_reason":null}]}\n\n'
        said: dict[str, Any] = {"content": delta.text}
        if self._call is not None:
            said = {"tool_calls": [{"index": 0, "function": {"arguments": delta.text}}]}
        choice: dict[str, Any] = {
            "index": index,
            "delta": said,
            "logprobs": self._logprobs(delta.scores),
            "finish_reason": _finish_reason(delta.finish, self._call),
        }
        if delta.finish:
            choice["stop_reason"] = delta.stop_reason
        if self._ask.shows_token_ids:
            choice["token_ids"] = delta.tokens
        return self._frame(choice, usage)

    def closing(self, usage: Usage, transfer: Mapping[str, Any] | None) -> bytes:
        return _closing(self._head, self._ask, usage, transfer)

    def whole(self, choices: Sequence[Collected], usage: Usage, transfer: Mapping[str, Any] | None) -> bytes:
        return _encode(
            {
                **self._head,
                "object": "chat.completion",
                "choices": [self._whole_choice(index, said) for index, said in enumerate(choices)],
                "usage": usage.as_object(),
                **({"kv_transfer_params": transfer} if transfer else {}),
            }
        )

    def _whole_choice(self, index: int, said: Collected) -> dict[str, Any]:
        text = "".join(said.text)
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if self._call is not None:
            message["content"] = None
            message["tool_calls"] = [_call_object(self._call, self._head["id"], index, text)]
        choice = {
            "index": index,
            "message": message,
            "logprobs": self._logprobs(said.scores),
            "finish_reason": _finish_reason(said.finish, self._call),
            "stop_reason": said.stop_reason,
        }
        if self._ask.shows_token_ids:
            choice["token_ids"] = said.tokens
        return choice

    def _logprobs(self, scores: Sequence[Scored]) -> dict[str, Any] | None:
        if self._ask.logprobs is None:
            return None
        return {"content": [self._logprob(score) for score in scores], "refusal": None}

    def _logprob(self, score: Scored) -> dict[str, Any]:
        entry = self._logprob_entry(score.token, score.logprob)
        return {**entry, "top_logprobs": [self._logprob_entry(x.token, x.logprob) for x in score.alternatives]}

    def _logprob_entry(self, token: int, logprob: float) -> dict[str, Any]:
        piece = self._tokenizer.piece(token)
        return {"token": _token_text(self._ask, self._tokenizer, token), "logprob": logprob, "bytes": list(piece)}

    def _frame(self, choice: Mapping[str, Any], usage: Usage | None) -> bytes:
        return _frame(self._head, [choice], usage)

    def _prefix(self, index: int) -> bytes:
        head = _encode(self._head)[:-1].decode()
        return f'data: {head},"choices":[{{"index":{index},"delta":{{"content":'.encode()


class TextFrames:
    """text_completion, whole and streamed."""

    def __init__(self, ask: Ask, response_id: str, created_s: int, tokenizer: ModelTokenizer) -> None:
        self._ask = ask
        self._head = {"id": response_id, "object": "text_completion", "created": created_s, "model": ask.model}
        self._tokenizer = tokenizer
        self._plain = ask.logprobs is None and not ask.shows_token_ids
        count = ask.choices * len(ask.prompts)
        self._prefixes = [self._prefix(index) for index in range(count)] if self._plain else []
        self._offsets = [len(self._echo(index)) for index in range(count)]

    def opening(self, index: int, usage: Usage | None) -> bytes:
        if not self._ask.echo:
            return b""
        choice = {"index": index, "text": self._echo(index), "logprobs": None, "finish_reason": None}
        return _frame(self._head, [choice], usage)

    def delta(self, index: int, delta: Delta, usage: Usage | None) -> bytes:
        if self._plain and delta.finish is None and usage is None:
            return self._prefixes[index] + _encode(delta.text) + b',"logprobs":null,"finish_reason":null}]}\n\n'
        choice: dict[str, Any] = {
            "index": index,
            "text": delta.text,
            "logprobs": self._logprobs(delta.scores, self._offsets[index]),
            "finish_reason": delta.finish,
        }
        self._offsets[index] += len(delta.text)
        if delta.finish:
            choice["stop_reason"] = delta.stop_reason
        if self._ask.shows_token_ids:
            choice["token_ids"] = delta.tokens
        return _frame(self._head, [choice], usage)

    def closing(self, usage: Usage, transfer: Mapping[str, Any] | None) -> bytes:
        return _closing(self._head, self._ask, usage, transfer)

    def whole(self, choices: Sequence[Collected], usage: Usage, transfer: Mapping[str, Any] | None) -> bytes:
        return _encode(
            {
                **self._head,
                "choices": [self._whole_choice(index, said) for index, said in enumerate(choices)],
                "usage": usage.as_object(),
                **({"kv_transfer_params": transfer} if transfer else {}),
            }
        )

    def _whole_choice(self, index: int, said: Collected) -> dict[str, Any]:
        prompt = self._ask.prompts[index // self._ask.choices]
        scores = tuple(said.scores)
        if self._ask.echo and self._ask.logprobs is not None:
            scores = (*score_prompt(self._tokenizer, prompt.tokens, self._ask.logprobs), *scores)
        choice = {
            "index": index,
            "text": self._echo(index) + "".join(said.text),
            "logprobs": self._logprobs(scores, 0),
            "finish_reason": said.finish,
            "stop_reason": said.stop_reason,
        }
        if self._ask.shows_token_ids:
            choice["token_ids"] = said.tokens
        return choice

    def _logprobs(self, scores: Sequence[Scored], offset: int) -> dict[str, list[Any]] | None:
        if self._ask.logprobs is None:
            return None
        texts = [_token_text(self._ask, self._tokenizer, score.token) for score in scores]
        offsets = []
        for score in scores:
            offsets.append(offset)
            offset += len(self._tokenizer.piece(score.token).decode("utf-8", "replace"))
        tops = [
            {_token_text(self._ask, self._tokenizer, x.token): x.logprob for x in score.alternatives}
            for score in scores
        ]
        logprobs = [score.logprob for score in scores]
        return {"text_offset": offsets, "token_logprobs": logprobs, "tokens": texts, "top_logprobs": tops}

    def _echo(self, index: int) -> str:
        if not self._ask.echo:
            return ""
        prompt = self._ask.prompts[index // self._ask.choices]
        return prompt.text if prompt.text is not None else self._tokenizer.text(prompt.tokens)

    def _prefix(self, index: int) -> bytes:
        return f'data: {_encode(self._head)[:-1].decode()},"choices":[{{"index":{index},"text":'.encode()


def error_frame(message: str) -> bytes:
    """A stream's last frames when it fails after its headers are out."""
    error = {"message": message, "type": "internal_server_error", "param": None, "code": 500}
    return b"data: " + _encode({"error": error}) + b"\n\n" + DONE


def _frame(head: Mapping[str, Any], choices: Sequence[Mapping[str, Any]], usage: Usage | None) -> bytes:
    body = {**head, "choices": choices}
    if usage is not None:
        body["usage"] = usage.as_object()
    return b"data: " + _encode(body) + b"\n\n"


def _closing(head: Mapping[str, Any], ask: Ask, usage: Usage, transfer: Mapping[str, Any] | None) -> bytes:
    frames = b""
    if transfer:
        frames += b"data: " + _encode({**head, "choices": [], "kv_transfer_params": transfer}) + b"\n\n"
    if ask.include_usage:
        frames += _frame(head, [], usage)
    return frames + DONE


def _call_object(call: ToolCall, response_id: Any, index: int, arguments: str) -> dict[str, Any]:
    function = {"name": call.name, "arguments": arguments}
    return {"id": f"call-{str(response_id).partition('-')[2]}-{index}", "type": "function", "function": function}


def _finish_reason(finish: str | None, call: ToolCall | None) -> str | None:
    """A completed call that the client did not name itself ends with `tool_calls`."""
    return "tool_calls" if call is not None and not call.is_named and finish == "stop" else finish


def _token_text(ask: Ask, tokenizer: ModelTokenizer, token: int) -> str:
    if ask.shows_token_numbers:
        return f"token_id:{token}"
    return tokenizer.piece(token).decode("utf-8", "replace")
