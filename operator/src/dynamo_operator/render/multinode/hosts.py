"""The place of a pod in its group: leader or worker, and how the group's pods find each other. Pure values.

A replica of a multinode component is a group of pods, one per node. Which orchestrator makes the group decides only
what is written here; what an engine is told about it is the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

_REFERENCE = re.compile(r"\$\((\w+)\)")


class Role(StrEnum):
    """The leader serves requests; workers lend it their GPUs."""

    LEADER = "leader"
    WORKER = "worker"


@dataclass(frozen=True, slots=True)
class Hosts:
    """Text that becomes host names and ranks inside a pod: `$(NAME)` is expanded by the kubelet, the rest by a shell.

    leader: host name of the leader.
    leader_rank, worker_rank: the pod's rank; that of a worker may be shell arithmetic, which needs a shell.
    worker_rank_term: the worker's rank as a term within shell arithmetic.
    workers: host names of the workers in rank order; only for scripts.
    rank_variable: the orchestrator's variable that holds the rank in pods of both roles.
    may_start_first: nothing makes the leader wait for its workers' host names and ports, so a script has to.
    """

    leader: str
    worker_rank: str
    worker_rank_term: str
    worker_rank_needs_shell: bool
    workers: tuple[str, ...]
    rank_variable: str
    may_start_first: bool

    @property
    def leader_in_shell(self) -> str:
        """The leader's host name for a shell: it knows all variables, whatever their order in the container."""
        return _REFERENCE.sub(r"${\1}", self.leader)


@dataclass(frozen=True, slots=True)
class Node:
    """Which pod of a group is rendered."""

    role: Role
    count: int
    hosts: Hosts

    @property
    def is_leader(self) -> bool:
        """Whether this is the one pod that serves."""
        return self.role is Role.LEADER

    @property
    def rank(self) -> str:
        """The rank as a flag's value."""
        return "0" if self.is_leader else self.hosts.worker_rank

    @property
    def needs_shell(self) -> bool:
        """Whether the rank has to be computed by a shell."""
        return not self.is_leader and self.hosts.worker_rank_needs_shell
