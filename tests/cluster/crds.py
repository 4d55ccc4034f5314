"""Our CustomResourceDefinitions and the neighbours', as documents to apply.

Must not talk to a cluster. Called by the clusters' `install_crds` and by tests that need a neighbour's kinds.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.local.binaries import module_folder
from tests.cluster.settings import REPOSITORY


class Neighbour(enum.Enum):
    """A project whose kinds the operator renders: its Go module, version, and the folder of its CRDs."""

    LEADERWORKERSET = ("sigs.k8s.io/lws", "v0.9.0", "config/crd/bases")
    GROVE = ("github.com/ai-dynamo/grove/operator/api", "v0.1.0-alpha.12-rc1", "core/v1alpha1/crds")
    INFERENCE_EXTENSION = ("sigs.k8s.io/gateway-api-inference-extension", "v1.2.0", "config/crd/bases")
    VOLCANO = ("", "", "")  # Its CRD is in no module; a stand-in takes any field.


def own_crds(conversion: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Our CRDs. Without a conversion the stored version works and no webhook is needed."""
    documents = [yaml.safe_load(path.read_text()) for path in sorted((REPOSITORY / "crds").glob("*.yaml"))]
    for document in documents:
        if "conversion" in document["spec"]:
            document["spec"]["conversion"] = conversion or {"strategy": "None"}
    return documents


def neighbour_crds(cache: Path, neighbour: Neighbour) -> list[dict[str, Any]]:
    """The neighbour's CRDs, from its Go module; fetched once."""
    module, version, folder = neighbour.value
    if not module:
        return [_any_fields("scheduling.volcano.sh", "v1beta1", "PodGroup", "podgroups")]
    files = sorted((module_folder(cache, module, version) / folder).glob("*.yaml"))
    found = [document for path in files for document in yaml.safe_load_all(path.read_text()) if document]
    crds = [document for document in found if document["kind"] == "CustomResourceDefinition"]
    for crd in crds:
        crd["spec"].pop("conversion", None)
    return crds


def _any_fields(group: str, version: str, kind: str, plural: str) -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()},
            "scope": "Namespaced",
            "versions": [served],
        },
    }
