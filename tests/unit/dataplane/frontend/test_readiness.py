from __future__ import annotations

import random

import pytest

from dynamo.frontend.fleet import Fleet
from dynamo.frontend.readiness import NamespaceFilter, missing_roles, readiness, serving_cards
from dynamo.router import Ask, Router, RouterConfig
from dynamo.wire.cards import ModelType, Role, WorkerCard
from dynamo.wire.errors import InvalidRequest, NotFound, Unavailable

A, P, D = Role.AGGREGATED, Role.PREFILL, Role.DECODE


def a_card(worker_id: int = 1, role: Role = A, namespace: str = "n", **changes: object) -> WorkerCard:
    values: dict[str, object] = {
        "worker_id": worker_id,
        "name": f"w{worker_id}",
        "namespace": namespace,
        "component": "backend",
        "engine": "fake",
        "model": "m",
        "role": role,
        "address": f"http://h:{worker_id}",
        "system_address": "http://h:1",
        "block_size": 16,
        **changes,
    }
    return WorkerCard(**values)  # type: ignore[arg-type]


def a_fleet(*cards: WorkerCard, namespaces: NamespaceFilter | None = None) -> Fleet:
    fleet = Fleet(
        lambda role: Router(RouterConfig(), rng=random.Random(0), clock=lambda: 0.0), namespaces or NamespaceFilter()
    )
    fleet.update(cards)
    return fleet


@pytest.mark.parametrize(
    ("chosen", "namespace", "is_taken"),
    [
        pytest.param(NamespaceFilter(), "any", True, id="everyone"),
        pytest.param(NamespaceFilter("a"), "a", True, id="exact"),
        pytest.param(NamespaceFilter("a"), "a-1234abcd", False, id="exact-no-generation"),
        pytest.param(NamespaceFilter(None, "a"), "a-b", True, id="prefix"),
        pytest.param(NamespaceFilter("b", "a"), "ax", True, id="prefix-wins"),
        pytest.param(NamespaceFilter(None, "a"), "ba", False, id="no-prefix"),
        pytest.param(NamespaceFilter(None, "a", True), "a", True, id="strict-itself"),
        pytest.param(NamespaceFilter(None, "a", True), "a-1234abcd", True, id="strict-generation"),
        pytest.param(NamespaceFilter(None, "a", True), "a-1234abcg", False, id="strict-no-hex"),
        pytest.param(NamespaceFilter(None, "a", True), "a-b-1234abcd", False, id="strict-other-graph"),
        pytest.param(NamespaceFilter(None, "a", True), "a-1234abcd\n", False, id="strict-to-the-end"),
    ],
)
def test_namespace_filter(chosen: NamespaceFilter, namespace: str, is_taken: bool) -> None:
    assert chosen.takes(namespace) is is_taken


@pytest.mark.parametrize(
    ("present", "missing"),
    [
        pytest.param({A}, (), id="aggregated"),
        pytest.param({P, D}, (), id="pair"),
        pytest.param({A, D}, (), id="aggregated-serves-alone"),
        pytest.param({D}, (P,), id="decode-alone"),
        pytest.param({P}, (D,), id="prefill-alone"),
    ],
)
def test_missing_roles(present: set[Role], missing: tuple[Role, ...]) -> None:
    assert missing_roles(present) == missing


def test_roles_of_two_namespaces_do_not_complete_each_other() -> None:
    cards = [a_card(1, P, "old"), a_card(2, D, "new")]

    assert [space.is_ready for space in readiness(cards)] == [False, False]
    assert serving_cards(cards) == ()


def test_decode_workers_serve_only_beside_prefill_workers() -> None:
    cards = [a_card(1, P), a_card(2, D), a_card(3, D, "other"), a_card(4, A, "other")]

    assert [card.worker_id for card in serving_cards(cards)] == [2, 4]


def test_names_are_found_with_base_before_alias_before_adapter() -> None:
    fleet = a_fleet(a_card(1, aliases=("alias", "x"), loras=("lora", "x")), a_card(2, model="x"))

    assert fleet.find("m", ModelType.CHAT).lora is None
    assert fleet.find("alias", ModelType.CHAT).model.name == "m"
    assert fleet.find("lora", ModelType.CHAT).lora == "lora"
    assert fleet.find("x", ModelType.CHAT).model.name == "x"
    assert [listed.name for listed in fleet.listing()] == ["alias", "lora", "m", "x"]


def test_what_cannot_be_served_is_refused_with_the_reason() -> None:
    fleet = a_fleet(a_card(1, D, model="half"), a_card(2))

    with pytest.raises(NotFound, match=r"'zzz'.*served here: m"):
        fleet.find("zzz", ModelType.CHAT)
    with pytest.raises(Unavailable, match=r"not ready.*missing worker types: prefill"):
        fleet.find("half", ModelType.CHAT)
    with pytest.raises(InvalidRequest, match="does not serve embeddings; it serves chat, completions"):
        fleet.find("m", ModelType.EMBEDDINGS)


def test_foreign_namespaces_are_not_seen() -> None:
    fleet = a_fleet(a_card(1, namespace="a"), a_card(2, namespace="b"), namespaces=NamespaceFilter("a"))

    assert [card.worker_id for card in fleet.cards] == [1]


def test_worker_that_leaves_is_no_longer_chosen() -> None:
    fleet = a_fleet(a_card(1), a_card(2))
    fleet.update([a_card(2)])
    router = fleet.find("m", ModelType.CHAT).model.router

    assert {router.decide(Ask(request_id=str(n), model="m")).worker_id for n in range(4)} == {2}
    fleet.update([])
    with pytest.raises(NotFound, match="no model is served here now"):
        fleet.find("m", ModelType.CHAT)


def test_prefill_workers_have_a_router_per_namespace_and_never_serve_first() -> None:
    fleet = a_fleet(a_card(1, P), a_card(2, D), a_card(3, P, "o"), a_card(4, D, "o"))
    model = fleet.find("m", ModelType.CHAT).model
    chosen = {model.router.decide(Ask(request_id=str(n), model="m")).worker_id for n in range(4)}

    assert chosen == {2, 4}
    assert model.prefill_router("o").decide(Ask(request_id="r", model="m")).worker_id == 3
    assert model.router_of(1) is model.prefill_router("n")
    assert model.router_of(2) is model.router
    with pytest.raises(Unavailable):
        model.prefill_router("zzz")
