"""Which worker serves a request, and why. A library: pure decisions over state that events and requests change.

`Router` is the whole surface; a frontend embeds one per model. Nothing here does I/O, reads a clock or logs.
"""

from dynamo.router.asks import Ask, Decision
from dynamo.router.config import (
    ROUTER_FLAGS,
    ROUTER_RETIRED,
    BusyThresholds,
    CostWeights,
    Mode,
    RouterConfig,
    router_config,
)
from dynamo.router.router import Router

__all__ = [
    "ROUTER_FLAGS",
    "ROUTER_RETIRED",
    "Ask",
    "BusyThresholds",
    "CostWeights",
    "Decision",
    "Mode",
    "Router",
    "RouterConfig",
    "router_config",
]
