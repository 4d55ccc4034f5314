"""Rules of one component, the same for a graph's components and a standalone one. Pure; called by `validate`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dynamo_operator.api.quantity import parse_quantity
from dynamo_operator.validate.caches import check_compilation_cache
from dynamo_operator.validate.containers import check_unique
from dynamo_operator.validate.context import Context, Pathway
from dynamo_operator.validate.features import check_features
from dynamo_operator.validate.field import Field
from dynamo_operator.validate.graph import check_deployment_switches, check_switches
from dynamo_operator.validate.pickers import check_picker
from dynamo_operator.validate.pods import check_pod
from dynamo_operator.validate.text_forms import (
    LABEL_FORM,
    LABEL_VALUE_FORM,
    SUBDOMAIN_FORM,
    check_annotations,
    check_labels,
    check_object_names,
    is_label,
    is_label_value,
    is_subdomain,
)
from dynamo_operator.validate.view import MAIN, TYPES, ComponentView
from dynamo_operator.validate.violation import Violation, listed, nearest


@dataclass(frozen=True, slots=True)
class Graph:
    """What a component's rules need of what it belongs to."""

    manifest: Field
    context: Context
    pathway: Pathway
    backend: str
    """The engine that the manifest states; empty where it states none."""
    engine: str
    """The first engine that a worker's command starts; empty where none does."""
    asks_for_version: bool
    """Whether a component must have a runtime version; a standalone component need not."""


def check_component(component: ComponentView, graph: Graph) -> Iterator[Violation]:
    yield from _check_type(component)
    yield from _check_version(component, graph)
    yield from _check_nodes(component, graph)
    yield from _check_grove_fields(component, graph)
    yield from _check_shared_memory(component)
    yield from _check_engine(component, graph.backend)
    yield from check_compilation_cache(component, graph.backend or "".join(component.engines[:1]) or graph.engine)
    yield from check_picker(component, graph.context)
    yield from _check_sidecar(component)
    if component.is_alpha:
        yield from _check_alpha(component)
    own_annotations = component.field["annotations"] if component.is_alpha else component.pod_metadata["annotations"]
    yield from check_switches(own_annotations)
    if component.is_alpha:
        yield from check_deployment_switches(component.pod_metadata["annotations"])
    yield from check_pod(component)
    annotations = graph.manifest["metadata"]["annotations"]
    yield from check_features(component, annotations, graph.backend)


def _check_type(component: ComponentView) -> Iterator[Violation]:
    """v1beta1's schema lists the types. v1alpha1's does not, so an unknown one would fail only after admission."""
    written = component.type_field
    if component.is_alpha and written.text and written.text not in TYPES:
        yield written.broken("unsupported value", f"{listed(TYPES)}, or nothing", nearest=nearest(written.text, TYPES))


def _check_version(component: ComponentView, graph: Graph) -> Iterator[Violation]:
    image = component.main["image"].text
    override = component.field["runtimeVersionOverride"]
    if graph.asks_for_version and image and not override.is_present and component.runtime_version() is None:
        yield override.broken(
            "is required when the main image's tag is not a version",
            "X.Y.Z here, or a tag like 1.5.0 on the image",
            found=f'image "{image}"',
        )


def _check_nodes(component: ComponentView, graph: Graph) -> Iterator[Violation]:
    """Pods on several nodes are started and replaced as one, which takes somebody who does that."""
    if not component.is_multinode or graph.context.has_leader_worker_sets or graph.pathway is Pathway.GROVE:
        return
    # What was found says no count: a count that changes later is then no new violation.
    found = "several nodes per replica"
    problem = "needs LeaderWorkerSet or Grove, which this cluster does not have"
    yield component.field["multinode"].broken(problem, "nothing", found=found)


def _check_grove_fields(component: ComponentView, graph: Graph) -> Iterator[Violation]:
    minimum, field = component.field["minAvailable"], component.field
    if minimum.integer is not None and component.replicas and minimum.integer > component.replicas:
        yield minimum.broken("more than replicas", f"at most {component.replicas}, unless replicas is 0")
    if graph.pathway is Pathway.GROVE:
        return
    scaling_group = field["experimental"]["grove"]["forceScalingGroup"]
    for grove_field in (minimum, field["topologyConstraint"], field["providerOverride"]):
        if grove_field.is_present:
            yield grove_field.broken("needs the Grove pathway", "nothing on the component pathway")
    for role in ("leader", "worker"):
        override = field["multinode"][role]["providerOverride"]
        if override.is_present:
            yield override.broken("needs the Grove pathway", "nothing on the component pathway")
    if scaling_group.is_true:
        yield scaling_group.broken("needs the Grove pathway", "false on the component pathway")


def _check_shared_memory(component: ComponentView) -> Iterator[Violation]:
    if component.is_alpha:
        memory = component.field["sharedMemory"]
        if not memory.is_present or memory["disabled"].is_true:
            return
        size = parse_quantity(memory["size"].value)
        if not memory["size"].is_present or (size is not None and size <= 0):
            yield memory["size"].broken("is required unless disabled is true", "a size greater than 0")
        return
    size_field = component.field["sharedMemorySize"]
    size = parse_quantity(size_field.value)
    if size is not None and size < 0:
        yield size_field.broken("a negative size", "0 or more")


def _check_engine(component: ComponentView, backend: str) -> Iterator[Violation]:
    engines = component.engines
    found = listed([f"dynamo.{engine}" for engine in engines])
    where = component.main["command" if component.main["command"].items else "args"]
    if len(engines) == 1 and backend not in ("", *engines):
        yield where.broken("not the engine of spec.backendFramework", f"dynamo.{backend}", found=found)
    elif len(engines) > 1 and not backend:
        yield where.broken("starts more than one engine", "one engine, or spec.backendFramework", found=found)


def _check_sidecar(component: ComponentView) -> Iterator[Violation]:
    sidecar = component.field["frontendSidecar"]
    if component.is_alpha or not sidecar.is_present:
        return
    names = tuple(name for name in component.pod["containers"].names if name != MAIN)
    if sidecar.text not in names:
        yield sidecar.broken(
            "no container of this name beside main", listed(names) or "none", nearest=nearest(sidecar.text, names)
        )


def _check_ingress(ingress: Field) -> Iterator[Violation]:
    if not ingress["enabled"].is_true:
        return
    host = ingress["host"]
    if not host.text:
        yield host.broken("is required when ingress is enabled", "a host name")
    prefix, suffix = ingress["hostPrefix"], ingress["hostSuffix"]
    # The host stands first where there is no prefix, and may then say "any".
    known = host.text.removeprefix("" if prefix.text else "*.")
    for part, text in ((host, known), (prefix, f"{prefix.text}x"), (suffix, f"{suffix.text}x")):
        if part.text and not is_subdomain(text):
            yield part.broken("not part of a host name", SUBDOMAIN_FORM)
    yield from check_annotations(ingress["annotations"])
    yield from check_labels(ingress["labels"])
    yield from check_object_names((ingress["ingressControllerClassName"], ingress["tls"]["secretName"]))


def _check_volume_names(mounts: Field) -> Iterator[Violation]:
    """A mount's claim is rendered as a volume of its name, and volumes have no dots in theirs."""
    for mount in mounts.items:
        if mount["name"].text and not is_label(mount["name"].text):
            yield mount["name"].broken("not a volume name", LABEL_FORM)


def _check_alpha(component: ComponentView) -> Iterator[Violation]:
    field = component.field
    yield from check_annotations(field["annotations"])
    yield from check_labels(field["labels"])
    yield from _check_ingress(field["ingress"])
    part = field["subComponentType"]
    if not is_label_value(part.text):
        yield part.broken("not a label value", LABEL_VALUE_FORM)
    yield from check_object_names((field["envFromSecret"], field["frontendSidecar"]["envFromSecret"]))
    yield from _check_volume_names(field["volumeMounts"])
    if field["frontendSidecar"]["image"].value == "":
        yield field["frontendSidecar"]["image"].broken("is required", "an image reference")
    caches = [mount for mount in field["volumeMounts"].items if mount["useAsCompilationCache"].is_true]
    for mount in field["volumeMounts"].items:
        # The first cache may be mounted at its engine's usual place; a second one is only a mount.
        if not mount["mountPoint"].text and mount not in caches[:1]:
            yield mount["mountPoint"].broken("is required unless useAsCompilationCache is true", "an absolute path")
    yield from check_unique(field["volumeMounts"], "mountPoint")
