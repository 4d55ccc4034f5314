"""Versions of the runtime, as images' tags and manifests state them. Pure; called by rendering and validation, which
have to read a tag alike."""

from __future__ import annotations

import re
from typing import NamedTuple


class Version(NamedTuple):
    """A release of the runtime; pre-releases count as their release."""

    major: int
    minor: int
    patch: int


_NUMBER = r"(0|[1-9]\d{0,17})"
_WORD = r"(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)"
_TAG = re.compile(
    rf"[vV]?{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_WORD}(?:\.{_WORD})*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?",
    re.ASCII,
)


def version_of(text: str) -> Version | None:
    """The semantic version that a text is, with or without a `v` before it; None for any other text."""
    match = _TAG.fullmatch(text)
    return Version(*map(int, match.groups())) if match else None


def image_version(image: str) -> Version | None:
    """The version that an image's tag is; None for another tag, or none."""
    return version_of(_tag(image))


def _tag(image: str) -> str:
    """The tag of an image reference, empty without one; a registry's port is no tag."""
    name = image.partition("@")[0].rpartition("/")[2]
    return name.partition(":")[2]
