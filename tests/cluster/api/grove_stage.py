"""Grove's stand-in on a real API server, and credentials with nothing but the rights that our chart gives an operator.

Must not judge anything. Called by the tests of graphs on Grove.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import yaml

from dynamo_operator.kube import Client, Document, Kind, KubeError, Live
from tests.cluster.chart import Chart
from tests.cluster.local.api_only import ApiCluster

OP = "dynamo-operator"


class ClientHands:
    """Grove's writes in one namespace, by a client that is not the operator's."""

    def __init__(self, kube: Client, namespace: str) -> None:
        self._kube = kube
        self._namespace = namespace

    async def find(self, kind: Kind) -> tuple[Live, ...]:
        return await self._kube.find(kind, self._namespace)

    async def make(self, document: Document) -> None:
        await self._kube.create(document)

    async def change(self, live: Live, part: str, value: Document) -> Live:
        holder = live.document["metadata"] if part == "annotations" else live.document
        if holder.get(part) == value:
            return live
        path = f"/metadata/{part}" if part == "annotations" else f"/{part}"
        guard = {"op": "test", "path": "/metadata/resourceVersion", "value": live.resource_version}
        operations = [guard, {"op": "add", "path": path, "value": value}]
        try:
            return await self._kube.patch(live.ref, operations, subresource="status" if part == "status" else "")
        except KubeError:
            return live  # it changed meanwhile: the next turn sees it as it is then

    async def remove(self, live: Live) -> None:
        await self._kube.delete(live.ref, uid=live.uid)


@dataclasses.dataclass(frozen=True)
class Installed:
    """What the chart gives an operator in one namespace: a kubeconfig of its account, and its configuration."""

    kubeconfig: Path
    settings: dict[str, Any]
    user: str


def install_rights(cluster: ApiCluster, chart: Chart, namespace: str, folder: Path) -> Installed:
    """The roles, bindings and configuration of a release that serves `namespace` alone, and a token of its account."""
    here = dataclasses.replace(chart, namespace=namespace)
    documents = here.template(
        f"{OP}.namespaceRestriction.enabled=true", f"{OP}.webhook.enabled=false", f"{OP}.upgradeCRD=false"
    )
    lasting = [each for each in documents if "helm.sh/hook" not in (each["metadata"].get("annotations") or {})]
    cluster.apply(*(each for each in lasting if each["kind"] in ("ServiceAccount", "Role", "RoleBinding")))
    written = next(each for each in lasting if each["metadata"]["name"] == "dynamo-operator-config")
    settings = yaml.safe_load(written["data"]["config.yaml"])
    settings.pop("server", None)
    token = cluster.kubectl("create", "token", OP, "-n", namespace).strip()
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"] = [{"name": each["name"], "user": {"token": token}} for each in config["users"]]
    kubeconfig = folder / "operator.kubeconfig"
    kubeconfig.write_text(json.dumps(config))
    return Installed(kubeconfig, settings, f"system:serviceaccount:{namespace}:{OP}")
