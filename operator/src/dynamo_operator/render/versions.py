"""The runtime version of a component, which decides newer defaults. Pure."""

from __future__ import annotations

from dynamo_operator.api import Component
from dynamo_operator.api.versions import Version, image_version, version_of

# What an image without a version is taken for: admission asks such images for runtimeVersionOverride.
UNVERSIONED = Version(0, 0, 0)
# From this release on: strict namespace prefix, frontend startup probe, canary health checks left to the runtime.
STRICT_PREFIX = Version(1, 6, 0)


def runtime_version(component: Component) -> Version:
    """The override, else the main image's tag; an image without one counts as older than all gates."""
    if component.runtime_version_override:
        return stated_version(component.runtime_version_override)
    return image_version(str(component.main.get("image") or "")) or UNVERSIONED


def stated_version(text: str) -> Version:
    """The version that a text states; one that states none is older than all gates."""
    return version_of(text) or UNVERSIONED
