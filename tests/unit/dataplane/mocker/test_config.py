"""Flags become settings; wrong ones stop the start with the flag's name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynamo.mocker.__main__ import FLAGS, RETIRED, main
from dynamo.mocker.config import MockerConfig, base_port, engine_config
from dynamo.mocker.timing import Polynomial, Profile
from dynamo.mocker.tokenizer import TINY_MODEL
from dynamo.mocker.work import Admission, Preemption
from dynamo.process.flags import FlagError, parse_flags
from dynamo.wire.cards import ModelType, Role


def configured(*argv: str, **env: str) -> MockerConfig:
    return engine_config(parse_flags(argv, env, FLAGS, RETIRED).values, advertised_host="127.0.0.1")


def test_defaults_are_upstreams() -> None:
    it = configured()
    assert (it.limits.block_size, it.limits.total_blocks) == (64, 16384)
    assert (it.limits.max_num_seqs, it.limits.max_num_batched_tokens) == (256, 8192)
    assert (it.role, it.data_parallel_size, it.enable_faults) == (Role.AGGREGATED, 1, False)
    assert it.context_tokens == 64 * 16384
    assert it.transfer_s_per_token == pytest.approx(131_072 / 64e9)


@pytest.mark.parametrize(
    ("argv", "model", "aliases"),
    [
        pytest.param(("--model-path", "Org/Name"), "Org/Name", (), id="path"),
        pytest.param(("--model-path", "Org/Name", "--model-name", "n"), "n", (), id="name beats path"),
        pytest.param(
            ("--model-name", "n", "--served-model-name", "a", "--served-model-name", "b"), "a", ("b",), id="served"
        ),
    ],
)
def test_model_names(argv: tuple[str, ...], model: str, aliases: tuple[str, ...]) -> None:
    it = configured(*argv)
    assert (it.model, it.aliases) == (model, aliases)


def test_a_local_folder_gives_tokenizer_and_kv_size(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((TINY_MODEL / "tokenizer.json").read_bytes())
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 64}
    (tmp_path / "config.json").write_text(json.dumps(sizes))
    it = configured("--model-path", str(tmp_path), "--kv-cache-dtype", "fp8", "--kv-transfer-bandwidth", "1")
    assert it.tokenizer_dir == tmp_path
    assert it.transfer_s_per_token == pytest.approx(2 * 2 * 2 * 16 / 1e9)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        pytest.param(("--engine-type", "sglang"), (1, Admission.ESTIMATE, False), id="sglang"),
        pytest.param(
            ("--engine-type", "sglang", "--sglang-schedule-policy", "lpm"), (1, Admission.ESTIMATE, True), id="lpm"
        ),
        pytest.param(("--engine-type", "trtllm"), (32, Admission.WORST_CASE, False), id="trtllm"),
        pytest.param(("--engine-type", "trtllm", "--block-size", "8"), (8, Admission.WORST_CASE, False), id="block"),
    ],
)
def test_engine_types_imitate_their_scheduling(argv: tuple[str, ...], expected: tuple[Any, ...]) -> None:
    limits = configured(*argv).limits
    assert (limits.block_size, limits.admission, limits.longest_prefix_first) == expected


def test_extra_engine_arguments_beat_the_command_line(tmp_path: Path) -> None:
    extra = tmp_path / "extra.json"
    extra.write_text(
        '{"block_size": 8, "enable_prefix_caching": false, "preemption_mode": "fifo", "num_gpu_blocks": 7}'
    )
    limits = configured("--block-size", "16", "--extra-engine-args", str(extra)).limits
    assert (limits.block_size, limits.prefix_caching, limits.preemption) == (8, False, Preemption.FIFO)
    assert limits.total_blocks == 7


@pytest.mark.parametrize(
    ("argv", "role"),
    [
        (("--disaggregation-mode", "prefill"), Role.PREFILL),
        (("--is-decode-worker",), Role.DECODE),
        (("--disaggregation-mode", "decode", "--is-decode-worker"), Role.DECODE),
    ],
)
def test_roles(argv: tuple[str, ...], role: Role) -> None:
    assert configured(*argv).role is role


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        pytest.param(("--block-size", "0"), "--block-size", id="zero"),
        pytest.param(("--speedup-ratio", "-1"), "--speedup-ratio", id="negative"),
        pytest.param(("--speedup-ratio", "inf"), "--speedup-ratio", id="infinite"),
        pytest.param(("--bloc-size", "1"), "--block-size", id="typo"),
        pytest.param(("--is-prefill-worker", "--is-decode-worker"), "--is-decode-worker", id="two roles"),
        pytest.param(("--extra-engine-args", "{"), "--extra-engine-args", id="cut JSON"),
        pytest.param(("--extra-engine-args", '{"x": 1}'), "'x'", id="unknown key"),
        pytest.param(("--extra-engine-args", '{"block_size": "many"}'), "block_size", id="bad value"),
        pytest.param(("--zmq-kv-events-ports", "1,x"), "--zmq-kv-events-ports", id="bad port"),
    ],
)
def test_wrong_flags_are_named(argv: tuple[str, ...], named: str) -> None:
    with pytest.raises(FlagError, match=named):
        configured(*argv)


def test_flags_that_do_not_apply_are_accepted_with_a_reason() -> None:
    argv = ("--ais-perf-model", "--ais-system", "h200", "--request-plane", "tcp", "--reasoning", "{}", "--block-size=4")
    parsed = parse_flags(argv, {}, FLAGS, RETIRED)
    assert parsed.values["block_size"] == 4
    assert len(parsed.warnings) == 4


def test_surfaces_come_from_the_environment_too() -> None:
    assert configured(DYN_ENDPOINT_TYPES="embeddings").model_types == (ModelType.EMBEDDINGS,)


def test_one_event_port_per_worker() -> None:
    assert base_port((5, 6), 1, "--zmq-kv-events-ports", 2) == 6
    assert base_port((), 0, "--zmq-kv-events-ports", 1) is None
    with pytest.raises(FlagError, match="one per worker"):
        base_port((5,), 0, "--zmq-kv-events-ports", 2)


def test_missing_profile_is_only_worth_a_warning() -> None:
    config = configured("--planner-profile-data", "/does/not/exist")
    assert config.speed.times == Polynomial()
    assert config.warnings == (
        "--planner-profile-data: /does/not/exist does not exist; timings come from the built-in model",
    )


def test_profile_folder_of_json_sweeps_is_read(tmp_path: Path) -> None:
    (tmp_path / "prefill_raw_data.json").write_text('{"prefill_isl": [100, 200], "prefill_ttft": [10, 20]}')
    sweep = {"x_kv_usage": [0, 1], "y_context_length": [100, 100], "z_itl": [5, 15], "max_kv_tokens": [1000]}
    (tmp_path / "decode_raw_data.json").write_text(json.dumps(sweep))
    times = configured("--planner-profile-data", str(tmp_path)).speed.times
    assert isinstance(times, Profile)
    assert times.itl_ms[0, -1] == pytest.approx(5, abs=0.01)
    assert times.itl_ms[-1, -1] == pytest.approx(15, abs=0.01)
    assert times.kv_tokens[-1] == 1000


def test_profile_npz_is_read_and_its_shape_checked(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {
        "prefill_isl": [200, 100],
        "prefill_ttft_ms": [20, 10],
        "decode_active_kv_tokens": [0, 10],
        "decode_context_length": [1, 2, 3],
    }
    np.savez(tmp_path / "good.npz", decode_itl=np.ones((2, 3)), **arrays)
    times = configured("--planner-profile-data", str(tmp_path / "good.npz")).speed.times
    assert isinstance(times, Profile)
    assert list(times.isl) == [100, 200]
    np.savez(tmp_path / "bad.npz", decode_itl=np.ones((3, 2)), **arrays)
    with pytest.raises(FlagError, match="decode_itl"):
        configured("--planner-profile-data", str(tmp_path / "bad.npz"))


def test_help_lists_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"], {}) == 0
    text = capsys.readouterr().out
    assert all(flag.name.removeprefix("--") in text for flag in FLAGS)
