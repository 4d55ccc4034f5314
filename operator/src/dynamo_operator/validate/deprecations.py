"""What a manifest may keep but should lose: deprecated versions and fields, and fields that have no effect.

Pure. Called through the package by the command line and the admission webhook.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dynamo_operator.validate.context import Context
from dynamo_operator.validate.crds import load_crds
from dynamo_operator.validate.field import Field
from dynamo_operator.validate.manifest import COMPONENT, GRAPH, is_alpha
from dynamo_operator.validate.rendered_names import GLOBAL_NAMESPACE
from dynamo_operator.validate.view import ComponentView, components_of
from dynamo_operator.validate.violation import nearest

PARTS = ("prefill", "decode")


def warnings(manifest: Mapping[str, object], context: Context | None = None) -> tuple[str, ...]:
    """Lines to show with a valid manifest. An API server itself gives the first one, on a deprecated version, too."""
    root = Field("", manifest)
    crd = load_crds().get(root["kind"].text)
    version = crd.versions.get(root["apiVersion"].text) if crd else None
    if version is None:
        return ()
    lines = [version.deprecation] if version.deprecation else []
    if root["kind"].text in (GRAPH, COMPONENT):
        components = components_of(root, is_alpha=is_alpha(manifest))
        for component in components:
            lines += _alpha_warnings(component, root, context or Context()) if component.is_alpha else ()
        if root["kind"].text == GRAPH:
            lines += _role_warnings(components)
    return tuple(lines)


def _alpha_warnings(component: ComponentView, root: Field, context: Context) -> Iterator[str]:
    field = component.field
    if field["autoscaling"].is_present:
        yield (
            f"{field['autoscaling'].path} is deprecated and ignored; set scalingAdapter.enabled and point HPA, KEDA or "
            "the planner at the DynamoGraphDeploymentScalingAdapter"
        )
    if field["dynamoNamespace"].text:
        namespace = root["metadata"]["namespace"].text or context.namespace
        actual = f"{namespace}-{root['metadata']['name'].text.replace('.', '-')}"
        actual = GLOBAL_NAMESPACE if field["globalDynamoNamespace"].is_true else actual
        yield (
            f'{field["dynamoNamespace"].path} is deprecated and ignored: "{field["dynamoNamespace"].text}" will be '
            f'replaced with "{actual}"; remove the field'
        )
    part = field["subComponentType"]
    if part.text and part.text not in PARTS:
        meant = nearest(part.text, PARTS)
        hint = f"; did you mean {meant}?" if meant else ""
        yield f'{part.path}: "{part.text}" gives the worker no role; {" and ".join(PARTS)} do{hint}'
    if field["sharedMemory"]["disabled"].is_true and field["sharedMemory"]["size"].is_present:
        yield f"{field['sharedMemory']['size'].path} has no effect, since disabled is true"


def _role_warnings(components: tuple[ComponentView, ...]) -> Iterator[str]:
    types = {component.type for component in components}
    if "prefill" in types and not types & {"decode", "worker"}:
        yield "no component decodes: prefill workers alone cannot answer a request"
