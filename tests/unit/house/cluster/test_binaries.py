"""A program is built again exactly when its bytes could differ."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.cluster.local import binaries
from tests.cluster.local.binaries import HELM, KUBERNETES, PROGRAMS, Program, build_flags, cache_key, ensure, folder_of

SOURCES = {"main.go": b"package main", "go.sum": b"sums"}


@pytest.mark.parametrize(
    ("program", "sources"),
    [
        pytest.param(dataclasses.replace(KUBERNETES, version="v1.34.5"), SOURCES, id="version"),
        pytest.param(dataclasses.replace(KUBERNETES, stamp=""), SOURCES, id="build-flags"),
        pytest.param(dataclasses.replace(KUBERNETES, target="./other"), SOURCES, id="built-package"),
        pytest.param(KUBERNETES, {**SOURCES, "go.sum": b"other sums"}, id="module-file"),
        pytest.param(KUBERNETES, {"main.go": b"package main"}, id="file-gone"),
    ],
)
def test_whatever_decides_the_bytes_changes_the_key(program: Program, sources: dict[str, bytes]) -> None:
    assert cache_key(program, sources) != cache_key(KUBERNETES, SOURCES)


def test_equal_inputs_share_a_key_in_any_order() -> None:
    assert cache_key(KUBERNETES, dict(reversed(SOURCES.items()))) == cache_key(KUBERNETES, SOURCES)


def test_kubernetes_knows_its_version() -> None:
    flags = build_flags(KUBERNETES)[-1]
    for value in ("gitVersion=v1.34.4", "gitMajor=1", "gitMinor=34"):
        assert f"-X k8s.io/component-base/version.{value}" in flags


def test_every_program_can_be_built() -> None:
    for program in PROGRAMS:
        assert program.package or (binaries.MODULES / program.name / "go.mod").exists(), program.name


def test_what_is_built_is_not_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = folder_of(tmp_path, HELM)
    built.mkdir(parents=True)
    (built / "helm").touch()
    monkeypatch.setattr(binaries, "_build", None)
    assert ensure(tmp_path, HELM) == built
