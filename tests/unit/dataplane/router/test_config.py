from __future__ import annotations

import pytest

from dynamo.process.flags import FlagError, parse_flags
from dynamo.router.config import (
    ROUTER_FLAGS,
    ROUTER_RETIRED,
    BusyThresholds,
    CachePolicy,
    CostWeights,
    Mode,
    QueuePolicy,
    RouterConfig,
    router_config,
)


def config(*argv: str, **env: str) -> RouterConfig:
    return router_config(parse_flags(argv, env, ROUTER_FLAGS, ROUTER_RETIRED).values)


def test_no_flags_mean_the_defaults() -> None:
    assert config() == RouterConfig()


def test_every_flag_has_help_and_a_variable() -> None:
    assert all(flag.help and flag.env for flag in ROUTER_FLAGS)


def test_no_name_is_both_built_and_retired() -> None:
    assert not {flag.name for flag in ROUTER_FLAGS} & {item.name for item in ROUTER_RETIRED}


@pytest.mark.parametrize(
    ("argv", "field", "value"),
    [
        pytest.param(["--router-mode", "kv"], "mode", Mode.KV, id="mode"),
        pytest.param(["--router-temperature", "0.5"], "temperature", 0.5, id="temperature"),
        pytest.param(["--no-router-kv-events"], "uses_kv_events", False, id="no-events"),
        pytest.param(["--router-predicted-ttl-secs", "None"], "predicted_ttl_s", None, id="no-predictions"),
        pytest.param(["--router-predicted-ttl-secs", "0"], "predicted_ttl_s", None, id="zero-predictions"),
        pytest.param(["--router-approximate-cache-policy", "lru"], "cache_policy", CachePolicy.LRU, id="policy"),
        pytest.param(["--router-queue-policy", "wspt"], "queue_policy", QueuePolicy.WSPT, id="queue-policy"),
        pytest.param(["--router-queue-threshold", "4"], "queue_threshold", 4.0, id="queue-threshold"),
        pytest.param(["--no-router-assume-kv-reuse"], "assumes_kv_reuse", False, id="no-reuse"),
        pytest.param(["--kv-cache-block-size", "64"], "block_size", 64, id="block-size"),
        pytest.param(
            ["--active-decode-blocks-threshold", "0.5", "--active-prefill-tokens-threshold-frac", "2"],
            "busy",
            BusyThresholds(0.5, None, 2.0),
            id="busy",
        ),
        pytest.param(
            ["--active-decode-blocks-threshold", "None"], "busy", BusyThresholds(), id="none-clears-a-threshold"
        ),
        pytest.param(
            ["--router-kv-overlap-score-weight", "3"], "weights", CostWeights(prefill_load_scale=3.0), id="legacy"
        ),
        pytest.param(
            ["--router-kv-overlap-score-weight", "0"],
            "weights",
            CostWeights(prefill_load_scale=0.0, overlap_credit=0.0),
            id="legacy-zero-drops-the-credit",
        ),
    ],
)
def test_flag_sets(argv: list[str], field: str, value: object) -> None:
    assert getattr(config(*argv), field) == value


def test_environment_sets_as_flags_do() -> None:
    assert config(DYN_ROUTER_MODE="kv", DYN_OVERLAP_SCORE_WEIGHT="2") == config(
        "--router-mode=kv", "--router-kv-overlap-score-weight=2"
    )


def test_load_aware_is_mode_kv_by_load_alone() -> None:
    found = config("--load-aware")
    assert (found.mode, found.weights.overlap_credit, found.uses_kv_events, found.assumes_kv_reuse) == (
        Mode.KV,
        0.0,
        False,
        False,
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        pytest.param(["--load-aware", "--router-mode", "random"], "--load-aware: found with .*random", id="conflict"),
        pytest.param(["--active-decode-blocks-threshold", "1.5"], "found '1.5'; .*from 0 to 1", id="fraction"),
        pytest.param(["--router-temperature", "-1"], "found '-1'; .*from 0", id="negative"),
        pytest.param(["--router-mode", "kvv"], "expected one of round-robin, random, power-of-two", id="mode"),
        pytest.param(["--router-temprature", "1"], "did you mean --router-temperature", id="unknown"),
    ],
)
def test_bad_setting_is_named(argv: list[str], message: str) -> None:
    with pytest.raises(FlagError, match=message):
        config(*argv)


def test_upstreams_other_flags_start_with_a_warning() -> None:
    argv = ["--router-replica-sync", "--router-event-threads", "8", "--no-serve-indexer", "--router-mode", "kv"]
    parsed = parse_flags(argv, {}, ROUTER_FLAGS, ROUTER_RETIRED)
    assert parsed.values["router_mode"] == "kv"
    assert [warning.split()[0] for warning in parsed.warnings] == [
        "--router-replica-sync",
        "--router-event-threads",
        "--serve-indexer",
    ]
