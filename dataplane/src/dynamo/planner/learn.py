"""What one observation teaches: arrivals, requests' shape, how fast workers are, how long they take to start. Pure.

Called by `decide` before sizing. Returns new states; old ones stay as they are.
"""

from __future__ import annotations

from dataclasses import replace

from dynamo.planner.observation import Count, Fleet, Observation, RoleState, Shape, State, Traffic
from dynamo.wire.cards import Role

HISTORY_S = 600.0
SHAPE_REQUESTS = 100.0
"""Requests that the remembered shape looks back over."""
ENOUGH_FIRST_TOKENS = 3
"""Per worker and interval: fewer say too little about what it can do."""
STARTUP_MIN_S, STARTUP_MAX_S = 1.0, 900.0


def learn(seen: Observation, state: State) -> State:
    """The state after one observation whose traffic is known."""
    traffic = seen.traffic
    assert traffic is not None, "only known traffic teaches"
    count = Count(seen.now_s, traffic.interval_s, traffic.arrivals, traffic.in_flight)
    counts = (*(one for one in state.counts if one.at_s > seen.now_s - HISTORY_S), count)
    shape = _shape(state.shape, traffic)
    roles, startup_s = dict(state.roles), state.startup_s
    for role, fleet in seen.fleets.items():
        role_state = _role(roles.get(role, RoleState()), role, fleet, traffic, shape, seen.now_s)
        roles[role], startup_s = _startup(role_state, fleet, seen.now_s, startup_s)
    return State(counts, shape, roles, startup_s)


def _shape(old: Shape | None, traffic: Traffic) -> Shape | None:
    """A mean over about the last hundred completed requests; the old one while none completes."""
    if not traffic.completions or not traffic.osl_tokens:
        return old
    isl = traffic.isl_tokens or (old.isl_tokens if old else 1.0)
    uncached = traffic.uncached_tokens if traffic.uncached_tokens is not None else isl
    cv2 = traffic.isl_cv2 if traffic.isl_cv2 is not None else (old.isl_cv2 if old else 1.0)
    new = Shape(isl, max(1.0, uncached), traffic.osl_tokens, min(10.0, max(0.0, cv2)))
    if old is None:
        return new
    share = traffic.completions / (traffic.completions + SHAPE_REQUESTS)
    return Shape(
        *(
            before + (after - before) * share
            for before, after in (
                (old.isl_tokens, new.isl_tokens),
                (old.uncached_tokens, new.uncached_tokens),
                (old.osl_tokens, new.osl_tokens),
                (old.isl_cv2, new.isl_cv2),
            )
        )
    )


def _role(state: RoleState, role: Role, fleet: Fleet, traffic: Traffic, shape: Shape | None, now_s: float) -> RoleState:
    if fleet.ready <= 0 or fleet.is_blind:
        return state
    prefill, pace, itl, kv = state.prefill, state.pace, state.itl, state.kv
    streams = fleet.running / fleet.ready
    if role is not Role.DECODE and shape is not None and traffic.first_tokens > 0:
        tokens = traffic.uncached_tokens or shape.uncached_tokens
        is_quiet = fleet.waiting < 1 and traffic.queued <= fleet.ready
        prefill_s = fleet.prefill_s or (traffic.ttft_s if is_quiet else None)
        if prefill_s is not None:
            prefill = prefill.with_sample(tokens, prefill_s, now_s)
        is_full = fleet.waiting >= fleet.ready == fleet.desired == fleet.held
        if is_full and traffic.first_tokens >= ENOUGH_FIRST_TOKENS * fleet.ready:
            pace = pace.with_sample(tokens, fleet.ready * traffic.interval_s / traffic.first_tokens, now_s)
    itl_s = traffic.itl_s or fleet.itl_s
    if role is not Role.PREFILL and itl_s is not None:
        # Latencies are streams' own: what the fuller workers' streams wait says nothing of workers that just came.
        itl = itl.with_sample(streams if fleet.crowd is None else fleet.crowd, itl_s, now_s)
    if fleet.kv_share is not None:
        kv = kv.with_sample(streams, fleet.kv_share, now_s)
    return replace(state, prefill=prefill, pace=pace, itl=itl, kv=kv)


def _startup(state: RoleState, fleet: Fleet, now_s: float, startup_s: float | None) -> tuple[RoleState, float | None]:
    """Slow starts are believed at once, quick ones little by little: late workers cost more than early ones."""
    if fleet.ready < fleet.desired:
        since_s = now_s if state.growing_since_s is None else state.growing_since_s
        # A worker that cannot be scheduled says nothing about how long starting takes.
        return replace(state, growing_since_s=since_s), startup_s
    if state.growing_since_s is None:
        return state, startup_s
    took_s = min(STARTUP_MAX_S, max(STARTUP_MIN_S, now_s - state.growing_since_s))
    new_s = took_s if startup_s is None or took_s > startup_s else startup_s + (took_s - startup_s) * 0.3
    return replace(state, growing_since_s=None), new_s
