"""Request bodies of the OpenAI surface, checked: types by decoding, ranges by `check`. Pure.

Fields the engine does not know are ignored, as vLLM does. Every refusal is an `InvalidRequest` that names the field,
what was found and what is allowed. The routes call `decode`.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from dynamo.wire.errors import InvalidRequest

MAX_CHOICES = 128
MAX_PROMPTS = 2048
_AT = re.compile(r"^(.*?) - at `\$\.?(.*)`$", re.DOTALL)
Strings = str | list[str] | None

Body = TypeVar("Body", bound="SamplingBody")


class StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None


class SamplingBody(msgspec.Struct, frozen=True, kw_only=True):
    """What chat and text completions share."""

    model: str | None = None
    n: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    min_tokens: int | None = None
    ignore_eos: bool | None = None
    stop: Strings = None
    stop_token_ids: list[int] | None = None
    include_stop_str_in_output: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    seed: int | None = None
    cache_salt: str | None = None
    kv_transfer_params: dict[str, Any] | None = None
    structured_outputs: dict[str, Any] | None = None
    guided_json: Any = None
    guided_choice: list[str] | None = None
    response_format: dict[str, Any] | None = None
    return_token_ids: bool | None = None
    return_tokens_as_token_ids: bool | None = None
    mocker_fault: str | None = None


class ChatBody(SamplingBody, frozen=True, kw_only=True):
    messages: list[dict[str, Any]]
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    add_generation_prompt: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class CompletionBody(SamplingBody, frozen=True, kw_only=True):
    prompt: str | list[Any]
    echo: bool | None = None
    logprobs: int | None = None
    best_of: int | None = None


class EmbeddingBody(msgspec.Struct, frozen=True, kw_only=True):
    model: str | None = None
    input: str | list[Any]
    encoding_format: str | None = None
    dimensions: int | None = None
    user: str | None = None


class TokenizeBody(msgspec.Struct, frozen=True, kw_only=True):
    model: str | None = None
    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None
    add_generation_prompt: bool = True
    return_token_strs: bool = False


class DetokenizeBody(msgspec.Struct, frozen=True, kw_only=True):
    model: str | None = None
    tokens: list[int]


class LoadLoraBody(msgspec.Struct, frozen=True, kw_only=True):
    lora_name: str
    lora_path: str
    load_inplace: bool = False


class UnloadLoraBody(msgspec.Struct, frozen=True, kw_only=True):
    lora_name: str


Any_ = TypeVar("Any_", bound=msgspec.Struct)


def decode(body: bytes, kind: type[Any_]) -> Any_:
    """Raises InvalidRequest for bad JSON, a missing field or a wrong type."""
    try:
        decoded = msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _refusal(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"request body: {error}") from None
    if isinstance(decoded, SamplingBody):
        _check_sampling(decoded)
    return decoded


def prompts_of(prompt: str | list[Any], field: str = "prompt") -> list[str | list[int]]:
    """A prompt field's forms (text, texts, ids, lists of ids) as a list of single prompts."""
    if isinstance(prompt, str):
        return [prompt]
    if not prompt:
        raise InvalidRequest(f"{field}: found an empty list; expected at least one prompt", param=field)
    if all(_is_token(item) for item in prompt):
        return [prompt]
    if len(prompt) > MAX_PROMPTS:
        raise InvalidRequest(f"{field}: found {len(prompt)} prompts; at most {MAX_PROMPTS} are allowed", param=field)
    for index, item in enumerate(prompt):
        is_ids = isinstance(item, list) and item and all(_is_token(token) for token in item)
        if not isinstance(item, str) and not is_ids:
            raise InvalidRequest(
                f"{field}[{index}]: found {str(item)[:40]!r}; expected text or a list of token ids", param=field
            )
    return prompt


def _is_token(item: Any) -> bool:
    return isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 1 << 32


def _refusal(message: str) -> InvalidRequest:
    match = _AT.match(message)
    if match:
        return InvalidRequest(f"{match[2]}: {match[1]}", param=match[2] or None)
    missing = re.search(r"missing required field `(.+?)`", message)
    field = missing[1] if missing else None
    return InvalidRequest(f"{field}: this field is required" if field else f"request body: {message}", param=field)


_RANGES: tuple[tuple[str, float, float | None], ...] = (
    ("n", 1, MAX_CHOICES),
    ("best_of", 0, MAX_CHOICES),
    ("max_tokens", 0, None),
    ("max_completion_tokens", 0, None),
    ("min_tokens", 0, None),
    ("temperature", 0, None),
    ("top_p", 0, 1),
    ("top_k", -1, None),
    ("min_p", 0, 1),
    ("presence_penalty", -2, 2),
    ("frequency_penalty", -2, 2),
    ("repetition_penalty", 0, None),
    ("top_logprobs", -1, 20),
)


def _check_sampling(body: SamplingBody) -> None:
    for field, least, most in _RANGES:
        value = getattr(body, field, None)
        if value is not None and (value < least or (most is not None and value > most)):
            allowed = f"at least {least:g}" if most is None else f"from {least:g} to {most:g}"
            raise InvalidRequest(f"{field}: found {value:g}; allowed is {allowed}", param=field)
    if isinstance(body, ChatBody):
        _check_chat(body)
    elif isinstance(body, CompletionBody) and body.logprobs is not None and not 0 <= body.logprobs <= 20:
        raise InvalidRequest(f"logprobs: found {body.logprobs}; allowed is from 0 to 20", param="logprobs")


def _check_chat(body: ChatBody) -> None:
    if not body.messages:
        raise InvalidRequest("messages: found an empty list; expected at least one message", param="messages")
    for index, message in enumerate(body.messages):
        if not isinstance(message.get("role"), str):
            raise InvalidRequest(f"messages[{index}].role: expected a string", param=f"messages[{index}].role")
    if body.top_logprobs and not body.logprobs:
        raise InvalidRequest("top_logprobs: allowed only with logprobs = true", param="top_logprobs")
    wants_tool = isinstance(body.tool_choice, dict) or body.tool_choice == "required"
    if isinstance(body.tool_choice, str) and body.tool_choice not in ("none", "auto", "required"):
        raise InvalidRequest(
            f"tool_choice: found {body.tool_choice!r}; allowed are none, auto, required or a named function",
            param="tool_choice",
        )
    if wants_tool and not body.tools:
        raise InvalidRequest("tool_choice: needs tools", param="tool_choice")
