"""Rules of a component's pod: what an API server would refuse in it, or what could never start.

Pure. Called by `component_rules` for each component; `containers` and `resources` hold the rules of one container.
"""

from __future__ import annotations

from collections.abc import Iterator

from dynamo_operator.validate.containers import (
    PROBES,
    asks,
    check_container,
    check_enum,
    check_env,
    check_mounts,
    check_probe,
    check_unique,
)
from dynamo_operator.validate.field import Field
from dynamo_operator.validate.resources import NO_RESOURCES, check_alpha_resources, check_resources
from dynamo_operator.validate.text_forms import (
    IMAGE_FORM,
    LABEL_FORM,
    check_annotations,
    check_labels,
    is_image,
    is_label,
)
from dynamo_operator.validate.view import FRONTEND_SIDECAR, MAIN, ComponentView
from dynamo_operator.validate.violation import Violation, listed, nearest

SHARED_MEMORY_VOLUME = "shared-memory"
EPP_VOLUMES = ("epp-config", "hf-cache")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
TOLERATION_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")

# Ports that rendering names on the main container.
ADDED_PORTS = {
    "frontend": ("http",),
    "worker": ("system", "nixl"),
    "prefill": ("system", "nixl"),
    "decode": ("system", "nixl"),
    "planner": ("metrics", "system"),
    "epp": ("grpc", "grpc-health", "metrics"),
}


SYSTEM_PORT = ("system", 9090)


def check_pod(component: ComponentView) -> Iterator[Violation]:
    yield from check_labels(component.pod_metadata["labels"])
    yield from check_annotations(component.pod_metadata["annotations"])
    yield from _check_pod_fields(component.pod)
    yield from _check_container_names(component)
    yield from _check_images(component)
    yield from _check_containers(component)
    if component.is_alpha:
        yield from _check_alpha_fields(component)


def known_volumes(component: ComponentView) -> frozenset[str]:
    """Names that a mount may use: the pod's volumes, and those that rendering adds."""
    names = set(component.pod["volumes"].names)
    if component.has_shared_memory:
        names.add(SHARED_MEMORY_VOLUME)
    if cache := component.field["compilationCache"]["pvcName"].text:
        names.add(cache)
    if component.type == "epp":
        names.update(EPP_VOLUMES)
    if component.is_alpha:
        names.update(component.field["volumeMounts"].names)
    return component.kept_volumes | names


def _check_pod_fields(pod: Field) -> Iterator[Violation]:
    yield from check_enum(pod["restartPolicy"], ("Always",))
    yield from check_enum(pod["dnsPolicy"], DNS_POLICIES)
    grace = pod["terminationGracePeriodSeconds"]
    if grace.integer is not None and grace.integer < 0:
        yield grace.broken("too small", "at least 0")
    for toleration in pod["tolerations"].items:
        yield from check_enum(toleration["effect"], TOLERATION_EFFECTS)
        yield from check_enum(toleration["operator"], ("Exists", "Equal", "Lt", "Gt"))
        if toleration["operator"].text == "Exists" and toleration["value"].text:
            yield toleration["value"].broken("operator Exists takes no value", "no value, or operator Equal")
    yield from check_unique(pod["volumes"], "name")
    yield from check_unique(pod["resourceClaims"], "name")
    for volume in pod["volumes"].items:
        yield from _check_dns_label(volume["name"], "not a volume name")
        sources = [str(key) for key, value in volume.mapping.items() if key != "name" and value is not None]
        if len(sources) > 1:
            yield volume.broken("more than one volume source", "one source", found=listed(sources))
    yield from check_labels(pod["nodeSelector"])


def _check_container_names(component: ComponentView) -> Iterator[Violation]:
    seen: dict[str, str] = {}
    if component.is_alpha:
        seen[MAIN] = component.main.path
    named = component.pod["containers"].items + component.pod["initContainers"].items
    for container in named:
        name = container["name"]
        if not name.is_present:
            yield name.broken("is required", LABEL_FORM)
            continue
        yield from _check_dns_label(name, "not a container name")
        if name.text in seen:
            yield name.broken(f"duplicate of {seen[name.text]}", "each name once in a pod")
        elif name.text:
            seen[name.text] = container.path


def _check_images(component: ComponentView) -> Iterator[Violation]:
    """Every container has an image. The main one of v1beta1 may be absent as a whole, which is named as such."""
    if not component.is_alpha and not component.main.is_present:
        containers = component.pod["containers"]
        names = containers.names
        yield containers.broken(
            f'the container "{MAIN}" is required',
            f'one container named "{MAIN}", with an image',
            found=listed(names) or "no container",
            nearest=MAIN if nearest(MAIN, names) else "",
        )
    alpha_main = (component.main,) if component.is_alpha and not component.main.is_present else ()
    for container in (*alpha_main, *component.containers, *component.pod["initContainers"].items):
        yield from _check_image(container["image"])


def _check_image(image: Field) -> Iterator[Violation]:
    if not image.is_present or image.value == "":
        yield image.broken("is required", "an image reference")
    elif image.text != image.text.strip():
        yield image.broken("spaces around the image", "an image reference")
    elif image.text and not is_image(image.text):
        yield image.broken("not an image reference: no container could start of it", IMAGE_FORM)


def _check_containers(component: ComponentView) -> Iterator[Violation]:
    volumes = known_volumes(component)
    claims = _claims(component)
    # The GPU memory service moves the GPUs from the container's limits to a resource claim.
    needs_gpu_limit = not component.has_feature("gpuMemoryService")
    # A service's own fields are judged as those of its main container, even where it has no other ones.
    unwritten_main = (component.main,) if component.is_alpha and not component.main.is_present else ()
    for container in (*unwritten_main, *component.containers, *component.pod["initContainers"].items):
        completed = _completed_probes(component, container)
        yield from check_container(container, volumes, _added_ports(component, container), completed)
        joined = component.field["resources"] if container.path == component.main.path else NO_RESOURCES
        yield from check_resources(container["resources"], claims, needs_gpu_limit=needs_gpu_limit, beside=joined)
    yield from _check_served_port(component)


def _added_ports(component: ComponentView, container: Field) -> tuple[str, ...]:
    if container.path == component.main.path:
        return ADDED_PORTS.get(component.type, ("system",))
    return ADDED_PORTS["frontend"] if _is_sidecar(component, container) else ()


def _completed_probes(component: ComponentView, container: Field) -> tuple[str, ...]:
    """Of the main container those that a v1alpha1 service completes, of a frontend's sidecar those with a default."""
    if container.path == component.main.path:
        return tuple(name for name in PROBES[:2] if component.is_alpha and asks(component.field[name]))
    return PROBES[:2] if _is_sidecar(component, container) else ()


def _is_sidecar(component: ComponentView, container: Field) -> bool:
    name = container["name"].text
    return bool(name) and name == (FRONTEND_SIDECAR if component.is_alpha else component.field["frontendSidecar"].text)


def _check_served_port(component: ComponentView) -> Iterator[Violation]:
    """The component's Service and probes look for one port by its name."""
    name, number = ("http", 8000) if component.type == "frontend" else SYSTEM_PORT
    ports = component.main["ports"]
    if name in ports.names or component.type == "epp":  # a picker's are looked for by number
        return
    for port in ports.items:
        if port["containerPort"].integer == number and port["name"].text:
            yield port["name"].broken(f"the Service and the probes look for port {number} by another name", name)


def _claims(component: ComponentView) -> frozenset[str]:
    return frozenset(component.pod["resourceClaims"].names)


def _check_alpha_fields(component: ComponentView) -> Iterator[Violation]:
    """v1alpha1's dedicated fields, which become fields of the main container."""
    field = component.field
    yield from check_env(field["envs"], is_of_a_container=False)
    yield from check_env(field["frontendSidecar"]["envs"], is_of_a_container=False)
    volumes = frozenset(component.pod["volumes"].names) | frozenset(field["volumeMounts"].names)
    yield from check_mounts(field["volumeMounts"], volumes, "mountPoint")
    own = {mount["mountPath"].text: mount for mount in component.main["volumeMounts"].items}
    for mount in field["volumeMounts"].items:
        other = own.get(mount["mountPoint"].text)
        if other is not None and other["name"].text != mount["name"].text:
            yield mount["mountPoint"].broken(f"{other.path} is mounted there", "another path")
    ports = frozenset(component.main["ports"].names) | frozenset(ADDED_PORTS.get(component.type, ("system",)))
    for name in PROBES[:2]:
        yield from check_probe(field[name], ports, needs_handler=not asks(component.main[name]))
    yield from check_alpha_resources(field["resources"], _claims(component))
    if field["frontendSidecar"]["image"].text:
        yield from _check_image(field["frontendSidecar"]["image"])
    if any(container["name"].text == FRONTEND_SIDECAR for container in component.pod["containers"].items) and (
        field["frontendSidecar"].is_present
    ):
        yield field["frontendSidecar"].broken(
            f'a container "{FRONTEND_SIDECAR}" is already in extraPodSpec.containers', "one of the two"
        )


def _check_dns_label(name: Field, message: str) -> Iterator[Violation]:
    if isinstance(name.value, str) and not is_label(name.value):
        yield name.broken(message, LABEL_FORM)
