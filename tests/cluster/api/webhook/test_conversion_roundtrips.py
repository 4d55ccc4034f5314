"""Objects read, written back in the other version, and read again: nothing is lost, in whichever version they came."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from lightkube import Client
from lightkube.generic_resource import create_namespaced_resource

from dynamo_operator.convert.documents import canonical
from dynamo_operator.validate import load_crds
from tests.cluster.api.webhook.conftest import Guarded
from tests.cluster.errors import ClusterError
from tests.unit.operator_plane.convert.manifests import CONVERTIBLE, PAYLOADS
from tests.unit.operator_plane.validate.manifests import an_alpha_graph
from tests.unit.operator_plane.validate.test_corpus import ADMITTED_AND_FAILING, CONTEXTS, CORPUS, documents, outcomes

ALPHA, BETA = "nvidia.com/v1alpha1", "nvidia.com/v1beta1"


def accepted() -> list[Any]:
    """Each manifest that the reference accepts, once, with a pathway on which it does."""
    names: dict[str, Any] = {}
    for outcome in outcomes(".objects.yaml"):
        pathway, name = outcome.values
        convertible = any(document["kind"] in CONVERTIBLE for document in documents(CORPUS / name))
        if convertible and name != ADMITTED_AND_FAILING:
            names.setdefault(name, pytest.param(pathway, name, id=name))
    return list(names.values())


@pytest.fixture(scope="module")
def client(guarded: Guarded) -> Iterator[Client]:
    with guarded.cluster.client() as client:
        yield client


class Objects:
    """Reads and writes of one object in any version."""

    def __init__(self, client: Client, namespace: str, document: Mapping[str, Any]) -> None:
        self._client = client
        self._namespace = namespace
        self._kind, self._name = document["kind"], document["metadata"]["name"]

    def create(self, document: Mapping[str, Any]) -> None:
        self._client.create(self._resource(document["apiVersion"])(**document), namespace=self._namespace)

    def read(self, api_version: str) -> dict[str, Any]:
        found = self._client.get(self._resource(api_version), self._name, namespace=self._namespace)
        return dict(found.to_dict())

    def write_back(self, api_version: str) -> None:
        """What a client does that reads, changes a label and replaces."""
        document = self.read(api_version)
        document["metadata"].setdefault("labels", {})["written-in"] = api_version.partition("/")[2]
        self._client.replace(self._resource(api_version)(**document), self._name, namespace=self._namespace)

    def _resource(self, api_version: str) -> Any:
        group, version = api_version.split("/")
        return create_namespaced_resource(group, version, self._kind, load_crds()[self._kind].plural)


@pytest.mark.parametrize(("pathway", "name"), accepted())
def test_an_object_survives_being_written_back_in_both_versions(
    guarded: Guarded, namespace: str, client: Client, pathway: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarded.facts, "cluster", CONTEXTS[pathway])
    for document in documents(CORPUS / name):
        if document["kind"] not in CONVERTIBLE:
            continue
        document["metadata"].pop("namespace", None)
        objects = Objects(client, namespace, document)
        objects.create(document)
        first = {version: objects.read(version) for version in (ALPHA, BETA)}
        assert list(missing(canonical(document["spec"]), canonical(first[document["apiVersion"]]["spec"]))) == []
        for written in (ALPHA, BETA, ALPHA):
            objects.write_back(written)
            for version in (ALPHA, BETA):
                read = objects.read(version)
                assert lost_and_added(first[version], read) == [], f"{version} after {written}"
                assert own_annotations(read) == own_annotations(first[version])


def test_what_only_one_version_knows_is_not_shown_in_it_and_kept_in_the_other(guarded: Guarded, namespace: str) -> None:
    alpha = an_alpha_graph(pvcs=[{"name": "models", "create": False}])
    guarded.cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(alpha))
    stored = guarded.cluster.get("dynamographdeployments.v1beta1.nvidia.com", "g", "-n", namespace)
    assert "pvcs" not in stored["spec"]
    assert PAYLOADS[0] in stored["metadata"]["annotations"]
    read = guarded.cluster.get("dynamographdeployments.v1alpha1.nvidia.com", "g", "-n", namespace)
    assert read["spec"]["pvcs"] == [{"name": "models", "create": False}]
    assert PAYLOADS[0] not in read["metadata"]["annotations"]


def test_an_applied_v1alpha1_manifest_is_unchanged_when_applied_again(guarded: Guarded, namespace: str) -> None:
    manifest = json.dumps(an_alpha_graph(pvcs=[{"name": "models", "create": False}]))
    for _ in range(2):
        said = guarded.cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=manifest)
    assert said == "dynamographdeployment.nvidia.com/g unchanged\n"
    assert guarded.cluster.kubectl("diff", "-n", namespace, "-f", "-", stdin=manifest) == ""


@pytest.mark.parametrize("version", ["v1alpha1", "v1beta1"])
def test_kubectl_scales_an_adapter_through_both_versions(guarded: Guarded, namespace: str, version: str) -> None:
    component = {"v1alpha1": "serviceName", "v1beta1": "componentName"}[version]
    adapter = {
        "apiVersion": f"nvidia.com/{version}",
        "kind": "DynamoGraphDeploymentScalingAdapter",
        "metadata": {"name": "a"},
        "spec": {"replicas": 1, "dgdRef": {"name": "g", component: "decode"}},
    }
    guarded.cluster.apply(adapter, namespace=namespace)
    resource = f"dynamographdeploymentscalingadapters.{version}.nvidia.com/a"
    guarded.cluster.kubectl("scale", resource, "--replicas=3", "-n", namespace)
    read = guarded.cluster.get("dgdsa", "a", "-n", namespace)
    assert read["spec"] == {"replicas": 3, "dgdRef": {"name": "g", "componentName": "decode"}}
    with pytest.raises(ClusterError, match="replicas"):
        guarded.cluster.kubectl("scale", resource, "--replicas=-1", "-n", namespace)


def missing(wanted: object, found: object, path: str = "spec") -> Iterator[str]:
    """Fields of `wanted` that `found` lacks or has otherwise; what the server added is not looked at."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        for key, value in wanted.items():
            yield from missing(value, found.get(key), f"{path}.{key}")
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for place, (each, other) in enumerate(zip(wanted, found, strict=True)):
            yield from missing(each, other, f"{path}[{place}]")
    elif wanted != found:
        yield f"{path}: {wanted!r} became {found!r}"


def lost_and_added(first: Mapping[str, Any], read: Mapping[str, Any]) -> list[str]:
    before, after = canonical(first["spec"]), canonical(read["spec"])
    return [*missing(before, after), *missing(after, before)]


def own_annotations(read: Mapping[str, Any]) -> dict[str, Any]:
    annotations = read["metadata"].get("annotations") or {}
    return {key: value for key, value in annotations.items() if key not in PAYLOADS}
