"""Rules of GPU memory service, failover, checkpoints and the power annotation. Pure; called by `component_rules`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dynamo_operator.validate.field import Field
from dynamo_operator.validate.resources import alpha_gpu_count, gpu_count
from dynamo_operator.validate.view import WORKER_TYPES, ComponentView
from dynamo_operator.validate.violation import Violation, listed, nearest

RUNTIME_CONTAINER = "runtime"  # reserved: an init container that runs beside the engine
RUNTIME_CONFLICTS = ("checkpoint", "gpuMemoryService", "failover")
ELASTIC_FLAG = "--enable-elastic-ep"
_ON_RAY = re.compile(r"(?<![\w-])(?:--data-parallel-backend|-dpb)[= ]\s*ray(?![\w-])")
POWER_LIMIT = "dynamo.nvidia.com/gpu-power-limit"
DISCOVERY_MODE = "nvidia.com/dynamo-kube-discovery-mode"


def check_features(component: ComponentView, graph_annotations: Field, backend: str) -> Iterator[Violation]:
    """`graph_annotations` are the object's own, which pods get too; `backend` is the engine that it states, if any."""
    if component.has_feature("gpuMemoryService"):
        yield from _check_memory_service(component)
    if component.has_feature("failover"):
        yield from _check_failover(component, graph_annotations)
    yield from _check_checkpoint(component)
    yield from _check_power(component)
    yield from _check_runtime_container(component)
    yield from _check_elastic(component, backend)


def has_gpu(component: ComponentView) -> bool:
    if gpu_count(component.main["resources"]) >= 1:
        return True
    return component.is_alpha and alpha_gpu_count(component.field["resources"]) >= 1


def _check_memory_service(component: ComponentView) -> Iterator[Violation]:
    service = component.experimental["gpuMemoryService"]
    if not component.is_worker:
        yield service.broken("is only for workers", f"type {listed(WORKER_TYPES)}", found=f'type "{component.type}"')
    elif not has_gpu(component):
        yield service.broken("needs a GPU", "at least one GPU in the main container's limits", found="none")
    yield from _check_mode(component, "gpuMemoryService")
    yield from _check_client_names(service["extraClientContainers"], component)


def _check_mode(component: ComponentView, feature: str) -> Iterator[Violation]:
    """Pods rendered without what modes across pods need would each load the weights."""
    if component.feature_mode(feature) == "interpod":
        allowed = "intraPod" if component.is_alpha else "IntraPod"
        yield component.experimental[feature]["mode"].broken("modes across pods are not implemented", allowed)


def _check_client_names(clients: Field, component: ComponentView) -> Iterator[Violation]:
    names = component.pod["containers"].names + component.pod["initContainers"].names
    for client in clients.items:
        if client.text and client.text not in names:
            yield client.broken(
                "no container of this name", listed(names) or "none", nearest=nearest(client.text, names)
            )


def _check_failover(component: ComponentView, graph_annotations: Field) -> Iterator[Violation]:
    failover = component.experimental["failover"]
    if not component.has_feature("gpuMemoryService"):
        yield failover.broken("needs gpuMemoryService", "gpuMemoryService of the same mode")
        return
    mode = component.feature_mode("failover")
    if mode != component.feature_mode("gpuMemoryService"):
        allowed = f"{component.feature_mode('gpuMemoryService')}, as gpuMemoryService has"
        yield failover["mode"].broken("differs from gpuMemoryService's mode", allowed, found=mode)
    else:
        yield from _check_mode(component, "failover")
    annotations = (graph_annotations, component.pod_metadata["annotations"])
    if mode == "intrapod" and all(field[DISCOVERY_MODE].text != "container" for field in annotations):
        yield failover.broken("needs discovery by container", f'annotation {DISCOVERY_MODE}: "container"')
    if component.is_alpha and mode == "intrapod" and (failover["numShadows"].integer or 1) > 1:
        yield failover["numShadows"].broken("too large", "1")


def _check_checkpoint(component: ComponentView) -> Iterator[Violation]:
    checkpoint = component.experimental["checkpoint"]
    if checkpoint["job"].is_present and checkpoint["checkpointRef"].is_present:
        yield checkpoint.broken("job and checkpointRef are mutually exclusive", "one of job, checkpointRef")
    if component.has_feature("checkpoint"):
        # What else would be wrong with it is not told: it would read as a way to have one.
        yield checkpoint.broken("checkpoints are not implemented", "enabled: false", found="enabled: true")


def _check_power(component: ComponentView) -> Iterator[Violation]:
    limit = component.pod_metadata["annotations"][POWER_LIMIT]
    if not limit.is_present:
        return
    where = Field(f"{component.pod_metadata['annotations'].path}[{POWER_LIMIT}]", limit.value)
    if not (limit.text.isascii() and limit.text.isdigit() and int(limit.text) > 0):
        yield where.broken("not a power limit", "watts per GPU as a positive whole number")
    if component.has_feature("gpuMemoryService"):
        yield where.broken("cannot be combined with gpuMemoryService", "one of the two")
    containers = (*component.containers, *component.pod["initContainers"].items)
    if any(container["resources"]["claims"].items for container in containers):
        yield where.broken("cannot be combined with resource claims", "GPUs in resources.limits")


def _check_runtime_container(component: ComponentView) -> Iterator[Violation]:
    """The name of an init container that upstream's 1.6 takes for the runtime beside an engine of its own."""
    for container in component.pod["initContainers"].items:
        if container["name"].text != RUNTIME_CONTAINER:
            continue
        name = container["name"]
        if not component.is_worker:
            allowed = f"another name, or type {listed(WORKER_TYPES)}"
            yield name.broken(
                f"is reserved for workers; this is a {component.type or 'component without a type'}", allowed
            )
        restart = container["restartPolicy"]
        if restart.text != "Always":
            yield restart.broken(f"the init container {RUNTIME_CONTAINER} runs beside the engine", "Always")
        switched_on = [feature for feature in RUNTIME_CONFLICTS if component.has_feature(feature)]
        if component.is_multinode:
            switched_on.append("multinode")
        if switched_on:
            yield name.broken("is reserved and cannot be combined", "another name", found=f"with {listed(switched_on)}")


def _check_elastic(component: ComponentView, backend: str) -> Iterator[Violation]:
    """The Ray head of elastic expert parallelism is started by a wrapper around the command, so there must be one."""
    command = component.main["command"]
    text = " ".join(word.text for word in component.main["args"].items)
    is_headed = component.is_multinode or (backend == "vllm" and _ON_RAY.search(text) is not None)
    if is_headed and ELASTIC_FLAG in text and not command.items:
        yield command.broken(f"is required with {ELASTIC_FLAG}", "the engine's command, [python3, -m, …]")
