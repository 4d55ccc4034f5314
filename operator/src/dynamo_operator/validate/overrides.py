"""Rules of provider overrides: which object a patch is for, and that it changes nothing but that object's placement.

Pure. Called by `graph` for the Grove pathway, which alone has them, and by `updates`. Values are never repeated in
what these rules say: a patch is free text of others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dynamo_operator.api.gangs import ROLES
from dynamo_operator.api.placement import GROVE_VERSION, POD_CLIQUE, POD_CLIQUE_SET, SCALING_GROUP, Overridable
from dynamo_operator.validate.field import Field
from dynamo_operator.validate.view import ComponentView
from dynamo_operator.validate.violation import Violation

CONSTRAINT = "topologyConstraint"
_DOMAIN = re.compile(r"[a-z][a-z0-9-]{0,62}", re.ASCII)
_PACK_FORM = "an object with required, preferred or both"
_DOMAIN_FORM = "a domain: up to 63 of a-z, 0-9 and '-', starting with a letter"


@dataclass(frozen=True, slots=True)
class Override:
    """One `providerOverride`, and the object that it is laid over."""

    field: Field
    what: Overridable

    @property
    def identity(self) -> tuple[tuple[Field, str], tuple[Field, str]]:
        """Its fields apiVersion and target, each with its value; a target that is left out is that of the place."""
        version, target = self.field["apiVersion"], self.field["target"]
        return (version, version.text), (target, target.text or self.what.target)


def overrides_of(spec: Field, components: tuple[ComponentView, ...]) -> dict[tuple[str, ...], Override]:
    """Every override of a graph, by its place: `()`, the component's name, or that and a role of its nodes."""
    places: dict[tuple[str, ...], Override] = {(): Override(spec["providerOverride"], POD_CLIQUE_SET)}
    for component in components:
        what = SCALING_GROUP if _has_scaling_group(component) else POD_CLIQUE
        places[(component.name,)] = Override(component.field["providerOverride"], what)
        for role in ROLES:
            field = component.field["multinode"][role]["providerOverride"]
            places[(component.name, role)] = Override(field, POD_CLIQUE)
    return {place: override for place, override in places.items() if override.field.is_present}


def check_overrides(spec: Field, components: tuple[ComponentView, ...]) -> Iterator[Violation]:
    is_constrained = any(each[CONSTRAINT].is_present for each in (spec, *(part.field for part in components)))
    for override in overrides_of(spec, components).values():
        (version, found), (target, kind) = override.identity
        if version.is_present and found != GROVE_VERSION:
            yield version.broken("not the API that this graph runs on", GROVE_VERSION)
        if target.is_present and kind != override.what.target:
            yield target.broken("not what is rendered here", override.what.target)
        value = override.field["value"]
        yield from _check_patch(value, override.what.path)
        if is_constrained and _writes(value, override.what.path):
            yield value.broken(
                f"cannot be combined with a {CONSTRAINT} of the graph or of any of its components",
                "one of the two",
                found=f"{'.'.join(override.what.path)}",
            )


def check_identities(
    old: Mapping[tuple[str, ...], Override], new: Mapping[tuple[str, ...], Override]
) -> Iterator[Violation]:
    """An override that stays must go on meaning the same object, in the same version of its API."""
    for place, override in new.items():
        if place not in old:
            continue
        for (field, now), (_, before) in zip(override.identity, old[place].identity, strict=True):
            if now != before:
                yield field.broken(
                    "is immutable while there is an override", f'"{before}", or no providerOverride first'
                )


def _has_scaling_group(component: ComponentView) -> bool:
    return component.is_multinode or component.field["experimental"]["grove"]["forceScalingGroup"].is_true


def _writes(value: Field, path: tuple[str, ...]) -> bool:
    for key in path[:-1]:
        value = value[key]
    return path[-1] in value.mapping


def _check_patch(patch: Field, path: tuple[str, ...]) -> Iterator[Violation]:
    """`path` is what is left of the way to the topology constraint."""
    if not path:
        yield from _check_constraint(patch)
        return
    for key in patch.mapping:
        inner = patch[str(key)]
        if key != path[0]:
            problem = "is set by the operator; an override can only change where pods are placed"
            yield inner.broken(problem, f"{'.'.join(path)} in its place", found=_kind(inner.value))
        elif not isinstance(inner.value, Mapping):
            yield inner.broken("of the wrong type", "an object", found=_kind(inner.value))
        else:
            yield from _check_patch(inner, path[1:])


def _check_constraint(constraint: Field) -> Iterator[Violation]:
    """Fields that Grove has; what it may have in a later version is left to it. A null removes a field.

    There is nothing below the patch, so it has to be whole.
    """
    pack, name = constraint["pack"], constraint["topologyName"]
    if pack.is_present and not isinstance(pack.value, Mapping):
        yield pack.broken("of the wrong type", _PACK_FORM, found=_kind(pack.value))
    elif not pack.is_present and not constraint["packDomain"].is_present:
        yield pack.broken("is required", _PACK_FORM)
    elif pack.is_present and not (pack["required"].is_present or pack["preferred"].is_present):
        yield pack.broken("packs nothing", _PACK_FORM)
    if name.is_present and not name.text:
        yield name.broken("of the wrong type", "the name of a topology", found=_kind(name.value))
    for domain in (pack["required"], pack["preferred"], constraint["packDomain"]):
        if domain.is_present and not _DOMAIN.fullmatch(domain.text):
            yield domain.broken("not a topology's domain", _DOMAIN_FORM, found=_kind(domain.value))


def _kind(value: object) -> str:
    """What it is, without what it says."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return f"a text of {len(value)} characters"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"
