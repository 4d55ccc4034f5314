"""Proves that an installation admits good graphs, refuses bad ones with the field named, and converts versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightkube import ApiError, Client
from lightkube.generic_resource import create_namespaced_resource

_GRAPHS = create_namespaced_resource("nvidia.com", "v1beta1", "DynamoGraphDeployment", "dynamographdeployments")
_ALPHA_GRAPHS = create_namespaced_resource("nvidia.com", "v1alpha1", "DynamoGraphDeployment", "dynamographdeployments")
BAD_FIELD = "spec.components[0].podTemplate.spec.containers[0].image"


class CheckFailed(Exception):
    """What the installation did, and what it should have done."""


def check(client: Client, namespace: str, say: Callable[[str], None], *, has_webhook: bool) -> None:
    """Three dry runs; nothing is created. Raises CheckFailed."""
    _admit(client, _GRAPHS, good_graph(), namespace)
    say("a good graph is admitted")
    if not has_webhook:
        return
    _refuse(client, bad_graph(), namespace)
    say(f"a bad graph is refused, naming {BAD_FIELD}")
    _admit(client, _ALPHA_GRAPHS, alpha_graph(), namespace)
    say("a v1alpha1 graph is converted and admitted")


def _admit(client: Client, resource: Any, document: dict[str, Any], namespace: str) -> None:
    try:
        client.create(resource(**document), namespace=namespace, dry_run=True)
    except ApiError as error:
        raise CheckFailed(f"a good {document['apiVersion']} graph was refused: {error}") from error


def _refuse(client: Client, document: dict[str, Any], namespace: str) -> None:
    try:
        client.create(_GRAPHS(**document), namespace=namespace, dry_run=True)
    except ApiError as error:
        if BAD_FIELD in str(error):
            return
        raise CheckFailed(f"a graph without an image was refused without naming {BAD_FIELD}: {error}") from error
    raise CheckFailed("a graph without an image was admitted: the validating webhook was not asked")


def good_graph() -> dict[str, Any]:
    return _graph("v1beta1", {"components": [_component({"image": "dynamo/runtime:1.5.0"})]})


def bad_graph() -> dict[str, Any]:
    return _graph("v1beta1", {"components": [_component({})]})


def alpha_graph() -> dict[str, Any]:
    main = {"image": "dynamo/runtime:1.5.0"}
    service = {"componentType": "frontend", "replicas": 1, "extraPodSpec": {"mainContainer": main}}
    return _graph("v1alpha1", {"services": {"Frontend": service}})


def _graph(version: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": f"nvidia.com/{version}",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": "install-check"},
        "spec": spec,
    }


def _component(main: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "Frontend",
        "type": "frontend",
        "podTemplate": {"spec": {"containers": [{"name": "main", **main}]}},
    }
