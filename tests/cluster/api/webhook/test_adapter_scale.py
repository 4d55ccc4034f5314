"""The scale of an adapter in both versions of the API, through the conversion webhook."""

from __future__ import annotations

import pytest

from tests.cluster.api.webhook.conftest import Guarded

NAME = "g-worker"


@pytest.mark.parametrize("version", ["v1alpha1", "v1beta1"])
def test_an_adapter_is_scaled_in_both_versions(guarded: Guarded, namespace: str, version: str) -> None:
    adapter = {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeploymentScalingAdapter",
        "metadata": {"name": NAME},
        "spec": {"replicas": 1, "dgdRef": {"name": "g", "componentName": "Worker"}},
    }
    guarded.cluster.apply(adapter, namespace=namespace)
    kind = f"dynamographdeploymentscalingadapters.{version}.nvidia.com"

    guarded.cluster.kubectl("scale", f"{kind}/{NAME}", "--replicas=3", "-n", namespace)
    assert guarded.cluster.get(kind, NAME, "-n", namespace)["spec"]["replicas"] == 3
    patch = ("--subresource=scale", "--type=merge", "-p", '{"spec":{"replicas":4}}')
    guarded.cluster.kubectl("patch", kind, NAME, *patch, "-n", namespace)

    stored = guarded.cluster.get("dynamographdeploymentscalingadapters.v1beta1.nvidia.com", NAME, "-n", namespace)
    assert stored["spec"] == {"replicas": 4, "dgdRef": {"name": "g", "componentName": "Worker"}}
