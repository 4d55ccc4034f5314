"""Text to token ids and back, for one model: encode, decode token by token, render a chat.

Reads a Hugging Face `tokenizer.json` (and `tokenizer_config.json`, `chat_template.jinja`), once, at start. No network.
The OpenAI routes call it.
"""

from __future__ import annotations

import codecs
import datetime
import logging
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from dynamo.mocker.tokens import Vocabulary

if TYPE_CHECKING:
    from jinja2 import Template

_log = logging.getLogger(__name__)
TINY_MODEL = Path(__file__).parent / "tiny_model"
_WORD = re.compile(r"[A-Za-z]{2,12}")
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_END_TOKENS = ("<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<|endoftext|>", "</s>", "<eos>", "<end_of_turn>")


class TokenizerError(Exception):
    """The model folder's files cannot be used; the message names the file."""


class ChatTemplateError(ValueError):
    """The model's chat template refuses these messages; the message says why."""


class _Codec(Protocol):
    def encode(self, text: str) -> list[int]: ...


class ModelTokenizer:
    """One model's tokens. Immutable after construction."""

    def __init__(self, folder: Path) -> None:
        """Raises TokenizerError when `tokenizer.json` is missing or broken."""
        self.folder = folder
        document = _read(folder / "tokenizer.json")
        self._config = _read(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").exists() else {}
        self._codec = _load_codec(folder / "tokenizer.json")
        self._is_byte_level = "ByteLevel" in str((document.get("decoder"), document.get("pre_tokenizer")))
        vocabulary = _vocabulary(document)
        special = {entry["id"] for entry in document.get("added_tokens", ()) if entry.get("special", True)}
        self.special_ids = frozenset(special)
        self.size = max(vocabulary.values(), default=0) + 1
        self._pieces = self._piece_table(vocabulary, special)
        end = self._end_token(vocabulary)
        words = tuple(sorted(id_ for token, id_ in vocabulary.items() if self._is_word(token)))
        self.vocabulary = Vocabulary(words or tuple(range(min(256, self.size))), end)

    def encode(self, text: str) -> list[int]:
        """Token ids; special tokens written out in the text become their ids, none are added."""
        return self._codec.encode(text)

    def piece(self, token: int) -> bytes:
        """The UTF-8 bytes that a token adds to the text (possibly part of a character); unknown ids add nothing."""
        return self._pieces.get(token, b"")

    def text(self, tokens: Sequence[int]) -> str:
        return b"".join(map(self.piece, tokens)).decode("utf-8", "replace")

    def render_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Any] | None = None,
        add_generation_prompt: bool = True,
        arguments: Mapping[str, Any] | None = None,
    ) -> str:
        """The prompt a model would see. Raises ChatTemplateError."""
        import jinja2

        try:
            return self._template.render(
                messages=messages,
                tools=tools or None,
                add_generation_prompt=add_generation_prompt,
                bos_token=self._special_text("bos_token"),
                eos_token=self._special_text("eos_token"),
                **(arguments or {}),
            )
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            raise ChatTemplateError(f"the model's chat template refuses these messages: {error}") from error

    @cached_property
    def _template(self) -> Template:
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _raise
        environment.globals["strftime_now"] = lambda form: datetime.datetime.now(datetime.UTC).strftime(form)
        environment.filters["tojson"] = lambda value, **_: msgspec.json.encode(value).decode()
        return environment.from_string(self._template_source())

    def _template_source(self) -> str:
        path = self.folder / "chat_template.jinja"
        if path.exists():
            return path.read_text(encoding="utf-8")
        source = self._config.get("chat_template")
        if isinstance(source, list):
            source = {entry["name"]: entry["template"] for entry in source}.get("default")
        if not source:
            return "{% for m in messages %}{{ m.role + ': ' + (m.content or '') + '\\n' }}{% endfor %}"
        return str(source)

    def _special_text(self, name: str) -> str:
        value = self._config.get(name)
        return value.get("content", "") if isinstance(value, dict) else value or ""

    def _end_token(self, vocabulary: Mapping[str, int]) -> int:
        for text in (self._special_text("eos_token"), *_END_TOKENS):
            if text in vocabulary:
                return vocabulary[text]
        return self.size

    def _is_word(self, token: str) -> bool:
        return token[:1] in ("Ġ", "▁") and _WORD.fullmatch(token[1:]) is not None and token[1:].islower()

    def _piece_table(self, vocabulary: Mapping[str, int], special: set[int]) -> dict[int, bytes]:
        to_byte = _byte_of_character() if self._is_byte_level else {}
        return {id_: b"" if id_ in special else self._bytes_of(token, to_byte) for token, id_ in vocabulary.items()}

    def _bytes_of(self, token: str, to_byte: Mapping[str, int]) -> bytes:
        if self._is_byte_level:
            if all(character in to_byte for character in token):
                return bytes(to_byte[character] for character in token)
            return token.encode()
        if match := _BYTE_TOKEN.fullmatch(token):
            return bytes((int(match[1], 16),))
        return token.replace("▁", " ").encode()


class TextStream:
    """Turns one answer's tokens into text, holding back bytes until they make whole characters."""

    def __init__(self, tokenizer: ModelTokenizer) -> None:
        self._piece = tokenizer.piece
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def push(self, token: int) -> str:
        return self._decode(self._piece(token))

    def end(self) -> str:
        return self._decode(b"", True)


class _Fast:
    def __init__(self, path: Path) -> None:
        import fastokens

        self._tokenizer = fastokens.Tokenizer.from_file(str(path))

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


class _Reference:
    def __init__(self, path: Path) -> None:
        import tokenizers

        self._tokenizer = tokenizers.Tokenizer.from_file(str(path))

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids


def _load_codec(path: Path) -> _Codec:
    """`fastokens` where it can read the file, else `tokenizers`."""
    try:
        return _Fast(path)
    except Exception as error:
        # Whatever the fast library refuses, the complete one reads or reports; it is only slower.
        _log.info("fastokens cannot use %s (%s); using tokenizers", path, error)
    try:
        return _Reference(path)
    except Exception as error:  # the library raises bare Exception
        raise TokenizerError(f"{path}: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise TokenizerError(f"{path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise TokenizerError(f"{path}: {error}") from error
    if not isinstance(document, dict):
        raise TokenizerError(f"{path}: expected a JSON object")
    return document


def _vocabulary(document: Mapping[str, Any]) -> dict[str, int]:
    raw = document.get("model", {}).get("vocab", {})
    vocabulary = {entry[0]: id_ for id_, entry in enumerate(raw)} if isinstance(raw, list) else dict(raw)
    vocabulary.update({entry["content"]: entry["id"] for entry in document.get("added_tokens", ())})
    return vocabulary


def _byte_of_character() -> dict[str, int]:
    """The byte-level BPE alphabet: printable Latin-1 stands for itself, the other bytes are shifted to U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    shifted = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(shifted)}


def _raise(message: str) -> None:
    raise ChatTemplateError(message)
