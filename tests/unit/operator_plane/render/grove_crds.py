"""Grove's own CRDs as JSON schemas that refuse unknown fields, from Go's module cache."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

Schema = dict[str, Any]

MODULE = "github.com/ai-dynamo/grove/operator/api@v0.1.0-alpha.12-rc1"
FILE = "core/v1alpha1/crds/grove.io_podcliquesets.yaml"


def set_validator() -> Draft202012Validator:
    """Checks a PodCliqueSet as an API server does, or a skip that says how to get the schema."""
    cache = Path(os.environ.get("GOMODCACHE") or Path.home() / "go" / "pkg" / "mod")
    path = cache / MODULE / FILE
    if not path.exists():
        pytest.skip(f"Grove's CRDs are not in Go's module cache (go mod download {MODULE})")
    document = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    (version,) = document["spec"]["versions"]
    return Draft202012Validator(_strict(version["schema"]["openAPIV3Schema"], is_root=True))


def violations(validator: Draft202012Validator, document: Schema) -> list[str]:
    """Every violation with its path."""
    return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(document)]


def _strict(schema: Schema, *, is_root: bool = False) -> Schema:
    """The schema with what an API server would drop silently made an error."""
    found = {key: value for key, value in schema.items() if key != "description"}
    if "properties" in found:
        found["properties"] = {name: _strict(inner) for name, inner in found["properties"].items()}
        if is_root:
            found["properties"]["metadata"] = {"type": "object"}
        if "additionalProperties" not in found and not found.get("x-kubernetes-preserve-unknown-fields"):
            found["additionalProperties"] = False
    for key in ("items", "additionalProperties"):
        if isinstance(found.get(key), dict):
            found[key] = _strict(found[key])
    return found
