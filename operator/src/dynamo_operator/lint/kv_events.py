"""Whether workers tell a router that follows their caches what they cache. Pure; one of the contracts."""

from __future__ import annotations

import json
from collections.abc import Iterator

from dynamo_operator.api import ComponentType, Graph
from dynamo_operator.lint.finding import Finding, works_badly
from dynamo_operator.lint.launches import Launch, Launches, has, workers

_CONFIG = "--kv-events-config"
_PUBLISHING = {
    "vllm": (_CONFIG,),
    "sglang": (_CONFIG,),
    "trtllm": ("--publish-kv-events", "--publish-events-and-metrics"),
}
_NO_CACHE = {"vllm": "--no-enable-prefix-caching", "sglang": "--disable-radix-cache"}


def kv_events(_: Graph, found: Launches) -> Iterator[Finding]:
    """A router that follows caches needs workers that cache, and tell what."""
    followers = [each for each in found if _follows(each)]
    if not followers:
        return
    router = "router" if followers[0].engine == "router" else "frontend"
    for worker in workers(found):
        if worker.component.type is ComponentType.DECODE and has(found, ComponentType.PREFILL):
            continue  # its blocks come from prefill workers, which are the ones that are chosen by prefix
        if why := _silence(worker):
            advice = f"or give the {router} --no-router-kv-events"
            message = f"the {router} routes by cached prefixes, and {worker.engine} {why}, {advice}"
            yield works_badly("kv-events", worker.args_path, message)


def _silence(worker: Launch) -> str:
    """Why a worker publishes nothing and what to do, empty if it does or nobody can tell."""
    engine = worker.engine or ""
    flags = _PUBLISHING.get(engine, ())
    if flags and not worker.has_flag(*flags):
        return f"publishes no events without {flags[0]}; set it"
    if (switch := _NO_CACHE.get(engine)) and worker.has_flag(switch):
        return f"keeps no prefixes with {switch}; leave it out"
    is_off = _is_switched_off(worker.flag(_CONFIG))
    return f"publishes no events with enable_kv_cache_events: false in {_CONFIG}; make it true" if is_off else ""


def _is_switched_off(config: str | None) -> bool:
    try:
        read = json.loads(config or "{}")
    except ValueError:
        return False
    return isinstance(read, dict) and read.get("enable_kv_cache_events") is False


def _follows(router: Launch) -> bool:
    """A router of its own always routes by prefixes, a frontend where it is told to."""
    mode = router.flag("--router-mode") or router.env.get("DYN_ROUTER_MODE")
    is_kv = router.engine == "router" or (router.component.type is ComponentType.FRONTEND and mode == "kv")
    without = router.has_flag("--no-router-kv-events", "--no-kv-events")
    return is_kv and not without and router.env.get("DYN_ROUTER_USE_KV_EVENTS", "true").lower() != "false"
