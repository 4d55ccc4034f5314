"""The mocker's frozen settings, from its parsed flags. `__main__` reads them once; the engine lives by them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from dynamo.mocker.flags import CACHE_DTYPE_BYTES, ENGINE_FLAGS
from dynamo.mocker.measured import ProfileError, read_profile
from dynamo.mocker.timing import Polynomial, Speed, StepTimes
from dynamo.mocker.work import Admission, Limits, Preemption
from dynamo.process.flags import FlagError
from dynamo.wire.cards import ModelType, Role
from dynamo.worker.config import every_interface

DEFAULT_MODEL = "mock-model"
DEFAULT_KV_BYTES_PER_TOKEN = 131_072
"""An 8B Llama in 16 bits: 32 layers * 2 * 8 heads * 128 * 2 bytes."""
_BLOCK_SIZES = {"vllm": 64, "sglang": 1, "trtllm": 32}


@dataclass(frozen=True, slots=True, kw_only=True)
class MockerConfig:
    """What one engine is; derived from flags once per process, then per worker."""

    model: str = DEFAULT_MODEL
    aliases: tuple[str, ...] = ()
    tokenizer_dir: Path | None = None
    """None: the shipped one."""
    role: Role = Role.AGGREGATED
    limits: Limits = field(default_factory=lambda: Limits(total_blocks=16384, block_size=64))
    speed: Speed = field(default_factory=lambda: Speed(Polynomial()))
    max_model_len: int | None = None
    data_parallel_size: int = 1
    startup_s: float = 0.0
    model_types: tuple[ModelType, ...] = tuple(ModelType)
    """Surfaces it offers; the others answer 404 as if the routes did not exist."""
    transfer_s_per_token: float = 0.0
    """Simulated time per prompt token to move its KV to a decode worker, at this speed."""
    enable_faults: bool = False
    host: str = "127.0.0.1"
    """Where the OpenAI server and the event sockets listen."""
    advertised_host: str = "127.0.0.1"
    """Where peers reach them."""
    port: int = 0
    kv_event_port: int | None = None
    """Base port; rank r binds base + r. None: any free ones."""
    replay_port: int | None = None
    warnings: tuple[str, ...] = ()
    """What was asked for and could not be had; for the log."""

    @property
    def context_tokens(self) -> int:
        """Longest prompt plus answer."""
        longest = self.limits.capacity_tokens
        if not self.limits.chunked_prefill:
            longest = min(longest, self.limits.max_num_batched_tokens)
        return min(longest, self.max_model_len or longest)

    @property
    def publishes_events(self) -> bool:
        """Decode workers do not: their prompts were placed by the prefill leg's routing."""
        return self.limits.prefix_caching and self.role is not Role.DECODE


def engine_config(values: Mapping[str, Any], *, advertised_host: str) -> MockerConfig:
    """From parsed flags (by `Flag.key`), the common worker flags included. Raises FlagError naming the flag."""
    values = _with_extra_arguments(values)
    folder = Path(values["model_path"]) if values["model_path"] else None
    is_local = folder is not None and (folder / "tokenizer.json").is_file()
    if folder is not None and folder.is_absolute() and not is_local and folder.is_dir():
        raise FlagError(f"--model-path: {folder} has no tokenizer.json")
    times, warnings = _times(values["planner_profile_data"])
    names = values["served_model_name"] or (values["model_name"] or values["model_path"] or DEFAULT_MODEL,)
    return MockerConfig(
        model=names[0],
        aliases=tuple(names[1:]),
        tokenizer_dir=folder if is_local else None,
        role=_role(values),
        limits=_limits(values),
        speed=Speed(times, values["speedup_ratio"], values["decode_speedup_ratio"]),
        max_model_len=values["max_model_len"],
        data_parallel_size=values["data_parallel_size"],
        startup_s=values["startup_time"],
        model_types=values["endpoint_types"] or tuple(ModelType),
        transfer_s_per_token=_transfer_s_per_token(values, folder if is_local else None),
        enable_faults=values["enable_faults"],
        host=values["host"] or every_interface(advertised_host),
        advertised_host=advertised_host,
        port=values["port"],
        warnings=warnings,
    )


def _with_extra_arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    """--extra-engine-args beats the command line; its keys are flag names with underscores."""
    merged = dict(values)
    parsers = {flag.key: flag for flag in ENGINE_FLAGS}
    renamed = {"num_gpu_blocks": "num_gpu_blocks_override", "dp_size": "data_parallel_size"}
    for name, value in (values["extra_engine_args"] or {}).items():
        flag = parsers.get(renamed.get(name, name))
        if flag is None:
            raise FlagError(f"--extra-engine-args: unknown key {name!r}")
        if value is None:
            continue
        try:
            merged[flag.key] = flag.parse(str(value).lower() if isinstance(value, bool) else str(value))
        except ValueError as error:
            raise FlagError(f"--extra-engine-args: {name}: found {value!r}; {error}") from None
    return merged


def _role(values: Mapping[str, Any]) -> Role:
    asked = {"agg": Role.AGGREGATED, "aggregated": Role.AGGREGATED}.get(values["disaggregation_mode"])
    role = asked or Role(values["disaggregation_mode"])
    legacy = [
        legacy_role
        for key, legacy_role in (("is_prefill_worker", Role.PREFILL), ("is_decode_worker", Role.DECODE))
        if values[key]
    ]
    if len(legacy) == 2 or (legacy and role not in (Role.AGGREGATED, legacy[0])):
        raise FlagError("--disaggregation-mode, --is-prefill-worker and --is-decode-worker exclude each other")
    return legacy[0] if legacy else role


def _limits(values: Mapping[str, Any]) -> Limits:
    kind = values["engine_type"]
    budget = values["max_num_batched_tokens"]
    return Limits(
        total_blocks=values["num_gpu_blocks_override"],
        block_size=values["block_size"] or _BLOCK_SIZES[kind],
        max_num_seqs=values["max_num_seqs"],
        max_num_batched_tokens=min(budget, values["sglang_chunked_prefill_size"]) if kind == "sglang" else budget,
        chunked_prefill=values["enable_chunked_prefill"],
        prefix_caching=values["enable_prefix_caching"],
        preemption=Preemption(values["preemption_mode"]),
        admission={"sglang": Admission.ESTIMATE, "trtllm": Admission.WORST_CASE}.get(kind, Admission.PROMPT),
        answer_clip_tokens=values["sglang_clip_max_new_tokens"],
        answer_share=values["sglang_schedule_conservativeness"],
        longest_prefix_first=kind == "sglang" and values["sglang_schedule_policy"] == "lpm",
    )


def _times(path: str | None) -> tuple[StepTimes, tuple[str, ...]]:
    """A profile that is not there is only worth a warning: upstream's examples name one of upstream's image."""
    if path is None:
        return Polynomial(), ()
    if not Path(path).exists():
        return Polynomial(), (f"--planner-profile-data: {path} does not exist; timings come from the built-in model",)
    try:
        return read_profile(Path(path)), ()
    except ProfileError as error:
        raise FlagError(f"--planner-profile-data: {error}") from error


def _transfer_s_per_token(values: Mapping[str, Any], folder: Path | None) -> float:
    bandwidth, speedup = values["kv_transfer_bandwidth"], values["speedup_ratio"]
    if bandwidth == 0 or speedup == 0:
        return 0.0
    size = values["kv_bytes_per_token"] or _kv_bytes_per_token(folder, CACHE_DTYPE_BYTES[values["kv_cache_dtype"]])
    return float(size / (bandwidth * 1e9) / speedup)


def _kv_bytes_per_token(folder: Path | None, value_bytes: int) -> int:
    """layers * 2 * kv heads * head size * bytes, from the model's config.json."""
    path = folder / "config.json" if folder else None
    if path is None or not path.is_file():
        return DEFAULT_KV_BYTES_PER_TOKEN * value_bytes // 2
    try:
        model = msgspec.json.decode(path.read_bytes())
        heads = model["num_attention_heads"]
        head_size = model.get("head_dim") or model["hidden_size"] // heads
        size: int = model["num_hidden_layers"] * 2 * model.get("num_key_value_heads", heads) * head_size * value_bytes
        return math.ceil(size)
    except (msgspec.DecodeError, KeyError, TypeError, OSError) as error:
        raise FlagError(
            f"--model-path: {path} does not give the KV size ({error!r}); set --kv-bytes-per-token"
        ) from error


def base_port(ports: Sequence[int], worker: int, flag: str, workers: int) -> int | None:
    """The worker's base port from a list flag. Raises FlagError when the list is not one per worker."""
    if ports and len(ports) != workers:
        raise FlagError(f"{flag}: found {len(ports)} ports for --num-workers {workers}; expected one per worker")
    return ports[worker] if ports else None
