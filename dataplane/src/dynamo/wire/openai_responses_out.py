"""Chat answers turned into Responses API answers, whole and streamed. Pure: ids and time are arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from dynamo.wire.errors import RequestError
from dynamo.wire.openai_responses_in import Responses
from dynamo.wire.sse import data_of, event_frame, frames

Event = dict[str, Any]
NewId = Callable[[str], str]
"""Makes an identifier that begins with the given prefix."""


def base_document(request: Responses, response_id: str, created_s: int) -> dict[str, Any]:
    """What every form of the answer repeats of the request."""
    named = {"user": request.user, "safety_identifier": request.safety_identifier}
    return {
        "id": response_id,
        "object": "response",
        "created_at": created_s,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "model": request.model,
        "output": [],
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": None,
        "reasoning": {"effort": (request.reasoning or {}).get("effort"), "summary": None},
        "store": False,
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "text": request.text or {"format": {"type": "text"}},
        "tool_choice": request.tool_choice or "auto",
        "tools": [{"strict": None, "parameters": None, **tool} for tool in request.tools or []],
        "top_p": 1.0 if request.top_p is None else request.top_p,
        "truncation": "disabled",
        "metadata": request.metadata or {},
        **{name: value for name, value in named.items() if value is not None},
    }


def whole_answer(base: dict[str, Any], chat: bytes, new_id: NewId) -> bytes:
    """The Responses document for a unary chat answer; raises ValueError when that is none."""
    answer = msgspec.json.decode(chat)
    choice = answer["choices"][0]
    message = choice["message"]
    output: list[Event] = []
    if reasoning := message.get("reasoning_content") or message.get("reasoning"):
        output.append(_reasoning(new_id("rs_"), reasoning, "completed"))
    if message.get("content"):
        output.append(_message(new_id("msg_"), message["content"], "completed"))
    for call in message.get("tool_calls") or []:
        function = call["function"]
        output.append(_call(new_id("fc_"), call["id"], function["name"], function["arguments"], "completed"))
    ending = _ending(choice.get("finish_reason"))
    return msgspec.json.encode({**base, **ending, "output": output, **_usage(answer.get("usage"))})


class ResponsesStream:
    """Turns chat chunks into response events. Owned by one stream; feed whole frames in order."""

    def __init__(self, base: dict[str, Any], new_id: NewId) -> None:
        self._base = base
        self._new_id = new_id
        self._sequence = -1
        self._output: list[Event] = []
        self._open: Event | None = None
        """The output item that is being written; always the last of `_output`."""
        self._text: list[str] = []
        self._calls: dict[int, Event] = {}
        self._finish_reason: str | None = None
        self._usage: Any = None

    def start(self) -> bytes:
        return self._emit("response.created", response=self._base) + self._emit(
            "response.in_progress", response=self._base
        )

    def feed(self, payload: bytes) -> bytes:
        """Events for complete chat frames; the end mark closes the response."""
        return b"".join(piece for frame in frames(payload) for piece in self._frame(data_of(frame)))

    def fail(self, error: RequestError) -> bytes:
        code = "invalid_prompt" if error.status < 500 else "server_error"
        document = {**self._base, "status": "failed", "output": self._output}
        return self._emit("response.failed", response={**document, "error": {"code": code, "message": error.message}})

    def _frame(self, data: bytes) -> Iterator[bytes]:
        if data == b"[DONE]":
            yield from self._close_item()
            ending = _ending(self._finish_reason)
            document = {**self._base, **ending, "output": self._output, **_usage(self._usage)}
            yield self._emit(f"response.{ending['status']}", response=document)
            return
        try:
            chunk = msgspec.json.decode(data)
        except msgspec.DecodeError:
            return
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk.get("choices") or []:
            delta = choice.get("delta") or {}
            self._finish_reason = choice.get("finish_reason") or self._finish_reason
            if reasoning := delta.get("reasoning_content") or delta.get("reasoning"):
                yield from self._reason(reasoning)
            if delta.get("content"):
                yield from self._write(delta["content"])
            for call in delta.get("tool_calls") or []:
                yield from self._call(call)

    def _write(self, text: str) -> Iterator[bytes]:
        if self._open is None or self._open["type"] != "message":
            yield from self._close_item()
            item = {"id": self._new_id("msg_"), "type": "message", "role": "assistant", "status": "in_progress"}
            yield self._add({**item, "content": []})
            yield self._emit("response.content_part.added", **self._place(), content_index=0, part=_part(""))
        self._text.append(text)
        yield self._emit("response.output_text.delta", **self._place(), content_index=0, delta=text, logprobs=[])

    def _reason(self, text: str) -> Iterator[bytes]:
        if self._open is None or self._open["type"] != "reasoning":
            yield from self._close_item()
            yield self._add({"id": self._new_id("rs_"), "type": "reasoning", "summary": [], "content": []})
        self._text.append(text)
        yield self._emit("response.reasoning_text.delta", **self._place(), content_index=0, delta=text)

    def _call(self, call: Event) -> Iterator[bytes]:
        index, function = call.get("index", 0), call.get("function") or {}
        if index not in self._calls:
            yield from self._close_item()
            call_id = call.get("id") or self._new_id("call_")
            item = _call(self._new_id("fc_"), call_id, function.get("name") or "", "", "in_progress")
            self._calls[index] = item
            yield self._add(item)
        if arguments := function.get("arguments"):
            self._text.append(arguments)
            yield self._emit("response.function_call_arguments.delta", **self._place(), delta=arguments)

    def _close_item(self) -> Iterator[bytes]:
        item = self._open
        if item is None:
            return
        place, text = self._place(), "".join(self._text)
        if item["type"] == "message":
            part = _part(text)
            yield self._emit("response.output_text.done", **place, content_index=0, text=text, logprobs=[])
            yield self._emit("response.content_part.done", **place, content_index=0, part=part)
            done = _message(item["id"], text, "completed")
        elif item["type"] == "reasoning":
            yield self._emit("response.reasoning_text.done", **place, content_index=0, text=text)
            done = _reasoning(item["id"], text, "completed")
        else:
            yield self._emit("response.function_call_arguments.done", **place, name=item["name"], arguments=text)
            done = _call(item["id"], item["call_id"], item["name"], text, "completed")
        self._output[-1] = done
        self._open, self._text = None, []
        yield self._emit("response.output_item.done", output_index=place["output_index"], item=done)

    def _add(self, item: Event) -> bytes:
        self._output.append(item)
        self._open = item
        return self._emit("response.output_item.added", output_index=len(self._output) - 1, item=item)

    def _place(self) -> Event:
        assert self._open is not None
        return {"item_id": self._open["id"], "output_index": len(self._output) - 1}

    def _emit(self, kind: str, **fields: Any) -> bytes:
        self._sequence += 1
        return event_frame(kind, msgspec.json.encode({"type": kind, "sequence_number": self._sequence, **fields}))


def _ending(finish_reason: str | None) -> Event:
    if finish_reason == "length":
        return {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    if finish_reason == "content_filter":
        return {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}
    return {"status": "completed", "incomplete_details": None}


def _part(text: str) -> Event:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _message(item_id: str, text: str, status: str) -> Event:
    return {"id": item_id, "type": "message", "role": "assistant", "status": status, "content": [_part(text)]}


def _reasoning(item_id: str, text: str, status: str) -> Event:
    content = [{"type": "reasoning_text", "text": text}]
    return {"id": item_id, "type": "reasoning", "summary": [], "content": content, "status": status}


def _call(item_id: str, call_id: str, name: str, arguments: str, status: str) -> Event:
    item = {"id": item_id, "type": "function_call", "call_id": call_id, "name": name}
    return {**item, "arguments": arguments, "status": status}


def _usage(usage: Any) -> Event:
    if not isinstance(usage, dict):
        return {}
    prompt, completion = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    counts = {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": prompt + completion,
    }
    return {"usage": counts}
