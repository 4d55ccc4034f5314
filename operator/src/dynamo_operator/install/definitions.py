"""Applies the custom resource definitions, pointed at the webhook of this installation."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from typing import Any

from lightkube import Client
from lightkube.generic_resource import create_global_resource

from dynamo_operator.validate import load_crds

MANAGER = "dynamo-install"
ESTABLISHED_WITHIN_S = 30.0
_DEFINITIONS = create_global_resource(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions"
)


class NotEstablished(Exception):
    """A definition was applied, and the API server does not serve it."""


def definitions(namespace: str, service: str, ca_from: str = "") -> list[dict[str, Any]]:
    """Every definition, with conversion by `service` in `namespace`.

    The authority's certificate is left out: whoever makes it (the operator, or cert-manager told by `ca_from`,
    "namespace/certificate") writes it, and applying these again leaves it alone.
    """
    found = []
    for crd in load_crds().values():
        document: dict[str, Any] = copy.deepcopy(dict(crd.document))
        conversion = document["spec"].get("conversion")
        if conversion:
            conversion["webhook"]["clientConfig"]["service"].update(namespace=namespace, name=service)
            if ca_from:
                document["metadata"].setdefault("annotations", {})["cert-manager.io/inject-ca-from"] = ca_from
        found.append(document)
    return found


def apply_definitions(client: Client, wanted: list[dict[str, Any]], say: Callable[[str], None]) -> None:
    """Apply all and wait until the API server serves them; raises NotEstablished, and lightkube's ApiError."""
    for document in wanted:
        client.apply(_DEFINITIONS(**document), field_manager=MANAGER, force=True)
        say(f"applied {document['metadata']['name']}")
    for document in wanted:
        _wait(client, document["metadata"]["name"])


def _wait(client: Client, name: str) -> None:
    deadline = time.monotonic() + ESTABLISHED_WITHIN_S
    while not _is_established(found := client.get(_DEFINITIONS, name)):
        if time.monotonic() > deadline:
            conditions = (found.get("status") or {}).get("conditions")
            raise NotEstablished(
                f"{name} is not served {ESTABLISHED_WITHIN_S:.0f} s after it was applied: {conditions}"
            )
        time.sleep(0.2)


def _is_established(definition: Mapping[str, Any]) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)
