"""Versions are read from images' tags as upstream reads them."""

from __future__ import annotations

import pytest

from dynamo_operator.api.versions import image_version, version_of


@pytest.mark.parametrize(
    ("image", "version"),
    [
        pytest.param("x:1.5.0", (1, 5, 0), id="plain"),
        pytest.param("x:v1.5.0", (1, 5, 0), id="v"),
        pytest.param("x:V1.5.0", (1, 5, 0), id="capital-v"),
        pytest.param("x:1.5.0-cuda13.rc-1", (1, 5, 0), id="pre-release"),
        pytest.param("x:20250801.0.0", (20250801, 0, 0), id="a-date-is-a-number"),
        pytest.param("host.example:5000/a/x:1.6.2", (1, 6, 2), id="registry-port"),
        pytest.param("host.example:5000/a/x", None, id="registry-port-is-no-tag"),
        pytest.param("x:1.6.0@sha256:00", (1, 6, 0), id="digest-after-a-tag"),
        pytest.param("x@sha256:00", None, id="digest-only"),
        pytest.param("x:01.5.0", None, id="leading-zero"),
        pytest.param("x:1.5.0-01", None, id="leading-zero-in-a-pre-release"),
        pytest.param("x:1.5.0-", None, id="empty-pre-release"),
        pytest.param("x:1.5", None, id="two-numbers"),
        pytest.param("x:1.5.0rc1", None, id="python-pre-release"),
        pytest.param("x:latest", None, id="word"),
        pytest.param("x:１.5.0", None, id="other-digits"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_a_tag_is_a_version_or_none(image: str, version: tuple[int, int, int] | None) -> None:
    assert image_version(image) == version


def test_builds_are_no_part_of_a_version() -> None:
    assert version_of("1.6.0+build.5") == (1, 6, 0)
