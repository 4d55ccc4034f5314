from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from dynamo_operator.cli.rendering import print_rendered, yaml_text
from dynamo_operator.local.errors import Refused

EXAMPLE = Path(__file__).parents[4] / "examples" / "agg-router.yaml"


@pytest.mark.parametrize(
    "text", ["n", "Y", "on", "1e3", "12e03", "1234e567", "0o17", "0x1F", "1_000", "1.", "+1", "1.5"]
)
def test_text_that_kubectl_would_take_for_something_else_is_quoted(text: str) -> None:
    assert yaml_text([{"v": text}]) == f"---\nv: '{text}'\n"


@pytest.mark.parametrize("text", ["note", "--port", "a-1", "-m", "é"])
def test_plain_text_stays_plain(text: str) -> None:
    assert yaml_text([{"v": text}]) == f"---\nv: {text}\n"


def test_scripts_stay_readable() -> None:
    assert yaml_text([{"v": "set -e\nrun\n"}]) == "---\nv: |\n  set -e\n  run\n"


def test_what_is_printed_can_be_applied(capsys: pytest.CaptureFixture[str]) -> None:
    """A cluster takes no owner without its uid, and no object whose namespace is not the one its values name."""
    print_rendered(EXAMPLE, as_json=False, namespace="shop")

    objects = list(yaml.safe_load_all(capsys.readouterr().out))
    assert {each["metadata"]["namespace"] for each in objects} == {"shop"}
    assert not [each for each in objects if "ownerReferences" in each["metadata"]]


def test_a_namespace_nobody_named_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    print_rendered(EXAMPLE, as_json=True, namespace=None)

    said = capsys.readouterr()
    assert {each["metadata"]["namespace"] for each in json.loads(said.out)["items"]} == {"default"}
    assert "names no namespace, so this is for default; --namespace chooses" in said.err


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("nvidia.com/v1beta1", "nvida.com/v1beta1", "apiVersion: DynamoGraphDeployment is not in this version"),
        ("kind: DynamoGraphDeployment\n", "", "kind: is required"),
    ],
)
def test_a_graph_that_is_only_badly_labelled_is_not_passed_over(
    tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    path = tmp_path / "graph.yaml"
    path.write_text(EXAMPLE.read_text().replace(old, new))

    with pytest.raises(Refused, match=complaint):
        print_rendered(path, as_json=False, namespace=None)
