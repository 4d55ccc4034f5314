"""`dynamo lint` as its users see it: lines, JSON and exit codes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from dynamo_operator.cli.lint import CLEAN, FOUND, UNREADABLE, LintOptions, lint_files

GOOD = Path(__file__).parents[4] / "examples" / "disagg.yaml"
BAD = """\
apiVersion: nvidia.com/v1beta1
kind: DynamoGraphDeployment
metadata:
  name: agg
spec:
  components:
    - name: decode
      type: wroker
      replicas: -1
      podTemplate: {spec: {containers: [{name: main, image: "dynamo:1.5.0"}]}}
"""
WARNED = """\
apiVersion: nvidia.com/v1beta1
kind: DynamoGraphDeployment
metadata: {name: agg}
spec:
  components:
    - name: prefill
      type: prefill
      podTemplate: {spec: {containers: [{name: main, image: "dynamo:1.5.0"}]}}
"""


def lint(*files: Path, **options: Any) -> int:
    return lint_files(LintOptions(files, **options))


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    return path


def test_a_good_file_exits_0_and_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert lint(GOOD) == CLEAN
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "nothing to complain about" in printed.err


def test_each_mistake_has_its_line_path_and_what_is_allowed(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lint(bad) == FOUND
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"{bad}:8: error: spec.components[0].type: ") and "worker?" in line for line in lines)
    assert any(line.startswith(f"{bad}:9: error: spec.components[0].replicas: ") for line in lines)


def test_json_holds_every_fact(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lint(bad, as_json=True)
    found = json.loads(capsys.readouterr().out)
    kind = next(each for each in found if each["path"] == "spec.components[0].type")
    assert (kind["file"], kind["line"], kind["severity"], kind["rule"]) == (str(bad), 8, "error", "admission")
    assert (kind["found"], kind["nearest"], kind["document"]) == ('"wroker"', "worker", "DynamoGraphDeployment/agg")


def test_warnings_fail_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "warned.yaml").write_text(WARNED)

    assert lint(tmp_path / "warned.yaml") == CLEAN
    assert lint(tmp_path / "warned.yaml", is_strict=True) == FOUND


def test_a_folder_is_all_its_files_and_a_broken_one_hides_no_other(
    tmp_path: Path, bad: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "broken.yml").write_text("a: [1\n")

    assert lint(tmp_path) == FOUND
    printed = capsys.readouterr()
    assert "broken.yml:2: error: not valid YAML" in printed.out
    assert f"{bad}:8: error" in printed.out
    assert printed.err.startswith("2 files, 1 manifest: 3 errors")


@pytest.mark.parametrize("name", ["nowhere.yaml", "empty"])
def test_what_is_not_there_exits_2(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()

    assert lint(tmp_path / name) == UNREADABLE
    assert capsys.readouterr().err.startswith("error: ")


def test_other_documents_are_named_and_unknown_kinds_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mixed.yaml"
    path.write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n---\n"
        "apiVersion: nvidia.com/v1beta1\nkind: DynamoGraphDeploymnt\nmetadata: {name: a}\nspec: {}\n"
    )

    assert lint(path) == FOUND
    printed = capsys.readouterr()
    assert "ConfigMap 'c' is passed over" in printed.err
    assert "mixed.yaml:6: error: kind: unknown kind" in printed.out
    assert "did you mean DynamoGraphDeployment?" in printed.out


def test_a_model_an_adapter_and_a_component_are_judged_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "others.yaml"
    path.write_text(
        "apiVersion: nvidia.com/v1alpha1\nkind: DynamoModel\nmetadata: {name: m}\n"
        "spec: {modelName: m, baseModelName: b, modelType: lora}\n---\n"
        "apiVersion: nvidia.com/v1beta1\nkind: DynamoGraphDeploymentScalingAdapter\nmetadata: {name: a}\n"
        "spec: {replicas: many, dgdRef: {name: g, componentName: c}}\n---\n"
        "apiVersion: nvidia.com/v1beta1\nkind: DynamoComponentDeployment\nmetadata: {name: d}\n"
        "spec: {type: nothing}\n"
    )

    assert lint(path) == FOUND
    printed = capsys.readouterr().out
    assert "others.yaml:4: error: spec.source" in printed
    assert "others.yaml:9: error: spec.replicas" in printed
    assert "others.yaml:14: error: spec.type" in printed


def test_a_file_that_is_no_yaml_is_a_finding_at_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "template.yaml"
    path.write_text("apiVersion: nvidia.com/v1beta1\nmetadata:\n  name: {{ .Release.Name }}\n")

    assert lint(path, as_json=True) == FOUND
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["line"], found["rule"]) == (3, "yaml")
    assert "helm template" in found["message"]


def test_a_graph_without_kind_and_version_is_not_taken_for_somebody_elses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bare.yaml"
    path.write_text("metadata: {name: a}\nspec:\n  components: []\n---\nreplicaCount: 1\n")

    assert lint(path) == FOUND
    printed = capsys.readouterr()
    assert "error: kind: is required" in printed.out
    assert "error: apiVersion: unknown group or version" in printed.out
    assert "bare.yaml: document without a kind is passed over" in printed.err


def test_an_object_written_twice_in_a_file_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "twice.yaml"
    other = WARNED.replace("name: agg", "name: agg, namespace: other")
    path.write_text(f"{GOOD.read_text()}---\n{other}---\n{GOOD.read_text()}")

    assert lint(path) == CLEAN
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "[written-twice]" in line]
    assert "warning: metadata.name: this object is also at line " in line


def test_what_a_file_holds_cannot_reach_the_terminal_as_a_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "codes.yaml"
    path.write_text(f'{WARNED}  "re\\e[31mplicas": 1\n---\nkind: "\\e[31mConfigMap"\napiVersion: v1\n')

    assert lint(path) == FOUND
    printed = capsys.readouterr()
    assert "\033" not in printed.out + printed.err
    assert r"re\x1b[31mplicas" in printed.out


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_exits_2(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad.chmod(0)

    assert lint(bad) == UNREADABLE
    assert "cannot read" in capsys.readouterr().err


def test_what_get_prints_can_be_checked_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graphs = [yaml.safe_load(text) for text in (GOOD.read_text(), BAD)]
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": graphs}, sort_keys=False))

    assert lint(path) == FOUND
    printed = capsys.readouterr()
    assert "spec.components[0].replicas: too small" in printed.out
    assert "1 file, 2 manifests: 2 errors" in printed.err
