"""One view of a component for both API versions, so that each rule is written once and still names the source's fields.

Pure; made by `components_of`, read by the rule modules. It changes nothing and fills in no defaults.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dynamo_operator.api.engines import engines_of
from dynamo_operator.api.versions import Version, image_version, version_of
from dynamo_operator.convert.preserved import COMPONENT_PREFIX, GRAPH_PREFIX, preserved_spec
from dynamo_operator.validate.field import Field

TYPES = ("frontend", "worker", "prefill", "decode", "planner", "epp")
WORKER_TYPES = ("worker", "prefill", "decode")
MAIN = "main"
FRONTEND_SIDECAR = "sidecar-frontend"  # the container that v1alpha1's frontendSidecar becomes


@dataclass(frozen=True, slots=True)
class ComponentView:
    """A component, where it is written, and its pod.

    `type` is v1beta1's word (`prefill` for a v1alpha1 worker with subComponentType prefill); `main` is the main
    container, `containers` all of them with main first where there is one; `pod` is the (extra) pod spec;
    `kept_volumes` are claims that v1alpha1 names beside the pod, which rendering mounts by their name: in the graph, in
    what a conversion has put aside, or in the graph that this was made from.
    """

    field: Field
    name: str
    name_field: Field
    type: str
    type_field: Field
    is_alpha: bool
    pod: Field
    pod_metadata: Field
    main: Field
    containers: tuple[Field, ...]
    kept_volumes: frozenset[str] = frozenset()

    @property
    def is_worker(self) -> bool:
        return self.type in WORKER_TYPES

    @property
    def is_multinode(self) -> bool:
        return self.field["multinode"].is_present

    @property
    def replicas(self) -> int:
        count = self.field["replicas"].integer
        return 1 if count is None else count

    @property
    def experimental(self) -> Field:
        """Where gpuMemoryService, failover and checkpoint are written."""
        return self.field if self.is_alpha else self.field["experimental"]

    def has_feature(self, name: str) -> bool:
        """Whether `gpuMemoryService`, `failover` or `checkpoint` is switched on."""
        feature = self.experimental[name]
        if self.is_alpha or name == "checkpoint":
            return feature["enabled"].is_true
        return feature.is_present

    def feature_mode(self, name: str) -> str:
        """`intrapod` or `interpod`; the versions differ in case only."""
        return (self.experimental[name]["mode"].text or "IntraPod").lower()

    @property
    def has_shared_memory(self) -> bool:
        if self.is_alpha:
            return not self.field["sharedMemory"]["disabled"].is_true
        return str(self.field["sharedMemorySize"].value) != "0"

    @property
    def has_scaling_adapter(self) -> bool:
        adapter = self.field["scalingAdapter"]
        return adapter["enabled"].is_true if self.is_alpha else adapter.is_present

    def runtime_version(self) -> Version | None:
        """The override, else the version in the main image's tag; None if neither is one."""
        override = self.field["runtimeVersionOverride"].text
        return version_of(override) if override else image_version(self.main["image"].text)

    @property
    def engines(self) -> tuple[str, ...]:
        """Engines that a worker's main container starts; what other components name says nothing of them."""
        words = (*self.main["command"].items, *self.main["args"].items)
        return engines_of(word.text for word in words) if self.is_worker else ()


def components_of(manifest: Field, *, is_alpha: bool) -> tuple[ComponentView, ...]:
    """The components of a DynamoGraphDeployment or a DynamoComponentDeployment, in the order written."""
    spec = manifest["spec"]
    if manifest["kind"].text == "DynamoComponentDeployment":
        own_name = spec["serviceName" if is_alpha else "name"]
        name_field = own_name if own_name.is_present else manifest["metadata"]["name"]
        make = _from_alpha if is_alpha else _from_beta
        part = make(spec, name_field.text, name_field)
        of_graph = frozenset(part.main["volumeMounts"].names) if is_of_a_graph(manifest) else frozenset()
        return (replace(part, kept_volumes=of_graph | _kept_volumes(manifest, "")),)
    if is_alpha:
        claims = frozenset(spec["pvcs"].names)
        services = (_from_alpha(field, name, Field(field.path, name)) for name, field in spec["services"].entries)
        return tuple(replace(service, kept_volumes=claims) for service in services)
    parts = (_from_beta(field, field["name"].text, field["name"]) for field in spec["components"].items)
    return tuple(replace(part, kept_volumes=_kept_volumes(manifest, part.name)) for part in parts)


def is_of_a_graph(manifest: Field) -> bool:
    """Whether a DynamoComponentDeployment was made from a graph, which has been judged itself."""
    owners = manifest["metadata"]["ownerReferences"].items
    return any(owner["controller"].is_true and owner["kind"].text == "DynamoGraphDeployment" for owner in owners)


def _kept_volumes(manifest: Field, name: str) -> frozenset[str]:
    """Claims that v1alpha1 mounted by name, from what a conversion to v1beta1 keeps in an annotation.

    `name` is the component's in a graph, empty for a component of its own.
    """
    kept = Field("", preserved_spec(manifest.mapping, GRAPH_PREFIX if name else COMPONENT_PREFIX))
    service = kept["services"][name] if name else kept
    return frozenset(service["volumeMounts"].names + kept["pvcs"].names)


def _from_beta(field: Field, name: str, name_field: Field) -> ComponentView:
    pod = field["podTemplate"]["spec"]
    containers = pod["containers"].items
    main = next((c for c in containers if c["name"].text == MAIN), Field(pod["containers"].path, None))
    return ComponentView(
        field=field,
        name=name,
        name_field=name_field,
        type=field["type"].text,
        type_field=field["type"],
        is_alpha=False,
        pod=pod,
        pod_metadata=field["podTemplate"]["metadata"],
        main=main,
        containers=containers,
    )


def _from_alpha(field: Field, name: str, name_field: Field) -> ComponentView:
    pod = field["extraPodSpec"]
    main = pod["mainContainer"]
    written, part = field["componentType"].text, field["subComponentType"].text
    return ComponentView(
        field=field,
        name=name,
        name_field=name_field,
        type=part if written == "worker" and part in ("prefill", "decode") else written,
        type_field=field["componentType"],
        is_alpha=True,
        pod=pod,
        pod_metadata=field["extraPodMetadata"],
        main=main,
        containers=((main,) if main.is_present else ()) + pod["containers"].items,
    )
