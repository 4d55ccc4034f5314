"""How many workers a role needs for a load, and why: prefill by its queue, decode by its batch. Pure.

Called by `decide`. Never looks at what runs now except to read the backlog; bounds, budget and steadiness come after.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass, replace

from dynamo.planner.forecast import Forecast
from dynamo.planner.observation import Fleet, Need, Policy, RoleState, Shape, Traffic
from dynamo.planner.queueing import servers_for
from dynamo.wire.cards import Role

ITL_HEADROOM = 0.9
"""Share of the inter-token target that sizing plans with: the mean must stay below it at the planned batch."""
DECODE_SIGMAS = 1.0
"""Standard deviations of concurrency that decode workers must hold."""
ROUNDS = 8
"""Of settling how long streams last against how many there are; each round only lowers both."""
KV_FULL = 0.9
"""Beyond this share of the KV cache, engines start to evict running requests."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a role has to bear; `margin` multiplies the rate (1.15 asks whether fewer workers would do safely)."""

    forecast: Forecast
    shape: Shape | None
    traffic: Traffic
    fleet: Fleet
    margin: float = 1.0
    head_start_s: float = 0.0
    """How long the workers asked for so far will have worked when another one could begin."""

    @property
    def rate_per_s(self) -> float:
        return self.forecast.rate_per_s * self.margin

    @property
    def is_idle(self) -> bool:
        busy = self.traffic.in_flight + self.traffic.queued + self.fleet.running + self.fleet.waiting
        return self.rate_per_s <= 0 and busy <= 0


def size(role: Role, load: Load, state: RoleState, policy: Policy) -> Need:
    """The replicas that keep the promises at this load, at least one while there is any."""
    if load.is_idle:
        return Need(0, "no traffic")
    needs = []
    if role is not Role.DECODE:
        needs.append(_size_prefill(load, state, policy))
    if role is not Role.PREFILL:
        needs.append(_size_decode(load, state, policy))
    most = max(needs, key=lambda need: need.replicas)
    why = "; ".join(need.why for need in needs if need is most or not need.is_known)
    return replace(most, why=why, is_known=all(need.is_known for need in needs))


def _size_prefill(load: Load, state: RoleState, policy: Policy) -> Need:
    fleet, targets = load.fleet, policy.targets
    service_s = _service_s(load, state)
    if service_s is None:
        return Need(max(1, fleet.desired), "prefill time not measured yet", is_known=False)
    wanted_s = targets.ttft_s
    is_reachable = wanted_s is not None and service_s < wanted_s
    slack_s = wanted_s - service_s if wanted_s is not None and is_reachable else math.inf
    shape = load.shape
    variability = (load.forecast.dispersion + (shape.isl_cv2 if shape else 1.0)) / 2
    steady = servers_for(
        load.rate_per_s,
        service_s,
        slack_s,
        variability=variability,
        miss_share=targets.miss_share,
        utilisation=targets.utilisation,
    )
    # Work that stands in the queue beyond what may wait within the target is worked off by who is idle, or by more;
    # but more would come too late for what is gone by then.
    may_wait_s = steady * max(service_s, (wanted_s or policy.pace.drain_s) / 2)
    gone_s = max(0.0, fleet.desired - load.rate_per_s * service_s) * load.head_start_s
    backlog = max(0.0, load.traffic.queued * service_s - may_wait_s - gone_s) / policy.pace.drain_s
    extra = max(0, math.ceil(backlog - (steady - load.rate_per_s * service_s) - 1e-9))
    why = f"{load.rate_per_s:.2f} req/s of {service_s * 1000:.0f} ms prefill"
    if extra:
        why += f" and {load.traffic.queued:.0f} queued"
    if wanted_s is not None and not is_reachable:
        why += f"; TTFT target {wanted_s * 1000:.0f} ms is below one request's own time, sized by utilisation"
    total = max(1, steady + extra)
    return Need(total, why, targets.utilisation / service_s, load.rate_per_s * service_s / total)


def _service_s(load: Load, state: RoleState) -> float | None:
    """Worker-seconds per prefill: the time of one request, or less where workers were seen to get through more."""
    traffic, fleet = load.traffic, load.fleet
    tokens = load.shape.uncached_tokens if load.shape is not None else None
    found = [] if tokens is None else [state.prefill.at(tokens), state.pace.at(tokens)]
    known = [each for each in found if each is not None]
    if not known and traffic.first_tokens > 0 and traffic.queued > fleet.ready > 0:
        # All are busy and more is waiting: what comes out is what they can do.
        known.append(fleet.ready * traffic.interval_s / traffic.first_tokens)
    return min(known) if known else None


def _size_decode(load: Load, state: RoleState, policy: Policy) -> Need:
    fleet, shape = load.fleet, load.shape
    batch, limit = _batch(fleet, state, policy)
    if batch is None:
        return Need(max(1, fleet.desired), "decode capacity not measured yet", is_known=False)
    osl = shape.osl_tokens if shape else 0.0
    now_s = osl * _itl_s(min(batch, fleet.running / max(1, fleet.ready)), state, policy)
    forecast = load.forecast.lasting(now_s)
    rate_per_s = forecast.rate_per_s * load.margin

    def busy(workers: int) -> float:
        hold_s = _hold_s(rate_per_s, osl, batch, workers, state, policy)
        mean = rate_per_s * hold_s
        held = mean + DECODE_SIGMAS * math.sqrt(mean * forecast.dispersion)
        # Streams that run now stay until they end, whatever arrives; how many arrive says if they are too many.
        held = max(held, fleet.running if shape is None else min(fleet.running, fleet.desired * batch))
        return held + fleet.waiting * min(1.0, hold_s / policy.pace.drain_s)

    # With every worker full, streams last longest: nobody needs more workers than that.
    most = max(1, math.ceil(busy(1) / batch - 1e-9))
    total = bisect.bisect_left(range(1, most), True, key=lambda workers: busy(workers) <= workers * batch + 1e-9) + 1
    why = f"{busy(total):.1f} streams at once, {batch:.1f} per worker ({limit})"
    if fleet.waiting:
        why += f", {fleet.waiting:.0f} waiting"
    full_s = osl * _itl_s(batch, state, policy)
    return Need(total, why, batch / full_s if full_s > 0 else None, busy(total) / (batch * total))


def _hold_s(
    rate_per_s: float, osl_tokens: float, batch: float, workers: int, state: RoleState, policy: Policy
) -> float:
    """How long a stream lasts among the neighbours that it has when `workers` share the load."""
    hold_s = osl_tokens * _itl_s(batch, state, policy)
    for _ in range(ROUNDS):
        hold_s = osl_tokens * _itl_s(min(batch, rate_per_s * hold_s / workers), state, policy)
    return hold_s


def _itl_s(streams: float, state: RoleState, policy: Policy) -> float:
    return state.itl.expected_at(streams) or policy.targets.itl_s or 0.0


def _batch(fleet: Fleet, state: RoleState, policy: Policy) -> tuple[float | None, str]:
    """Streams that a worker should hold, and what limits them; None: nothing known limits them yet."""
    targets = policy.targets
    limits: list[tuple[float, str]] = []
    if fleet.max_num_seqs:
        limits.append((fleet.max_num_seqs * targets.utilisation, "sequence limit"))
    if (streams := state.kv.in_proportion(KV_FULL * targets.utilisation)) is not None:
        limits.append((max(1.0, streams), "KV cache"))
    if targets.itl_s is not None and not state.itl.is_empty:
        reached = state.itl.reaches(targets.itl_s * ITL_HEADROOM)
        if reached is not None and reached >= 1:
            limits.append((reached, "inter-token target"))
        elif not limits:
            limits.append((max(1.0, state.itl.most), "inter-token target out of reach, as many as seen"))
    return min(limits, default=(None, ""), key=lambda one: one[0])
