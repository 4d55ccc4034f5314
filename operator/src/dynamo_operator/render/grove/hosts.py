"""How the pods of a scaling group's replica find each other: the names that Grove gives them. Pure.

Grove sets the GROVE_ variables in every pod; its headless Service resolves pods before they are ready.
"""

from __future__ import annotations

from dynamo_operator.api import Component
from dynamo_operator.render.grove.names import clique_names
from dynamo_operator.render.multinode import Hosts

_GROUP = "$(GROVE_PCSG_NAME)-$(GROVE_PCSG_INDEX)"
_DOMAIN = "$(GROVE_HEADLESS_SERVICE)"
# Workers are counted from 0 in their clique; the leader has rank 0.
_WORKER_RANK = "$((GROVE_PCLQ_POD_INDEX + 1))"


def hosts_of(component: Component) -> Hosts:
    """Host names and ranks within one group of a multinode component."""
    leader, worker = clique_names(component)
    return Hosts(
        leader=f"{_GROUP}-{leader}-0.{_DOMAIN}",
        worker_rank=_WORKER_RANK,
        worker_rank_term=_WORKER_RANK,
        worker_rank_needs_shell=True,
        workers=tuple(f"{_GROUP}-{worker}-{index}.{_DOMAIN}" for index in range(component.node_count - 1)),
        rank_variable="GROVE_PCSG_POD_INDEX",
        # A leader that needs its workers is started after them (`startsAfter`).
        may_start_first=False,
    )
