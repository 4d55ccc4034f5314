"""What the planner knows, wants and decides, as frozen values.

Made by `measure` (observations) and `config` (targets and bounds), consumed by `decide`. No behaviour beyond small
questions about the values themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dynamo.planner.curve import NO_CURVE, Curve
from dynamo.wire.cards import Role

STEADY_S = 60.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What all frontends counted over one interval; means are None when nothing was observed in it."""

    interval_s: float
    arrivals: float
    completions: float = 0.0
    first_tokens: float = 0.0
    isl_tokens: float | None = None
    uncached_tokens: float | None = None
    """Prompt tokens that had to be computed, of `isl_tokens`."""
    isl_cv2: float | None = None
    """Squared coefficient of variation of prompt lengths: variance over squared mean."""
    osl_tokens: float | None = None
    ttft_s: float | None = None
    itl_s: float | None = None
    duration_s: float | None = None
    in_flight: float = 0.0
    queued: float = 0.0
    """Requests without a first token yet, wherever they wait."""
    is_partial: bool = False
    """Some frontend did not answer, or answered for the first time: numbers are lower bounds."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """One role's workers."""

    desired: int
    """Replicas asked for; those not ready yet are on their way."""
    ready: int
    present: int | None = None
    """Workers that hold their GPUs, ending ones included; None: as many as desired."""
    seen: int | None = None
    """Ready workers whose metrics were read; None: all."""
    running: float = 0.0
    waiting: float = 0.0
    """Requests in all workers' engines: being computed, and queued. Workers that did not answer count as the others."""
    crowd: float | None = None
    """Streams on the worker of a stream, on average; more than per worker where some are fuller. None: as all are."""
    kv_share: float | None = None
    """Mean share of the KV cache in use, 0 to 1."""
    prefill_s: float | None = None
    """Mean time from scheduling to first token in this interval, where engines tell it."""
    itl_s: float | None = None
    max_num_seqs: int | None = None
    gpus_per_replica: int = 1

    @property
    def held(self) -> int:
        """Replicas that occupy the budget now."""
        return max(self.desired, self.present or 0)

    @property
    def is_blind(self) -> bool:
        """Too few workers answered for the rest to be taken as alike."""
        return self.seen is not None and 2 * self.seen < self.ready


@dataclass(frozen=True, slots=True)
class Observation:
    now_s: float
    """Seconds on a clock that never goes back."""
    traffic: Traffic | None
    """None: unknown in this interval, see `missing`."""
    fleets: Mapping[Role, Fleet]
    missing: tuple[str, ...] = ()
    """What could not be read, in words."""


@dataclass(frozen=True, slots=True)
class Targets:
    """What users are promised. None: no promise, size by utilisation alone."""

    ttft_s: float | None
    itl_s: float | None
    utilisation: float = 0.8
    """Share of a worker's capacity that sizing may plan with."""
    miss_share: float = 0.02
    """Share of requests that may wait longer than the TTFT target leaves."""


@dataclass(frozen=True, slots=True)
class Bounds:
    floors: Mapping[Role, int]
    max_gpus: int | None = None
    min_gpus: int | None = None
    max_step: int = 8
    """Most replicas that one decision adds to or takes from a role."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Times that steer deciding, in seconds."""

    tick_s: float = 5.0
    settle_s: float = 180.0
    """How long a smaller need must last before workers go."""
    drain_s: float = 30.0
    """Within which a backlog should be worked off."""

    @property
    def steady_s(self) -> float:
        """Window whose mean rate is believed as it is: a minute at usual paces, shorter where all is quicker."""
        return min(STEADY_S, max(6 * self.tick_s, self.settle_s / 3))


@dataclass(frozen=True, slots=True)
class Policy:
    targets: Targets
    bounds: Bounds
    pace: Pace = Pace()


@dataclass(frozen=True, slots=True)
class Count:
    """Arrivals of one interval that ended at `at_s`."""

    at_s: float
    interval_s: float
    arrivals: float
    present: float = 0.0
    """Requests that had arrived and not ended yet, at its end."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a request looks like on average, over about the last hundred."""

    isl_tokens: float
    uncached_tokens: float
    osl_tokens: float
    isl_cv2: float = 1.0


@dataclass(frozen=True, slots=True)
class RoleState:
    """What is remembered of one role's workers."""

    prefill: Curve = NO_CURVE
    """Seconds of prefill over computed prompt tokens."""
    itl: Curve = NO_CURVE
    """Inter-token latency over requests per worker."""
    kv: Curve = NO_CURVE
    """Share of the KV cache in use over requests per worker."""
    pace: Curve = NO_CURVE
    """Worker-seconds per request over computed prompt tokens, measured while more was waiting than was served."""
    needs: tuple[tuple[float, int], ...] = ()
    """(time, replicas that would do with a margin) within the settling time."""
    misses: int = 0
    """Intervals in a row with TTFT above its target while all workers were there."""
    growing_since_s: float | None = None
    """When workers were asked for that are not ready yet."""


@dataclass(frozen=True, slots=True)
class State:
    """Everything the planner remembers between decisions; a fresh one costs a settling time of caution."""

    counts: tuple[Count, ...] = ()
    shape: Shape | None = None
    roles: Mapping[Role, RoleState] = field(default_factory=dict)
    startup_s: float | None = None
    """How long a worker takes from being asked for to being ready, the slow side of what was seen; None: not seen."""


@dataclass(frozen=True, slots=True)
class Need:
    """How many workers a role needs and what says so."""

    replicas: int
    why: str
    capacity_per_s: float | None = None
    """Requests per second of one worker within the targets."""
    utilisation: float | None = None
    is_known: bool = True
    """False: too little is known to take workers away."""


@dataclass(frozen=True, slots=True)
class Decision:
    replicas: Mapping[Role, int]
    reason: str
    state: State
    is_hold: bool = False
    """Data was missing: replicas only keep the floors."""
    needs: Mapping[Role, Need] = field(default_factory=dict)
    rate_per_s: float | None = None
    """Forecast arrivals."""
