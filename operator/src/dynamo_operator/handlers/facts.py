"""What configuration and cluster together say to those who render and to those who judge. Pure.

`served` are the kinds that the API server serves, as (apiVersion, kind). Callers: `__main__`.
"""

from __future__ import annotations

from collections.abc import Collection

from dynamo_operator.handlers.settings import Settings
from dynamo_operator.kube import Kind
from dynamo_operator.kube.objects import INFERENCE_POOL, LEADER_WORKER_SET, POD_CLIQUE_SET
from dynamo_operator.render import RenderContext
from dynamo_operator.validate import Context

Served = Collection[tuple[str, str]]


# Where one of these is lacking, admission refuses graphs that need it.
JUDGED_BY = frozenset({INFERENCE_POOL, LEADER_WORKER_SET, POD_CLIQUE_SET})


def is_served(kind: Kind, served: Served) -> bool:
    return (kind.api_version, kind.name) in served


def uses_grove(settings: Settings, served: Served) -> bool:
    """Unset in the configuration means: if it is there. Asked for and not there means not."""
    return settings.orchestrators.grove.enabled is not False and is_served(POD_CLIQUE_SET, served)


def uses_leader_worker_sets(settings: Settings, served: Served) -> bool:
    return settings.orchestrators.lws.enabled is not False and is_served(LEADER_WORKER_SET, served)


def render_context(settings: Settings, served: Served) -> RenderContext:
    """The namespace is each graph's own; what stands there is never used."""
    orchestrators = settings.orchestrators
    gang_schedulers = {
        "kai-scheduler": orchestrators.kai_scheduler.enabled,
        "volcano": orchestrators.volcano_scheduler.enabled,
    }
    return RenderContext(
        namespace="",
        discovery_backend=settings.discovery.backend,
        service_env=settings.service_env,
        ingress=settings.ingress_defaults,
        planner_cluster_role=settings.rbac.planner_cluster_role_name,
        epp_cluster_role=settings.rbac.epp_cluster_role_name,
        shared_role_kind="Role" if settings.namespace.restricted else "ClusterRole",
        secures_workloads=settings.workload_security.enabled is not False,
        has_grove=uses_grove(settings, served),
        grove_termination_delay_s=int(orchestrators.grove.termination_delay),
        gang_scheduler=next((name for name, is_on in gang_schedulers.items() if is_on), None),
        has_leader_worker_sets=uses_leader_worker_sets(settings, served),
        mpi_secret_name=settings.mpi.ssh_secret_name or RenderContext("").mpi_secret_name,
    )


def admission_facts(settings: Settings, served: Served) -> Context:
    return Context(
        has_grove=uses_grove(settings, served),
        has_leader_worker_sets=uses_leader_worker_sets(settings, served),
        has_inference_pools=is_served(INFERENCE_POOL, served),
    )
