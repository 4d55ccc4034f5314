"""Rules of the compilation cache, a claim that rendering mounts. Pure; called by `component_rules`."""

from __future__ import annotations

from collections.abc import Iterator

from dynamo_operator.api.engines import CACHE_PATHS
from dynamo_operator.validate.field import Field
from dynamo_operator.validate.text_forms import LABEL_FORM, is_label
from dynamo_operator.validate.view import ComponentView
from dynamo_operator.validate.violation import Violation


def check_compilation_cache(component: ComponentView, backend: str) -> Iterator[Violation]:
    """`backend` is the engine whose usual place counts; empty where none is known."""
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
