"""Rules of a change: what must stay as it was, and who may scale. Pure; called through the package by the admission
webhook, with both objects in one API version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dynamo_operator.validate.context import Context
from dynamo_operator.validate.features import POWER_LIMIT
from dynamo_operator.validate.field import Field
from dynamo_operator.validate.graph import PROVIDER
from dynamo_operator.validate.manifest import COMPONENT, GRAPH, MODEL, is_alpha, violations_of
from dynamo_operator.validate.overrides import check_identities, overrides_of
from dynamo_operator.validate.resources import alpha_gpu_count, gpu_count
from dynamo_operator.validate.view import ComponentView, components_of
from dynamo_operator.validate.violation import Violation, listed

ROLLING = ("Pending", "InProgress")
UNCHANGED = "the present value"


def validate_update(
    old: Mapping[str, object],
    new: Mapping[str, object],
    context: Context | None = None,
    *,
    may_scale: bool = False,
) -> tuple[Violation, ...]:
    """What is wrong with changing `old` to `new`, both in one API version; empty if it may be done.

    A violation that `old` has too, word for word, is not held against the change, so that an object from before a rule
    stays editable. An object that is being deleted is not looked at. `may_scale`: the writer (operator, planner) may
    set the replicas of components that have a scaling adapter.
    """
    before, after = Field("", old), Field("", new)
    if after["metadata"]["deletionTimestamp"].is_present:
        return ()
    known = set(violations_of(old, context or Context()))
    fresh = tuple(violation for violation in violations_of(new, context or Context()) if violation not in known)
    match after["kind"].text:
        case kind if kind in (GRAPH, COMPONENT):
            changes = tuple(_check_graph_change(before, after, may_scale=may_scale))
        case kind if kind == MODEL:
            changes = tuple(_check_fixed(before["spec"], after["spec"], ("modelType", "baseModelName")))
        case _:
            changes = ()
    return (*fresh, *changes)


def _check_graph_change(before: Field, after: Field, *, may_scale: bool) -> Iterator[Violation]:
    old_parts = {part.name: part for part in components_of(before, is_alpha=is_alpha(before.mapping))}
    new_parts = {part.name: part for part in components_of(after, is_alpha=is_alpha(after.mapping))}
    spec, old_spec = after["spec"], before["spec"]
    if after["kind"].text == GRAPH:
        yield from _check_members(old_parts, new_parts, spec["services" if is_alpha(after.mapping) else "components"])
        yield from _check_fixed(old_spec, spec, ("topologyConstraint",))
        yield from _check_fixed(old_spec["experimental"], spec["experimental"], ("kvTransferPolicy",))
        yield from _check_provider(before, after)
        yield from check_identities(
            overrides_of(old_spec, tuple(old_parts.values())), overrides_of(spec, tuple(new_parts.values()))
        )
        yield from _check_restart(before, after)
    if old_spec["backendFramework"].is_present:
        yield from _check_fixed(old_spec, spec, ("backendFramework",))
    for name, part in new_parts.items():
        if name in old_parts:
            yield from _check_component_change(old_parts[name], part, may_scale=may_scale)


def _check_members(
    old_parts: Mapping[str, ComponentView], new_parts: Mapping[str, ComponentView], members: Field
) -> Iterator[Violation]:
    added = [name for name in new_parts if name not in old_parts]
    removed = [name for name in old_parts if name not in new_parts]
    for names, verb in ((added, "added"), (removed, "removed")):
        if names:
            yield members.broken(f"components cannot be {verb}", listed(old_parts), found=f"{verb} {listed(names)}")


def _check_provider(before: Field, after: Field) -> Iterator[Violation]:
    """It is recorded when a graph is created; nobody's later word can move running pods to another workload."""
    old, new = (root["metadata"]["annotations"][PROVIDER] for root in (before, after))
    if old.value == new.value:
        return
    where = Field(f"metadata.annotations[{PROVIDER}]", new.value)
    if old.is_present:
        yield where.broken("is immutable once recorded", f'"{old.text}"')
    else:
        yield where.broken("is recorded only when a graph is created", "nothing, or a graph created anew")


def _check_restart(before: Field, after: Field) -> Iterator[Violation]:
    new = after["spec"]["restart"]["id"]
    is_rolling = before["status"]["rollingUpdate"]["phase"].text in ROLLING
    if is_rolling and new.is_present and new.value != before["spec"]["restart"]["id"].value:
        yield new.broken("cannot change during a rolling update", "the present id, until the update has completed")


def _check_component_change(old: ComponentView, new: ComponentView, *, may_scale: bool) -> Iterator[Violation]:
    if old.type and new.type != old.type:
        yield _type_change(old, new)
    if old.is_multinode != new.is_multinode:
        was = "multinode" if old.is_multinode else "single-node"
        yield new.field["multinode"].broken("cannot change between single-node and multinode", was)
    yield from _check_fixed(old.field, new.field, ("topologyConstraint",))
    minimum = new.field["minAvailable"]
    if old.field["minAvailable"].is_present and minimum.is_present and minimum.value != old.field["minAvailable"].value:
        yield minimum.broken("is immutable", str(old.field["minAvailable"].value))
    if old.has_scaling_adapter and old.replicas != new.replicas and not may_scale:
        yield new.field["replicas"].broken(
            "is owned by the component's scaling adapter; scale the DynamoGraphDeploymentScalingAdapter instead",
            str(old.replicas),
        )
    for feature in ("gpuMemoryService", "failover"):
        if _inter_pod(old, feature) != _inter_pod(new, feature):
            yield new.experimental[feature].broken("the InterPod layout is immutable", "the layout at creation")
    old_forced, new_forced = (c.field["experimental"]["grove"]["forceScalingGroup"] for c in (old, new))
    if old_forced.is_true != new_forced.is_true:
        yield new_forced.broken("is immutable", "true" if old_forced.is_true else "false")
    yield from _check_power_change(old, new)


def _type_change(old: ComponentView, new: ComponentView) -> Violation:
    """Names the word that changed: v1alpha1 says a worker's role beside its type."""
    if new.is_alpha and new.type_field.value == old.type_field.value:
        part, was = new.field["subComponentType"], old.field["subComponentType"]
        return part.broken("would change the component's type", f'"{was.text}"' if was.text else "nothing")
    return new.type_field.broken("is immutable once set", f'"{old.type}"')


def _inter_pod(component: ComponentView, feature: str) -> int | None:
    """The number of shadows of an InterPod layout (0 for one without shadows), or None for any other layout."""
    if not component.has_feature(feature) or component.feature_mode(feature) != "interpod":
        return None
    return (component.experimental[feature]["numShadows"].integer or 1) if feature == "failover" else 0


def _check_power_change(old: ComponentView, new: ComponentView) -> Iterator[Violation]:
    """A power limit is per GPU: neither it nor what it multiplies may change."""
    old_limit, new_limit = (c.pod_metadata["annotations"][POWER_LIMIT] for c in (old, new))
    if old_limit.value != new_limit.value:
        where = Field(f"{new.pod_metadata['annotations'].path}[{POWER_LIMIT}]", new_limit.value)
        yield where.broken("is immutable", f'"{old_limit.text}"' if old_limit.is_present else "nothing")
    elif old_limit.is_present:
        if _gpus(old) != _gpus(new):
            yield new.main["resources"].broken(
                "GPUs cannot change while a power limit is set", f"{_gpus(old)} GPUs", found=f"{_gpus(new)} GPUs"
            )
        nodes = new.field["multinode"]["nodeCount"]
        if nodes.value != old.field["multinode"]["nodeCount"].value:
            yield nodes.broken(
                "cannot change while a power limit is set", str(old.field["multinode"]["nodeCount"].value)
            )


def _gpus(component: ComponentView) -> int:
    alpha = alpha_gpu_count(component.field["resources"]) if component.is_alpha else 0
    return int(gpu_count(component.main["resources"]) or alpha)


def _check_fixed(old: Field, new: Field, names: tuple[str, ...]) -> Iterator[Violation]:
    for name in names:
        if new[name].value != old[name].value:
            yield new[name].broken("is immutable", f"{UNCHANGED}" if old[name].is_present else "nothing")
