"""v1beta1's pod template <-> the pod fields scattered over a v1alpha1 service.

Duty: `compose` a pod template from `extraPodSpec`, `extraPodMetadata`, `frontendSidecar` and the dedicated fields of
the main container, and `decompose` it again by fixed rules, without looking at anything preserved.
Ban: no annotations, no other field of the service. Callers: component.py.
"""

from __future__ import annotations

from dynamo_operator.convert.documents import Document, entries, mapping, pick
from dynamo_operator.convert.mainfields import MAIN_FIELDS, join_env_from, join_mounts, split_mounts

MAIN = "main"
SIDECAR = "sidecar-frontend"
"""Name of the container that a v1alpha1 `frontendSidecar` object becomes."""


def compose(service: Document) -> Document | None:
    """The pod template of a service; None when the service says nothing about its pods."""
    if not _speaks_of_pods(service):
        return None
    extra = mapping(service.get("extraPodSpec"), "extraPodSpec")
    own = mapping(extra.pop("mainContainer", None), "extraPodSpec.mainContainer")
    others = [tidy_container(entry) for entry in entries(extra.pop("containers", None), "extraPodSpec.containers")]
    containers = [_main_container(service, own), *(entry for entry in others if entry.get("name") != MAIN)]
    sidecar = service.get("frontendSidecar")
    if sidecar is not None and all(entry.get("name") != SIDECAR for entry in containers):
        containers.append(sidecar_container(mapping(sidecar, "frontendSidecar")))
    if extra.get("initContainers"):
        extra["initContainers"] = [
            tidy_container(entry) for entry in entries(extra["initContainers"], "extraPodSpec.initContainers")
        ]
    metadata = mapping(service.get("extraPodMetadata"), "extraPodMetadata")
    metadata = {key: value for key, value in metadata.items() if value}
    spec = {"spec": {**extra, "containers": containers}}
    return {"metadata": metadata, **spec} if metadata else spec


def decompose(component: Document) -> Document:
    """The pod fields of a v1alpha1 service, from a component's `podTemplate` and `compilationCache`."""
    template = mapping(component.get("podTemplate"), "podTemplate")
    spec = mapping(template.get("spec"), "podTemplate.spec")
    containers = entries(spec.pop("containers", None), "podTemplate.spec.containers")
    main = mapping(find_container(containers, MAIN), "podTemplate.spec.containers[main]")
    main.pop("name", None)
    service: Document = {}
    for field in MAIN_FIELDS:
        service[field.dedicated], own = field.split(main.pop(field.own, None))
        if own:
            main[field.own] = own
    service["volumeMounts"] = split_mounts(main.pop("volumeMounts", None), component.get("compilationCache"))
    others = [entry for entry in containers if entry.get("name") != MAIN]
    extra = {**spec, **({"containers": others} if others else {}), **({"mainContainer": main} if main else {})}
    service["extraPodSpec"] = extra or None
    metadata = mapping(template.get("metadata"), "podTemplate.metadata")
    service["extraPodMetadata"] = pick(metadata, ["annotations", "labels"]) or None
    return {key: value for key, value in service.items() if value is not None}


def find_container(containers: list[Document], name: object) -> Document | None:
    """The first container of that name."""
    return next((entry for entry in containers if entry.get("name") == name), None)


def sidecar_container(sidecar: Document) -> Document:
    """The container that a v1alpha1 `frontendSidecar` object stands for."""
    container: Document = {"name": SIDECAR, **pick(sidecar, ["image", "args"])}
    if sidecar.get("envs"):
        container["env"] = sidecar["envs"]
    env_from = join_env_from(sidecar.get("envFromSecret"), None)
    return {**container, "envFrom": env_from} if env_from else container


def sidecar_object(container: Document) -> Document | None:
    """The `frontendSidecar` object that stands for this container; None if the object could not say all of it."""
    env_from = entries(container.get("envFrom"), "frontendSidecar.envFrom")
    sidecar: Document = {**pick(container, ["image", "args"])}
    if container.get("env"):
        sidecar["envs"] = container["env"]
    if len(env_from) == 1:
        sidecar["envFromSecret"] = mapping(env_from[0].get("secretRef"), "frontendSidecar.envFrom[0].secretRef").get(
            "name"
        )
    return sidecar if sidecar_container(sidecar) == tidy_container(container) else None


def tidy_container(container: Document) -> Document:
    """Without the zero values that Go's container type always writes."""
    return {key: value for key, value in container.items() if not (key == "resources" and not value)}


def _main_container(service: Document, own: Document) -> Document:
    main = {"name": MAIN, **{key: value for key, value in own.items() if key != "name"}}
    for field in MAIN_FIELDS:
        main[field.own] = field.join(service.get(field.dedicated), own.get(field.own))
    main["volumeMounts"] = join_mounts(service.get("volumeMounts"), own.get("volumeMounts"))
    return {key: value for key, value in main.items() if value is not None}


def _speaks_of_pods(service: Document) -> bool:
    mounts = entries(service.get("volumeMounts"), "volumeMounts")
    present = ("resources", "envFromSecret", "livenessProbe", "readinessProbe", "extraPodMetadata", "frontendSidecar")
    return (
        any(service.get(key) is not None for key in present)
        or bool(entries(service.get("envs"), "envs") or mapping(service.get("extraPodSpec"), "extraPodSpec"))
        or any(not entry.get("useAsCompilationCache") for entry in mounts)
    )
