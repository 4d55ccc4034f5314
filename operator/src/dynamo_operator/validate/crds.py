"""Reads the CustomResourceDefinitions in `crds/`: the one place where kinds, versions and schemas are written down.

Reads package files only, once per process. Used by `structure` and by whoever lists or installs the CRDs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

GROUP = "nvidia.com"


@dataclass(frozen=True, slots=True)
class Version:
    """One served version of a kind: `apiVersion`, its openAPIV3Schema, and the warning if it is deprecated."""

    api_version: str
    schema: Mapping[str, Any]
    deprecation: str


@dataclass(frozen=True, slots=True)
class Crd:
    kind: str
    plural: str
    versions: Mapping[str, Version]
    document: Mapping[str, Any]


def crd_folder() -> Path:
    """`crds/` inside the installed package, or at the root of a checkout."""
    installed = Path(str(files("dynamo_operator"))) / "crds"
    return installed if installed.is_dir() else Path(__file__).resolve().parents[4] / "crds"


@cache
def load_crds() -> Mapping[str, Crd]:
    """Every CRD by kind. Raises FileNotFoundError, naming the folder, when there is none."""
    paths = sorted(crd_folder().glob("*.yaml"))
    if not paths:
        raise FileNotFoundError(f"no CustomResourceDefinitions in {crd_folder()}")
    # The C loader takes a tenth of the time; PyYAML built without libyaml lacks it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    crds = [_parse(yaml.load(path.read_text(encoding="utf-8"), Loader=loader)) for path in paths]  # noqa: S506 - safe
    return MappingProxyType({crd.kind: crd for crd in crds})


def _parse(document: Mapping[str, Any]) -> Crd:
    spec = document["spec"]
    versions = {
        f"{spec['group']}/{version['name']}": Version(
            api_version=f"{spec['group']}/{version['name']}",
            schema=version["schema"]["openAPIV3Schema"],
            deprecation=version.get("deprecationWarning", ""),
        )
        for version in spec["versions"]
    }
    names = spec["names"]
    return Crd(names["kind"], names["plural"], MappingProxyType(versions), document)
