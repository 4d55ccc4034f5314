"""Validation of one manifest: its kind and version, its shape, then the rules of its kind.

Pure apart from reading the package's own schemas. Called through the package by the command line, the laptop runner
and the admission webhook.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dynamo_operator.validate.component_rules import Graph, check_component
from dynamo_operator.validate.context import Context, Pathway
from dynamo_operator.validate.core_types import check_core, unknown_field
from dynamo_operator.validate.crds import GROUP, Crd, load_crds
from dynamo_operator.validate.field import Field
from dynamo_operator.validate.graph import check_graph, check_switches, pathway_of
from dynamo_operator.validate.models import check_model
from dynamo_operator.validate.rendered_names import COMPONENT_FORM, SET_LENGTH, check_rendered_names
from dynamo_operator.validate.structure import check_structure
from dynamo_operator.validate.text_forms import (
    LABEL_FORM,
    LABEL_LENGTH,
    SUBDOMAIN_FORM,
    check_annotations,
    check_labels,
    is_label,
    is_subdomain,
)
from dynamo_operator.validate.view import ComponentView, components_of
from dynamo_operator.validate.violation import Violation, listed, nearest

GRAPH = "DynamoGraphDeployment"
COMPONENT = "DynamoComponentDeployment"
MODEL = "DynamoModel"
_NOT_SERVED = ("DynamoGraphDeploymentRequest", "DynamoCheckpoint")
"""Upstream's, and nobody means one of ours with them."""


def is_alpha(manifest: Mapping[str, object]) -> bool:
    return manifest.get("apiVersion") == f"{GROUP}/v1alpha1"


def validate(manifest: Mapping[str, object], context: Context | None = None) -> tuple[Violation, ...]:
    """Everything wrong with a manifest that is about to be created; empty if it may be.

    Takes the parsed document as written, without defaults. `status` is not looked at: the operator writes it.
    """
    root = Field("", manifest)
    created = []
    if root["kind"].text == GRAPH and root["spec"]["restart"].is_present:
        created.append(
            root["spec"]["restart"].broken(
                "must be unset on creation; set spec.restart.id afterwards to ask for a restart", "nothing"
            )
        )
    return (*violations_of(manifest, context or Context()), *created)


def violations_of(manifest: Mapping[str, object], context: Context) -> tuple[Violation, ...]:
    """What is wrong with a manifest whether it is new or changed."""
    root = Field("", manifest)
    crd = load_crds().get(root["kind"].text)
    if crd is None or root["apiVersion"].text not in crd.versions:
        return tuple(_check_kind(root, crd))
    return tuple(
        _unique((*_check_shape(manifest, crd), *_check_metadata(root["metadata"]), *_check_rules(root, context)))
    )


def _check_kind(root: Field, crd: Crd | None) -> Iterator[Violation]:
    kinds = load_crds()
    if crd is None:
        kind = root["kind"]
        if kind.text in _NOT_SERVED:
            yield kind.broken("is not served by this operator", listed(kinds))
        else:
            message = "unknown kind" if kind.is_present else "is required"
            yield kind.broken(message, listed(kinds), nearest=nearest(kind.text, kinds))
        versions = sorted({version for known in kinds.values() for version in known.versions})
        if root["apiVersion"].text not in versions:
            yield root["apiVersion"].broken("unknown group or version", listed(versions))
        return
    message = f"{crd.kind} is not in this version" if root["apiVersion"].is_present else "is required"
    yield root["apiVersion"].broken(message, listed(crd.versions))


def _check_shape(manifest: Mapping[str, object], crd: Crd) -> Iterator[Violation]:
    schema = crd.versions[str(manifest["apiVersion"])].schema
    known = ["apiVersion", "kind", "metadata", "spec", "status"]
    yield from (unknown_field("", key, known) for key in manifest if key not in known)
    if manifest.get("spec") is None:
        yield Violation("spec", "nothing", "an object", "is required")
    yield from check_structure(manifest.get("spec"), schema["properties"]["spec"], "spec")
    yield from check_core(manifest.get("metadata"), "ObjectMeta", "metadata")


def _check_metadata(metadata: Field) -> Iterator[Violation]:
    name = metadata["name"]
    if not name.is_present and not metadata["generateName"].text:
        yield name.broken("is required", SUBDOMAIN_FORM)
    elif isinstance(name.value, str) and not is_subdomain(name.value):
        yield name.broken("not an object's name", SUBDOMAIN_FORM)
    beginning = metadata["generateName"]
    if beginning.text and not name.is_present and not is_subdomain(f"{beginning.text}x"):
        yield beginning.broken("not the beginning of an object's name", SUBDOMAIN_FORM)
    namespace = metadata["namespace"]
    if namespace.text and not is_label(namespace.text):
        yield namespace.broken("not a namespace's name", LABEL_FORM)
    yield from check_labels(metadata["labels"])
    yield from check_annotations(metadata["annotations"])


def _check_rules(root: Field, context: Context) -> Iterator[Violation]:
    match root["kind"].text:
        case "DynamoGraphDeployment":
            yield from _check_graph(root, context)
        case "DynamoComponentDeployment":
            yield from _check_standalone(root, context)
        case "DynamoModel":
            yield from check_model(root)


def _check_graph(root: Field, context: Context) -> Iterator[Violation]:
    alpha = is_alpha(root.mapping)
    components, pathway = components_of(root, is_alpha=alpha), pathway_of(root, context)
    yield from check_graph(root, components, context, pathway, is_alpha=alpha)
    namespace = root["metadata"]["namespace"].text or context.namespace
    yield from check_rendered_names(root["metadata"]["name"], components, namespace, pathway)
    backend, engine = root["spec"]["backendFramework"].text, _engine(components)
    graph = Graph(root, context, pathway, backend, engine, asks_for_version=True)
    for component in components:
        yield from check_component(component, graph)


def _check_standalone(root: Field, context: Context) -> Iterator[Violation]:
    alpha = is_alpha(root.mapping)
    components = components_of(root, is_alpha=alpha)
    backend, engine = root["spec"]["backendFramework"].text, _engine(components)
    graph = Graph(root, context, Pathway.COMPONENT, backend, engine, asks_for_version=False)
    yield from check_switches(root["metadata"]["annotations"])
    for component in components:
        yield from _check_standalone_name(root["metadata"]["name"], component)
        yield from check_component(component, graph)


def _engine(components: tuple[ComponentView, ...]) -> str:
    return next((component.engines[0] for component in components if component.engines), "")


def _check_standalone_name(name: Field, component: ComponentView) -> Iterator[Violation]:
    """Its Service, and the label that selects its pods, have the object's name; another label has the component's."""
    own = component.field["serviceName"]  # v1beta1's schema knows what a name is
    if component.is_alpha and own.text and not is_label(own.text.lower()):
        yield own.broken("not a component name", COMPONENT_FORM)
    if len(name.text) > LABEL_LENGTH:
        yield name.broken(f"its Service would have {len(name.text)} characters", f"at most {LABEL_LENGTH}")
    elif component.is_multinode and len(name.text) + 2 > SET_LENGTH:
        found = f'its LeaderWorkerSet "{name.text}-0" would have {len(name.text) + 2} characters'
        yield name.broken(found, f"at most {SET_LENGTH - 2} for its own name, so that the labels of its pods fit")
    elif name.text and name.text[0].isdigit():
        yield name.broken("a Service named like it must start with a letter", "a name that starts with a letter")


def _unique(violations: tuple[Violation, ...]) -> Iterator[Violation]:
    """Drops repeated reports of one field: the shape's comes first, and says it best."""
    seen: set[str] = set()
    for violation in violations:
        key = f"{violation.path}|{violation.found}"
        if key not in seen:
            seen.add(key)
            yield violation
