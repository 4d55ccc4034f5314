"""Restarts on request: `spec.restart.id` becomes an annotation on pod templates, one component after another or all at
once. Pure; called by the graph's plan.

What was restarted is read from the live pod templates, how far it came from them and from `status.restart`; a rollout
of new worker generations makes a restart needless, so it is then called superseded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_ENDED = ("Completed", "Superseded", "Failed")


@dataclass(frozen=True, slots=True)
class RestartSpec:
    """What a user asked for; `order` holds component names and may be empty."""

    id: str
    is_parallel: bool
    order: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Restart:
    """ids: restart id by component for all pod templates. status: `status.restart`, None without a restart."""

    ids: Mapping[str, str]
    status: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Progress:
    """One component: the restart its pods were made by, and whether all of them are there and ready."""

    id: str | None
    is_ready: bool
    is_stuck: bool = False


def restart_spec(document: Mapping[str, Any]) -> RestartSpec | None:
    """The restart block of a graph's document; one without an id asks for nothing."""
    block = (document.get("spec") or {}).get("restart") or {}
    if not block.get("id"):
        return None
    strategy = block.get("strategy") or {}
    order = tuple(str(name) for name in strategy.get("order") or ())
    return RestartSpec(str(block["id"]), strategy.get("type") == "Parallel", order)


def restart_step(
    spec: RestartSpec | None,
    previous: Mapping[str, Any] | None,
    components: Mapping[str, Progress],
    *,
    is_rolling: bool,
) -> Restart:
    """Which components restart now; the others keep the restart that made them."""
    kept = {name: each.id for name, each in components.items() if each.id is not None}
    if spec is None:
        has_ended = previous is not None and previous.get("phase") in _ENDED
        return Restart(kept, previous if has_ended else None)
    if previous and previous.get("observedID") == spec.id and previous.get("phase") in _ENDED:
        return Restart(kept, previous)
    if is_rolling:
        return Restart(kept, {"observedID": spec.id, "phase": "Superseded"})
    order = _order(spec, tuple(components))
    done = [name for name in order if components[name].id == spec.id and components[name].is_ready]
    waiting = [name for name in order if name not in done]
    if not waiting:
        return Restart(kept, {"observedID": spec.id, "phase": "Completed"})
    stuck = [name for name in waiting if components[name].id == spec.id and components[name].is_stuck]
    if stuck:
        return Restart(kept, {"observedID": spec.id, "phase": "Failed", "inProgress": stuck})
    begun = [name for name in waiting if components[name].id == spec.id]
    chosen = waiting if spec.is_parallel else begun or waiting[:1]
    told = [name for name in chosen if name not in _ended_before(previous, spec, order)] or chosen
    status = {"observedID": spec.id, "phase": "Restarting", "inProgress": told}
    return Restart({**kept, **dict.fromkeys(chosen, spec.id)}, status)


def _ended_before(previous: Mapping[str, Any] | None, spec: RestartSpec, order: Sequence[str]) -> Sequence[str]:
    """Components whose turn was over when the status was written: one that is unready since is not restarting."""
    if spec.is_parallel or not previous or previous.get("observedID") != spec.id:
        return ()
    turns = [order.index(name) for name in previous.get("inProgress") or () if name in order]
    return order[: min(turns, default=0)]


def _order(spec: RestartSpec, components: Sequence[str]) -> list[str]:
    """As given, then what was not named, by name."""
    named = [name for name in dict.fromkeys(spec.order) if name in components]
    return [*named, *sorted(name for name in components if name not in named)]
