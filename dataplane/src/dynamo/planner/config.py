"""The planner's configuration document, under the names that existing manifests use.

One document, given by `--config` as a path, as JSON or as YAML. Names that mean something here are fields; names of
what this planner does otherwise, or not yet, are accepted with one warning each; any other name is refused. Called by
`settings`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from dynamo.planner.errors import ConfigError
from dynamo.planner.observation import Bounds, Pace, Policy, Targets
from dynamo.wire.cards import Role

_LEARNT = "workers' speed is learnt from their metrics"
_FORECAST = "arrivals are forecast from the frontends' counters"
_STRAIGHT = "metrics are read straight from frontends and workers"
_NO_REPORT = "/metrics and the log say what was decided and why"

OTHERWISE: Mapping[str, str] = {
    **dict.fromkeys(
        ("pre_deployment_sweeping_mode", "profile_results_dir", "aic_interpolation", "ais_perf_model"), _LEARNT
    ),
    **dict.fromkeys(("max_num_fpm_samples", "fpm_sample_bucket_size", "load_min_observations"), _LEARNT),
    **dict.fromkeys(("load_predictor", "load_predictor_log1p", "load_predictor_warmup_trace"), _FORECAST),
    **dict.fromkeys(("prophet_window_size", "kalman_q_level", "kalman_q_trend", "kalman_r"), _FORECAST),
    "kalman_min_points": _FORECAST,
    "throughput_metrics_source": _STRAIGHT,
    "load_scaling_down_sensitivity": "throughput_adjustment_interval_seconds says how slowly workers leave",
    **dict.fromkeys(
        (
            *("prefill_scale_up_queue_tokens", "prefill_scale_down_queue_tokens"),
            *("decode_scale_up_kv_rate", "decode_scale_down_kv_rate"),
        ),
        "workers are sized by their utilisation",
    ),
    "speculative_nextn": "inter-token latency is measured as users see it",
    "enable_power_awareness": "power is not budgeted yet",
    "total_gpu_power_limit": "power is not budgeted yet",
    **dict.fromkeys(("report_interval_hours", "report_output_dir", "report_filename"), _NO_REPORT),
    **dict.fromkeys(("report_write_gzip_log", "live_dashboard_port"), _NO_REPORT),
    "control_api_port": "settings change with the manifest",
    "global_planner_namespace": "one planner serves one graph",
    "scheduling": "there are no plugins; the tick is load_adjustment_interval_seconds",
}  # fmt: skip
"""Accepted names without effect, and what happens instead."""


class PlannerConfig(BaseModel):
    """Fields with effect. Seconds and milliseconds as the names say."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    mode: Literal["disagg", "prefill", "decode", "agg"] = "disagg"
    environment: Literal["kubernetes", "virtual"] = "kubernetes"
    """virtual: processes named by the environment; decisions are shown only."""
    backend: Literal["vllm", "sglang", "trtllm", "mocker"] = "vllm"
    """Engines are told apart by their metrics; named in logs only."""
    namespace: str | None = None
    model_name: str | None = None
    """Count this model's requests only; None: all of the frontends'."""
    optimization_target: Literal["throughput", "latency", "load", "sla"] = "throughput"
    """sla sizes for ttft_ms and itl_ms; the others for a share of the workers' capacity."""
    ttft_ms: float = Field(500.0, gt=0, validation_alias=AliasChoices("ttft_ms", "ttft"))
    itl_ms: float = Field(50.0, gt=0, validation_alias=AliasChoices("itl_ms", "itl"))
    load_adjustment_interval_seconds: float = Field(
        5.0,
        ge=0.5,
        le=600,
        validation_alias=AliasChoices("load_adjustment_interval_seconds", "load_adjustment_interval"),
    )
    """Between two decisions."""
    throughput_adjustment_interval_seconds: float = Field(
        180.0,
        gt=0,
        le=86400,
        validation_alias=AliasChoices(
            "throughput_adjustment_interval_seconds", "throughput_adjustment_interval", "adjustment_interval"
        ),
    )
    """For how long fewer workers must have been enough before any leave."""
    enable_throughput_scaling: bool | None = None
    enable_load_scaling: bool | None = None
    """Both are one loop here; switching both off is refused."""
    max_throughput_scaling_replicas: int = Field(8, ge=1)
    max_gpu_budget: int = Field(8, ge=-1)
    min_gpu_budget: int = Field(-1, ge=-1)
    min_endpoint: int = Field(1, ge=0)
    prefill_min_endpoint: int | None = Field(None, ge=1)
    decode_min_endpoint: int | None = Field(None, ge=1)
    prefill_engine_num_gpu: int | None = Field(None, ge=1)
    decode_engine_num_gpu: int | None = Field(None, ge=1)
    advisory: bool = Field(False, validation_alias=AliasChoices("advisory", "no_operation"))
    metric_reporting_prometheus_port: int | None = Field(None, ge=0, le=65535)
    """0: no metrics; None: PLANNER_PROMETHEUS_PORT."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.load_adjustment_interval_seconds >= self.throughput_adjustment_interval_seconds:
            raise ValueError(
                f"load_adjustment_interval_seconds: found {self.load_adjustment_interval_seconds:g}; expected less "
                f"than throughput_adjustment_interval_seconds ({self.throughput_adjustment_interval_seconds:g})"
            )
        if (
            self.optimization_target == "sla"
            and self.enable_throughput_scaling is False
            and not self.enable_load_scaling
        ):
            raise ValueError("enable_throughput_scaling, enable_load_scaling: found both off; expected one to be on")
        for name, modes in (
            ("prefill_min_endpoint", ("disagg", "prefill")),
            ("decode_min_endpoint", ("disagg", "decode")),
        ):
            if getattr(self, name) is not None and self.mode not in modes:
                raise ValueError(f"{name}: found in mode {self.mode}; allowed in {' and '.join(modes)}")
        if 0 <= self.max_gpu_budget < self.min_gpu_budget:
            raise ValueError(
                f"min_gpu_budget: found {self.min_gpu_budget}; expected at most max_gpu_budget ({self.max_gpu_budget})"
            )
        return self

    def policy(self) -> Policy:
        """What `decide` works by."""
        floor = max(1, self.min_endpoint)
        floors = {
            Role.AGGREGATED: floor,
            Role.PREFILL: self.prefill_min_endpoint or floor,
            Role.DECODE: self.decode_min_endpoint or floor,
        }
        bounds = Bounds(
            floors,
            None if self.max_gpu_budget < 0 else self.max_gpu_budget,
            None if self.min_gpu_budget < 0 else self.min_gpu_budget,
            self.max_throughput_scaling_replicas,
        )
        pace = Pace(self.load_adjustment_interval_seconds, self.throughput_adjustment_interval_seconds)
        return Policy(self._targets(), bounds, pace)

    def gpus(self) -> dict[Role, int]:
        """GPUs per replica where the configuration says so; an aggregated worker is described by decode's."""
        found = {Role.PREFILL: self.prefill_engine_num_gpu, Role.DECODE: self.decode_engine_num_gpu}
        found[Role.AGGREGATED] = self.decode_engine_num_gpu or self.prefill_engine_num_gpu
        return {role: gpus for role, gpus in found.items() if gpus is not None}

    def _targets(self) -> Targets:
        match self.optimization_target:
            case "sla":
                return Targets(self.ttft_ms / 1000, self.itl_ms / 1000)
            case "latency":
                return Targets(None, None, utilisation=0.5)
            case _:
                return Targets(None, None, utilisation=0.85)


def read_config(text: str) -> tuple[PlannerConfig, tuple[str, ...]]:
    """The configuration and its warnings. Raises ConfigError naming the field, what was found and what is allowed."""
    document = _document(text)
    warnings = [
        f"{name} has no effect here: {OTHERWISE[name]}"
        for name, value in document.items()
        if name in OTHERWISE and value is not None
    ]
    if document.get("environment") == "global-planner":
        raise ConfigError(
            "environment: found 'global-planner'; expected kubernetes or virtual: one planner serves one graph"
        )
    try:
        config = PlannerConfig.model_validate(
            {name: value for name, value in document.items() if name not in OTHERWISE}
        )
    except ValidationError as error:
        raise ConfigError(_explained(error)) from error
    if config.min_endpoint == 0:
        warnings.append("min_endpoint 0 keeps one worker: without any, requests are refused and no demand would show")
    return config, tuple(warnings)


def _document(text: str) -> dict[str, Any]:
    source, content = "--config", text
    if not text.lstrip().startswith(("{", "[")) and "\n" not in text and ": " not in text:
        source = f"--config {text}"
        try:
            content = Path(text).read_text()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no text"
            raise ConfigError(f"{source}: {reason}; expected a readable file, or a document in JSON or YAML") from error
    try:
        found = yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not JSON or YAML: {' '.join(str(error).split())[:200]}") from error
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise ConfigError(f"{source}: found {type(found).__name__}; expected an object of settings")
    return found


def _explained(error: ValidationError) -> str:
    lines = []
    for one in error.errors(include_url=False):
        where = ".".join(str(part) for part in one["loc"])
        if one["type"] == "extra_forbidden":
            known = [*PlannerConfig.model_fields, *OTHERWISE]
            near = difflib.get_close_matches(where, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
            lines.append(f"{where}: unknown setting; {hint}")
        elif where:
            lines.append(f"{where}: found {one['input']!r}; {one['msg'][0].lower()}{one['msg'][1:]}")
        else:
            lines.append(one["msg"].removeprefix("Value error, "))
    return "; ".join(lines)
