"""When images are made anew, what they are called, and what the Dockerfile promises."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.cluster.local.images.recipes import DEFAULT_HOST, DOCKERFILE, OPERATOR, RUNTIME, dockerfile_key, full_name
from tests.cluster.settings import REPOSITORY

INPUTS = ("images/Dockerfile", "images/requirements.lock", "pyproject.toml", "crds/a.yaml")
PINNED = re.compile(r"^([A-Za-z0-9_.-]+)==([^ ;]+)", re.MULTILINE)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    for name in (*INPUTS, "operator/src/m.py", "dataplane/src/m.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.mark.parametrize("changed", [*INPUTS, "operator/src/m.py", "dataplane/src/m.py"])
def test_every_input_makes_the_image_anew(sources: Path, changed: str) -> None:
    before = dockerfile_key(sources, OPERATOR, "base")
    (sources / changed).write_text("something else")
    assert dockerfile_key(sources, OPERATOR, "base") != before


def test_another_clone_takes_what_the_first_one_built(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    clone = tmp_path_factory.mktemp("clone") / "sources"
    shutil.copytree(sources, clone)
    assert dockerfile_key(clone, OPERATOR, "base") == dockerfile_key(sources, OPERATOR, "base")


def test_each_image_is_one_of_its_own(sources: Path) -> None:
    assert dockerfile_key(sources, OPERATOR, "base") != dockerfile_key(sources, RUNTIME, "base")


def test_another_base_makes_the_image_anew(sources: Path) -> None:
    assert dockerfile_key(sources, OPERATOR, "base") != dockerfile_key(sources, OPERATOR, "other")


def test_compiled_files_and_unrelated_ones_do_not(sources: Path) -> None:
    before = dockerfile_key(sources, OPERATOR, "base")
    (sources / "operator/src/__pycache__").mkdir()
    (sources / "operator/src/__pycache__/m.pyc").write_text("compiled")
    (sources / "README.md").write_text("words")
    assert dockerfile_key(sources, OPERATOR, "base") == before


@pytest.mark.parametrize(
    ("name", "full"),
    [
        pytest.param("dynamo:0.1.0", f"{DEFAULT_HOST}/library/dynamo:0.1.0", id="no-host-no-path"),
        pytest.param("dynamo/runtime:1", f"{DEFAULT_HOST}/dynamo/runtime:1", id="no-host"),
        pytest.param("dynamo.local/runtime:test", "dynamo.local/runtime:test", id="host"),
        pytest.param("localhost/runtime", "localhost/runtime:latest", id="no-tag"),
        pytest.param("a.example:5000/runtime", "a.example:5000/runtime:latest", id="port-is-no-tag"),
    ],
)
def test_names_are_those_that_containerd_keeps(name: str, full: str) -> None:
    assert full_name(name) == full


def test_images_run_as_a_number_on_any_base() -> None:
    dockerfile = (REPOSITORY / DOCKERFILE).read_text()
    assert re.search(r"^ARG BASE=", dockerfile, re.MULTILINE)
    assert re.search(r"^USER [1-9][0-9]*:[1-9][0-9]*$", dockerfile, re.MULTILINE)
    assert "--require-hashes" in dockerfile


def test_the_images_lock_agrees_with_the_whole_lock() -> None:
    whole = set(PINNED.findall((REPOSITORY / "requirements.lock").read_text()))
    images = set(PINNED.findall((REPOSITORY / "images" / "requirements.lock").read_text()))
    assert images
    assert images <= whole, "run `make lock`, or name the same versions in both"


def test_the_images_hold_every_dependency_of_the_project() -> None:
    declared = re.search(r"^dependencies = \[(.*?)^\]", (REPOSITORY / "pyproject.toml").read_text(), re.S | re.M)
    assert declared
    names = re.findall(r'^\s*"([A-Za-z0-9_.-]+)', declared[1], re.MULTILINE)
    locked = {name for name, _ in PINNED.findall((REPOSITORY / "images" / "requirements.lock").read_text())}
    assert set(names) <= locked
