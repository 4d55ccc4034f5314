"""The card: what a worker says of itself, and the only thing discovery carries.

Written by the worker shell, read by frontends and routers. Unknown fields are ignored, so a newer worker may join an
older fleet; a missing required field or a wrong type is a `CardError`.
"""

from __future__ import annotations

import enum
from typing import Annotated, NewType
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

WorkerId = NewType("WorkerId", int)
"""63-bit identity of one worker process incarnation; printed as lower-case hex."""


class CardError(ValueError):
    """A card that cannot be read; the message names the field."""


class Role(enum.Enum):
    """Which part of a request a worker serves."""

    AGGREGATED = "aggregated"
    PREFILL = "prefill"
    DECODE = "decode"


class ModelType(enum.Enum):
    """An OpenAI surface that a model answers."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"


class Tokenizer(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """Where a frontend fetches the files it needs to tokenize for this model.

    Files `tokenizer.json` and `tokenizer_config.json` (and `chat_template.jinja` when the model ships one) lie under
    `{system_address}{path}/<file name>`.
    """

    path: str
    checksum: str
    """Hex digest over all files; equal checksums mean equal tokenizers, so a fleet fetches once."""


RANKS_MAX = 65_536
"""Routers keep figures per rank: a nonsense count must not cost memory."""
Positive = Annotated[int, Meta(ge=1)]


class WorkerCard(msgspec.Struct, frozen=True, kw_only=True):
    """One worker: who it is, what it serves, where it listens, what it can hold."""

    worker_id: int
    name: str
    """Human name: the pod's name, or the process's on a laptop."""
    namespace: str
    """Runtime namespace, e.g. `default-agg` (with the generation suffix where there is one)."""
    component: str
    role: Role = Role.AGGREGATED
    engine: str
    """mocker, vllm, sglang or trtllm."""

    model: str
    aliases: tuple[str, ...] = ()
    model_types: tuple[ModelType, ...] = (ModelType.CHAT, ModelType.COMPLETIONS)
    created_s: int = 0
    """Unix time the worker started, shown as `created` in /v1/models."""
    loras: tuple[str, ...] = ()
    """Adapters loaded now; each is a model name of its own."""

    address: str
    """Base URL of the engine's OpenAI server, e.g. `http://10.0.0.7:8000`; requests go straight there."""
    system_address: str
    """Base URL of the system server: health, metrics, LoRA verbs, tokenizer files, KV state."""
    event_address: str | None = None
    """ZMQ PUB address of KV and load events (`tcp://host:port`); None when the worker publishes none."""

    block_size: Positive
    total_kv_blocks: int | None = None
    """KV blocks per data-parallel rank."""
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    context_length: int | None = None
    data_parallel_size: Annotated[int, Meta(ge=1, le=RANKS_MAX)] = 1
    tokenizer: Tokenizer | None = None

    bootstrap_host: str | None = None
    bootstrap_port: int | None = None
    """Where a decode worker meets this prefill worker, for engines that bootstrap transfers."""

    user_data: dict[str, str] = {}

    @property
    def hex_id(self) -> str:
        return f"{self.worker_id:x}"

    @property
    def model_names(self) -> tuple[str, ...]:
        """Every name this worker answers to: model, aliases, adapters."""
        return (self.model, *self.aliases, *self.loras)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(WorkerCard)


def encode_card(card: WorkerCard) -> bytes:
    return _encoder.encode(card)


def decode_card(document: bytes) -> WorkerCard:
    """Raises CardError naming what is wrong: a reader must be able to trust what it gets."""
    try:
        card = _decoder.decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CardError(f"worker card: {error}") from error
    for field in ("name", "namespace", "component", "model"):
        if not (text := getattr(card, field)).isprintable():
            raise CardError(f"worker card: {field}: found {text!r}; expected printable characters")
    for field, scheme in (("address", "http"), ("system_address", "http"), ("event_address", "tcp")):
        value = getattr(card, field)
        if value is not None and not _is_address(value, scheme):
            raise CardError(f"worker card: {field}: found {value!r}; expected {scheme}://host:port")
    return card


def _is_address(text: str, scheme: str) -> bool:
    try:
        url = urlsplit(text)
        has_port = bool(url.port)
    except ValueError:
        return False
    return has_port and bool(url.hostname) and " " not in text and text == f"{scheme}://{url.netloc}"
