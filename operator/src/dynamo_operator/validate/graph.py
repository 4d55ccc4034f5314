"""Rules of a whole graph: its components together, restart, topology, KV transfer, annotations, PVCs. Pure; called by
`validate`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dynamo_operator.api.quantity import parse_quantity
from dynamo_operator.validate.containers import check_enum, check_env, check_unique
from dynamo_operator.validate.context import Context, Pathway
from dynamo_operator.validate.features import DISCOVERY_MODE
from dynamo_operator.validate.field import Field
from dynamo_operator.validate.overrides import check_overrides
from dynamo_operator.validate.text_forms import (
    SUBDOMAIN_FORM,
    check_annotations,
    check_labels,
    check_object_names,
    is_subdomain,
)
from dynamo_operator.validate.view import ComponentView
from dynamo_operator.validate.violation import Violation, listed, nearest

ENABLE_GROVE = "nvidia.com/enable-grove"
EXECUTOR = "nvidia.com/vllm-distributed-executor-backend"
ORIGIN_VERSION = "nvidia.com/dynamo-operator-origin-version"
PROVIDER = "nvidia.com/workload-provider"

# Annotation -> allowed values; the executor's case does not matter.
ANNOTATION_VALUES = {
    DISCOVERY_MODE: ("pod", "container"),
    EXECUTOR: ("mp", "ray"),
    "nvidia.com/grove-update-strategy": ("Coherent", "RollingRecreate", "OnDelete"),
    PROVIDER: ("component", "grove"),
}
STRATEGY, STRATEGIES = "nvidia.com/deployment-strategy", ("RollingUpdate", "Recreate")
ROLLING_LIMITS = (
    "nvidia.com/deployment-rolling-update-max-surge",
    "nvidia.com/deployment-rolling-update-max-unavailable",
)
CASELESS = {EXECUTOR}

_NUMBER = r"(0|[1-9]\d*)"
_SEMVER = re.compile(rf"v?{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?", re.ASCII)


def pathway_of(manifest: Field, context: Context) -> Pathway:
    """Grove where the cluster has it, unless the graph's annotation or its recorded provider says otherwise."""
    annotations = manifest["metadata"]["annotations"]
    if annotations[PROVIDER].text in ("component", "grove"):
        return Pathway(annotations[PROVIDER].text)
    if not context.has_grove or annotations[ENABLE_GROVE].text.lower() == "false":
        return Pathway.COMPONENT
    return Pathway.GROVE


def check_graph(
    manifest: Field, components: tuple[ComponentView, ...], context: Context, pathway: Pathway, *, is_alpha: bool
) -> Iterator[Violation]:
    spec = manifest["spec"]
    yield from _check_members(spec, components, is_alpha=is_alpha)
    yield from check_switches(manifest["metadata"]["annotations"])
    yield from _check_provider(manifest["metadata"]["annotations"], context)
    yield from check_annotations(spec["annotations"])
    yield from check_deployment_switches(spec["annotations"])
    yield from check_labels(spec["labels"])
    yield from check_env(spec["envs" if is_alpha else "env"], is_of_a_container=False)
    yield from check_restart(spec["restart"], tuple(component.name for component in components))
    if pathway is Pathway.GROVE:
        yield from check_object_names((spec["priorityClassName"],))
        yield from check_overrides(spec, components)
    else:
        yield from _check_grove_only(spec)
    yield from _check_topology(spec, components, context, pathway, is_alpha=is_alpha)
    yield from _check_kv_transfer(spec["experimental"]["kvTransferPolicy"], pathway)
    if is_alpha:
        yield from _check_pvcs(spec["pvcs"])


def _check_members(spec: Field, components: tuple[ComponentView, ...], *, is_alpha: bool) -> Iterator[Violation]:
    members = spec["services" if is_alpha else "components"]
    if not components:
        yield members.broken("must have at least one component", "1 to 25 components")
    seen: dict[str, ComponentView] = {}
    for component in components:
        other = seen.setdefault(component.name.lower(), component)
        if other is not component and component.name:
            yield component.name_field.broken(
                f"names are the same as {other.field.path} when case is ignored", "names unique case-insensitively"
            )
    pickers = [component for component in components if component.type == "epp"]
    for extra in pickers[1:]:
        yield extra.type_field.broken(f"{pickers[0].field.path} is of type epp already", "at most one epp")


def check_switches(annotations: Field) -> Iterator[Violation]:
    """The annotations that switch something must have a value that is understood."""
    for key, allowed in ANNOTATION_VALUES.items():
        field = Field(f"{annotations.path}[{key}]", annotations[key].value)
        if field.is_present and (field.text.lower() if key in CASELESS else field.text) not in allowed:
            yield field.broken("unsupported value", listed(allowed), nearest=nearest(field.text, allowed))
    yield from check_deployment_switches(annotations)
    origin = Field(f"{annotations.path}[{ORIGIN_VERSION}]", annotations[ORIGIN_VERSION].value)
    if origin.is_present and not _is_semver(origin.text):
        yield origin.broken("not a semantic version", "X.Y.Z")


def check_deployment_switches(annotations: Field) -> Iterator[Violation]:
    """Those that say how a Deployment replaces its pods, wherever they reach it from; empty is as good as absent."""
    strategy = Field(f"{annotations.path}[{STRATEGY}]", annotations[STRATEGY].value)
    if strategy.text and strategy.text not in STRATEGIES:
        yield strategy.broken("unsupported value", listed(STRATEGIES), nearest=nearest(strategy.text, STRATEGIES))
    limits = [Field(f"{annotations.path}[{key}]", annotations[key].value) for key in ROLLING_LIMITS]
    for limit in limits:
        if limit.text and not re.fullmatch(r"\d{1,9}|\d{1,2}%|100%", limit.text, re.ASCII):
            yield limit.broken("neither a number nor a share", 'like "1" or "25%"')
    if all(limit.text in ("0", "0%") for limit in limits):
        yield limits[1].broken("max-surge is 0 too, so that nothing could be replaced", "more than 0 for one of them")


def check_restart(restart: Field, names: tuple[str, ...]) -> Iterator[Violation]:
    order, strategy = restart["strategy"]["order"], restart["strategy"]["type"].text
    if not order.items:
        return
    if strategy == "Parallel":
        yield order.broken("is not allowed with type Parallel", "no order, or type Sequential")
        return
    seen: set[str] = set()
    for entry in order.items:
        if entry.text not in names:
            yield entry.broken("no component of this name", listed(names), nearest=nearest(entry.text, names))
        elif entry.text in seen:
            yield entry.broken("duplicate", "each component once")
        seen.add(entry.text)
    missing = [name for name in names if name not in seen]
    if missing:
        yield order.broken("must list every component", f"also {listed(missing)}")


def _check_provider(annotations: Field, context: Context) -> Iterator[Violation]:
    """A graph whose provider is recorded as Grove would wait for it for ever."""
    if annotations[PROVIDER].text == Pathway.GROVE.value and not context.has_grove:
        where = Field(f"{annotations.path}[{PROVIDER}]", annotations[PROVIDER].value)
        yield where.broken("needs Grove, which this cluster does not have", f"{Pathway.COMPONENT.value}, or nothing")


def _check_grove_only(spec: Field) -> Iterator[Violation]:
    for name in ("priorityClassName", "topologyConstraint", "providerOverride"):
        if spec[name].is_present and spec[name].value != "":
            yield spec[name].broken("needs the Grove pathway", "nothing on the component pathway")


def _check_topology(
    spec: Field, components: tuple[ComponentView, ...], context: Context, pathway: Pathway, *, is_alpha: bool
) -> Iterator[Violation]:
    constraint = spec["topologyConstraint"]
    constrained = [c.field["topologyConstraint"] for c in components if c.field["topologyConstraint"].is_present]
    if pathway is not Pathway.GROVE:
        return
    if not constraint.is_present:
        for own in constrained:
            yield own.broken("needs spec.topologyConstraint, which names the topology", "spec.topologyConstraint")
        return
    if not constraint["packDomain"].is_present and not constrained:
        yield constraint["packDomain"].broken("is required when no component has a topologyConstraint", "a domain")
    if context.cluster_topologies is None:
        return
    topologies = dict(context.cluster_topologies)
    name = constraint["topologyProfile" if is_alpha else "clusterTopologyName"]
    if name.text not in topologies:
        yield name.broken(
            "no such ClusterTopology", listed(topologies) or "none", nearest=nearest(name.text, topologies)
        )
        return
    domains = topologies[name.text]
    widest = constraint["packDomain"].text
    for domain in (constraint["packDomain"], *(own["packDomain"] for own in constrained)):
        if domain.text and domain.text not in domains:
            yield domain.broken("no such domain", listed(domains), nearest=nearest(domain.text, domains))
        elif domain.text and widest in domains and domains.index(domain.text) < domains.index(widest):
            yield domain.broken(f"wider than the graph's domain {widest}", listed(domains[domains.index(widest) :]))


def _check_kv_transfer(policy: Field, pathway: Pathway) -> Iterator[Violation]:
    if not policy.is_present:
        return
    problems = tuple(_kv_transfer_problems(policy, pathway))
    # Ignoring one that is right would break a requirement silently: rendering refuses it too.
    yield from problems or (policy.broken("is not supported yet", "nothing"),)


def _kv_transfer_problems(policy: Field, pathway: Pathway) -> Iterator[Violation]:
    selectors = [name for name in ("labelKey", "clusterTopologyName") if policy[name].is_present]
    if len(selectors) != 1:
        found = listed(selectors) or "neither"
        yield policy.broken("exactly one selector is required", "one of labelKey, clusterTopologyName", found=found)
    weight, is_preferred = policy["preferredWeight"], policy["enforcement"].text == "preferred"
    if is_preferred and not weight.is_present:
        yield weight.broken("is required when enforcement is preferred", "0 to 1")
    elif weight.is_present and not is_preferred:
        yield weight.broken("is only for enforcement preferred", "nothing")
    if policy["clusterTopologyName"].is_present and pathway is not Pathway.GROVE:
        yield policy["clusterTopologyName"].broken("needs the Grove pathway", "labelKey")


def _check_pvcs(pvcs: Field) -> Iterator[Violation]:
    yield from check_unique(pvcs, "name")
    for pvc in pvcs.items:
        name = pvc["name"]
        if name.text and not is_subdomain(name.text):
            yield name.broken("not a PersistentVolumeClaim's name", SUBDOMAIN_FORM)
        if not pvc["create"].is_true:
            continue
        storage_class = pvc["storageClass"]
        if storage_class.text and not is_subdomain(storage_class.text):
            yield storage_class.broken("not a StorageClass's name", SUBDOMAIN_FORM)
        for key in ("size", "storageClass", "volumeAccessMode"):
            if pvc[key].value in (None, ""):
                yield pvc[key].broken("is required when create is true", "size, storageClass and volumeAccessMode")
        size = parse_quantity(pvc["size"].value)
        if size is not None and size <= 0:
            yield pvc["size"].broken("holds nothing", "a size greater than 0")
        modes = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
        yield from check_enum(pvc["volumeAccessMode"], modes)


def _is_semver(text: str) -> bool:
    return _SEMVER.fullmatch(text) is not None
