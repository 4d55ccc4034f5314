"""The planner's one decision: from what was seen to how many replicas each role should have, with the reason. Pure.

    learn -> forecast -> size each role -> hold still where it may -> fit floors and budget

Called by `loop` at every tick, by tests and simulations on virtual time. Missing data never reads as zero: then nothing
changes but what the floors ask for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from dynamo.planner.budget import fit
from dynamo.planner.forecast import forecast
from dynamo.planner.learn import learn
from dynamo.planner.observation import Decision, Fleet, Need, Observation, Policy, RoleState, State, Traffic
from dynamo.planner.sizing import Load, size
from dynamo.wire.cards import Role

SHRINK_MARGIN = 1.15
"""Load that fewer workers must be able to bear before any leave."""
MISSES_TO_GROW = 3
"""Intervals above the TTFT target with all workers there until the measurement beats the model."""
MISS_GROWTH = 0.25
QUIET_SHARE = 0.9
"""Of a target, above which no worker leaves."""
STARTUP_GUESS_S = 30.0
"""How far ahead to look before a worker was seen to start."""


def decide(seen: Observation, policy: Policy, state: State) -> Decision:
    """Replicas per role for now, the reason, and the state for the next call."""
    if (why := _unusable(seen)) is not None:
        return _hold(seen, policy, state, why)
    traffic = seen.traffic
    assert traffic is not None, "unusable without"
    state = learn(seen, state)
    lead_s = (STARTUP_GUESS_S if state.startup_s is None else state.startup_s) + policy.pace.tick_s
    expected = forecast(state.counts, seen.now_s, lead_s=lead_s, steady_s=policy.pace.steady_s)
    wanted: dict[Role, int] = {}
    needs: dict[Role, Need] = {}
    roles = dict(state.roles)
    for role, fleet in seen.fleets.items():
        head_start_s = _head_start_s(roles[role], state.startup_s, seen.now_s)
        load = Load(expected, state.shape, traffic, fleet, head_start_s=head_start_s)
        modelled = size(role, load, roles[role], policy)
        need = _measured(role, modelled, load, roles[role], policy, state.startup_s)
        spare = size(role, replace(load, margin=SHRINK_MARGIN), roles[role], policy)
        roles[role] = _remembered(roles[role], role, seen, need, spare, policy, state.startup_s)
        wanted[role] = _steady(role, seen, need, roles[role], policy, state)
        needs[role] = need
    fitted = fit(wanted, seen.fleets, policy.bounds)
    reason = _reason(seen, fitted.replicas, needs, fitted.note)
    return Decision(fitted.replicas, reason, replace(state, roles=roles), needs=needs, rate_per_s=expected.rate_per_s)


def _head_start_s(state: RoleState, startup_s: float | None, now_s: float) -> float:
    """By which the workers asked for so far come before one that is asked for now; 0 where nothing tells."""
    if state.growing_since_s is None:
        return startup_s or 0.0
    grows_s = now_s - state.growing_since_s
    return grows_s if startup_s is None else min(startup_s, grows_s)


def _unusable(seen: Observation) -> str | None:
    """Why no decision can be made, or None."""
    if seen.traffic is None:
        return "; ".join(seen.missing) or "traffic is unknown"
    numbers = [seen.traffic.arrivals, seen.traffic.in_flight, seen.traffic.queued]
    for fleet in seen.fleets.values():
        numbers += [fleet.running, fleet.waiting]
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        return "; ".join(seen.missing) or "a number is not finite"
    blind = [role.value for role, fleet in seen.fleets.items() if fleet.ready > 0 and fleet.seen == 0]
    if blind:
        return "; ".join(seen.missing) or f"no {blind[0]} worker told its load"
    return None


def _hold(seen: Observation, policy: Policy, state: State, why: str) -> Decision:
    """Keeps what is there, within floors and budget; what was learnt stays, the settling time starts anew."""
    current = {role: fleet.desired for role, fleet in seen.fleets.items()}
    fitted = fit(current, seen.fleets, policy.bounds)
    roles = {role: replace(each, needs=(), misses=0) for role, each in state.roles.items()}
    note = f" ({fitted.note})" if fitted.note else ""
    return Decision(fitted.replicas, f"holding: {why}{note}", replace(state, roles=roles), is_hold=True)


def _measured(role: Role, need: Need, load: Load, state: RoleState, policy: Policy, startup_s: float | None) -> Need:
    """More than the model asks for, where users have been waiting too long in spite of it."""
    fleet = load.fleet
    if (
        role is Role.DECODE
        or state.misses + 1 < MISSES_TO_GROW
        or not _misses_ttft(load.traffic, fleet, policy, startup_s)
    ):
        return need
    more = fleet.desired + max(1, math.ceil(fleet.desired * MISS_GROWTH))
    if more <= need.replicas:
        return need
    assert load.traffic.ttft_s is not None, "a miss was measured"
    return replace(need, replicas=more, why=f"TTFT measured at {load.traffic.ttft_s * 1000:.0f} ms with a queue")


def _misses_ttft(traffic: Traffic, fleet: Fleet, policy: Policy, startup_s: float | None) -> bool:
    """Above the target, because of waiting: without a queue, or for one that is going, more would not help."""
    target_s = policy.targets.ttft_s
    has_queue = fleet.waiting >= max(1, fleet.ready) or traffic.queued > 2 * max(1, fleet.ready)
    if target_s is None or (traffic.ttft_s or 0.0) <= target_s or not has_queue or fleet.ready < fleet.desired:
        return False
    gone = (traffic.first_tokens - traffic.arrivals) / traffic.interval_s * max(policy.pace.drain_s, startup_s or 0.0)
    return gone < traffic.queued


def _remembered(
    state: RoleState, role: Role, seen: Observation, need: Need, spare: Need, policy: Policy, startup_s: float | None
) -> RoleState:
    traffic, fleet = seen.traffic, seen.fleets[role]
    assert traffic is not None, "decided on known traffic"
    misses = state.misses + 1 if _misses_ttft(traffic, fleet, policy, startup_s) else 0
    enough = max(need.replicas, spare.replicas)
    if not need.is_known or traffic.is_partial or fleet.is_blind or _is_tight(seen, role, state, policy):
        enough = max(enough, fleet.desired)
    since_s = seen.now_s - settle_s(policy, startup_s)
    # One entry at or before the window's start says that the window is covered.
    older = [one for one in state.needs if one[0] <= since_s][-1:]
    needs = (*older, *(one for one in state.needs if one[0] > since_s), (seen.now_s, enough))
    return replace(state, misses=misses, needs=needs)


def _is_tight(seen: Observation, role: Role, state: RoleState, policy: Policy) -> bool:
    """Requests queue, or latencies are so near targets that can be kept that no worker can be missed."""
    traffic, fleet, targets = seen.traffic, seen.fleets[role], policy.targets
    assert traffic is not None, "decided on known traffic"
    workers = max(1, fleet.ready)
    if fleet.waiting >= workers:
        return True
    if role is not Role.DECODE and targets.ttft_s is not None and traffic.queued > workers:
        return (traffic.ttft_s or 0.0) > targets.ttft_s * QUIET_SHARE
    if role is Role.PREFILL or targets.itl_s is None or fleet.running <= workers:
        return False
    can_be_kept = (state.itl.reaches(targets.itl_s * QUIET_SHARE) or 0.0) >= 1
    return can_be_kept and (traffic.itl_s or 0.0) > targets.itl_s * QUIET_SHARE


def settle_s(policy: Policy, startup_s: float | None) -> float:
    """Workers that take long to start are given up more slowly."""
    return max(policy.pace.settle_s, 2 * (startup_s or 0.0))


def _steady(role: Role, seen: Observation, need: Need, role_state: RoleState, policy: Policy, state: State) -> int:
    """Up at once, down to the most that was needed while the load settled."""
    desired, step = seen.fleets[role].desired, policy.bounds.max_step
    if need.replicas > desired:
        return min(need.replicas, desired + step)
    first_s = role_state.needs[0][0]
    is_settled = first_s <= seen.now_s - settle_s(policy, state.startup_s)
    most = max(enough for _, enough in role_state.needs)
    if not is_settled or most >= desired:
        return desired
    return max(most, desired - step)


def _reason(seen: Observation, replicas: Mapping[Role, int], needs: Mapping[Role, Need], note: str) -> str:
    parts = []
    for role, need in needs.items():
        before, after = seen.fleets[role].desired, replicas[role]
        change = f"{before} -> {after}" if after != before else f"stays {before}"
        parts.append(f"{role.value} {change} (needs {need.replicas}: {need.why})")
    return "; ".join([*parts, *([note] if note else [])])
