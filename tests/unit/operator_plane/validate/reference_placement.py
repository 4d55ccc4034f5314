"""Rows of the reference's cases about where Grove places a graph: topologies, overrides, names, providers."""

from __future__ import annotations

from tests.unit.operator_plane.validate.manifests import a_component, a_graph, an_alpha_graph, with_, without
from tests.unit.operator_plane.validate.reference_rows import (
    GROVE,
    PACKED,
    PROVIDER,
    TOPOLOGY,
    WORKER,
    Admitted,
    Refused,
    an_override,
    graph,
    provided,
)

UNPACKED = {"clusterTopologyName": "t"}
RACK = {"packDomain": "rack"}
PLACED = {"topologyConstraint": {"pack": {"required": "rack"}}}
SET_PLACED = {"spec": {"template": PLACED}}
CLIQUE, SET = "PodCliqueTemplateSpec", "PodCliqueSet"
ROLES = {
    "nodeCount": 2,
    "leader": {"providerOverride": an_override(CLIQUE, PLACED)},
    "worker": {"providerOverride": an_override("", PLACED) | {"target": CLIQUE}},
}

ADMITTED: Admitted = {
    "rendered Grove resource name length accepts boundary": (a_graph(a_component("c" * 35), name="g" * 10), GROVE),
    "rendered Grove resource name length is skipped outside Grove": (
        a_graph(a_component("c" * 38), name="g" * 10),
        None,
    ),
    "deployment topology without pack domain allows unconstrained components": (
        with_(a_graph(topologyConstraint=UNPACKED), f"{WORKER}.topologyConstraint", RACK),
        TOPOLOGY,
    ),
    "deployment pack domain can be mixed with narrower component topology": (
        with_(a_graph(topologyConstraint=PACKED), f"{WORKER}.topologyConstraint", {"packDomain": "host"}),
        TOPOLOGY,
    ),
    "valid Grove root provider override is admitted and defaulted": (
        a_graph(providerOverride=without({"o": an_override(SET, SET_PLACED)}, "o.target")["o"]),
        GROVE,
    ),
    "v1alpha1 Grove root provider override converts and defaults": (
        an_alpha_graph(providerOverride=without({"o": an_override(SET, SET_PLACED)}, "o.target")["o"]),
        GROVE,
    ),
    "valid Grove component and multinode role overrides are admitted and defaulted": (
        with_(graph(f"{WORKER}.multinode", ROLES), "spec.components[0].providerOverride", an_override(CLIQUE, PLACED)),
        GROVE,
    ),
}
REFUSED: Refused = {
    "rendered Grove resource name length rejects overflow": (
        a_graph(a_component("c" * 38), name="g" * 10),
        GROVE,
        {"spec.components[0].name"},
    ),
    "spec pack domain format is validated by the schema": (
        a_graph(topologyConstraint={**PACKED, "packDomain": "Not A Domain"}),
        GROVE,
        {"spec.topologyConstraint.packDomain"},
    ),
    "component topology pack domain is required by the schema": (
        with_(a_graph(topologyConstraint=PACKED), f"{WORKER}.topologyConstraint", {}),
        GROVE,
        {f"{WORKER}.topologyConstraint.packDomain"},
    ),
    "deployment topology without pack domain requires a component topology": (
        a_graph(topologyConstraint=UNPACKED),
        GROVE,
        {"spec.topologyConstraint.packDomain"},
    ),
    "missing cluster topology is rejected": (
        a_graph(topologyConstraint={**PACKED, "clusterTopologyName": "u"}),
        TOPOLOGY,
        {"spec.topologyConstraint.clusterTopologyName"},
    ),
    "pack domain must exist in cluster topology": (
        a_graph(topologyConstraint={**PACKED, "packDomain": "moon"}),
        TOPOLOGY,
        {"spec.topologyConstraint.packDomain"},
    ),
    "component topology cannot be broader than spec topology": (
        with_(
            a_graph(topologyConstraint={**PACKED, "packDomain": "rack"}),
            f"{WORKER}.topologyConstraint",
            {"packDomain": "zone"},
        ),
        TOPOLOGY,
        {f"{WORKER}.topologyConstraint.packDomain"},
    ),
    "independent topology errors aggregate": (
        with_(
            a_graph(topologyConstraint={**PACKED, "packDomain": "moon"}),
            f"{WORKER}.topologyConstraint",
            {"packDomain": "sun"},
        ),
        TOPOLOGY,
        {"spec.topologyConstraint.packDomain", f"{WORKER}.topologyConstraint.packDomain"},
    ),
    "provider override target must match its DGD context": (
        a_graph(providerOverride=an_override(CLIQUE, SET_PLACED)),
        GROVE,
        {"spec.providerOverride.target"},
    ),
    "provider override rejects Dynamo-owned fields": (
        graph(f"{WORKER}.providerOverride", an_override(CLIQUE, {"spec": {"replicas": 2}})),
        GROVE,
        {f"{WORKER}.providerOverride.value.spec"},
    ),
    "malformed provider override field is invalid without echoing its value": (
        graph(f"{WORKER}.providerOverride", an_override(CLIQUE, {"topologyConstraint": "hidden"})),
        GROVE,
        {f"{WORKER}.providerOverride.value.topologyConstraint"},
    ),
    "typed and provider-native Grove topology cannot be combined": (
        a_graph(topologyConstraint=PACKED, providerOverride=an_override(SET, SET_PLACED)),
        GROVE,
        {"spec.providerOverride.value"},
    ),
    "component workload provider rejects provider overrides": (
        provided("component", providerOverride=an_override(SET, SET_PLACED)),
        GROVE,
        {"spec.providerOverride"},
    ),
    "unsupported stored workload provider is rejected": (
        provided("disaggregatedset"),
        GROVE,
        {f"metadata.annotations[{PROVIDER}]"},
    ),
    "component provider retains component admission semantics when Grove is enabled": (
        provided("component", priorityClassName="high"),
        GROVE,
        {"spec.priorityClassName"},
    ),
}
