"""From a checked body to what must be generated: prompts as tokens, limits, forced text, shape of the answer.

Pure apart from the tokenizer it is given. `chat_ask` and `completion_ask` raise `InvalidRequest`; the routes call them
and the exchange runs their result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from dynamo.mocker.bodies import ChatBody, CompletionBody, SamplingBody, prompts_of
from dynamo.mocker.schema import SchemaUnsupported, minimal_instance
from dynamo.mocker.tokenizer import ChatTemplateError, ModelTokenizer
from dynamo.wire.errors import InvalidRequest

MAX_SEQUENCES = 2048


@dataclass(frozen=True, slots=True)
class Prompt:
    tokens: Sequence[int]
    text: str | None
    """As the client wrote it; None for token ids."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    name: str
    is_named: bool
    """The client named the function (else it required any)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One generation request."""

    is_chat: bool
    model: str
    """The name to answer under."""
    prompts: tuple[Prompt, ...]
    choices: int
    max_tokens: tuple[int, ...]
    """Per prompt."""
    ends_freely: bool
    """The client set no limit: answers end by themselves."""
    min_tokens: int = 0
    ignore_eos: bool = False
    stops: tuple[str, ...] = ()
    stop_tokens: frozenset[int] = frozenset()
    keeps_stop: bool = False
    logprobs: int | None = None
    """How many alternatives per token; None: no logprobs at all."""
    shows_token_numbers: bool = False
    """Token texts in logprobs are written `token_id:N`."""
    shows_token_ids: bool = False
    echo: bool = False
    stream: bool = False
    include_usage: bool = False
    continuous_usage: bool = False
    forced_text: str | None = None
    tool_call: ToolCall | None = None
    salt: str | None = None
    transfer: dict[str, Any] | None = None
    """kv_transfer_params as given."""


def chat_ask(body: ChatBody, model: str, tokenizer: ModelTokenizer, context_tokens: int) -> Ask:
    tools = body.tools if body.tool_choice != "none" else None
    try:
        text = tokenizer.render_chat(
            [_plain_message(message, index) for index, message in enumerate(body.messages)],
            tools=tools,
            add_generation_prompt=body.add_generation_prompt is not False,
            arguments=body.chat_template_kwargs,
        )
    except ChatTemplateError as error:
        raise InvalidRequest(f"messages: {error}", param="messages") from error
    prompt = Prompt(tokenizer.encode(text), text)
    limit = body.max_completion_tokens if body.max_completion_tokens is not None else body.max_tokens
    call, forced = _tool_call(body)
    return Ask(
        is_chat=True,
        logprobs=(max(0, body.top_logprobs or 0) if body.logprobs else None),
        tool_call=call,
        forced_text=forced if call else _forced_text(body),
        **_common(body, model, (prompt,), limit, context_tokens),
    )


def completion_ask(body: CompletionBody, model: str, tokenizer: ModelTokenizer, context_tokens: int) -> Ask:
    prompts = tuple(
        Prompt(tokenizer.encode(prompt), prompt) if isinstance(prompt, str) else Prompt(prompt, None)
        for prompt in prompts_of(body.prompt)
    )
    limit = body.max_tokens if body.max_tokens is not None else 16
    return Ask(
        is_chat=False,
        logprobs=body.logprobs,
        echo=bool(body.echo),
        forced_text=_forced_text(body),
        **_common(body, model, prompts, limit, context_tokens),
    )


def _common(
    body: SamplingBody, model: str, prompts: tuple[Prompt, ...], limit: int | None, context_tokens: int
) -> dict[str, Any]:
    options = body.stream_options
    stops = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    min_tokens = body.min_tokens or 0
    if len(prompts) * (body.n or 1) > MAX_SEQUENCES:
        raise InvalidRequest(
            f"n: {len(prompts)} prompts times {body.n} choices; at most {MAX_SEQUENCES} sequences are allowed",
            param="n",
        )
    if limit is not None and min_tokens > limit:
        raise InvalidRequest(
            f"min_tokens: found {min_tokens}; must not exceed max_tokens = {limit}", param="min_tokens"
        )
    return {
        "model": model,
        "prompts": prompts,
        "choices": body.n or 1,
        "max_tokens": tuple(_room(prompt, limit, context_tokens) for prompt in prompts),
        "ends_freely": limit is None and not body.ignore_eos,
        "min_tokens": min_tokens,
        "ignore_eos": bool(body.ignore_eos),
        "stops": tuple(stop for stop in stops if stop),
        "stop_tokens": frozenset(body.stop_token_ids or ()),
        "keeps_stop": bool(body.include_stop_str_in_output),
        "shows_token_numbers": bool(body.return_tokens_as_token_ids),
        "shows_token_ids": bool(body.return_token_ids),
        "stream": bool(body.stream),
        "include_usage": bool(options and options.include_usage),
        "continuous_usage": bool(options and options.include_usage and options.continuous_usage_stats),
        "salt": body.cache_salt or None,
        "transfer": body.kv_transfer_params,
    }


def _room(prompt: Prompt, limit: int | None, context_tokens: int) -> int:
    """Tokens the answer may have; a prompt or a limit beyond the context is refused."""
    count = len(prompt.tokens)
    if count == 0:
        raise InvalidRequest("prompt: found an empty prompt; expected at least one token", param="prompt")
    wanted = count + (1 if limit is None else limit)
    if wanted > context_tokens:
        asked = f"{limit} in the completion" if limit is not None else "at least 1 in the completion"
        raise InvalidRequest(
            f"This model's maximum context length is {context_tokens} tokens. However, you requested "
            f"{wanted} tokens ({count} in the prompt, {asked}).",
            param="max_tokens" if count < context_tokens else "prompt",
            code="context_length_exceeded",
        )
    return limit if limit is not None else context_tokens - count


def _plain_message(message: dict[str, Any], index: int) -> dict[str, Any]:
    """The message with its content as text, and tool-call arguments as objects (templates print them as JSON)."""
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(_part_text(part, f"messages[{index}].content[{n}]") for n, part in enumerate(content))
    elif content is not None and not isinstance(content, str):
        field = f"messages[{index}].content"
        raise InvalidRequest(f"{field}: expected text or a list of parts", param=field)
    calls = message.get("tool_calls")
    plain = {**message, "content": content}
    if calls is not None:
        if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
            field = f"messages[{index}].tool_calls"
            raise InvalidRequest(f"{field}: expected a list of objects", param=field)
        plain["tool_calls"] = [_plain_call(call) for call in calls]
    return plain


def _plain_call(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return call
    try:
        return {**call, "function": {**function, "arguments": msgspec.json.decode(function["arguments"])}}
    except msgspec.DecodeError:
        return call


def _part_text(part: Any, field: str) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict):
        for kind in ("text", "refusal"):
            if part.get("type", "text") in (kind, f"input_{kind}") and isinstance(part.get(kind), str):
                return str(part[kind])
    found = part.get("type") if isinstance(part, dict) else type(part).__name__
    raise InvalidRequest(f"{field}.type: found {found!r}; this model takes text only", param=field)


def _tool_call(body: ChatBody) -> tuple[ToolCall | None, str | None]:
    """The call that `required` or a named function forces, and its arguments as JSON."""
    if body.tool_choice in (None, "none", "auto") or not body.tools:
        return None, None
    functions: dict[str, Any] = {}
    for index, tool in enumerate(body.tools):
        function = tool.get("function") if isinstance(tool.get("function"), dict) else tool
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise InvalidRequest(f"tools[{index}].function.name: expected a string", param=f"tools[{index}]")
        functions[function["name"]] = function.get("parameters") or {"type": "object"}
    name = next(iter(functions))
    is_named = isinstance(body.tool_choice, dict)
    if isinstance(body.tool_choice, dict):
        chosen = body.tool_choice.get("function")
        wanted = chosen.get("name") if isinstance(chosen, dict) else body.tool_choice.get("name")
        if wanted not in functions:
            raise InvalidRequest(
                f"tool_choice.function.name: found {wanted!r}; tools offers {', '.join(functions)}", param="tool_choice"
            )
        name = str(wanted)
    return ToolCall(name, is_named), _json_of(functions[name], f"tools.{name}.parameters")


def _forced_text(body: SamplingBody) -> str | None:
    """The text that guided decoding leads to; None: free words."""
    guided = body.structured_outputs or {}
    form = body.response_format or {}
    kind = form.get("type", "text")
    if kind not in ("text", "json_object", "json_schema", "structural_tag"):
        raise InvalidRequest(
            f"response_format.type: found {kind!r}; allowed are text, json_object, json_schema", param="response_format"
        )
    if choices := body.guided_choice or guided.get("choice"):
        return str(choices[0])
    if (schema := body.guided_json if body.guided_json is not None else guided.get("json")) is not None:
        field = "guided_json" if body.guided_json is not None else "structured_outputs.json"
        return _json_of(_parsed(schema, field), field)
    for name in ("regex", "grammar", "structural_tag"):
        if guided.get(name):
            field = f"structured_outputs.{name}"
            raise InvalidRequest(f"{field}: the mocker builds answers from json or choice only", param=field)
    if kind == "json_schema":
        wrapper = form.get("json_schema")
        if not isinstance(wrapper, dict) or not isinstance(wrapper.get("schema", {}), dict):
            raise InvalidRequest(
                "response_format.json_schema: expected an object with a schema", param="response_format"
            )
        return _json_of(wrapper.get("schema", {}), "response_format.json_schema.schema")
    return '{"answer": "word"}' if kind == "json_object" else None


def _parsed(schema: Any, field: str) -> Any:
    if not isinstance(schema, str):
        return schema
    try:
        return msgspec.json.decode(schema)
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"{field}: {error}", param=field) from None


def _json_of(schema: Any, field: str) -> str:
    try:
        return msgspec.json.encode(minimal_instance(schema)).decode()
    except SchemaUnsupported as error:
        raise InvalidRequest(f"{field}: {error}", param=field) from None
    except (TypeError, ValueError, AttributeError, KeyError, IndexError, ZeroDivisionError) as error:
        raise InvalidRequest(f"{field}: not a valid JSON schema: {error}", param=field) from None
