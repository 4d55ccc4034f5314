"""What every `Kube` keeps, fake or real; a class of tests to inherit, with fixtures `kube` and `namespace`."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.kube import Conflict, Gone, Invalid, Ref
from dynamo_operator.kube.objects import CONFIG_MAP, EVENT
from dynamo_operator.reconcile import Happening, Kube


def a_map(namespace: str, name: str = "m", labels: dict[str, str] | None = None, **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": labels or {"of": "test"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def a_graph(namespace: str, replicas: int = 1) -> dict[str, Any]:
    components = [{"name": "Frontend", "type": "frontend", "replicas": replicas}]
    return {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": "g", "namespace": namespace},
        "spec": {"components": components},
    }


class KubeContract:
    """`place` lets somebody else write an object."""

    async def test_what_is_not_there_is_none(self, kube: Kube, namespace: str) -> None:
        assert await kube.get(Ref(CONFIG_MAP, namespace, "missing")) is None

    async def test_what_is_applied_reads_back_as_applied(self, kube: Kube, namespace: str) -> None:
        await kube.apply(a_map(namespace, a="1", b="2"), is_new=True)
        live = await kube.get(Ref(CONFIG_MAP, namespace, "m"))
        assert live is not None
        assert live.document["data"] == {"a": "1", "b": "2"}
        assert live.applied == {"data": {"a": "1", "b": "2"}, "metadata": {"labels": {"of": "test"}}}
        assert "managedFields" not in live.document["metadata"]

    async def test_applying_the_same_again_writes_nothing(self, kube: Kube, namespace: str) -> None:
        first = await kube.apply(a_map(namespace, a="1"))
        again = await kube.apply(a_map(namespace, a="1"))
        assert again.resource_version == first.resource_version

    async def test_what_is_no_longer_applied_goes(self, kube: Kube, namespace: str) -> None:
        await kube.apply(a_map(namespace, a="1", b="2"))
        live = await kube.apply(a_map(namespace, a="1"))
        assert live.document["data"] == {"a": "1"}

    async def test_fields_of_others_stay_and_are_not_ours(self, kube: Kube, namespace: str, place: Any) -> None:
        await place(a_map(namespace, theirs="t"))
        live = await kube.apply(a_map(namespace, ours="o"))
        assert live.document["data"] == {"theirs": "t", "ours": "o"}
        assert live.applied["data"] == {"ours": "o"}

    async def test_a_foreign_object_under_a_new_name_is_a_conflict(
        self, kube: Kube, namespace: str, place: Any
    ) -> None:
        """Neither equal values nor values beside theirs make it ours."""
        await place(a_map(namespace, a="theirs"))
        for ours in ({"a": "ours"}, {"a": "theirs"}, {"b": "ours"}):
            with pytest.raises(Conflict):
                await kube.apply(a_map(namespace, **ours), is_new=True)
        live = await kube.get(Ref(CONFIG_MAP, namespace, "m"))
        assert live is not None
        assert (live.document["data"], live.applied) == ({"a": "theirs"}, {})

    async def test_an_apply_for_a_predecessor_is_a_conflict(self, kube: Kube, namespace: str, place: Any) -> None:
        old = await kube.apply(a_map(namespace, a="1"))
        late = a_map(namespace, a="2")
        late["metadata"]["uid"] = old.uid
        await kube.delete(old.ref, uid=old.uid)
        with pytest.raises(Conflict):
            await kube.apply(late)
        await place(a_map(namespace, a="theirs"))
        with pytest.raises(Conflict):
            await kube.apply(late)

    async def test_an_apply_of_an_old_version_is_a_conflict(self, kube: Kube, namespace: str) -> None:
        old = await kube.apply(a_map(namespace, a="1"))
        await kube.apply(a_map(namespace, a="2"))
        stale = a_map(namespace, a="3")
        stale["metadata"]["resourceVersion"] = old.resource_version
        with pytest.raises(Conflict):
            await kube.apply(stale)

    async def test_creating_what_exists_is_a_conflict(self, kube: Kube, namespace: str) -> None:
        await kube.create(a_map(namespace, a="1"))
        with pytest.raises(Conflict):
            await kube.create(a_map(namespace, a="2"))

    async def test_a_conflicting_field_is_taken_over(self, kube: Kube, namespace: str, place: Any) -> None:
        await place(a_map(namespace, a="theirs"))
        live = await kube.apply(a_map(namespace, a="ours"))
        assert live.document["data"] == {"a": "ours"}

    async def test_status_is_no_part_of_what_is_applied(self, kube: Kube, namespace: str) -> None:
        graph = await kube.apply(a_graph(namespace))
        document = {key: graph.document[key] for key in ("apiVersion", "kind")}
        named = {"name": "g", "namespace": namespace, "uid": graph.uid}
        live = await kube.apply_status({**document, "metadata": named, "status": {"state": "pending"}})
        assert live.document["status"]["state"] == "pending"
        assert live.generation == graph.generation == 1
        assert live.applied == graph.applied

    async def test_a_status_is_whole_and_spares_a_successor_of_the_same_name(self, kube: Kube, namespace: str) -> None:
        old = await kube.apply(a_graph(namespace))
        document = {key: old.document[key] for key in ("apiVersion", "kind")}
        named = {"name": "g", "namespace": namespace, "uid": old.uid}
        await kube.apply_status(
            {**document, "metadata": named, "status": {"state": "pending", "observedGeneration": 1}}
        )
        live = await kube.apply_status({**document, "metadata": named, "status": {"state": "successful"}})
        assert live.document["status"] == {"state": "successful"}
        await kube.delete(old.ref, uid=old.uid)
        new = await kube.apply(a_graph(namespace))
        with pytest.raises(Gone):
            await kube.apply_status({**document, "metadata": named, "status": {"state": "failed"}})
        after = await kube.get(new.ref)
        assert after is not None
        assert "failed" not in str(after.document.get("status"))

    async def test_a_changed_spec_is_a_new_generation(self, kube: Kube, namespace: str) -> None:
        await kube.apply(a_graph(namespace, 1))
        assert (await kube.apply(a_graph(namespace, 2))).generation == 2

    async def test_a_patch_changes_what_it_names(self, kube: Kube, namespace: str) -> None:
        live = await kube.apply(a_map(namespace, a="1", b="2"))
        patched = await kube.patch(live.ref, [{"op": "replace", "path": "/data/a", "value": "x"}])
        assert patched.document["data"] == {"a": "x", "b": "2"}

    async def test_a_patch_whose_test_fails_changes_nothing(self, kube: Kube, namespace: str) -> None:
        live = await kube.apply(a_map(namespace, a="1"))
        operations = [
            {"op": "test", "path": "/data/a", "value": "other"},
            {"op": "replace", "path": "/data/a", "value": "x"},
        ]
        with pytest.raises(Invalid):
            await kube.patch(live.ref, operations)
        after = await kube.get(live.ref)
        assert after is not None
        assert after.document["data"] == {"a": "1"}

    async def test_a_patch_of_an_old_version_is_a_conflict(self, kube: Kube, namespace: str) -> None:
        old = await kube.apply(a_map(namespace, a="1"))
        await kube.apply(a_map(namespace, a="2"))
        at_version = {"op": "replace", "path": "/metadata/resourceVersion", "value": old.resource_version}
        with pytest.raises(Conflict):
            await kube.patch(old.ref, [at_version, {"op": "replace", "path": "/data/a", "value": "x"}])

    async def test_a_patch_of_nothing_is_gone(self, kube: Kube, namespace: str) -> None:
        with pytest.raises(Gone):
            await kube.patch(Ref(CONFIG_MAP, namespace, "missing"), [{"op": "add", "path": "/data", "value": {}}])

    async def test_delete_spares_a_successor_of_the_same_name(self, kube: Kube, namespace: str) -> None:
        live = await kube.apply(a_map(namespace, a="1"))
        await kube.delete(live.ref, uid="6f7ea3a2-8c1d-4a6e-9d4b-5b8a1a2b3c4d")
        assert await kube.get(live.ref) is not None

    async def test_delete_takes_the_object_and_can_be_repeated(self, kube: Kube, namespace: str) -> None:
        live = await kube.apply(a_map(namespace, a="1"))
        await kube.delete(live.ref, uid=live.uid)
        await kube.delete(live.ref, uid=live.uid)
        assert await kube.get(live.ref) is None

    async def test_find_selects_by_label_and_namespace(self, kube: Kube, namespace: str) -> None:
        for name, colour in (("one", "red"), ("two", "blue"), ("three", "red")):
            await kube.apply(a_map(namespace, name, {"colour": colour}, a="1"))
        found = await kube.find(CONFIG_MAP, namespace, labels={"colour": "red"})
        assert [live.ref.name for live in found] == ["one", "three"]
        assert len(await kube.find(CONFIG_MAP, labels={"colour": "red"})) >= 2

    async def test_the_same_thing_said_again_is_one_event(self, kube: Kube, namespace: str) -> None:
        graph = await kube.apply(a_graph(namespace))
        for message in ("first", "first", "second"):
            await kube.record(Happening(graph.ref, graph.uid, "Tried", message))
        events = await kube.find(EVENT, namespace)
        assert sorted((e.document["message"], e.document["count"]) for e in events) == [("first", 1), ("second", 1)]
        assert {e.document["involvedObject"]["uid"] for e in events} == {graph.uid}
