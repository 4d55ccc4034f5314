"""Small valid manifests, and a way to change one field of them by its path."""

from __future__ import annotations

import copy
import re
from typing import Any

IMAGE = "registry.example/runtime:1.5.0"


def a_container(**fields: Any) -> dict[str, Any]:
    return {"name": "main", "image": IMAGE, **fields}


def a_component(name: str = "decode", type: str = "worker", **fields: Any) -> dict[str, Any]:
    template = {"spec": {"containers": [a_container()]}}
    return {"name": name, "type": type, "replicas": 1, "podTemplate": template, **fields}


def a_graph(*components: dict[str, Any], name: str = "g", **spec: Any) -> dict[str, Any]:
    """A v1beta1 graph; a frontend and a worker unless components are given."""
    parts = list(components) or [a_component("Frontend", "frontend"), a_component()]
    return {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": name},
        "spec": {"components": parts, **spec},
    }


def an_alpha_service(type: str = "worker", **fields: Any) -> dict[str, Any]:
    return {"componentType": type, "extraPodSpec": {"mainContainer": {"image": IMAGE}}, **fields}


def an_alpha_graph(**spec: Any) -> dict[str, Any]:
    services = {"Frontend": an_alpha_service("frontend"), "decode": an_alpha_service()}
    return {
        "apiVersion": "nvidia.com/v1alpha1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": "g"},
        "spec": {"services": services, **spec},
    }


def a_standalone(**spec: Any) -> dict[str, Any]:
    component = a_component(**spec)
    return {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoComponentDeployment",
        "metadata": {"name": "g-decode"},
        "spec": component,
    }


def a_model(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "nvidia.com/v1alpha1",
        "kind": "DynamoModel",
        "metadata": {"name": "m"},
        "spec": {"modelName": "x/y", "baseModelName": "x/base", **spec},
    }


MAIN = "spec.components[1].podTemplate.spec.containers[0]"
DECODE = "spec.services[decode]"


def with_(manifest: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A copy with the field at `path` set, making the maps on the way; list elements must exist or be the next one."""
    changed = copy.deepcopy(manifest)
    steps = [step for step in re.split(r"\.|(\[[^]]*\])", path) if step]
    place: Any = changed
    for position, step in enumerate(steps):
        key: Any = step.strip("[]")
        if isinstance(place, list):
            key = int(key)
            if key == len(place):
                place.append({})
        if position == len(steps) - 1:
            place[key] = value
        else:
            following = steps[position + 1]
            empty: Any = [] if re.fullmatch(r"\[\d+\]", following) else {}
            place = place[key] if isinstance(place, list) else place.setdefault(key, empty)
    return changed


def without(manifest: dict[str, Any], path: str) -> dict[str, Any]:
    """A copy without the field at `path`."""
    parent, _, name = path.rpartition(".")
    changed = with_(manifest, f"{path}", None)
    place: Any = changed
    for step in [step.strip("[]") for step in re.split(r"\.|(\[[^]]*\])", parent) if step]:
        place = place[int(step)] if isinstance(place, list) else place[step]
    del place[name]
    return changed
