"""One model's tokenizer and chat template, from the files that a worker serves.

`fastokens` where it can read the file, with its cache of the text between special tokens, so that a long conversation
costs its new turn; else `tokenizers`, without a cache.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from dynamo.frontend.tokens.template import ChatTemplate

Ids = NDArray[np.uint32]
SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token")


class EncoderUnusable(Exception):
    """The files cannot be used; the message names the file."""


class CacheStats(NamedTuple):
    hits: int
    misses: int


class Codec(Protocol):
    def encode(self, text: str, *, adds_special: bool) -> Ids: ...

    def stats(self) -> CacheStats: ...


class Encoder:
    """Text and messages to token ids."""

    def __init__(self, files: Mapping[str, bytes], *, cache_bytes: int, now: Callable[[], datetime.datetime]) -> None:
        """`files` by name. Raises EncoderUnusable or TemplateRefused."""
        config = _read(files, "tokenizer_config.json")
        self.codec = load_codec(files["tokenizer.json"], cache_bytes)
        source = files["chat_template.jinja"].decode() if "chat_template.jinja" in files else _template_of(config)
        special = {name: _text(config.get(name)) for name in SPECIAL if config.get(name) is not None}
        self.template = ChatTemplate(source, special, now=now) if source else None


def load_codec(document: bytes, cache_bytes: int) -> Codec:
    """Raises EncoderUnusable when neither library reads it."""
    try:
        return _Fast(document, cache_bytes)
    except Exception:  # noqa: S110  # any refusal of the fast library means: the complete one, which reports errors
        pass
    try:
        return _Complete(document)
    except Exception as error:  # the library raises bare Exception
        raise EncoderUnusable(f"tokenizer.json: {error}") from error


class _Fast:
    def __init__(self, document: bytes, cache_bytes: int) -> None:
        import fastokens

        self._tokenizer = fastokens.Tokenizer.from_json_str(document.decode())
        self._tokenizer.enable_segment_cache(cache_bytes)

    def encode(self, text: str, *, adds_special: bool) -> Ids:
        ids, _ = self._tokenizer.encode_batch_flat([text], add_special_tokens=adds_special)
        return np.frombuffer(ids, dtype="<u4")

    def stats(self) -> CacheStats:
        stats = self._tokenizer.segment_cache_stats() or {}
        return CacheStats(stats.get("hits", 0), stats.get("misses", 0))


class _Complete:
    def __init__(self, document: bytes) -> None:
        import tokenizers

        self._tokenizer = tokenizers.Tokenizer.from_buffer(document)

    def encode(self, text: str, *, adds_special: bool) -> Ids:
        return np.array(self._tokenizer.encode(text, add_special_tokens=adds_special).ids, dtype=np.uint32)

    def stats(self) -> CacheStats:
        return CacheStats(0, 0)


def _read(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(files.get(name, b"{}"))
    except msgspec.MsgspecError as error:
        raise EncoderUnusable(f"{name}: {error}") from error
    if not isinstance(document, dict):
        raise EncoderUnusable(f"{name}: expected a JSON object")
    return document


def _template_of(config: Mapping[str, Any]) -> str | None:
    source = config.get("chat_template")
    if isinstance(source, list):
        named = {entry.get("name"): entry.get("template") for entry in source if isinstance(entry, dict)}
        source = named.get("default")
    return source if isinstance(source, str) else None


def _text(token: Any) -> str:
    return str(token.get("content", "")) if isinstance(token, dict) else str(token)
