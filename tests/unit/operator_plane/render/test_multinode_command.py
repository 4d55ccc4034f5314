"""Command lines of engines: what they are read as, and where flags go."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_operator.render.multinode.command import given_flags, quoted, resolved, with_flags, words

FLAGS = [("--a", "1"), ("--b",)]
ADDED = "--a 1 --b"


def _scripted(script: str, *shell: str) -> dict[str, Any]:
    return {"command": list(shell or ("/bin/sh", "-c")), "args": [script]}


@pytest.mark.parametrize(
    ("script", "changed"),
    [
        pytest.param("python3 -m dynamo.vllm --x", f"python3 -m dynamo.vllm {ADDED} --x", id="plain"),
        pytest.param("python3 -m dynamo.vllm", f"python3 -m dynamo.vllm {ADDED}", id="without-flags"),
        pytest.param(
            "exec /opt/venv/bin/python3.11 -u -X dev -m dynamo.vllm; echo done",
            f"exec /opt/venv/bin/python3.11 -u -X dev -m dynamo.vllm {ADDED}; echo done",
            id="path-and-options",
        ),
        pytest.param(
            "cd /w && python3 -m dynamo.vllm \\\n  --x 2>&1 | tee log",
            f"cd /w && python3 -m dynamo.vllm {ADDED} \\\n  --x 2>&1 | tee log",
            id="continued-and-piped",
        ),
        pytest.param(
            "python3 -m dynamo.vllm.worker --x", f"python3 -m dynamo.vllm.worker {ADDED} --x", id="module-below"
        ),
        pytest.param(
            "if T; then python -m dynamo.vllm -x; else python -m dynamo.vllm -y; fi",
            f"if T; then python -m dynamo.vllm {ADDED} -x; else python -m dynamo.vllm {ADDED} -y; fi",
            id="two-ways",
        ),
        pytest.param(
            "# python3 -m dynamo.vllm\npython3 -m dynamo.vllm",
            f"# python3 -m dynamo.vllm\npython3 -m dynamo.vllm {ADDED}",
            id="comment",
        ),
        pytest.param(
            "echo dynamo.vllm; python3 -m dynamo.vllm", f"echo dynamo.vllm; python3 -m dynamo.vllm {ADDED}", id="echo"
        ),
        pytest.param(
            "python3 prepare.py; python3 -m dynamo.vllm",
            f"python3 prepare.py; python3 -m dynamo.vllm {ADDED}",
            id="another-program-first",
        ),
        pytest.param("python3 -m dynamo.vllmx", "python3 -m dynamo.vllmx", id="another-module"),
        pytest.param("python3 -m dynamo.sglang", "python3 -m dynamo.sglang", id="another-engine"),
        pytest.param("./start.sh", "./start.sh", id="no-engine"),
    ],
)
def test_flags_go_to_the_engines_command_in_a_script(script: str, changed: str) -> None:
    for shell in (("/bin/sh", "-c"), ("bash", "-euo", "pipefail", "-lc"), ("tini", "--", "bash", "-c")):
        container = _scripted(script, *shell)
        assert with_flags(container, "vllm", FLAGS, needs_shell=True) == {**container, "args": [changed]}


def test_a_script_may_stand_in_the_command() -> None:
    container = {"command": ["sh", "-c", "python3 -m dynamo.vllm"]}
    changed = with_flags(container, "vllm", FLAGS, needs_shell=False)
    assert changed == {"command": ["sh", "-c", f"python3 -m dynamo.vllm {ADDED}"]}
    split = {"command": ["sh"], "args": ["-c", "python3 -m dynamo.vllm", "name", "$1"]}
    changed = with_flags(split, "vllm", FLAGS, needs_shell=False)
    assert changed["args"] == ["-c", f"python3 -m dynamo.vllm {ADDED}", "name", "$1"]


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["python3", "-m", "dynamo.vllm"], id="python"),
        pytest.param(["/usr/bin/python3.12", "serve.py"], id="own-program"),
        pytest.param(["numactl", "-N", "0", "python3", "-m", "dynamo.vllm"], id="wrapped"),
    ],
)
def test_flags_follow_plain_arguments(command: list[str]) -> None:
    container = {"command": command, "args": ["--x", "$HOME"]}
    changed = with_flags(container, "vllm", FLAGS, needs_shell=False)
    assert changed == {"command": command, "args": ["--x", "$HOME", "--a", "1", "--b"]}
    shelled = with_flags(container, "vllm", FLAGS, needs_shell=True)
    assert shelled == {"command": ["sh", "-c"], "args": [f"exec {' '.join(command)} --x '$HOME' {ADDED}"]}


def test_a_command_of_somebody_else_is_left_alone() -> None:
    container = {"command": ["my-launcher"], "args": ["--rank", "$(DYNAMO_RANK)"]}
    assert with_flags(container, "vllm", FLAGS, needs_shell=True) is container


def test_flags_are_read_from_words_and_scripts_alike() -> None:
    expected = {"--size": "4", "--on": "", "--path-name": "a b"}
    plain = {"command": ["serve"], "args": ["--size=2", "--on", "--path_name", "a b", "--size", "4"]}
    assert given_flags(plain) == expected
    assert given_flags(_scripted("X=1 serve --size=2 --on --path_name 'a b' --size 4 # --size 9")) == expected


def test_an_empty_command_line_has_no_flags() -> None:
    assert given_flags({"command": []}) == given_flags(_scripted("")) == {}


def test_a_script_with_an_open_quote_is_read_as_far_as_it_goes() -> None:
    assert words(_scripted("serve --size 4 'open")) == ["serve", "--size", "4", "'open"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("$(N)", "4"), ("${N}", "4"), ("$N", "4"), ("$(M)", "$(M)"), ("$(REF)", "$(REF)"), ("x$(N)", "x$(N)")],
)
def test_only_a_whole_reference_to_a_known_value_is_resolved(text: str, value: str) -> None:
    env = [{"name": "N", "value": "4"}, {"name": "REF", "valueFrom": {}}]
    assert resolved(text, {"env": env}) == value


@given(st.lists(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=8), max_size=4))
def test_a_shell_sees_quoted_words_as_they_were(line: list[str]) -> None:
    command = f"for word in {quoted(line)}; do printf '%s\\0' \"$word\"; done"
    found = subprocess.run(["sh", "-c", command], capture_output=True, check=True, timeout=30)
    assert found.stdout.decode().split("\0")[:-1] == line


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("--x=/a/b:1", "--x=/a/b:1"),
        ('{"a": "b"}', '"{\\"a\\": \\"b\\"}"'),
        ("$(NAME)", "'$(NAME)'"),
        ("a'b", "'a'\"'\"'b'"),
        ("", '""'),
    ],
)
def test_words_are_quoted_only_where_it_is_needed(word: str, text: str) -> None:
    assert quoted([word]) == text
