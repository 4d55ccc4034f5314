"""How long a root waits after a pass that failed. Pure."""

from __future__ import annotations

from dynamo_operator.kube import Conflict, Forbidden, Invalid, Throttled

CONFLICT_FIRST_S, CONFLICT_CAP_S = 0.05, 5.0
FIRST_S, CAP_S = 0.5, 60.0
HOPELESS_CAP_S = 300.0  # nothing helps before somebody changes something, and that change is watched


def retry_delay_s(error: Exception, failures: int) -> float:
    """`failures` counts those in a row, this one included."""
    doublings = min(failures - 1, 16)
    if isinstance(error, Conflict):
        return min(CONFLICT_CAP_S, CONFLICT_FIRST_S * 2.0**doublings)
    delay_s = FIRST_S * 2.0**doublings
    if isinstance(error, Throttled):
        return max(error.retry_after_s, min(CAP_S, delay_s))
    cap_s = HOPELESS_CAP_S if isinstance(error, Forbidden | Invalid) else CAP_S
    return min(cap_s, delay_s)
