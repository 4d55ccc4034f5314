"""Changes to stored objects through the real API server: who may scale, restarts, defaults that cause no churn."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cluster.api.webhook.conftest import Guarded
from tests.cluster.api.webhook.running import OPERATOR
from tests.cluster.errors import ClusterError
from tests.unit.operator_plane.validate.manifests import a_component, a_graph, a_model, a_standalone


def json_patch(guarded: Guarded, namespace: str, path: str, value: Any, *options: str) -> str:
    operations = json.dumps([{"op": "add", "path": path, "value": value}])
    return guarded.cluster.kubectl("patch", "dgd", "g", "-n", namespace, "--type=json", "-p", operations, *options)


def unset_replicas(**fields: Any) -> dict[str, Any]:
    component = a_component(**fields)
    del component["replicas"]
    return component


def test_replicas_behind_an_adapter_are_changed_by_operator_and_planner_only(guarded: Guarded, namespace: str) -> None:
    guarded.cluster.apply(a_graph(a_component(scalingAdapter={})), namespace=namespace)
    path = "/spec/components/0/replicas"
    with pytest.raises(ClusterError, match=r"spec\.components\[0\]\.replicas: is owned by .* \(found 3, allowed: 1\)"):
        json_patch(guarded, namespace, path, 3)
    masters = ("--as-group", "system:masters")
    json_patch(guarded, namespace, path, 3, "--as", OPERATOR, *masters)
    planner = f"system:serviceaccount:{namespace}:planner-serviceaccount"
    json_patch(guarded, namespace, path, 4, "--as", planner, *masters)
    assert guarded.cluster.get("dgd", "g", "-n", namespace)["spec"]["components"][0]["replicas"] == 4


def test_a_restart_may_be_asked_for_unless_a_rolling_update_runs(guarded: Guarded, namespace: str) -> None:
    guarded.cluster.apply(a_graph(), namespace=namespace)
    json_patch(guarded, namespace, "/spec/restart", {"id": "1"})
    rolling = {"state": "pending", "rollingUpdate": {"phase": "InProgress"}}
    json_patch(guarded, namespace, "/status", rolling, "--subresource=status")
    with pytest.raises(ClusterError, match=r"spec\.restart\.id: cannot change during a rolling update \(found \"2\""):
        json_patch(guarded, namespace, "/spec/restart/id", "2")


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        pytest.param("/spec/components/0/type", "worker", r"spec.components\[0\].type: is immutable", id="type"),
        pytest.param("/spec/backendFramework", "sglang", r"spec.backendFramework: is immutable", id="backend"),
        pytest.param("/spec/components/1/multinode", {"nodeCount": 2}, "multinode: cannot change", id="multinode"),
    ],
)
def test_what_must_not_change_is_named_with_what_is_there(
    guarded: Guarded, namespace: str, path: str, value: Any, says: str
) -> None:
    guarded.cluster.apply(a_graph(backendFramework="vllm"), namespace=namespace)
    with pytest.raises(ClusterError, match=says + r".*\(found .+, allowed: .+\)"):
        json_patch(guarded, namespace, path, value)


def test_a_models_base_is_immutable(guarded: Guarded, namespace: str) -> None:
    guarded.cluster.apply(a_model(), namespace=namespace)
    with pytest.raises(ClusterError, match=r"spec\.baseModelName: .*is immutable \(found x/y, allowed: x/base\)"):
        guarded.cluster.apply(a_model(baseModelName="x/y"), namespace=namespace)


@pytest.mark.parametrize("how", [(), ("--server-side",)], ids=["client-side", "server-side"])
def test_applying_a_manifest_again_changes_nothing(guarded: Guarded, namespace: str, how: tuple[str, ...]) -> None:
    manifest = json.dumps(a_graph(unset_replicas(name="f", type="frontend"), unset_replicas(scalingAdapter={})))
    apply = ("apply", *how, "-n", namespace, "-f", "-")
    guarded.cluster.kubectl(*apply, stdin=manifest)
    scale = ("--as", OPERATOR, "--as-group", "system:masters")
    json_patch(guarded, namespace, "/spec/components/1/replicas", 5, *scale)
    before = guarded.cluster.get("dgd", "g", "-n", namespace)
    guarded.cluster.kubectl(*apply, stdin=manifest)
    after = guarded.cluster.get("dgd", "g", "-n", namespace)
    assert after["spec"] == before["spec"]
    # Client-side apply sends the list of components as a whole; only the note of who owns which field changes.
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert guarded.cluster.kubectl("diff", *apply[1:], stdin=manifest) == ""


def test_replacing_by_the_manifest_keeps_what_was_scaled_and_stamped(guarded: Guarded, namespace: str) -> None:
    manifest = json.dumps(a_graph(unset_replicas(scalingAdapter={})))
    guarded.cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=manifest)
    scale = ("--as", OPERATOR, "--as-group", "system:masters")
    json_patch(guarded, namespace, "/spec/components/0/replicas", 5, *scale)
    before = guarded.cluster.get("dgd", "g", "-n", namespace)
    guarded.cluster.kubectl("replace", "-n", namespace, "-f", "-", stdin=manifest)
    after = guarded.cluster.get("dgd", "g", "-n", namespace)
    assert after["spec"] == before["spec"]
    assert after["metadata"]["annotations"] == before["metadata"]["annotations"]


def test_a_standalone_component_is_named_and_counted(guarded: Guarded, namespace: str) -> None:
    alone = a_standalone()
    del alone["spec"]["name"], alone["spec"]["replicas"]
    guarded.cluster.apply(alone, namespace=namespace)
    spec = guarded.cluster.get("dcd", "g-decode", "-n", namespace)["spec"]
    assert (spec["name"], spec["replicas"]) == ("g-decode", 1)


def test_a_broken_object_can_still_be_deleted_with_its_finalizer(guarded: Guarded, namespace: str) -> None:
    graph = a_graph()
    graph["metadata"]["finalizers"] = ["nvidia.com/test"]
    guarded.cluster.apply(graph, namespace=namespace)
    guarded.cluster.kubectl("delete", "dgd", "g", "-n", namespace, "--wait=false")
    operations = json.dumps([{"op": "remove", "path": "/metadata/finalizers"}])
    guarded.cluster.kubectl("patch", "dgd", "g", "-n", namespace, "--type=json", "-p", operations)
    guarded.cluster.kubectl("wait", "--for=delete", "dgd/g", "-n", namespace, "--timeout=20s")
