"""DynamoGraphDeployment: v1alpha1's `services` map <-> v1beta1's `components` list, and the fields around them.

Duty: both directions of `spec` with its payload annotation; `status` is status.py's.
Ban: no rules about single fields of a component. Callers: resources.py.
"""

from __future__ import annotations

from typing import Any

from dynamo_operator.convert import keep_alpha, keep_beta
from dynamo_operator.convert.documents import ConversionError, Document, entries, located, mapping, pick
from dynamo_operator.convert.preserved import Preserved, kept_of

SHARED = ("annotations", "labels", "priorityClassName", "backendFramework", "restart", "providerOverride")
_ALPHA_CONVERTED = frozenset({*SHARED, "envs", "topologyConstraint", "experimental", "services"})
_BETA_CONVERTED = frozenset({*SHARED, "env", "topologyConstraint", "experimental", "components"})
_ALPHA_EXPERIMENTAL = ("kvTransferPolicy",)
_TOPOLOGY = ("topologyProfile", "clusterTopologyName")


def spec_to_beta(spec: Document, kept: Preserved) -> tuple[Document, Preserved]:
    """The v1beta1 spec, and what it cannot say. `kept` is what the v1alpha1 object carried for v1beta1.

    Components come in the order they had in v1beta1 when that was not by name, new ones last by name; else by name.
    """
    services = mapping(spec.get("services"), "spec.services")
    beta: Document = pick(spec, SHARED)
    beta.update(_renamed(spec, "envs", "env"))
    beta.update(_topology(spec, *_TOPOLOGY))
    experimental = {**_unknown_experimental(kept.spec), **mapping(spec.get("experimental"), "spec.experimental")}
    if experimental or spec.get("experimental") == {}:
        beta["experimental"] = experimental
    beta.update({key: value for key, value in kept.spec.items() if key not in _BETA_CONVERTED and key not in beta})
    kept_components = _by_name(kept.spec.get("components"), "components")
    names = _ordered([name for name, service in services.items() if service is not None], list(kept_components))
    sparse: Document = {key: value for key, value in spec.items() if key not in _ALPHA_CONVERTED and value is not None}
    kept_services: Document = {name: None for name, service in services.items() if service is None}
    exact: Document = {}
    components = []
    for name in names:
        service = mapping(services[name], f"spec.services.{name}")
        earlier = kept_of(kept_components.get(name), kept.exact.get(name))
        with located(f"spec.services.{name}"):
            component = keep_beta.restored(service, earlier)
            keeping = keep_alpha.kept(service, component, every_origin=kept.is_empty)
        components.append({"name": name, **component})
        sparse_service = {**keeping.sparse, **pick(service, ["serviceName"])}
        if sparse_service:
            kept_services[name] = sparse_service
        if keeping.exact is not None:
            exact[name] = keeping.exact
    if "services" in spec:
        beta["components"] = components
    if kept_services:
        sparse["services"] = dict(sorted(kept_services.items()))
    return beta, Preserved(spec=sparse, exact=exact)


def spec_to_alpha(spec: Document, kept: Preserved) -> tuple[Document, Preserved]:
    """The v1alpha1 spec, and what it cannot say. `kept` is what the v1beta1 object carried for v1alpha1."""
    components = _by_name(spec.get("components"), "spec.components")
    alpha: Document = pick(spec, SHARED)
    alpha.update(_renamed(spec, "env", "envs"))
    alpha.update(_topology(spec, *reversed(_TOPOLOGY)))
    experimental = pick(mapping(spec.get("experimental"), "spec.experimental"), _ALPHA_EXPERIMENTAL)
    if experimental or spec.get("experimental") == {}:
        alpha["experimental"] = experimental
    alpha.update({key: value for key, value in kept.spec.items() if key not in _ALPHA_CONVERTED and key not in alpha})
    kept_services = mapping(kept.spec.get("services"), "services")
    sparse: Document = {key: value for key, value in spec.items() if key not in _BETA_CONVERTED and value is not None}
    if unknown := _unknown_experimental(spec):
        sparse["experimental"] = unknown
    services: Document = {name: None for name, service in kept_services.items() if service is None}
    listed, exact = [], {}
    for place, (name, component) in enumerate(components.items()):
        earlier = kept_of(kept_services.get(name), kept.exact.get(name))
        with located(f"spec.components[{place}]"):
            service = keep_alpha.restored(component, earlier)
            keeping = keep_beta.kept(component, service)
        listed.append({"name": name, **keeping.sparse})
        if keeping.exact is not None:
            exact[name] = keeping.exact
        services[name] = {**service, **pick(earlier.sparse, ["serviceName"])}
    if "components" in spec or services:
        alpha["services"] = services
    is_ordered = list(components) == sorted(components)
    # An object that came from v1alpha1 carries no list of names unless the list says something.
    if listed and (kept.is_empty or not is_ordered or any(len(entry) > 1 for entry in listed)):
        sparse["components"] = listed
    return alpha, Preserved(spec=sparse, exact=exact)


def _ordered(names: list[str], earlier: list[str]) -> list[str]:
    if earlier == sorted(earlier):
        return sorted(names)
    return [*(name for name in earlier if name in names), *sorted(set(names) - set(earlier))]


def _by_name(components: object, path: str) -> dict[str, Document]:
    named: dict[str, Document] = {}
    for place, component in enumerate(entries(components, path)):
        name = component.get("name")
        if not isinstance(name, str) or not name:
            raise ConversionError(f"{path}[{place}].name: found {name!r}, expected a name")
        if name in named:
            raise ConversionError(f"{path}[{place}].name: {name!r} is used twice, expected unique names")
        named[name] = component
    return named


def _renamed(spec: Document, old: str, new: str) -> Document:
    return {new: spec[old]} if spec.get(old) is not None else {}


def _topology(spec: Document, old: str, new: str) -> Document:
    if spec.get("topologyConstraint") is None:
        return {}
    constraint = mapping(spec["topologyConstraint"], "spec.topologyConstraint")
    return {"topologyConstraint": {new if key == old else key: value for key, value in constraint.items()}}


def _unknown_experimental(spec: Document) -> dict[str, Any]:
    experimental = mapping(spec.get("experimental"), "spec.experimental")
    return {key: value for key, value in experimental.items() if key not in _ALPHA_EXPERIMENTAL and value is not None}
