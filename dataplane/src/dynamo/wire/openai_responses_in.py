"""Responses API requests, read and turned into chat requests. Pure.

The frontend keeps nothing, so what needs a memory (`previous_response_id`, `conversation`, `background`, stored
prompts) or tools of OpenAI's own is refused by name instead of ignored.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from dynamo.wire import openai_fields as fields
from dynamo.wire.errors import InvalidRequest
from dynamo.wire.openai_requests import refuse_body


class Responses(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request body; fields without a chat counterpart are echoed or ignored."""

    known: ClassVar[frozenset[str]] = fields.RESPONSES

    model: str
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: int | None = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    include: list[str] | None = None
    store: bool | None = None
    truncation: str | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: Any = None
    prompt_cache_retention: str | None = None
    context_management: Any = None
    moderation: Any = None
    personality: Any = None
    background: bool | None = None
    conversation: Any = None
    previous_response_id: str | None = None
    prompt: Any = None
    nvext: dict[str, Any] | None = None
    mocker_fault: Any = None


_decoder = msgspec.json.Decoder(Responses)
_NEEDS_MEMORY = ("previous_response_id", "conversation", "prompt")
_FORMATS = ("text", "json_object", "json_schema")
_ROLES = frozenset({"user", "assistant", "system", "developer"})
_PASSED_ON = ("temperature", "top_p", "parallel_tool_calls", "user", "nvext", "mocker_fault")


def parse_responses(body: bytes) -> Responses:
    """Raises InvalidRequest."""
    try:
        body.decode()
        request = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        refuse_body(body, error, Responses.known)
    for name in _NEEDS_MEMORY:
        if getattr(request, name) is not None:
            raise InvalidRequest(f"{name}: not supported, nothing is stored here; send the whole input", param=name)
    if request.background:
        raise InvalidRequest("background: found true; only false is supported", param="background")
    if not request.input:
        raise InvalidRequest("input: found an empty value; expected a text or a list of items", param="input")
    if request.truncation not in (None, "disabled"):
        raise InvalidRequest(
            f"truncation: found {request.truncation!r}; only disabled is supported", param="truncation"
        )
    return request


def to_chat(request: Responses) -> dict[str, Any]:
    """The body of the chat request that answers it. Raises InvalidRequest."""
    chat: dict[str, Any] = {"model": request.model, "messages": _messages(request)}
    for name in _PASSED_ON:
        if (value := getattr(request, name)) is not None:
            chat[name] = value
    if request.max_output_tokens is not None:
        if request.max_output_tokens < 1:
            raise InvalidRequest(
                f"max_output_tokens: found {request.max_output_tokens}; allowed 1 or more", param="max_output_tokens"
            )
        chat["max_completion_tokens"] = request.max_output_tokens
    if request.top_logprobs:
        chat.update(logprobs=True, top_logprobs=request.top_logprobs)
    if request.reasoning and (effort := request.reasoning.get("effort")) is not None:
        if not isinstance(effort, str):
            raise InvalidRequest("reasoning.effort: expected a string", param="reasoning")
        chat["reasoning_effort"] = effort
    if request.tools:
        chat["tools"] = [_tool(tool, index) for index, tool in enumerate(request.tools)]
    if request.tools or request.tool_choice not in (None, "auto", "none"):
        chat["tool_choice"] = _tool_choice(request.tool_choice)
    if response_format := _response_format(request.text):
        chat["response_format"] = response_format
    if request.stream:
        chat.update(stream=True, stream_options={"include_usage": True})
    return chat


def _messages(request: Responses) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if request.instructions:
        messages.append({"role": "system", "content": request.instructions})
    if isinstance(request.input, str):
        return [*messages, {"role": "user", "content": request.input}]
    for index, item in enumerate(request.input):
        message = _message(item, f"input[{index}]")
        if message is None:
            continue
        last = messages[-1] if messages else None
        if "tool_calls" in message and last is not None and last["role"] == "assistant":
            # The API lists parallel calls as items of their own; a chat has them in one message.
            last["tool_calls"] = [*last.get("tool_calls", []), *message["tool_calls"]]
        else:
            messages.append(message)
    if not messages:
        raise InvalidRequest("input: no item carries a message", param="input")
    return messages


def _message(item: dict[str, Any], place: str) -> dict[str, Any] | None:
    kind = item.get("type", "message")
    if kind == "message":
        role = item.get("role")
        if role not in _ROLES:
            raise InvalidRequest(f"{place}.role: found {role!r}; allowed {', '.join(sorted(_ROLES))}", param="input")
        return {"role": role, "content": _content(item.get("content"), place)}
    if kind == "function_call":
        function = {"name": _text(item, "name", place), "arguments": _text(item, "arguments", place)}
        call = {"id": _text(item, "call_id", place), "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    if kind == "function_call_output":
        output = item.get("output")
        content = output if isinstance(output, str) else _content(output, place)
        return {"role": "tool", "tool_call_id": _text(item, "call_id", place), "content": content}
    if kind == "reasoning":
        return None
    raise InvalidRequest(
        f"{place}.type: found {kind!r}; supported: message, function_call, function_call_output, reasoning",
        param="input",
    )


def _content(content: Any, place: str) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise InvalidRequest(f"{place}.content: expected a text or a list of parts", param="input")
    parts = [_part(part, f"{place}.content[{index}]") for index, part in enumerate(content)]
    texts = [part["text"] for part in parts if part["type"] == "text"]
    return "".join(texts) if len(texts) == len(parts) else parts


def _part(part: Any, place: str) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in ("input_text", "output_text", "text"):
        return {"type": "text", "text": _text(part, "text", place)}
    if kind == "refusal":
        return {"type": "text", "text": _text(part, "refusal", place)}
    if kind == "input_image" and isinstance(part.get("image_url"), str):
        image = {"url": part["image_url"], **({"detail": part["detail"]} if part.get("detail") else {})}
        return {"type": "image_url", "image_url": image}
    raise InvalidRequest(
        f"{place}: found {kind!r}; supported: input_text, output_text, input_image (by URL)", param="input"
    )


def _text(item: dict[str, Any], name: str, place: str) -> str:
    value = item.get(name)
    if not isinstance(value, str):
        raise InvalidRequest(f"{place}.{name}: expected a text", param="input")
    return value


def _tool(tool: dict[str, Any], index: int) -> dict[str, Any]:
    if tool.get("type") != "function" or not isinstance(tool.get("name"), str):
        found = tool.get("type")
        raise InvalidRequest(
            f"tools[{index}]: found {found!r}; only functions with a name are supported", param="tools"
        )
    names = ("name", "description", "parameters", "strict")
    return {"type": "function", "function": {name: tool[name] for name in names if tool.get(name) is not None}}


def _tool_choice(choice: str | dict[str, Any] | None) -> str | dict[str, Any]:
    if choice is None or isinstance(choice, str):
        return choice or "auto"
    if choice.get("type") == "function" and isinstance(choice.get("name"), str):
        return {"type": "function", "function": {"name": choice["name"]}}
    raise InvalidRequest("tool_choice: expected none, auto, required or a function by name", param="tool_choice")


def _response_format(text: dict[str, Any] | None) -> dict[str, Any] | None:
    form = (text or {}).get("format")
    if form is None:
        return None
    if not isinstance(form, dict) or form.get("type") not in _FORMATS:
        found = form.get("type") if isinstance(form, dict) else form
        allowed = ", ".join(_FORMATS)
        raise InvalidRequest(f"text.format: found {str(found)[:64]!r}; allowed types {allowed}", param="text")
    if form["type"] == "text":
        return None
    if form["type"] == "json_schema":
        names = ("name", "description", "schema", "strict")
        return {"type": "json_schema", "json_schema": {name: form[name] for name in names if name in form}}
    return {"type": form["type"]}
