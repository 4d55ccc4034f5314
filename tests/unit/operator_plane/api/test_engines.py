"""Engines are found where Python starts them, in words and in scripts."""

from __future__ import annotations

import pytest

from dynamo_operator.api.engines import engines_of


@pytest.mark.parametrize(
    ("words", "engines"),
    [
        pytest.param(["python3", "-m", "dynamo.vllm"], ["vllm"], id="words"),
        pytest.param(["/opt/bin/python3.11", "-u", "-m", "dynamo.trtllm.main"], ["trtllm"], id="path-and-options"),
        pytest.param(["sh", "-c", "cd /w && exec python3 \\\n -m dynamo.sglang --x | tee l"], ["sglang"], id="script"),
        pytest.param(["python3", "-m", "dynamo.vllm_omni"], ["vllm"], id="a-module-beside"),
        pytest.param(["python3", "-m", "dynamo.mocker"], [], id="mocker"),
        pytest.param(["run", "dynamo.vllm"], [], id="not-by-python"),
        pytest.param(["python3", "start.py", "dynamo.vllm"], [], id="no-module"),
        pytest.param(["python3 x.py; y -m dynamo.vllm"], [], id="module-of-another-command"),
        pytest.param(["-m", "dynamo.vllm", "python3"], [], id="module-before-python"),
        pytest.param(["python3 -m dynamo.sglang & python3 -m dynamo.vllm"], ["vllm", "sglang"], id="two"),
        pytest.param([], [], id="nothing"),
    ],
)
def test_an_engine_is_what_python_starts(words: list[str], engines: list[str]) -> None:
    assert list(engines_of(words)) == engines
