"""DynamoComponentDeployment: the shared component spec inline, with `backendFramework` beside it.

Duty: both directions of `spec` with its payload annotation; `status` is status.py's.
Ban: no rules about single fields of a component. Callers: resources.py.
"""

from __future__ import annotations

from dynamo_operator.convert import keep_alpha, keep_beta
from dynamo_operator.convert.documents import Document, located, pick
from dynamo_operator.convert.preserved import Preserved, kept_of

SHARED = ("backendFramework",)
_NAME = "serviceName"


def spec_to_beta(spec: Document, kept: Preserved, object_name: str) -> tuple[Document, Preserved]:
    """The v1beta1 spec, and what it cannot say. A spec without `serviceName` is named after the object."""
    service = _inline(spec, _NAME)
    with located("spec"):
        component = keep_beta.restored(service, kept_of(kept.spec, kept.exact or None))
        keeping = keep_alpha.kept(service, component, every_origin=kept.is_empty)
    name = spec.get(_NAME)
    if name or "name" not in kept.unset:
        component["name"] = name or object_name
    unset = frozenset({_NAME}) if not name and "name" not in kept.unset else frozenset[str]()
    return {**pick(spec, SHARED), **component}, Preserved(keeping.sparse, unset, keeping.exact or {})


def spec_to_alpha(spec: Document, kept: Preserved, object_name: str) -> tuple[Document, Preserved]:
    """The v1alpha1 spec, and what it cannot say."""
    component = _inline(spec, "name")
    with located("spec"):
        service = keep_alpha.restored(component, kept_of(kept.spec, kept.exact or None))
        keeping = keep_beta.kept(component, service)
    name = spec.get("name")
    if name and not (_NAME in kept.unset and name == object_name):
        service[_NAME] = name
    unset = frozenset[str]() if name else frozenset({"name"})
    return {**pick(spec, SHARED), **service}, Preserved(keeping.sparse, unset, keeping.exact or {})


def _inline(spec: Document, name: str) -> Document:
    return {key: value for key, value in spec.items() if key not in SHARED and key != name}
