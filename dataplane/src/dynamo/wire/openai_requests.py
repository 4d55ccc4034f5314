"""OpenAI request bodies, read once: what routing, validation and accounting need; the rest stays bytes.

The body itself is forwarded as it came, so fields that only the engine understands are checked for their name and
outer type and no more. Every refusal names the field, what was found and what is allowed.
"""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Any, ClassVar, Literal, NoReturn, TypeVar, cast, get_args

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from dynamo.wire import openai_fields as fields
from dynamo.wire.errors import InvalidRequest

ABSENT = Raw()
TOKEN_ID_MAX = 2**32 - 1
"""Blocks are hashed over ids of four bytes."""
TokenId = Annotated[int, Meta(ge=0, le=TOKEN_ID_MAX)]
Number = float | None
Count = int | None


def _number(name: str) -> Meta:
    low, high = fields.BOUNDS[name]
    return Meta(ge=low) if high is None else Meta(ge=low, le=high)


def _count(name: str) -> Meta:
    low, high = fields.BOUNDS[name]
    return Meta(ge=int(low)) if high is None else Meta(ge=int(low), le=int(high))


Role = Literal["system", "developer", "user", "assistant", "tool", "function"]


class Message(msgspec.Struct, frozen=True, gc=False):
    role: Role


class AgentHints(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    osl: int | None = None
    priority: float | None = None
    strict_priority: int | None = None
    speculative_prefill: bool | None = None


class Nvext(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The extension object of §1.5; what is not acted on here is the engine's business."""

    greed_sampling: bool | None = None
    use_raw_prompt: bool | None = None
    annotations: tuple[str, ...] | None = None
    backend_instance_id: int | None = None
    token_data: tuple[TokenId, ...] | None = None
    max_thinking_tokens: int | None = None
    cache_salt: str | None = None
    extra_fields: tuple[str, ...] | None = None
    metadata_upload: Raw = ABSENT
    prefill_worker_id: int | None = None
    decode_worker_id: int | None = None
    dp_rank: int | None = None
    prefill_dp_rank: int | None = None
    agent_hints: AgentHints | None = None
    request_timestamp_ms: float | None = None
    routing_constraints: Raw = ABSENT
    router: Raw = ABSENT


class StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool | None = None


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """Fields that chat and completions share; None and absence mean the engine's default."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | UnsetType | None = UNSET
    max_tokens: Annotated[int, _count("max_tokens")] | None = None
    max_completion_tokens: Annotated[int, _count("max_completion_tokens")] | None = None
    min_tokens: Annotated[int, _count("min_tokens")] | None = None
    n: Annotated[int, _count("n")] | None = None
    temperature: Annotated[float, _number("temperature")] | None = None
    top_p: Annotated[float, _number("top_p")] | None = None
    min_p: Annotated[float, _number("min_p")] | None = None
    frequency_penalty: Annotated[float, _number("frequency_penalty")] | None = None
    presence_penalty: Annotated[float, _number("presence_penalty")] | None = None
    logit_bias: dict[str, Annotated[float, _number("logit_bias")]] | None = None
    seed: Annotated[int, _count("seed")] | None = None
    stop: str | list[str] | None = None
    user: str | None = None
    ignore_eos: bool | None = None
    priority: Number = None
    cache_salt: str | None = None
    guided_json: Raw = ABSENT
    guided_regex: Raw = ABSENT
    guided_choice: Raw = ABSENT
    guided_grammar: Raw = ABSENT
    chat_template_args: dict[str, Any] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    nvext: Nvext | None = None


class Chat(Sampling, frozen=True, kw_only=True):
    known: ClassVar[frozenset[str]] = fields.CHAT

    messages: list[Message]
    logprobs: bool | None = None
    top_logprobs: Annotated[int, _count("top_logprobs")] | None = None
    tools: list[Raw] | None = None
    tool_choice: Raw = ABSENT


class Completions(Sampling, frozen=True, kw_only=True):
    known: ClassVar[frozenset[str]] = fields.COMPLETIONS

    prompt: Raw
    best_of: Annotated[int, _count("best_of")] | None = None
    logprobs: Annotated[int, _count("logprobs")] | None = None
    echo: bool | None = None
    suffix: str | None = None


class Embeddings(msgspec.Struct, frozen=True, kw_only=True):
    known: ClassVar[frozenset[str]] = fields.EMBEDDINGS

    model: str
    input: Raw
    dimensions: Annotated[int, _count("dimensions")] | None = None
    encoding_format: str | None = None
    user: str | None = None
    priority: Number = None
    cache_salt: str | None = None
    nvext: Nvext | None = None


Body = TypeVar("Body", Chat, Completions, Embeddings)


def parse_chat(body: bytes, *, is_strict: bool = True) -> Chat:
    """Raises InvalidRequest; unknown fields pass unless `is_strict`."""
    chat = _decode(_chat if is_strict else _lenient_chat, body, Chat)
    if not chat.messages:
        raise InvalidRequest("messages: found an empty list; at least one message is needed", param="messages")
    _check_sampling(chat)
    if chat.top_logprobs and not chat.logprobs:
        raise InvalidRequest("top_logprobs: found without logprobs; set logprobs to true", param="top_logprobs")
    _check_tool_choice(chat)
    return chat


def parse_completions(body: bytes, *, is_strict: bool = True) -> Completions:
    """Raises InvalidRequest; unknown fields pass unless `is_strict`."""
    completions = _decode(_completions if is_strict else _lenient_completions, body, Completions)
    _check_not_empty(completions.prompt, "prompt", "a string, a list of strings, or token ids")
    _check_sampling(completions)
    return completions


def parse_embeddings(body: bytes, *, is_strict: bool = True) -> Embeddings:
    """Raises InvalidRequest; unknown fields pass unless `is_strict`."""
    embeddings = _decode(_embeddings if is_strict else _lenient_embeddings, body, Embeddings)
    _check_not_empty(embeddings.input, "input", "a string, a list of strings, or token ids")
    if embeddings.encoding_format not in (None, "float", "base64"):
        raise InvalidRequest(
            f"encoding_format: found {embeddings.encoding_format!r}; allowed float, base64", param="encoding_format"
        )
    return embeddings


def parse_tokens(raw: Raw) -> list[int] | None:
    """A prompt that is one list of token ids; None when it is anything else. Raises InvalidRequest for wrong ids."""
    if bytes(memoryview(raw)[:1]) != b"[":
        return None
    try:
        tokens = _token_decoder.decode(raw)
    except msgspec.ValidationError:
        return None
    wrong = next((token for token in tokens if not 0 <= token <= TOKEN_ID_MAX), None)
    if wrong is not None:
        raise InvalidRequest(f"prompt: found token id {wrong}; allowed 0 to {TOKEN_ID_MAX}", param="prompt")
    return tokens


_token_decoder = msgspec.json.Decoder(list[int])


def refuse_body(body: bytes, error: Exception, known: frozenset[str]) -> NoReturn:
    """Turns a decoding error into the answer for the client; raises InvalidRequest."""
    if isinstance(error, RecursionError):
        raise InvalidRequest("The body is nested too deeply") from error
    if isinstance(error, UnicodeDecodeError) or not _is_utf8(body):
        raise InvalidRequest(f"The body is not valid UTF-8 (byte {_broken_at(body)})") from error
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        detail = text.removeprefix("JSON is malformed: ") if body.strip() else "it is empty"
        raise InvalidRequest(f"The body is not valid JSON: {detail}") from error
    if "unknown field" in text and " - at " not in text:
        unknown = sorted(set(msgspec.json.decode(body, type=dict[str, Raw])) - known)
        raise InvalidRequest(_unknown(unknown, known), param=unknown[0]) from error
    raise _out_of_bounds(text, body) or _wrong_type(text) from error


def _decode(decoder: msgspec.json.Decoder[Any], body: bytes, kind: type[Body]) -> Body:
    try:
        if not body.isascii():
            body.decode()
        return cast(Body, decoder.decode(body))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        refuse_body(body, error, kind.known)


def _strict(kind: type[Body]) -> msgspec.json.Decoder[Body]:
    """A decoder of `kind` that also takes, unread, every other field in `known`, and no field beyond."""
    unread = [(name, Raw, ABSENT) for name in sorted(kind.known - set(kind.__struct_fields__))]
    full = msgspec.defstruct(
        kind.__name__, unread, bases=(kind,), forbid_unknown_fields=True, kw_only=True, frozen=True
    )
    return cast("msgspec.json.Decoder[Body]", msgspec.json.Decoder(full))


_chat = _strict(Chat)
_completions = _strict(Completions)
_embeddings = _strict(Embeddings)
_lenient_chat = msgspec.json.Decoder(Chat)
_lenient_completions = msgspec.json.Decoder(Completions)
_lenient_embeddings = msgspec.json.Decoder(Embeddings)


def _check_sampling(body: Chat | Completions) -> None:
    guided = [name for name in _GUIDED if bytes(getattr(body, name)) not in (b"", b"null")]
    if len(guided) > 1:
        raise InvalidRequest(f"{', '.join(guided)}: only one of them can be set", param=guided[1])
    if body.chat_template_args is not None and body.chat_template_kwargs is not None:
        raise InvalidRequest(
            "chat_template_args: found together with chat_template_kwargs; they mean the same, send one",
            param="chat_template_args",
        )


_GUIDED = ("guided_json", "guided_regex", "guided_choice", "guided_grammar")


def _out_of_bounds(text: str, body: bytes) -> InvalidRequest | None:
    """msgspec says "Expected `float` <= 2.0 - at `$.temperature`", but neither what it found nor the other bound."""
    match = re.match(r"Expected `.*` [<>]= .* - at `\$\.(\w+)(\[...\])?`", text)
    if match is None:
        return None
    name = match[1]
    low, high = fields.BOUNDS[name]
    allowed = f"{low} or more" if high is None else f"{low} to {high}"
    value = msgspec.json.decode(body)[name]
    if isinstance(value, dict):
        name, value = next((f"{name}.{key}", item) for key, item in value.items() if not low <= item <= (high or item))
    return InvalidRequest(f"{name}: found {value}; allowed {allowed}", param=match[1])


def _check_tool_choice(chat: Chat) -> None:
    choice = bytes(chat.tool_choice).strip()
    if not chat.tools and (choice == b'"required"' or choice[:1] == b"{"):
        found = "required" if choice[:1] != b"{" else "a named tool"
        raise InvalidRequest(f"tool_choice: found {found} without tools; tools must name some", param="tool_choice")


def _check_not_empty(value: Raw, name: str, allowed: str) -> None:
    text = bytes(memoryview(value)[:64]).strip()
    if text[:1] not in (b'"', b"["):
        found = {b"{": "an object", b"n": "null", b"t": "a boolean", b"f": "a boolean"}.get(text[:1], "a number")
        raise InvalidRequest(f"{name}: found {found}; expected {allowed}", param=name)
    if text == b'""' or (text[:1] == b"[" and text[1:].lstrip()[:1] == b"]"):
        raise InvalidRequest(f"{name}: found an empty value; expected {allowed}", param=name)


def _unknown(names: list[str], known: frozenset[str]) -> str:
    listed = ", ".join(f"`{name}`" for name in names)
    near = [match for name in names for match in difflib.get_close_matches(name, known, n=1, cutoff=0.7)]
    hint = f"; did you mean {' or '.join(f'`{name}`' for name in near)}?" if near else ""
    return f"Unsupported parameter(s): {listed}{hint}"


_NOUNS = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "a boolean",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


_TOO_LARGE = {
    "Number out of range": "found a number that no float holds; expected a finite one",
    "Integer value out of range": "found an integer of thousands of digits; expected a smaller one",
}


def _wrong_type(text: str) -> InvalidRequest:
    """msgspec says "Expected `int | null`, got `str` - at `$.max_tokens`"; the field comes first for people."""
    claim, _, place = text.partition(" - at ")
    field = place.strip("`").removeprefix("$").lstrip(".")
    if match := re.match(r"Expected `(.+?)`, got `(.+?)`", claim):
        expected = " or ".join(_NOUNS.get(kind, kind) for kind in match[1].split(" | "))
        claim = f"found {_NOUNS.get(match[2], match[2])}; expected {expected}"
    elif match := re.match(r"Invalid enum value (.+)", claim, re.DOTALL):
        claim = f"found {match[1][:64]}; allowed {', '.join(get_args(Role))}"
    elif claim in _TOO_LARGE:
        claim = _TOO_LARGE[claim]
    elif match := re.match(r"Object missing required field `(.+?)`", claim):
        field = f"{field}.{match[1]}" if field else match[1]
        claim = "it is missing"
    elif match := re.match(r"Object contains unknown field `(.+?)`", claim):
        known = fields.NVEXT if field == "nvext" else frozenset(AgentHints.__struct_fields__)
        claim = _unknown([match[1]], known)
    return InvalidRequest(f"{field or 'The body'}: {claim}", param=field.split(".")[0].split("[")[0] or None)


def _is_utf8(body: bytes) -> bool:
    return _broken_at(body) is None


def _broken_at(body: bytes) -> int | None:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None
