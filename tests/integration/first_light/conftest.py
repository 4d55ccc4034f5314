"""One fleet for the module: a KV-routing frontend over two mockers that serve chat, completions and embeddings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stack import Stack, running_stack

MODEL = "tiny"
WORKER = ["--model-name", MODEL, "--speedup-ratio", "20", "--block-size", "16", "--max-model-len", "4096"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("fleet")
    with running_stack(folder, [WORKER, WORKER], ["--router-mode", "kv"], {"DYN_HTTP_BODY_LIMIT_MB": "1"}) as running:
        yield running
