"""Which workers count, and what a model still lacks before it can serve. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dynamo.wire.cards import Role, WorkerCard

_GENERATION = re.compile(r"-[0-9a-f]{8}\Z")


@dataclass(frozen=True, slots=True)
class NamespaceFilter:
    """Whose workers this frontend serves; the prefix wins over the exact name, neither means everyone's."""

    namespace: str | None = None
    prefix: str | None = None
    is_strict: bool = False
    """The prefix stands for the namespace itself and its generations (`-` and 8 hexadecimal digits), nothing else."""

    def takes(self, namespace: str) -> bool:
        if self.prefix is not None:
            if not self.is_strict:
                return namespace.startswith(self.prefix)
            rest = namespace.removeprefix(self.prefix)
            return namespace.startswith(self.prefix) and (not rest or _GENERATION.fullmatch(rest) is not None)
        return self.namespace is None or namespace == self.namespace


@dataclass(frozen=True, slots=True)
class Readiness:
    """A model's workers in one namespace."""

    namespace: str
    workers: Mapping[Role, int]
    missing: tuple[Role, ...]

    @property
    def is_ready(self) -> bool:
        return not self.missing

    @property
    def reason(self) -> str | None:
        if self.is_ready:
            return None
        return f"missing worker types: {', '.join(role.value for role in self.missing)}"


def readiness(cards: Iterable[WorkerCard]) -> tuple[Readiness, ...]:
    """One entry per namespace of the given cards of one model, in order of name."""
    spaces: dict[str, dict[Role, int]] = {}
    for card in cards:
        roles = spaces.setdefault(card.namespace, {})
        roles[card.role] = roles.get(card.role, 0) + 1
    return tuple(Readiness(name, roles, missing_roles(roles)) for name, roles in sorted(spaces.items()))


def missing_roles(present: Iterable[Role]) -> tuple[Role, ...]:
    """An aggregated worker serves alone; a prefill and a decode worker need each other."""
    roles = set(present)
    if Role.AGGREGATED in roles:
        return ()
    return tuple(role for role in (Role.PREFILL, Role.DECODE) if role not in roles)


def serving_cards(cards: Sequence[WorkerCard]) -> tuple[WorkerCard, ...]:
    """Workers that a request may be sent to first: aggregated ones, and decode ones whose namespace has prefill."""
    with_prefill = {card.namespace for card in cards if card.role is Role.PREFILL}
    return tuple(
        card
        for card in cards
        if card.role is Role.AGGREGATED or (card.role is Role.DECODE and card.namespace in with_prefill)
    )
