"""The store never goes back in time and its indexes agree."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dynamo_operator.handlers import store as store_module
from dynamo_operator.handlers.store import LiveStore
from dynamo_operator.kube import Live, Packed, Ref
from dynamo_operator.kube.objects import DEPLOYMENT, GRAPH
from tests.unit.operator_plane.handlers.objects import packed


def names(store: LiveStore) -> list[str]:
    return [live.ref.name for live in store.find(GRAPH)]


def test_older_news_is_no_news() -> None:
    store = LiveStore()
    store.put(packed(version=5, spec={"v": 5}))
    assert store.put(packed(version=4, spec={"v": 4})) is None
    assert store.put(packed(version=5, spec={"v": 5})) is None
    live = store.get(packed().ref)
    assert live is not None
    assert live.document["spec"] == {"v": 5}


def test_late_news_of_a_deleted_object_does_not_revive_it() -> None:
    store = LiveStore()
    store.put(packed(version=5))
    store.forget(packed().ref, "uid-g")
    assert store.put(packed(version=6)) is None
    assert names(store) == []


def test_a_successor_of_the_same_name_survives_its_predecessors_end() -> None:
    store = LiveStore()
    store.put(packed(version=5, uid="first"))
    store.put(packed(version=7, uid="second"))
    assert store.forget(packed().ref, "first") is None
    assert [live.uid for live in store.find(GRAPH)] == ["second"]


def test_a_list_ends_what_it_lacks() -> None:
    store = LiveStore()
    for name in ("a", "b"):
        store.put(packed(name, version=1))
    changes = store.replace(GRAPH, "", [packed("b", version=1), packed("c", version=2)], 9)
    assert [(c.before and c.before.ref.name, c.after and c.after.ref.name) for c in changes] == [
        ("a", None),
        (None, "c"),
    ]
    assert names(store) == ["b", "c"]


def test_an_empty_list_ends_everything() -> None:
    store = LiveStore()
    store.put(packed(version=1))
    store.replace(GRAPH, "", [], 9)
    assert names(store) == []


def test_what_is_younger_than_a_list_stays() -> None:
    store = LiveStore()
    store.put(packed("written-by-us", version=12))
    store.replace(GRAPH, "", [], 9)
    assert names(store) == ["written-by-us"]


def test_news_from_before_a_list_that_lacks_the_object_is_old() -> None:
    store = LiveStore()
    store.replace(GRAPH, "", [], 9)
    assert store.put(packed(version=8)) is None
    assert names(store) == []


def test_a_list_of_one_kind_leaves_others_alone() -> None:
    store = LiveStore()
    store.put(packed("d", kind=DEPLOYMENT))
    store.replace(GRAPH, "", [], 9)
    assert store.count(DEPLOYMENT) == 1
    assert store.has_listed(GRAPH)
    assert not store.has_listed(DEPLOYMENT)


def test_objects_are_found_by_owner_and_labels() -> None:
    store = LiveStore()
    store.put(packed("b", kind=DEPLOYMENT, owner="u", labels={"x": "1", "y": "2"}))
    store.put(packed("a", kind=DEPLOYMENT, owner="u"))
    store.put(packed("c", kind=DEPLOYMENT, namespace="other", labels={"x": "1"}))
    assert [live.ref.name for live in store.controlled_by("u")] == ["a", "b"]
    assert [live.ref.name for live in store.find(DEPLOYMENT, labels={"x": "1"})] == ["c", "b"]
    assert [live.ref.name for live in store.find(DEPLOYMENT, "shop", labels={"x": "1"})] == ["b"]


def test_only_what_nobody_controls_is_uncontrolled() -> None:
    store = LiveStore()
    store.put(packed("owned", kind=DEPLOYMENT, owner="u", labels={"x": "1"}))
    store.put(packed("free", kind=DEPLOYMENT, labels={"x": "1"}))
    store.put(packed("other", kind=DEPLOYMENT, labels={"x": "2"}))
    store.put(packed("far", kind=DEPLOYMENT, namespace="other", labels={"x": "1"}))
    assert [live.ref.name for live in store.uncontrolled(DEPLOYMENT, "shop", {"x": "1"})] == ["free"]


def test_the_first_that_is_wanted_ends_the_look() -> None:
    store = LiveStore()
    for name in ("c", "a", "b"):
        store.put(packed(name))
    looked: list[str] = []

    def wanted(live: Live) -> bool:
        looked.append(live.ref.name)
        return live.ref.name >= "b"

    found = store.first(GRAPH, "shop", wanted)
    assert found is not None
    assert (found.ref.name, looked) == ("b", ["a", "b"])
    assert store.first(GRAPH, "other", wanted) is None


def test_an_object_that_changes_owners_leaves_the_first() -> None:
    store = LiveStore()
    store.put(packed(version=1, owner="first"))
    store.put(packed(version=2, owner="second"))
    assert store.controlled_by("first") == ()
    assert len(store.controlled_by("second")) == 1


def test_memory_of_the_deleted_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "FORGOTTEN_KEPT", 2)
    store = LiveStore()
    for name in ("a", "b", "c"):
        store.forget(packed(name).ref, f"uid-{name}")
    assert store.put(packed("b", version=9)) is None
    assert store.put(packed("a", version=9)) is not None


@dataclass
class Server:
    """A naive model: what exists, and every word ever said, in order."""

    version: int = 0
    uids: int = 0
    live: dict[str, Packed] = field(default_factory=dict)
    said: list[tuple[str, Packed]] = field(default_factory=list)

    def write(self, name: str, owner: str) -> None:
        self.version += 1
        if name not in self.live:
            self.uids += 1
        uid = self.live[name].uid if name in self.live else f"uid-{self.uids}"
        self.live[name] = packed(name, self.version, uid=uid, owner=owner)
        self.said.append(("put", self.live[name]))

    def delete(self, name: str) -> None:
        self.version += 1
        if name in self.live:
            self.said.append(("forget", self.live.pop(name)))


class StoreMachine(RuleBasedStateMachine):
    """Whatever is lost and repeated, after a list and all later words the store shows what is."""

    def __init__(self) -> None:
        super().__init__()
        self.server, self.store, self.heard = Server(), LiveStore(), 0

    @rule(name=st.sampled_from("abc"), owner=st.sampled_from(["", "x", "y"]))
    def write(self, name: str, owner: str) -> None:
        self.server.write(name, owner)

    @rule(name=st.sampled_from("abc"))
    def delete(self, name: str) -> None:
        self.server.delete(name)

    @rule(count=st.integers(1, 3))
    def hear(self, count: int) -> None:
        for verb, object_ in self.server.said[self.heard : self.heard + count]:
            self.tell(verb, object_)
        self.heard = min(len(self.server.said), self.heard + count)

    @rule(data=st.data())
    def hear_a_put_again(self, data: st.DataObject) -> None:
        """Late news, such as the answer to a write of ours."""
        puts = [object_ for verb, object_ in self.server.said if verb == "put"]
        if puts:
            self.tell("put", data.draw(st.sampled_from(puts)))

    @rule()
    def list_again(self) -> None:
        self.store.replace(GRAPH, "", list(self.server.live.values()), self.server.version)
        self.heard = len(self.server.said)

    def tell(self, verb: str, object_: Packed) -> None:
        if verb == "put":
            self.store.put(object_)
        else:
            self.store.forget(object_.ref, object_.uid)

    @invariant()
    def indexes_agree(self) -> None:
        self.store.check()

    @invariant()
    def all_heard_is_all_known(self) -> None:
        if self.heard == len(self.server.said) and self.store.has_listed(GRAPH):
            known = {live.ref.name: (live.uid, int(live.resource_version)) for live in self.store.find(GRAPH)}
            assert known == {name: (o.uid, o.version) for name, o in self.server.live.items()}


StoreMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
TestStoreMachine = StoreMachine.TestCase


def test_refs_order_by_namespace_and_name() -> None:
    assert Ref(GRAPH, "a", "z") < Ref(GRAPH, "b", "a")
