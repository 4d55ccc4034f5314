"""kind's commands, and the plain message where Docker is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.cluster.errors import ClusterUnavailable
from tests.cluster.kind import cluster as kind
from tests.cluster.local.images.recipes import RUNTIME


def test_the_cluster_is_made_from_the_file_and_removed_by_its_name() -> None:
    up = kind.up_command(Path("/cache/kubeconfig"))
    assert up[:3] == ["kind", "create", "cluster"]
    assert yaml.safe_load(Path(up[up.index("--config") + 1]).read_text())["name"] == kind.NAME
    assert kind.NAME in kind.down_command(Path("/cache/kubeconfig"))


def test_images_are_built_by_the_users_dockerfile_and_loaded_under_the_built_name() -> None:
    build = kind.build_command(Path("/repository"), RUNTIME)
    assert build[build.index("--file") + 1] == "/repository/images/Dockerfile"
    assert build[build.index("--target") + 1] == RUNTIME.name
    assert build[build.index("--tag") + 1] == kind.load_command(RUNTIME.reference)[3]


@pytest.mark.parametrize("verb", [kind.kind_up, kind.kind_down], ids=["up", "down"])
def test_a_missing_docker_is_named(
    verb: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterUnavailable, match="kind needs a running Docker"):
        verb(tmp_path)


def test_a_docker_that_does_not_answer_is_no_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_program(tmp_path, "docker", "exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterUnavailable, match="kind needs a running Docker"):
        kind.kind_up(tmp_path)


def test_a_missing_kind_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_program(tmp_path, "docker", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterUnavailable, match="kind is not installed"):
        kind.kind_up(tmp_path)


def a_program(folder: Path, name: str, line: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{line}\n")
    (folder / name).chmod(0o755)
