"""What a provider override may change of Grove's objects: their placement, and nothing else.

Facts of Grove's API, shared by `render`, which lays the overrides over its objects, and `validate`, which refuses the
others. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

GROVE_VERSION = "grove.io/v1alpha1"


@dataclass(frozen=True, slots=True)
class Overridable:
    """An object that overrides are laid over; `path` leads to its topology constraint."""

    target: str
    path: tuple[str, ...]


POD_CLIQUE_SET = Overridable("PodCliqueSet", ("spec", "template", "topologyConstraint"))
POD_CLIQUE = Overridable("PodCliqueTemplateSpec", ("topologyConstraint",))
SCALING_GROUP = Overridable("PodCliqueScalingGroupConfig", ("topologyConstraint",))
