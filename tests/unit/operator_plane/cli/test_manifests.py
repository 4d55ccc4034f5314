from __future__ import annotations

import os
from pathlib import Path

import pytest

from dynamo_operator.cli.manifests import Document, read_documents
from dynamo_operator.local.errors import Refused

GRAPH = """\
# a comment
apiVersion: nvidia.com/v1beta1
kind: DynamoGraphDeployment
metadata:
  name: shop
  labels: {app.kubernetes.io/name: x}
spec:
  components:
    - name: Frontend
      type: frontend
    - name: worker
      type: wrker
"""

BOMB = "a0: &a0 x\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))


def written(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "graph.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read_one(tmp_path: Path, content: str) -> Document:
    (document,) = read_documents(written(tmp_path, content))
    return document


def test_a_file_may_hold_several_documents_and_empty_ones(tmp_path: Path) -> None:
    documents = read_documents(written(tmp_path, f"---\n{GRAPH}---\n---\nkind: ConfigMap\nmetadata: {{name: cm}}\n"))

    assert [document.title for document in documents] == ["DynamoGraphDeployment 'shop'", "ConfigMap 'cm'"]
    assert [document.is_ours for document in documents] == [True, False]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        pytest.param("spec.components[1].type", 12, id="a-field-in-a-list"),
        pytest.param("spec.components[1].podTemplate.spec", 11, id="a-missing-field-is-at-its-parent"),
        pytest.param("spec.components[9]", 8, id="a-missing-entry-is-at-its-list"),
        pytest.param("metadata.labels[app.kubernetes.io/name]", 6, id="a-key-with-dots"),
        pytest.param("status", 2, id="nothing-of-it-is-written"),
        pytest.param("", 2, id="the-document"),
    ],
)
def test_fields_have_lines(tmp_path: Path, path: str, line: int) -> None:
    assert read_one(tmp_path, GRAPH).line(path) == line


def test_dates_stay_text(tmp_path: Path) -> None:
    assert read_one(tmp_path, "kind: 2024-01-31").value == {"kind": "2024-01-31"}


def test_anchors_and_merges_work(tmp_path: Path) -> None:
    document = read_one(tmp_path, "a: &x {b: 1}\nc: {<<: *x, d: 2}\n")

    assert document.value["c"] == {"b": 1, "d": 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("a: 1\nb: [1, 2\nc: 3\n", r"graph\.yaml:3:2: not valid YAML", id="syntax"),
        pytest.param("a:\n\t- 1\n", r"graph\.yaml:2:1: not valid YAML", id="tab"),
        pytest.param("spec:\n  a: 1\n  a: 2\n", r"graph\.yaml:3:3: .*'a' is written twice", id="key-written-twice"),
        pytest.param("a: !!python/object:os.system {}\n", r"graph\.yaml:1:4: not valid YAML", id="foreign-tag"),
        pytest.param("- a\n- b\n", r"graph\.yaml:1: a manifest is a mapping; found a list", id="list"),
        pytest.param("hello\n", r"a manifest is a mapping; found a plain value", id="text"),
        pytest.param(b"a: \xff\n", r"not UTF-8 text: byte 3 is 0xff", id="broken-utf-8"),
        pytest.param(b"a: 1\nb: \x00\n", r"graph\.yaml:2:4: not valid YAML", id="control-character"),
        pytest.param("kind: List\nitems:\n  - a\n", r"graph\.yaml:3: an item of a List", id="list-of-text"),
        pytest.param("", r"holds no YAML document", id="empty"),
        pytest.param("---\n# nothing\n---\n", r"holds no YAML document", id="only-comments"),
        pytest.param("a: &x [*x]\n", r"an alias holds itself", id="alias-of-itself"),
        pytest.param("a: " + "[" * 200_000, r"graph\.yaml:1: nested too deeply; allowed: at most 200", id="deep"),
        pytest.param("- " * 200_000 + "a", r"graph\.yaml:1: nested too deeply", id="deep-blocks"),
        pytest.param(BOMB, r"unfolds to more than 200,000 values", id="aliases-of-aliases"),
    ],
)
def test_a_broken_file_is_refused_with_its_place(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(Refused, match=message):
        read_documents(written(tmp_path, content))


def test_a_missing_file_is_refused_with_those_that_are_there(tmp_path: Path) -> None:
    written(tmp_path, GRAPH)

    (tmp_path / ".hidden.yaml").touch()

    with pytest.raises(Refused, match=r"there is no file .*grahp\.yaml") as typo:
        read_documents(tmp_path / "grahp.yaml")
    with pytest.raises(Refused, match=r"there is no file .*else") as other:
        read_documents(tmp_path / "else")

    assert typo.value.hint == f"did you mean {tmp_path / 'graph.yaml'}?"
    assert other.value.hint == "here are: graph.yaml"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="is a folder"):
        read_documents(tmp_path)


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, GRAPH)
    path.chmod(0)

    with pytest.raises(Refused, match="cannot read"):
        read_documents(path)


def test_a_key_with_dots_and_slashes_has_its_own_line(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("metadata:\n  annotations:\n    other: x\n    nvidia.com/enable-grove: maybe\n")

    (document,) = read_documents(path)

    assert document.line("metadata.annotations[nvidia.com/enable-grove]") == 4


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        pytest.param("a:\n\tb: 1\n", "spaces for indentation, not tabs", id="tab"),
        pytest.param("metadata:\n  name: {{ .Release.Name }}\n", "helm template", id="template"),
        pytest.param("{{- if .Values.on }}\na: 1\n", "helm template", id="template-without-a-value"),
    ],
)
def test_what_is_usually_behind_broken_yaml_is_said(tmp_path: Path, content: str, hint: str) -> None:
    with pytest.raises(Refused) as refusal:
        read_documents(written(tmp_path, content))

    assert hint in refusal.value.hint


def test_a_list_stands_for_its_objects_each_with_its_lines(tmp_path: Path) -> None:
    content = "apiVersion: v1\nkind: List\nitems:\n- kind: A\n  spec:\n    a: 1\n- kind: B\n  spec:\n    b: 1\n"

    first, second = read_documents(written(tmp_path, content))

    assert (first.kind, second.kind) == ("A", "B")
    assert (first.line("spec.a"), second.line("spec.b")) == (6, 9)


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    assert read_one(tmp_path, "\ufeffkind: A\n").kind == "A"


def test_a_file_beyond_any_manifest_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynamo_operator.cli.yaml_reading.MOST_BYTES", 10)

    with pytest.raises(Refused, match=": has 11 bytes; allowed: at most 10"):
        read_documents(written(tmp_path, "a: 3456789\n"))
