"""Reads v1beta1 documents into typed specs; every failure names the field.

Pure. It fills in the API's own defaults (replicas 1, experimental modes) and nothing else. Payload that v1alpha1 could
say and v1beta1 cannot comes from the annotation that `convert` keeps it in.
"""

from __future__ import annotations

from dynamo_operator.api.documents import (
    EMPTY,
    JsonObject,
    freeze,
    read_count,
    read_flag,
    read_labels,
    read_list,
    read_object,
    read_text,
    require_text,
    without_nulls,
)
from dynamo_operator.api.errors import SpecError
from dynamo_operator.api.gangs import read_component_gang, read_graph_gang
from dynamo_operator.api.pod_shape import check_environment, check_pod_template
from dynamo_operator.api.specs import (
    Claim,
    CompilationCache,
    Component,
    ComponentDeployment,
    ComponentType,
    Failover,
    GpuMemoryService,
    Graph,
    Preserved,
)
from dynamo_operator.convert import V1BETA1
from dynamo_operator.convert.preserved import COMPONENT_PREFIX, GRAPH_PREFIX, preserved_spec

GRAPH_NAME_LABEL = "nvidia.com/dynamo-graph-deployment-name"
_GRAPH_PAYLOAD = f"metadata.annotations[{GRAPH_PREFIX}spec].spec"
_COMPONENT_PAYLOAD = f"metadata.annotations[{COMPONENT_PREFIX}spec].spec"


def parse_graph(document: JsonObject) -> Graph:
    """A v1beta1 DynamoGraphDeployment as a value; raises SpecError."""
    metadata, spec = _envelope(document, "DynamoGraphDeployment")
    annotations = read_labels(metadata, "annotations", "metadata")
    payload = preserved_spec(document)
    services = read_object(payload, "services", _GRAPH_PAYLOAD) or EMPTY
    components = tuple(
        _component(entry, f"spec.components[{position}]", _preserved(services, entry))
        for position, entry in enumerate(read_list(spec, "components", "spec"))
    )
    experimental = read_object(spec, "experimental", "spec") or EMPTY
    check_environment(spec, "spec")
    return Graph(
        name=require_text(metadata, "name", "metadata"),
        metadata_annotations=freeze(annotations),
        annotations=freeze(read_labels(spec, "annotations", "spec")),
        labels=freeze(read_labels(spec, "labels", "spec")),
        env=freeze(without_nulls(read_list(spec, "env", "spec"))),
        backend_framework=read_text(spec, "backendFramework", "spec"),
        components=components,
        claims=_claims(payload),
        has_kv_transfer_policy=read_object(experimental, "kvTransferPolicy", "spec.experimental") is not None,
        gang=read_graph_gang(spec),
    )


def parse_component_deployment(document: JsonObject) -> ComponentDeployment:
    """A v1beta1 DynamoComponentDeployment as a value; raises SpecError."""
    metadata, spec = _envelope(document, "DynamoComponentDeployment")
    name = require_text(metadata, "name", "metadata")
    labels = read_labels(metadata, "labels", "metadata")
    payload = preserved_spec(document, COMPONENT_PREFIX)
    entry = {"name": name, **{key: value for key, value in spec.items() if key != "backendFramework"}}
    return ComponentDeployment(
        name=name,
        labels=freeze(labels),
        component=_component(entry, "spec", _fragment(payload, _COMPONENT_PAYLOAD)),
        backend_framework=read_text(spec, "backendFramework", "spec"),
        graph_name=labels.get(GRAPH_NAME_LABEL),
    )


def _envelope(document: JsonObject, kind: str) -> tuple[JsonObject, JsonObject]:
    if document.get("apiVersion") != V1BETA1:
        raise SpecError("apiVersion", document.get("apiVersion"), V1BETA1)
    if document.get("kind") != kind:
        raise SpecError("kind", document.get("kind"), kind)
    return read_object(document, "metadata", "") or EMPTY, read_object(document, "spec", "") or EMPTY


def _preserved(services: JsonObject, component: JsonObject) -> Preserved:
    """What v1alpha1 said of this component of a graph."""
    name = component.get("name")
    service = read_object(services, name, f"{_GRAPH_PAYLOAD}.services") if isinstance(name, str) else None
    return _fragment(service or EMPTY, f"{_GRAPH_PAYLOAD}.services.{name}")


def _fragment(service: JsonObject, path: str) -> Preserved:
    return Preserved(
        annotations=freeze(read_labels(service, "annotations", path)),
        labels=freeze(read_labels(service, "labels", path)),
        ingress=freeze(read_object(service, "ingress", path) or EMPTY),
        sub_component_type=read_text(service, "subComponentType", path) or "",
    )


def _component(written: JsonObject, path: str, preserved: Preserved) -> Component:
    entry: JsonObject = without_nulls(written)
    pod_template = freeze(read_object(entry, "podTemplate", path) or EMPTY)
    experimental = read_object(entry, "experimental", path) or EMPTY
    model = read_object(entry, "modelRef", path)
    multinode = read_object(entry, "multinode", path)
    checkpoint = read_object(experimental, "checkpoint", f"{path}.experimental") or EMPTY
    replicas = read_count(entry, "replicas", path, default=1)
    gpu_memory = _gpu_memory(experimental, f"{path}.experimental")
    failover = _failover(experimental, f"{path}.experimental")
    check_pod_template(pod_template, f"{path}.podTemplate")
    return Component(
        name=require_text(entry, "name", path),
        type=_component_type(entry, path),
        replicas=replicas,
        spec=_with_defaults(entry, replicas, gpu_memory, failover),
        pod_template=pod_template,
        runtime_version_override=read_text(entry, "runtimeVersionOverride", path),
        is_in_shared_namespace=read_flag(entry, "globalDynamoNamespace", path),
        node_count=1 if multinode is None else read_count(multinode, "nodeCount", f"{path}.multinode", default=2),
        shared_memory_size=_quantity(entry, "sharedMemorySize", path),
        model_name=None if model is None else require_text(model, "name", f"{path}.modelRef"),
        has_scaling_adapter=read_object(entry, "scalingAdapter", path) is not None,
        epp_config=_epp_config(entry, path),
        frontend_sidecar=read_text(entry, "frontendSidecar", path),
        compilation_cache=_compilation_cache(entry, path),
        gpu_memory=gpu_memory,
        failover=failover,
        has_checkpoint=read_flag(checkpoint, "enabled", f"{path}.experimental.checkpoint"),
        preserved=preserved,
        gang=read_component_gang(entry, path),
    )


def _epp_config(entry: JsonObject, path: str) -> JsonObject | None:
    config = read_object(entry, "eppConfig", path)
    for key in ("config", "configMapRef"):
        read_object(config or EMPTY, key, f"{path}.eppConfig")
    frozen: JsonObject | None = freeze(config)
    return frozen


def _component_type(entry: JsonObject, path: str) -> ComponentType | None:
    value = read_text(entry, "type", path)
    if value is None:
        return None
    try:
        return ComponentType(value)
    except ValueError:
        raise SpecError(f"{path}.type", value, ", ".join(ComponentType)) from None


def _quantity(entry: JsonObject, key: str, path: str) -> str | None:
    value = entry.get(key)
    if value is None:
        return None
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        raise SpecError(f"{path}.{key}", value, "a quantity such as 8Gi, or 0")
    return str(value)


def _required_quantity(entry: JsonObject, key: str, path: str) -> str:
    text = _quantity(entry, key, path)
    if not text:
        raise SpecError(f"{path}.{key}", text, "a quantity such as 8Gi")
    return text


def _compilation_cache(entry: JsonObject, path: str) -> CompilationCache | None:
    cache = read_object(entry, "compilationCache", path)
    if cache is None:
        return None
    path = f"{path}.compilationCache"
    return CompilationCache(require_text(cache, "pvcName", path), read_text(cache, "mountPath", path))


def _gpu_memory(experimental: JsonObject, path: str) -> GpuMemoryService | None:
    service = read_object(experimental, "gpuMemoryService", path)
    if service is None:
        return None
    return GpuMemoryService(
        mode=read_text(service, "mode", f"{path}.gpuMemoryService") or "IntraPod",
        device_class=read_text(service, "deviceClassName", f"{path}.gpuMemoryService") or "gpu.nvidia.com",
        extra_client_containers=tuple(service.get("extraClientContainers") or ()),
    )


def _failover(experimental: JsonObject, path: str) -> Failover | None:
    failover = read_object(experimental, "failover", path)
    if failover is None:
        return None
    return Failover(
        mode=read_text(failover, "mode", f"{path}.failover") or "IntraPod",
        shadows=read_count(failover, "numShadows", f"{path}.failover", default=1, least=1),
    )


def _with_defaults(
    entry: JsonObject, replicas: int, gpu_memory: GpuMemoryService | None, failover: Failover | None
) -> JsonObject:
    experimental = dict(entry.get("experimental") or {})
    if gpu_memory is not None:
        defaults = {"mode": gpu_memory.mode, "deviceClassName": gpu_memory.device_class}
        experimental["gpuMemoryService"] = {**experimental["gpuMemoryService"], **defaults}
    if failover is not None:
        defaults_of_failover = {"mode": failover.mode, "numShadows": failover.shadows}
        experimental["failover"] = {**experimental["failover"], **defaults_of_failover}
    filled = {**entry, "replicas": replicas}
    spec: JsonObject = freeze({**filled, "experimental": experimental} if experimental else filled)
    return spec


def _claims(payload: JsonObject) -> tuple[Claim, ...]:
    wanted = [
        (f"{_GRAPH_PAYLOAD}.pvcs[{position}]", entry)
        for position, entry in enumerate(read_list(payload, "pvcs", _GRAPH_PAYLOAD))
        if entry.get("create")
    ]
    return tuple(
        Claim(
            name=require_text(entry, "name", at),
            size=_required_quantity(entry, "size", at),
            storage_class=require_text(entry, "storageClass", at),
            access_mode=require_text(entry, "volumeAccessMode", at),
        )
        for at, entry in wanted
    )
