"""The files a frontend needs to tokenize for a model, served from the worker's model folder by name.

Only names on the list are ever opened, so nothing else of the folder can be read. Called by the shell (checksum) and
the system server (content).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import quote, unquote

from dynamo.wire.cards import Tokenizer

NAMES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "config.json",
    "generation_config.json",
)
_ENDPOINT = "generate"


def describe(folder: Path, *, namespace: str, component: str, model: str) -> Tokenizer | None:
    """What the card says of the folder; None when it has no tokenizer.json. Reads every listed file once."""
    if not (folder / "tokenizer.json").is_file():
        return None
    digest = hashlib.sha256()
    for name in NAMES:
        if (content := read(folder, name)) is not None:
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
    parts = (quote(part, safe="") for part in (namespace, component, _ENDPOINT, model))
    return Tokenizer(path=f"/v1/metadata/{'/'.join(parts)}/_base", checksum=digest.hexdigest())


def read(folder: Path, name: str) -> bytes | None:
    """None: not on the list, or the model has no such file."""
    if name not in NAMES:
        return None
    try:
        return (folder / name).read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        return None


def decoded(path: str) -> str:
    """A card's path as a server sees it in a request."""
    return unquote(path)
