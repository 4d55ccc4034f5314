"""What a manifest is judged against: the facts about the cluster that some rules depend on. Pure values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Pathway(Enum):
    """How a graph's components become pods: each on its own (Deployment, LeaderWorkerSet), or one gang (Grove)."""

    COMPONENT = "component"
    GROVE = "grove"


@dataclass(frozen=True, slots=True)
class Context:
    """Facts about the cluster. The defaults are a plain cluster, and what a laptop can run."""

    has_grove: bool = False
    has_leader_worker_sets: bool = False
    has_inference_pools: bool = False
    """The Gateway API Inference Extension is installed; endpoint pickers need it."""
    namespace: str = "default"
    """Kubernetes namespace of a manifest that names none."""
    cluster_topologies: tuple[tuple[str, tuple[str, ...]], ...] | None = None
    """Each ClusterTopology and its domains, widest first; None if they are not known, then nothing asks for them."""
