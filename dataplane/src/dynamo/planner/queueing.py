"""How many servers a queue needs: the G/G/c tail of Allen and Cunneen over Erlang's formula. Pure arithmetic.

Called by `sizing`.
"""

from __future__ import annotations

import math

SERVERS_MAX = 4096


def wait_exceeds(rate: float, service_s: float, servers: int, slack_s: float, variability: float) -> float:
    """Probability that a request waits longer than `slack_s`.

    variability: (ca2 + cs2) / 2, squared coefficients of variation of arrivals and of service; 1 is M/M/c.
    """
    load = rate * service_s
    if servers <= load:
        return 1.0
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = load * blocked / (count + load * blocked)
    return _tail(blocked, load, service_s, servers, slack_s, variability)


def servers_for(
    rate: float, service_s: float, slack_s: float, *, variability: float, miss_share: float, utilisation: float
) -> int:
    """The fewest servers busy at most `utilisation` where at most `miss_share` of requests wait beyond `slack_s`."""
    load = rate * service_s
    blocked = 1.0
    for servers in range(1, SERVERS_MAX):
        # Erlang B grows with the servers, so that the search costs no more than the last step.
        blocked = load * blocked / (servers + load * blocked)
        if load > servers * utilisation:
            continue
        if _tail(blocked, load, service_s, servers, slack_s, variability) <= miss_share:
            return servers
    return SERVERS_MAX


def _tail(blocked: float, load: float, service_s: float, servers: int, slack_s: float, variability: float) -> float:
    """From Erlang B to the tail of the waiting time."""
    idle = 1.0 - load / servers
    if idle <= 0 or load <= 0:
        return 1.0 if load > 0 else 0.0
    delayed = blocked / (1.0 - (1.0 - blocked) * load / servers)
    mean_wait_s = delayed * service_s / (servers * idle) * max(variability, 1e-3)
    return delayed * math.exp(-max(slack_s, 0.0) * delayed / mean_wait_s) if mean_wait_s > 0 else 0.0
