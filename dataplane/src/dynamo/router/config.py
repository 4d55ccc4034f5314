"""Settings of a router: the flags that a frontend takes for it, and the frozen value that they become.

Names, variables and defaults follow upstream; settings that upstream does not have (`--router-duplicate-weight`,
`--router-eviction-weight`) are explained in `cost`. Read once at start by the frontend.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dynamo.process.flags import Flag, FlagError, Retired, boolean, number, one_of


class Mode(enum.Enum):
    """How a worker is chosen."""

    ROUND_ROBIN = "round-robin"
    RANDOM = "random"
    POWER_OF_TWO = "power-of-two"
    LEAST_LOADED = "least-loaded"
    KV = "kv"
    DIRECT = "direct"


class CachePolicy(enum.Enum):
    """How a router without KV events forgets what it sent where."""

    TTL = "ttl"
    LRU = "lru"


class QueuePolicy(enum.Enum):
    """Which waiting request goes first."""

    FCFS = "fcfs"
    WSPT = "wspt"


@dataclass(frozen=True, slots=True)
class BusyThresholds:
    """Limits beyond which a rank takes no new request; None: no limit. A worker is busy when all its ranks are."""

    active_decode_blocks: float | None = None
    """Fraction of the rank's KV blocks that running requests may hold, 0 to 1."""
    active_prefill_tokens: int | None = None
    """Prompt tokens waiting to be computed on the rank."""
    active_prefill_tokens_frac: float | None = None
    """The same, as a multiple of the engine's tokens per step."""


@dataclass(frozen=True, slots=True)
class CostWeights:
    """Weights of the terms in `cost`."""

    overlap_credit: float = 1.0
    """Share of a cached block's prefill that is saved; 0 ignores caches."""
    overlap_credit_decay: float = 0.0
    """How fast the credit falls with prefill load above the least loaded candidate's."""
    prefill_load_scale: float = 1.0
    host_hit: float = 0.75
    """Worth of a block in host memory, in device blocks: it must be copied back."""
    disk_hit: float = 0.25
    active_request: float = 0.0
    """Blocks that a running request weighs beyond its KV blocks."""
    duplicate: float = 8.0
    """Blocks that a second copy of a cached block weighs while its holder is not saturated."""
    eviction: float = 1.0
    """Blocks that displacing a proven block weighs."""


@dataclass(frozen=True, slots=True)
class RouterConfig:
    """Everything a `Router` is told at start."""

    mode: Mode = Mode.ROUND_ROBIN
    weights: CostWeights = field(default_factory=CostWeights)
    temperature: float = 0.0
    """0: least cost wins, ties at random; above: softmax over the normalised costs."""
    busy: BusyThresholds = field(default_factory=BusyThresholds)
    min_initial_workers: int = 0
    """Workers that must have been seen together once before the first decision."""
    uses_kv_events: bool = True
    """False: the router assumes that what it routed is cached, by `cache_policy`."""
    cache_policy: CachePolicy = CachePolicy.TTL
    ttl_s: float = 120.0
    predicted_ttl_s: float | None = 5.0
    """How long a routed prompt counts as cached before events confirm it; None: not at all."""
    tracks_active_blocks: bool = True
    tracks_output_blocks: bool = False
    tracks_prefill_tokens: bool = True
    assumes_kv_reuse: bool = True
    """False: running requests share no blocks, not even equal ones."""
    queue_threshold: float | None = None
    """Requests wait while every rank's prefill load is above this multiple of its tokens per step; None: never."""
    queue_policy: QueuePolicy = QueuePolicy.FCFS
    block_size: int | None = None
    """Tokens per block; None: as the workers' cards say."""
    active_expiry_s: float = 300.0


def _or_none(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """The literal None clears an optional setting."""

    def parse_or_none(text: str) -> Any:
        return None if text.lower() == "none" else parse(text)

    return parse_or_none


_WEIGHT = number(float, least=0)
_FRACTION = number(float, least=0, most=1)

ROUTER_FLAGS: tuple[Flag, ...] = (
    Flag("--router-mode", one_of(*(mode.value for mode in Mode)), "round-robin", ("DYN_ROUTER_MODE",),
         "How a worker is chosen: " + ", ".join(mode.value for mode in Mode) + "."),
    Flag("--router-min-initial-workers", number(int, least=0), 0, ("DYN_ROUTER_MIN_INITIAL_WORKERS",),
         "Answer 503 until this many workers were there at once."),
    Flag("--kv-cache-block-size", _or_none(number(int, least=1)), None, ("DYN_KV_CACHE_BLOCK_SIZE",),
         "Tokens per KV block; unset: as the workers say."),
    Flag("--active-decode-blocks-threshold", _or_none(_FRACTION), None, ("DYN_ACTIVE_DECODE_BLOCKS_THRESHOLD",),
         "A rank is busy above this fraction of its KV blocks in use."),
    Flag("--active-prefill-tokens-threshold", _or_none(number(int, least=0)), None,
         ("DYN_ACTIVE_PREFILL_TOKENS_THRESHOLD",), "A rank is busy above this many prompt tokens to compute."),
    Flag("--active-prefill-tokens-threshold-frac", _or_none(_WEIGHT), None,
         ("DYN_ACTIVE_PREFILL_TOKENS_THRESHOLD_FRAC",), "The same, as a multiple of the engine's tokens per step."),
    Flag("--load-aware", boolean, False, ("DYN_ROUTER_LOAD_AWARE",),
         "Mode kv by load alone: no cache credit, no KV events, no shared blocks."),
    Flag("--router-kv-overlap-score-credit", _WEIGHT, 1.0, ("DYN_ROUTER_KV_OVERLAP_SCORE_CREDIT",),
         "Share of a cached block's prefill that counts as saved."),
    Flag("--router-kv-overlap-score-credit-decay", _WEIGHT, 0.0, ("DYN_ROUTER_KV_OVERLAP_SCORE_CREDIT_DECAY",),
         "How fast that credit falls with prefill load."),
    Flag("--router-kv-overlap-score-weight", _or_none(_WEIGHT), None,
         ("DYN_ROUTER_KV_OVERLAP_SCORE_WEIGHT", "DYN_OVERLAP_SCORE_WEIGHT"),
         "Older name of --router-prefill-load-scale; 0 also sets the credit to 0."),
    Flag("--router-prefill-load-scale", _WEIGHT, 1.0, ("DYN_ROUTER_PREFILL_LOAD_SCALE",),
         "Weight of prefill blocks against decode blocks."),
    Flag("--router-decode-active-request-weight", _WEIGHT, 0.0, ("DYN_ROUTER_DECODE_ACTIVE_REQUEST_WEIGHT",),
         "Blocks that each running request weighs beyond its KV blocks."),
    Flag("--router-host-cache-hit-weight", _FRACTION, 0.75, ("DYN_ROUTER_HOST_CACHE_HIT_WEIGHT",),
         "Worth of a block cached in host memory."),
    Flag("--router-disk-cache-hit-weight", _FRACTION, 0.25, ("DYN_ROUTER_DISK_CACHE_HIT_WEIGHT",),
         "Worth of a block cached on disk."),
    Flag("--router-duplicate-weight", _WEIGHT, CostWeights().duplicate, ("DYN_ROUTER_DUPLICATE_WEIGHT",),
         "Blocks that a second copy of a cached block weighs while its holder is not saturated."),
    Flag("--router-eviction-weight", _WEIGHT, CostWeights().eviction, ("DYN_ROUTER_EVICTION_WEIGHT",),
         "Blocks that displacing a proven cached block weighs."),
    Flag("--router-temperature", _WEIGHT, 0.0, ("DYN_ROUTER_TEMPERATURE",),
         "0 takes the least cost; above it, softmax over the costs."),
    Flag("--router-kv-events", boolean, True, ("DYN_ROUTER_USE_KV_EVENTS",),
         "Follow the workers' KV events; without, assume that what was routed is cached."),
    Flag("--router-approximate-cache-policy", one_of(*(policy.value for policy in CachePolicy)), "ttl",
         ("DYN_ROUTER_APPROXIMATE_CACHE_POLICY",), "How a router without KV events forgets."),
    Flag("--router-ttl-secs", number(float, least=0.001), 120.0, ("DYN_ROUTER_TTL_SECS",),
         "How long it remembers, with policy ttl."),
    Flag("--router-predicted-ttl-secs", _or_none(_WEIGHT), 5.0, ("DYN_ROUTER_PREDICTED_TTL_SECS",),
         "How long a routed prompt counts as cached before events confirm it; 0 or None: not at all."),
    Flag("--router-track-active-blocks", boolean, True, ("DYN_ROUTER_TRACK_ACTIVE_BLOCKS",),
         "Count the KV blocks of running requests as load."),
    Flag("--router-track-output-blocks", boolean, False, ("DYN_ROUTER_TRACK_OUTPUT_BLOCKS",),
         "Count the blocks of generated tokens too."),
    Flag("--router-track-prefill-tokens", boolean, True, ("DYN_ROUTER_TRACK_PREFILL_TOKENS",),
         "Count prompt tokens still to compute as load."),
    Flag("--router-assume-kv-reuse", boolean, True, ("DYN_ROUTER_ASSUME_KV_REUSE",),
         "Count a block that running requests share once."),
    Flag("--router-queue-threshold", _or_none(_WEIGHT), None, ("DYN_ROUTER_QUEUE_THRESHOLD",),
         "Hold requests while every rank's prefill load is above this multiple of its tokens per step."),
    Flag("--router-queue-policy", one_of(*(policy.value for policy in QueuePolicy)), "fcfs",
         ("DYN_ROUTER_QUEUE_POLICY",), "Order of held requests: arrival, or least uncached work first."),
)  # fmt: skip

_POLICY_FILE = "set the flags instead; policy files are not read"
_ONE_PROCESS = "the index is part of the frontend, which follows the workers' events itself"

ROUTER_RETIRED: tuple[Retired, ...] = (
    Retired("--enforce-disagg", "a set with missing roles answers 503 always", False, ("DYN_ENFORCE_DISAGG",)),
    Retired("--admission-control", "--active-*-threshold and --router-queue-threshold admit"),
    Retired("--router-session-affinity-ttl-secs", "mode kv keeps a conversation where its prefix is cached", True,
            ("DYN_ROUTER_SESSION_AFFINITY_TTL_SECS",)),
    Retired("--router-session-affinity-mode", "mode kv keeps a conversation where its prefix is cached", True,
            ("DYN_ROUTER_SESSION_AFFINITY_MODE",)),
    Retired("--router-replica-sync", "workers' load reports show what other frontends send them", False,
            ("DYN_ROUTER_REPLICA_SYNC",)),
    Retired("--router-tracking-hash", "block hashes of running requests never leave the process", True,
            ("DYN_ROUTER_TRACKING_HASH",)),
    Retired("--router-tracking-key-file", "block hashes of running requests never leave the process", True,
            ("DYN_ROUTER_TRACKING_KEY_FILE",)),
    Retired("--router-tracking-key-id", "block hashes of running requests never leave the process", True,
            ("DYN_ROUTER_TRACKING_KEY_ID",)),
    Retired("--router-prefill-load-model", "prefill load counts until the first token", True,
            ("DYN_ROUTER_PREFILL_LOAD_MODEL",)),
    Retired("--router-policy-config", _POLICY_FILE, True, ("DYN_ROUTER_POLICY_CONFIG",)),
    Retired("--router-prefill-policy", _POLICY_FILE, True, ("DYN_ROUTER_PREFILL_POLICY",)),
    Retired("--router-decode-policy", _POLICY_FILE, True, ("DYN_ROUTER_DECODE_POLICY",)),
    Retired("--router-conditional-disagg", "every prompt of a disaggregated graph goes through a prefill worker", False,
            ("DYN_ROUTER_CONDITIONAL_DISAGG",)),
    Retired("--router-conditional-disagg-config",
            "every prompt of a disaggregated graph goes through a prefill worker", True,
            ("DYN_ROUTER_CONDITIONAL_DISAGG_CONFIG",)),
    Retired("--router-event-threads", "events are applied in the event loop", True, ("DYN_ROUTER_EVENT_THREADS",)),
    Retired("--use-remote-indexer", _ONE_PROCESS, False, ("DYN_USE_REMOTE_INDEXER",)),
    Retired("--serve-indexer", _ONE_PROCESS, False, ("DYN_SERVE_INDEXER",)),
    Retired("--enable-session-prefix-index", "the prefix index covers sessions", False,
            ("DYN_ENABLE_SESSION_PREFIX_INDEX",)),
    Retired("--shared-cache-type", "only blocks that a worker itself holds are credited", True,
            ("DYN_SHARED_CACHE_TYPE",)),
    Retired("--shared-cache-multiplier", "only blocks that a worker itself holds are credited", True,
            ("DYN_SHARED_CACHE_MULTIPLIER",)),
)  # fmt: skip


def router_config(values: Mapping[str, Any]) -> RouterConfig:
    """The config that parsed ROUTER_FLAGS (by `Flag.key`; others are ignored) ask for. Raises FlagError on conflict.

    `--load-aware` means mode kv without credit, events and block sharing, and wins over the flags it implies.
    """
    is_load_aware = bool(values["load_aware"])
    mode = Mode.KV if is_load_aware else Mode(values["router_mode"])
    if is_load_aware and Mode(values["router_mode"]) not in {Mode.KV, Mode.ROUND_ROBIN}:
        raise FlagError(f"--load-aware: found with --router-mode {values['router_mode']}; expected mode kv or none")
    return RouterConfig(
        mode=mode,
        weights=_weights(values, is_load_aware),
        temperature=values["router_temperature"],
        busy=BusyThresholds(
            values["active_decode_blocks_threshold"],
            values["active_prefill_tokens_threshold"],
            values["active_prefill_tokens_threshold_frac"],
        ),
        min_initial_workers=values["router_min_initial_workers"],
        uses_kv_events=values["router_kv_events"] and not is_load_aware,
        cache_policy=CachePolicy(values["router_approximate_cache_policy"]),
        ttl_s=values["router_ttl_secs"],
        predicted_ttl_s=values["router_predicted_ttl_secs"] or None,
        tracks_active_blocks=values["router_track_active_blocks"],
        tracks_output_blocks=values["router_track_output_blocks"],
        tracks_prefill_tokens=values["router_track_prefill_tokens"],
        assumes_kv_reuse=values["router_assume_kv_reuse"] and not is_load_aware,
        queue_threshold=values["router_queue_threshold"],
        queue_policy=QueuePolicy(values["router_queue_policy"]),
        block_size=values["kv_cache_block_size"],
    )


def _weights(values: Mapping[str, Any], is_load_aware: bool) -> CostWeights:
    """The legacy overlap weight w meant: prefill scale w, and no credit at all when w is 0."""
    legacy = values["router_kv_overlap_score_weight"]
    credit = values["router_kv_overlap_score_credit"]
    return CostWeights(
        overlap_credit=0.0 if is_load_aware or legacy == 0 else credit,
        overlap_credit_decay=values["router_kv_overlap_score_credit_decay"],
        prefill_load_scale=values["router_prefill_load_scale"] if legacy is None else legacy,
        host_hit=0.0 if is_load_aware else values["router_host_cache_hit_weight"],
        disk_hit=0.0 if is_load_aware else values["router_disk_cache_hit_weight"],
        active_request=values["router_decode_active_request_weight"],
        duplicate=values["router_duplicate_weight"],
        eviction=values["router_eviction_weight"],
    )
