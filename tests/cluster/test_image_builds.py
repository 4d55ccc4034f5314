"""Images are built again after a build that was killed, with the real builder in a storage of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.local.images.build import Builder
from tests.cluster.local.images.recipes import Image

IMAGE = Image("program")


@pytest.fixture
def builder(tmp_path: Path, node_programs: None) -> Iterator[Builder]:
    (tmp_path / "images").mkdir()
    builder = Builder(tmp_path)
    yield builder
    builder.buildah("rm", "--all")
    builder.buildah("rmi", "--all", "--force")


def test_a_killed_build_does_not_keep_later_ones_from_working(builder: Builder, tmp_path: Path) -> None:
    first = builder.program(IMAGE, _program(tmp_path / "1"))
    builder.buildah("from", "--pull-never", IMAGE.reference)  # What a build leaves that is killed half way.
    second = builder.program(IMAGE, _program(tmp_path / "2"))
    assert second.archive.exists()
    assert not first.archive.exists()


def _program(folder: Path) -> Path:
    folder.mkdir()
    program = folder / "program"
    program.write_text(folder.name)
    return program
