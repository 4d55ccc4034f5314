"""The mocker's command-line flags: everything upstream's mocker takes is used, or retired with what replaces it.

`config` turns the parsed values into settings; `__main__` parses. No settings are read at import.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from dynamo.process.flags import Flag, Retired, boolean, number, one_of

CACHE_DTYPE_BYTES = {"auto": 2, "bfloat16": 2, "float16": 2, "fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1, "float32": 4}
MAX_FACTOR = 1e6


def comma_separated_ports(text: str) -> tuple[int, ...]:
    parse = number(int, least=1, most=65535)
    return tuple(parse(part.strip()) for part in text.split(","))


def json_object(text: str) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(Path(text).read_bytes() if _is_file(text) else text)
    except (msgspec.DecodeError, OSError) as error:
        raise ValueError(f"expected a JSON object: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("expected a JSON object")
    return value


def _is_file(text: str) -> bool:
    return not text.lstrip().startswith("{") and Path(text).is_file()


_COUNT = number(int, least=1)
_RATIO = number(float, least=0, most=MAX_FACTOR)

ENGINE_FLAGS: tuple[Flag, ...] = (
    Flag("--model-path", str, None, help="A model folder with tokenizer.json, or any name: then the shipped tokenizer"),
    Flag("--model-name", str, None, help="Name in the API; by default the model path"),
    Flag("--served-model-name", str, (), repeatable=True, help="Name and further aliases; overrides --model-name"),
    Flag("--engine-type", one_of("vllm", "sglang", "trtllm"), "vllm", help="Whose scheduling to imitate"),
    Flag("--num-gpu-blocks-override", _COUNT, 16384, help="KV blocks per data-parallel rank"),
    Flag("--block-size", _COUNT, None, help="Tokens per block; vllm 64, sglang 1, trtllm 32"),
    Flag("--max-model-len", _COUNT, None, help="Longest prompt plus answer in tokens; by default what the cache holds"),
    Flag("--max-num-seqs", _COUNT, 256, help="Requests running at once per rank"),
    Flag("--max-num-batched-tokens", _COUNT, 8192, help="Tokens computed per step and rank"),
    Flag("--enable-prefix-caching", boolean, True, help="Reuse blocks of equal prefixes and publish KV events"),
    Flag("--enable-chunked-prefill", boolean, True, help="Compute long prompts in several steps"),
    Flag("--preemption-mode", one_of("lifo", "fifo"), "lifo", help="Who gives way when blocks run out"),
    Flag("--speedup-ratio", _RATIO, 1.0, help="Faster than the modelled GPU by this factor; 0: no simulated time"),
    Flag("--decode-speedup-ratio", number(float, least=1e-6, most=MAX_FACTOR), 1.0, help="Further factor for decoding"),
    Flag("--data-parallel-size", number(int, least=1, most=1024), 1, help="Ranks, each with its own cache and queue"),
    Flag("--startup-time", number(float, least=0), 0.0, help="Seconds to pretend loading a model"),
    Flag("--planner-profile-data", str, None, help="NPZ file or folder of measured timings instead of the built-in"),
    Flag("--node-rank", number(int, least=0), 0, ("DYNAMO_RANK",), "Place in a group of nodes; only 0 serves"),
    Flag("--num-workers", number(int, least=1, most=1024), 1, help="Workers in this process"),
    Flag("--stagger-delay", number(float, least=-1), 0.0, help="Seconds between the starts of workers; -1: automatic"),
    Flag("--sglang-schedule-policy", one_of("fifo", "fcfs", "lpm"), "fifo", help="Order of waiting requests (sglang)"),
    Flag("--sglang-chunked-prefill-size", _COUNT, 8192, help="Tokens per step (sglang)"),
    Flag("--sglang-clip-max-new-tokens", _COUNT, 4096, help="Longest answer assumed at admission (sglang)"),
    Flag("--sglang-schedule-conservativeness", _RATIO, 1.0, help="Share of the assumed answer to reserve (sglang)"),
    Flag("--extra-engine-args", json_object, None, help="JSON object or file; its keys override the flags above"),
    Flag(
        "--disaggregation-mode",
        one_of("agg", "aggregated", "prefill", "decode"),
        "agg",
        help="Serve whole requests, or one leg of them",
    ),
    Flag("--is-prefill-worker", boolean, False, help="Older form of --disaggregation-mode prefill"),
    Flag("--is-decode-worker", boolean, False, help="Older form of --disaggregation-mode decode"),
    Flag("--zmq-kv-events-ports", comma_separated_ports, (), help="KV event base ports, one per worker; rank r adds r"),
    Flag("--zmq-replay-ports", comma_separated_ports, (), help="KV event replay base ports, one per worker"),
    Flag("--kv-transfer-bandwidth", number(float, least=0), 64.0, help="GB/s from prefill to decode; 0: no delay"),
    Flag("--kv-cache-dtype", one_of(*CACHE_DTYPE_BYTES), "auto", help="Type of cached values, for transfer sizes"),
    Flag("--kv-bytes-per-token", _COUNT, None, help="Size of a token's KV; by default from the model's config.json"),
    Flag(
        "--enable-faults",
        boolean,
        False,
        ("DYN_MOCKER_FAULTS",),
        help="Obey mocker_fault scripts in requests; any client can then stop this worker",
    ),
    Flag("--host", str, None, help="Address the OpenAI server listens on; by default the one peers use"),
    Flag(
        "--port", number(int, least=0, most=65535), 0, help="Its port (worker i of a process adds i); 0: any free one"
    ),
)

_FRONTEND_DECIDES = "give router settings to the frontend, whose router they are for"
_ADVERTISED_SWITCHES = (
    *("load-aware", "router-kv-events", "router-replica-sync", "router-track-active-blocks", "enforce-disagg"),
    *("router-track-output-blocks", "router-assume-kv-reuse", "router-track-prefill-tokens", "admission-control"),
    *("router-conditional-disagg", "use-remote-indexer", "serve-indexer", "enable-session-prefix-index"),
)
_ADVERTISED_VALUES = (
    *("router-mode", "router-min-initial-workers", "router-session-affinity-ttl-secs", "router-session-affinity-mode"),
    *("active-decode-blocks-threshold", "active-prefill-tokens-threshold", "active-prefill-tokens-threshold-frac"),
    *("router-kv-overlap-score-credit", "router-kv-overlap-score-credit-decay", "router-kv-overlap-score-weight"),
    *("router-prefill-load-scale", "router-decode-active-request-weight", "router-host-cache-hit-weight"),
    *("router-disk-cache-hit-weight", "router-temperature", "router-tracking-hash", "router-tracking-key-file"),
    *("router-tracking-key-id", "router-prefill-load-model", "router-ttl-secs", "router-approximate-cache-policy"),
    *("router-queue-threshold", "router-queue-policy", "router-policy-config", "router-prefill-policy"),
    *("router-decode-policy", "router-conditional-disagg-config", "router-event-threads", "shared-cache-multiplier"),
    *("shared-cache-type", "router-predicted-ttl-secs"),
)
_EXTERNAL_MODEL = "timings come from the built-in model or --planner-profile-data"
ENGINE_RETIRED: tuple[Retired, ...] = (
    *(
        Retired(f"--{family}-{name}", _EXTERNAL_MODEL, takes_value=name != "perf-model")
        for family in ("ais", "aic")
        for name in (
            *("perf-model", "perf-config", "system", "backend", "backend-version", "tp-size", "moe-tp-size"),
            *("moe-ep-size", "attention-dp-size", "nextn", "nextn-accept-rates"),
        )
    ),
    *(Retired(f"--{name}", _FRONTEND_DECIDES, takes_value=False) for name in _ADVERTISED_SWITCHES),
    *(Retired(f"--{name}", _FRONTEND_DECIDES) for name in _ADVERTISED_VALUES),
    Retired("--reasoning", "the mocker writes plain words, no reasoning sections"),
    Retired("--response-replay-trace-path", "answers are a function of the prompt"),
    Retired("--sglang-max-prefill-tokens", "--max-num-batched-tokens limits a step"),
    Retired("--sglang-generate", "the OpenAI routes serve every engine type", takes_value=False),
    Retired("--trtllm-capacity-scheduler-policy", "guaranteed_no_evict is what trtllm does here"),
    Retired("--bootstrap-ports", "decode workers receive kv_transfer_params from the prefill worker's answer"),
    Retired("--kv-transfer-timing-mode", "a transfer always takes as long as the full prompt needs"),
    Retired("--num-host-blocks", "the mocker has one tier of cache"),
    Retired("--host-offload-d2h-bandwidth-gbps", "the mocker has one tier of cache"),
    Retired("--host-offload-h2d-bandwidth-gbps", "the mocker has one tier of cache"),
)
