"""Everything that can be said of one manifest without a cluster: what admission refuses and warns of, whether it
renders, and the contracts between its components. Pure apart from reading the package's own schemas.

Called by `dynamo lint`, for each document of a file, and by admission for what breaks no rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from dynamo_operator.api import Graph, SpecError, parse_component_deployment, parse_graph
from dynamo_operator.convert import ConversionError, to_v1beta1
from dynamo_operator.lint.contracts import find_broken_contracts
from dynamo_operator.lint.finding import Finding
from dynamo_operator.render import RenderContext, RenderError, render, render_component_deployment
from dynamo_operator.validate import Context, load_crds, validate, warnings

GROUP = "nvidia.com/"
GRAPH = "DynamoGraphDeployment"
COMPONENT = "DynamoComponentDeployment"
_PARTS = ("components", "services")
"""What a graph consists of, in one version and the other."""
_LEADING_PATH = re.compile(r"(?:spec|metadata)[\w.\[\]/-]*")
_COMPONENT_PATH = re.compile(r"spec\.components\[(\d+)\](.*)")
_ALPHA_TAILS = (
    (re.compile(r"\.podTemplate\.spec\.containers\[\d+\]\.resources"), ".resources"),
    (re.compile(r"\.podTemplate\.spec\.containers\[\d+\]\.env"), ".envs"),
    (re.compile(r"\.podTemplate\.spec\.containers\[\d+\]"), ".extraPodSpec.mainContainer"),
    (re.compile(r"\.type$"), ".componentType"),
)
"""Where v1alpha1 keeps what the rules name in v1beta1's words."""


def is_judged(manifest: Mapping[str, Any]) -> bool:
    """Whether it is, or seems meant to be, an object of ours; others are none of this program's business."""
    kind, api_version, spec = (
        str(manifest.get("kind") or ""),
        str(manifest.get("apiVersion") or ""),
        manifest.get("spec"),
    )
    if not kind and not api_version:
        return isinstance(spec, Mapping) and not spec.keys().isdisjoint(_PARTS)
    return api_version.startswith(GROUP) or kind in load_crds()


def lint_manifest(manifest: Mapping[str, Any], context: Context) -> tuple[Finding, ...]:
    """Errors of admission first; what needs a readable manifest is only looked at once there are none."""
    refused = tuple(
        Finding("admission", each.place, each.message, found=each.found, allowed=each.allowed, nearest=each.nearest)
        for each in validate(manifest, context)
    )
    warned = tuple(_warning(line) for line in warnings(manifest, context))
    if refused or manifest.get("kind") not in (GRAPH, COMPONENT):
        return (*refused, *warned)
    return (*warned, *_deeper(manifest, context))


def _warning(line: str) -> Finding:
    leading = _LEADING_PATH.match(line)
    path = leading.group().rstrip(":.") if leading else ""
    rest = line[leading.end() :].lstrip(": ") if leading else line
    return Finding("deprecation" if "deprecated" in line else "effect", path, rest, is_error=False)


def find_unrenderable(manifest: Mapping[str, Any], context: Context) -> tuple[Finding, ...]:
    """Why an object that breaks no rule still cannot become Kubernetes objects, at the component that is to blame."""
    if manifest.get("kind") not in (GRAPH, COMPONENT):
        return ()
    try:
        current = to_v1beta1(manifest)
        if manifest["kind"] == COMPONENT:
            render_component_deployment(parse_component_deployment(current), _rendering(manifest, context))
        else:
            render(parse_graph(current), _rendering(manifest, context))
    except RenderError as error:
        return (Finding("render", _path_of(error.component, manifest), error.found, allowed=error.allowed),)
    except (SpecError, ConversionError) as error:
        return (Finding("render", "spec", str(error)),)
    return ()


def _deeper(manifest: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    yield from find_unrenderable(manifest, context)
    if manifest["kind"] == COMPONENT:
        return
    try:
        current = to_v1beta1(manifest)
        graph = parse_graph(current)
    except (SpecError, ConversionError):
        return
    is_alpha = manifest["apiVersion"] != current["apiVersion"]
    for finding in find_broken_contracts(graph):
        yield replace(finding, path=alpha_path(finding.path, graph)) if is_alpha else finding


def _path_of(component: str, manifest: Mapping[str, Any]) -> str:
    parts = manifest["spec"].get("services") or manifest["spec"].get("components") or ()
    if isinstance(parts, Mapping):
        return f"spec.services[{component}]" if component in parts else "spec"
    at = next((at for at, each in enumerate(parts) if each.get("name") == component), None)
    return "spec" if at is None else f"spec.components[{at}]"


def _rendering(manifest: Mapping[str, Any], context: Context) -> RenderContext:
    namespace = str((manifest.get("metadata") or {}).get("namespace") or context.namespace)
    return RenderContext(namespace, has_grove=context.has_grove, has_leader_worker_sets=context.has_leader_worker_sets)


def alpha_path(path: str, graph: Graph) -> str:
    """The same field in v1alpha1, or the nearest parent that can be told."""
    match = _COMPONENT_PATH.fullmatch(path)
    if match is None:
        return path
    name, tail = graph.components[int(match.group(1))].name, match.group(2)
    for pattern, there in _ALPHA_TAILS:
        tail = pattern.sub(there, tail)
    return f"spec.services[{name}]{tail}"
