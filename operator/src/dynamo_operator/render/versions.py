"""The runtime version of a component, which decides newer defaults. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from dynamo_operator.api import Component


class Version(NamedTuple):
    """A release of the runtime; pre-releases count as their release."""

    major: int
    minor: int
    patch: int


# What an image without a version is taken for: admission asks such images for runtimeVersionOverride.
UNVERSIONED = Version(0, 0, 0)
# From this release on: strict namespace prefix, frontend startup probe, canary health checks left to the runtime.
STRICT_PREFIX = Version(1, 6, 0)

_SEMVER = re.compile(r"^v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?:[-+].*)?$")


def runtime_version(component: Component) -> Version:
    """The override, else the main image's tag; an image without one counts as older than all gates."""
    text = component.runtime_version_override or _tag(str(component.main.get("image") or ""))
    return version_of(text)


def version_of(text: str) -> Version:
    """The version that a text states; one that states none is older than all gates."""
    match = _SEMVER.match(text)
    return Version(*map(int, match.groups())) if match else UNVERSIONED


def _tag(image: str) -> str:
    name = image.split("@", 1)[0].rsplit("/", 1)[-1]
    return name.partition(":")[2]
