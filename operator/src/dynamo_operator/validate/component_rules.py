"""Rules of one component, the same for a graph's components and a standalone one. Pure; called by `validate`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dynamo_operator.api.engines import CACHE_PATHS
from dynamo_operator.api.quantity import parse_quantity
from dynamo_operator.validate.containers import check_unique
from dynamo_operator.validate.context import Context, Pathway
from dynamo_operator.validate.features import check_features
from dynamo_operator.validate.field import Field
from dynamo_operator.validate.graph import check_deployment_switches, check_switches
from dynamo_operator.validate.pods import check_pod
from dynamo_operator.validate.text_forms import (
    LABEL_FORM,
    LABEL_VALUE_FORM,
    SUBDOMAIN_FORM,
    check_annotations,
    check_labels,
    is_label,
    is_label_value,
    is_subdomain,
)
from dynamo_operator.validate.view import MAIN, TYPES, ComponentView
from dynamo_operator.validate.violation import Violation, listed, nearest

EPP_DEFAULT_SINCE = (1, 5, 0)  # endpoint pickers from this version on have a configuration of their own


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
    yield from _check_compilation_cache(component, graph.backend or "".join(component.engines[:1]) or graph.engine)
    yield from _check_epp(component, graph.context)
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


def _check_compilation_cache(component: ComponentView, backend: str) -> Iterator[Violation]:
    claim, path = _compilation_cache(component)
    if ":" in path.text:
        yield path.broken("not a path to mount at", 'a path without ":"')
    if claim.text and not is_label(claim.text):
        yield claim.broken("not a volume name, which rendering makes of it", LABEL_FORM)
    if not claim.text:
        return
    if not path.text and backend not in CACHE_PATHS:
        engine = backend or "an engine of unknown name"
        yield path.broken(f"is required for {engine}, which has no default directory", "an absolute path")
    for mount in component.main["volumeMounts"].items:
        if mount["mountPath"].text != (path.text or CACHE_PATHS.get(backend)):
            continue
        if mount["name"].text != claim.text:
            # A path that both of v1alpha1's lists give is told by `pods`.
            if not (component.is_alpha and path.text):
                yield mount["mountPath"].broken("the compilation cache is mounted there", "another path")
        elif mount["readOnly"].is_true:
            yield mount["readOnly"].broken("the compilation cache is written to", "false, or nothing")
    for volume in component.pod["volumes"].items:
        source = volume["persistentVolumeClaim"]
        is_the_claim = source["claimName"].text == claim.text and not source["readOnly"].is_true
        if volume["name"].text == claim.text and not is_the_claim:
            yield volume.broken("has the name of the compilation cache's claim", "that claim, not readOnly")


def _compilation_cache(component: ComponentView) -> tuple[Field, Field]:
    """Its claim and its path; in v1alpha1 the first mount that is flagged, which becomes v1beta1's compilationCache."""
    if not component.is_alpha:
        cache = component.field["compilationCache"]
        return cache["pvcName"], cache["mountPath"]
    mounts = component.field["volumeMounts"]
    cache = next((mount for mount in mounts.items if mount["useAsCompilationCache"].is_true), Field(mounts.path, None))
    return cache["name"], cache["mountPoint"]


def _check_epp(component: ComponentView, context: Context) -> Iterator[Violation]:
    config = component.field["eppConfig"]
    if component.type != "epp":
        if config.is_present:
            yield config.broken("is only for type epp", "nothing", found=f'type "{component.type}"')
        return
    if not context.has_inference_pools:
        yield component.type_field.broken(
            "an endpoint picker needs the Gateway API Inference Extension, which this cluster lacks",
            "a type other than epp",
        )
    if component.is_multinode:
        yield component.field["multinode"].broken("an endpoint picker runs on one node", "nothing")
    if component.replicas != 1:
        yield component.field["replicas"].broken("an endpoint picker has exactly one replica", "1")
    version = component.runtime_version()
    if not config.is_present and (version is None or version < EPP_DEFAULT_SINCE):
        yield config.broken("is required", "one of config, configMapRef")
    elif config.is_present:
        yield from _check_epp_sources(config, is_alpha=component.is_alpha)


def _check_epp_sources(config: Field, *, is_alpha: bool) -> Iterator[Violation]:
    inline, reference = config["config"], config["configMapRef"]
    sources = [name for name in ("config", "configMapRef") if config[name].is_present]
    if len(sources) != 1:
        found = listed(sources) or "neither"
        yield config.broken("exactly one source is required", "one of config, configMapRef", found=found)
    if reference.is_present and not reference["name"].text:
        yield reference["name"].broken("is required", "the name of a ConfigMap")
    yield from _check_names((reference["name"],))
    if is_alpha and inline.is_present:  # v1beta1's schema says so itself
        for part in (inline["plugins"], inline["schedulingProfiles"]):
            if not isinstance(part.value, list | tuple):
                yield part.broken("wrong type" if part.is_present else "is required", "a list")


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
    yield from _check_names((ingress["ingressControllerClassName"], ingress["tls"]["secretName"]))


def _check_names(names: tuple[Field, ...]) -> Iterator[Violation]:
    """Names of other objects, where given: none of another form can exist."""
    for name in names:
        if name.text and not is_subdomain(name.text):
            yield name.broken("not an object's name", SUBDOMAIN_FORM)


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
    yield from _check_names((field["envFromSecret"], field["frontendSidecar"]["envFromSecret"]))
    yield from _check_volume_names(field["volumeMounts"])
    if field["frontendSidecar"]["image"].value == "":
        yield field["frontendSidecar"]["image"].broken("is required", "an image reference")
    caches = [mount for mount in field["volumeMounts"].items if mount["useAsCompilationCache"].is_true]
    for mount in field["volumeMounts"].items:
        # The first cache may be mounted at its engine's usual place; a second one is only a mount.
        if not mount["mountPoint"].text and mount not in caches[:1]:
            yield mount["mountPoint"].broken("is required unless useAsCompilationCache is true", "an absolute path")
    yield from check_unique(field["volumeMounts"], "mountPoint")
