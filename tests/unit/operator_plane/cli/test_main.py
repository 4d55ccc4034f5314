from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DYNAMO = Path(sys.executable).with_name("dynamo")
EXAMPLE = str(Path(__file__).parents[4] / "examples" / "agg.yaml")


def dynamo(*arguments: str | Path, state: Path) -> subprocess.CompletedProcess[str]:
    env = {"XDG_STATE_HOME": str(state), "PATH": "/usr/bin:/bin"}
    return subprocess.run([DYNAMO, *arguments], capture_output=True, text=True, check=False, env=env, timeout=20)


def test_help_names_every_command(tmp_path: Path) -> None:
    text = dynamo("--help", state=tmp_path).stdout

    commands = ("up", "down", "ps", "logs", "render", "lint", "plan", "get", "describe", "top", "version")
    assert all(f"  {command} " in text for command in commands)


def test_help_loads_nothing_heavy() -> None:
    heavy = {"httpx", "httpx2", "lightkube", "openai", "yaml", "rich", "asyncio"}
    code = f"import sys, dynamo_operator.cli.main; print(sorted({heavy} & set(sys.modules)))"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert loaded == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        pytest.param(["up"], 2, "--file", id="no-file"),
        pytest.param(["up", "-f", "nowhere.yaml"], 1, "error: there is no file nowhere.yaml", id="missing-file"),
        pytest.param(
            ["render", "-f", "nowhere.yaml"], 1, "error: there is no file nowhere.yaml", id="missing-to-render"
        ),
        pytest.param(["render", "-f", EXAMPLE, "-n", "My_Shop"], 1, "--namespace: found 'My_Shop'", id="bad-namespace"),
        pytest.param(
            ["render", "-f", EXAMPLE, "-n", "s" * 60], 1, "at most 2 for the graph's name", id="namespace-too-long"
        ),
        pytest.param(["up", "-f", "x", "--prot", "1"], 2, "No such option", id="unknown-flag"),
        pytest.param(["up", "-f", "x", "--port", "many"], 2, "valid integer", id="wrong-type"),
        pytest.param(["up", "-f", "x", "--demo", "-d"], 1, "do not go together", id="demo-detached"),
        pytest.param(["down"], 1, "error: no graph is up on this machine", id="nothing-up"),
        pytest.param(["down", "shop"], 1, "error: no graph 'shop' is up on this machine", id="not-up"),
        pytest.param(["logs", "shop"], 1, "is known on this machine", id="no-logs"),
        pytest.param(["frobnicate"], 2, "No such command", id="unknown-command"),
    ],
)
def test_mistakes_get_a_line_and_no_stack_trace(tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    answer = dynamo(*arguments, state=tmp_path)

    assert answer.returncode == code
    assert words in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_state_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "dynamo").write_text("a file where a folder should be")

    answer = dynamo("up", "-f", EXAMPLE, state=tmp_path)

    assert answer.returncode == 1
    assert answer.stderr.startswith("error: ")
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize("level", ["info", "debug"])
def test_a_bug_is_one_line_and_its_trace_is_kept(tmp_path: Path, level: str) -> None:
    code = (
        "import sys, dynamo_operator.cli.running as running, dynamo_operator.cli.main as cli\n"
        "def fail(**flags): raise RuntimeError('no wheels')\n"
        "running.show_running, sys.argv = fail, ['dynamo', 'ps']\n"
        "cli.main()"
    )
    env = {"XDG_STATE_HOME": str(tmp_path), "DYN_LOG": level}

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=env)

    log = tmp_path / "dynamo" / "last-bug.log"
    assert answer.returncode == 70
    assert "bug: RuntimeError: no wheels" in answer.stderr
    assert ("Traceback" in answer.stderr) == (level == "debug")
    assert log.exists() == (level == "info")
    assert str(log) in answer.stderr or level == "debug"


def test_a_refused_graph_leaves_no_trace(tmp_path: Path) -> None:
    manifest = tmp_path / "vllm.yaml"
    manifest.write_text(Path(EXAMPLE).read_text().replace("dynamo.mocker", "dynamo.vllm"))

    answer = dynamo("up", "-f", manifest, state=tmp_path / "state")

    assert "component 'worker' runs dynamo.vllm, which is not installed here" in answer.stderr
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["render", "-f", EXAMPLE, "-n", "shop"], id="in-the-middle"),
        pytest.param(["version"], id="before-a-short-answer"),
    ],
)
def test_a_closed_pipe_ends_a_command_without_a_word(arguments: list[str]) -> None:
    pipe, env = subprocess.PIPE, {"PATH": "/usr/bin:/bin"}  # with Python's own buffering
    command = subprocess.Popen([DYNAMO, *arguments], stdout=pipe, stderr=pipe, text=True, env=env)
    assert command.stdout is not None
    command.stdout.close()

    _, errors = command.communicate(timeout=20)

    assert (command.returncode, errors) == (141, ""), "as a shell tells of a program that a closed pipe ended"
