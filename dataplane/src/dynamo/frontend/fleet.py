"""The workers that this frontend sees, by the models they serve.

One router per model over all workers that can take a request first, one per model and namespace over prefill workers.
Owns them; changed only by `update`, which the discovery watch calls. Reads are cheap: names are looked up in dicts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dynamo.frontend.readiness import NamespaceFilter, Readiness, readiness, serving_cards
from dynamo.router import Router
from dynamo.wire.cards import ModelType, Role, WorkerCard
from dynamo.wire.errors import InvalidRequest, NotFound, Unavailable
from dynamo.wire.router_events import Hashes, Load, Tier

SHOWN_NAME_CHARS = 256
"""Of an unknown name in its refusal: a client may send megabytes."""

NewRouter = Callable[[Role], Router]
"""Makes a router for workers of a role; a model that mixes aggregated and decode workers gets an aggregated one."""


class ServedModel:
    """One base model: its workers and how requests are spread over them."""

    def __init__(self, name: str, new_router: NewRouter) -> None:
        self.name = name
        self._new_router = new_router
        self._routes = Role.AGGREGATED
        self.router = new_router(Role.AGGREGATED)
        self.prefill_routers: dict[str, Router] = {}
        self.cards: Mapping[int, WorkerCard] = {}
        self.spaces: tuple[Readiness, ...] = ()
        self.types: frozenset[ModelType] = frozenset()
        self.context_length: int | None = None
        self.is_parallel = False
        """Some worker has more than one data-parallel rank."""

    def update(self, cards: Sequence[WorkerCard]) -> None:
        serving = serving_cards(cards)
        self.cards = {card.worker_id: card for card in cards}
        self.spaces = readiness(cards)
        self.types = frozenset(kind for card in serving for kind in card.model_types)
        lengths = [card.context_length for card in serving if card.context_length]
        self.context_length = max(lengths, default=None)
        self.is_parallel = any(card.data_parallel_size > 1 for card in cards)
        routes = Role.DECODE if {card.role for card in serving} == {Role.DECODE} else Role.AGGREGATED
        if routes is not self._routes:
            self._routes, self.router = routes, self._new_router(routes)
        self.router.set_workers(serving)
        prefill: dict[str, list[WorkerCard]] = {}
        for card in cards:
            if card.role is Role.PREFILL:
                prefill.setdefault(card.namespace, []).append(card)
        for namespace in {*prefill, *self.prefill_routers}:
            router = self.prefill_routers.get(namespace)
            if namespace not in prefill:
                del self.prefill_routers[namespace]
            else:
                if router is None:
                    router = self.prefill_routers[namespace] = self._new_router(Role.PREFILL)
                router.set_workers(prefill[namespace])

    @property
    def is_ready(self) -> bool:
        return any(space.is_ready for space in self.spaces)

    def prefill_router(self, namespace: str) -> Router:
        """Raises Unavailable when the namespace has lost its prefill workers since the request was routed."""
        router = self.prefill_routers.get(namespace)
        if router is None:
            raise Unavailable(f"Model {self.name!r} has no prefill worker in {namespace}", retry_after_s=1)
        return router

    def router_of(self, worker_id: int) -> Router | None:
        """The router that follows this worker's cache."""
        card = self.cards.get(worker_id)
        if card is None:
            return None
        return self.prefill_routers.get(card.namespace) if card.role is Role.PREFILL else self.router

    def routers(self) -> Iterator[Router]:
        yield self.router
        yield from self.prefill_routers.values()

    def routers_by_role(self) -> Iterator[tuple[str, Router]]:
        """With the worker type that metrics name: upstream calls all that decode `decode`."""
        yield "decode", self.router
        yield from (("prefill", router) for router in self.prefill_routers.values())


@dataclass(frozen=True, slots=True)
class Found:
    """What a request's `model` stands for."""

    model: ServedModel
    lora: str | None


@dataclass(frozen=True, slots=True)
class Listed:
    """A name that /v1/models shows."""

    name: str
    created_s: int
    context_length: int | None
    parent: str | None
    """The base model, for an adapter."""


class Fleet:
    """Everything that discovery says, filtered and grouped."""

    def __init__(self, new_router: NewRouter, namespaces: NamespaceFilter) -> None:
        self._new_router = new_router
        self._namespaces = namespaces
        self._models: dict[str, ServedModel] = {}
        self._names: dict[str, Found] = {}
        self._by_worker: dict[int, ServedModel] = {}
        self.cards: tuple[WorkerCard, ...] = ()
        self.is_known = False
        """Discovery has said once who is there."""

    def update(self, cards: Sequence[WorkerCard]) -> None:
        """Takes the whole fleet anew; routers keep what they know of workers that stay."""
        self.is_known = True
        self.cards = tuple(card for card in cards if self._namespaces.takes(card.namespace))
        by_model: dict[str, list[WorkerCard]] = {}
        for card in self.cards:
            by_model.setdefault(card.model, []).append(card)
        for gone in self._models.keys() - by_model.keys():
            del self._models[gone]
        for name, members in by_model.items():
            if name not in self._models:
                self._models[name] = ServedModel(name, self._new_router)
            self._models[name].update(members)
        self._by_worker = {card.worker_id: self._models[card.model] for card in self.cards}
        self._names = self._name_everything()

    def find(self, name: str, needs: ModelType) -> Found:
        """Raises NotFound, or Unavailable when the model is known and cannot serve now."""
        if not self.is_known:
            raise Unavailable("The workers are not known yet", retry_after_s=1)
        found = self._names.get(name)
        if found is None:
            shown = name if len(name) <= SHOWN_NAME_CHARS else name[:SHOWN_NAME_CHARS] + "…"
            raise NotFound(f"model: found {shown!r}; {self._known_names()}", param="model", code="model_not_found")
        model = found.model
        if not model.is_ready:
            reasons = "; ".join(f"{space.namespace}: {space.reason}" for space in model.spaces)
            raise Unavailable(f"Model {name!r} is not ready to serve requests yet ({reasons})", retry_after_s=1)
        if needs not in model.types:
            kinds = ", ".join(sorted(kind.value for kind in model.types))
            raise InvalidRequest(f"model: {name!r} does not serve {needs.value}; it serves {kinds}", param="model")
        return found

    def known(self, name: str) -> ServedModel | None:
        found = self._names.get(name)
        return found.model if found else None

    def routed_cards(self) -> tuple[WorkerCard, ...]:
        """Workers that requests go to: those of models and namespaces that can serve."""
        ready = {(model.name, space.namespace) for model in self.models() for space in model.spaces if space.is_ready}
        return tuple(card for card in self.cards if (card.model, card.namespace) in ready)

    def avoid(self, worker_id: int, until_s: float) -> None:
        """Sends it nothing while others can take it."""
        if router := self._router_of(worker_id):
            router.inhibit(worker_id, until_s)

    def models(self) -> tuple[ServedModel, ...]:
        return tuple(self._models.values())

    def listing(self) -> tuple[Listed, ...]:
        """Every name that can be served now, in order."""
        listed: dict[str, Listed] = {}
        for model in self._models.values():
            if not model.is_ready:
                continue
            for card in serving_cards(tuple(model.cards.values())):
                for name in card.model_names:
                    parent = model.name if name in card.loras else None
                    listed.setdefault(name, Listed(name, card.created_s, card.context_length, parent))
        return tuple(listed[name] for name in sorted(listed))

    def _name_everything(self) -> dict[str, Found]:
        """Base names win over aliases, aliases over adapters."""
        names: dict[str, Found] = {}
        for model in self._models.values():
            for card in model.cards.values():
                names.update({lora: Found(model, lora) for lora in card.loras if lora not in names})
        for model in self._models.values():
            for card in model.cards.values():
                names.update({alias: Found(model, None) for alias in card.aliases})
        names.update({name: Found(model, None) for name, model in self._models.items()})
        return names

    def _known_names(self) -> str:
        served = [listed.name for listed in self.listing()]
        return f"served here: {', '.join(served[:20])}" if served else "no model is served here now"

    # What the event feed calls: each change goes to the router that the worker belongs to.

    def store(self, worker_id: int, dp_rank: int, hashes: Hashes, tier: Tier) -> None:
        if router := self._router_of(worker_id):
            router.store(worker_id, dp_rank, hashes, tier)

    def remove(self, worker_id: int, dp_rank: int, hashes: Hashes, tier: Tier) -> None:
        if router := self._router_of(worker_id):
            router.remove(worker_id, dp_rank, hashes, tier)

    def clear(self, worker_id: int, dp_rank: int) -> None:
        if router := self._router_of(worker_id):
            router.clear(worker_id, dp_rank)

    def replace(self, worker_id: int, dp_rank: int, tiers: Mapping[Tier, Hashes]) -> None:
        if router := self._router_of(worker_id):
            router.replace(worker_id, dp_rank, tiers)

    def drop(self, worker_id: int) -> None:
        for model in self._models.values():
            for router in model.routers():
                router.drop(worker_id)

    def apply_load(self, load: Load) -> None:
        if router := self._router_of(load.worker_id):
            router.apply_load(load)

    def _router_of(self, worker_id: int) -> Router | None:
        model = self._by_worker.get(worker_id)
        return model.router_of(worker_id) if model else None
