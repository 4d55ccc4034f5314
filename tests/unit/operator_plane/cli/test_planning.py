"""`dynamo plan` between two files: text, JSON, YAML and exit codes; against a cluster in tests/cluster/api."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
import yaml

from dynamo_operator.cli.cluster import Cluster
from dynamo_operator.cli.planning import CHANGED, UNCHANGED, PlanOptions, plan_file
from dynamo_operator.cli.target import Target
from dynamo_operator.local.errors import Refused
from tests.shared import shared

EXAMPLE = Path(__file__).parents[4] / "examples" / "disagg.yaml"
DYNAMO = Path(sys.executable).with_name("dynamo")
# Taken for what is refused at admission for reasons of its own: placeholders for images, other kinds, empty samples.
_REFUSED_IN_CORPUS = 40


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    path = tmp_path / "newer.yaml"
    path.write_text(EXAMPLE.read_text().replace("image: dynamo:0.1.0", "image: dynamo:0.2.0"))
    assert path.read_text() != EXAMPLE.read_text()
    return path


def plan(file: Path, against: Path, output: str = "text", **options: bool) -> int:
    return plan_file(PlanOptions(file, against, output, Target(), **options))  # type: ignore[arg-type]


def test_the_same_file_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan(EXAMPLE, EXAMPLE) == UNCHANGED
    assert "nothing would change" in capsys.readouterr().out


def test_text_tells_fields_objects_replicas_capacity_and_caches(
    newer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan(newer, EXAMPLE) == CHANGED
    text = capsys.readouterr().out
    assert 'image: "dynamo:0.1.0" -> "dynamo:0.2.0"' in text
    assert "Objects: 6 created, " in text
    assert "  decode: 1 of 1 end, 1 start: new worker generation " in text
    assert "KV cache: lost with 2 of 2 workers" in text
    assert "  0      1/1 (1+0)" in text
    assert "\033[" not in text


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_programs_read_the_same(newer: Path, output: str, capsys: pytest.CaptureFixture[str]) -> None:
    plan(newer, EXAMPLE, output)
    text = capsys.readouterr().out
    (found,) = (json.loads(text) if output == "json" else yaml.safe_load(text))["plans"]
    assert (found["changes"], found["isNew"], found["kvCachesLost"]) == (True, False, 2)
    assert {each["name"] for each in found["components"]} == {"Frontend", "prefill", "decode"}
    assert found["steps"][-1]["components"]["decode"] == {"serving": 1, "old": 0, "new": 1}


def test_a_change_that_admission_refuses_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "renamed.yaml"
    path.write_text(EXAMPLE.read_text().replace("name: prefill", "name: prefiller"))

    with pytest.raises(Refused, match="components cannot be added") as refused:
        plan(path, EXAMPLE)

    assert f"{path}:" in refused.value.message


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param(["-f", str(EXAMPLE), "--against", str(EXAMPLE)], 0, id="no-change"),
        pytest.param(["-f", str(EXAMPLE), "--against", "OTHER"], 2, id="changes"),
        pytest.param(["-f", "nowhere.yaml", "--against", str(EXAMPLE)], 1, id="no-file"),
        pytest.param(["-f", str(EXAMPLE), "--agianst", "x"], 1, id="a-mistyped-flag-is-no-change"),
        pytest.param(["-f", str(EXAMPLE)], 1, id="no-cluster"),
    ],
)
def test_exit_codes(tmp_path: Path, newer: Path, arguments: list[str], code: int) -> None:
    words = [str(newer) if each == "OTHER" else each for each in arguments]
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}

    answer = subprocess.run([DYNAMO, "plan", *words], capture_output=True, text=True, check=False, env=env, timeout=60)

    assert answer.returncode == code, answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.slow
def test_no_manifest_of_the_corpus_differs_from_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Defaults, conversion and merging must cancel out, in both versions and for all kinds."""
    compared = 0
    for folder in ("examples", "deploy", "extra"):
        for file in sorted(shared(f"corpus/{folder}").rglob("*.yaml")):
            path = tmp_path / "manifest.yaml"
            path.write_text(file.read_text().replace(":my-tag", ":1.5.0"))
            try:
                code = plan(path, path, has_grove=False)
            except Refused:
                continue
            assert code == UNCHANGED, f"{file}: {capsys.readouterr().out}"
            compared += 1
    assert compared > _REFUSED_IN_CORPUS


def test_a_folder_is_planned_as_an_apply_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "graphs"
    (folder / "deeper").mkdir(parents=True)
    (folder / "one.yaml").write_text(EXAMPLE.read_text())
    (folder / "deeper" / "two.yml").write_text(EXAMPLE.read_text().replace("name: disagg", "name: other"))

    assert plan(folder, folder) == UNCHANGED
    assert plan(folder, EXAMPLE) == CHANGED
    text = capsys.readouterr().out
    assert "DynamoGraphDeployment default/disagg: nothing would change" in text
    assert "DynamoGraphDeployment default/other: would be created" in text


def test_a_name_that_nothing_can_have_is_refused_at_its_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    http = httpx2.Client(transport=httpx2.MockTransport(lambda _: httpx2.Response(404)), base_url="https://cluster")
    monkeypatch.setattr("dynamo_operator.cli.planning.connect", lambda _: Cluster(http, "shop"))
    path = tmp_path / "nameless.yaml"
    path.write_text(EXAMPLE.read_text().replace("name: disagg", "name: Shop"))

    with pytest.raises(Refused, match=rf"{path}:\d+: metadata.name: not an object's name \(found \"Shop\""):
        plan_file(PlanOptions(path, None, "text", Target()))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        pytest.param(
            "nvidia.com/v1beta1", "nvidia.com/v1", "apiVersion: DynamoGraphDeployment is not in", id="version"
        ),
        pytest.param("apiVersion: nvidia.com/v1beta1\n", "", "apiVersion: is required", id="no-version"),
    ],
)
def test_an_object_that_is_there_cannot_become_unreadable(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    path = tmp_path / "graph.yaml"
    path.write_text(EXAMPLE.read_text().replace(old, new))

    with pytest.raises(Refused, match=complaint):
        plan(path, EXAMPLE)
