"""Rows of the reference's cases about a graph that is changed."""

from __future__ import annotations

from tests.unit.operator_plane.validate.manifests import (
    MAIN,
    a_component,
    a_graph,
    an_alpha_graph,
    an_alpha_service,
    with_,
    without,
)
from tests.unit.operator_plane.validate.reference_graphs import memory
from tests.unit.operator_plane.validate.reference_placement import CLIQUE, PLACED, RACK, ROLES, SET, SET_PLACED
from tests.unit.operator_plane.validate.reference_rows import (
    ADAPTED,
    GPU,
    GROVE,
    LWS,
    PACKED,
    POWER,
    PROVIDER,
    SERVICE,
    TWO,
    WORKER,
    Changed,
    a_transfer,
    alpha,
    alpha_powered,
    an_override,
    claiming,
    clients,
    featured,
    graph,
    ordered,
    powered,
    provided,
    rolling,
)
from tests.unit.operator_plane.validate.reference_standalone import ACROSS, CHECKPOINT, CUSTOM

FEATURES = f"{WORKER}.experimental"
ANNOTATION = f"{WORKER}.podTemplate.metadata.annotations[{POWER}]"
ALPHA_ANNOTATION = f"{SERVICE}.extraPodMetadata.annotations[{POWER}]"
ALPHA_IMAGE = f"{SERVICE}.extraPodSpec.mainContainer.image"
UNLIMITED = with_(a_graph(), f"{MAIN}.resources", GPU)
TWO_GPUS = {"limits": {"nvidia.com/gpu": "2"}}
RECORDED = f"metadata.annotations[{PROVIDER}]"
ALIKE = a_graph(a_component("a"), a_component("A"))
ALPHA_ALIKE = with_(an_alpha_graph(), "spec.services[DECODE]", an_alpha_service())
NAMELESS = with_(an_alpha_graph(), "spec.services", {"": an_alpha_service()})
GROVE_BLOCK = graph(FEATURES, {"grove": {"forceScalingGroup": True}})
ACROSS_PODS = featured(gpuMemoryService=ACROSS, failover=dict(ACROSS))
PACKED_PART = with_(a_graph(topologyConstraint=PACKED), f"{WORKER}.topologyConstraint", RACK)
LEAST = with_(graph(f"{WORKER}.replicas", 3), f"{WORKER}.minAvailable", 2)
WIDE = with_(powered("300"), f"{WORKER}.multinode", TWO)
ALPHA_WIDE = with_(alpha_powered("300"), f"{SERVICE}.multinode", TWO)
OVERRIDDEN = a_graph(providerOverride=an_override(SET, SET_PLACED))
ROLE_OVERRIDE = f"{WORKER}.multinode.leader.providerOverride"
FOREIGN_ROLE = with_(graph(f"{WORKER}.multinode", ROLES), f"{ROLE_OVERRIDE}.target", "PodClique")

CHANGED: Changed = {
    "unchanged legacy alpha service runtime version is ratcheted on update": (
        alpha(ALPHA_IMAGE, CUSTOM),
        with_(alpha(ALPHA_IMAGE, CUSTOM), f"{SERVICE}.replicas", 2),
        None,
        "",
    ),
    "changing a legacy alpha custom image requires runtime version override": (
        alpha(ALPHA_IMAGE, CUSTOM),
        alpha(ALPHA_IMAGE, "r.example/x:yours"),
        None,
        {f"{SERVICE}.runtimeVersionOverride"},
    ),
    "v1beta1 introducing case-insensitive component names is rejected by CEL on update": (
        a_graph(a_component("a"), a_component("b")),
        ALIKE,
        None,
        {"spec.components", "spec.components[1].name"},
    ),
    "v1alpha1 case-insensitive service names remain updateable": (
        ALPHA_ALIKE,
        with_(ALPHA_ALIKE, f"{SERVICE}.replicas", 2),
        None,
        "",
    ),
    "v1alpha1 empty service name remains updateable": (
        NAMELESS,
        with_(NAMELESS, "metadata.labels", {"a": "b"}),
        None,
        "",
    ),
    "valid v1beta1 update reaches the webhook": (a_graph(), graph(f"{WORKER}.replicas", 2), None, ""),
    "v1beta1 unchanged minAvailable update reaches the webhook": (
        LEAST,
        with_(LEAST, f"{WORKER}.replicas", 4),
        GROVE,
        "",
    ),
    "v1beta1 changed minAvailable update is rejected by CEL": (
        LEAST,
        with_(LEAST, f"{WORKER}.minAvailable", 1),
        GROVE,
        {f"{WORKER}.minAvailable"},
    ),
    "v1beta1 removed minAvailable update is restored by defaulting": (
        LEAST,
        without(LEAST, f"{WORKER}.minAvailable"),
        GROVE,
        "",
    ),
    "v1beta1 power annotation cannot be added to a DRA component": (
        claiming(a_graph(), {"resourceClaimName": "gpu"}),
        with_(
            claiming(a_graph(), {"resourceClaimName": "gpu"}),
            f"{WORKER}.podTemplate.metadata",
            {"annotations": {POWER: "300"}},
        ),
        None,
        {ANNOTATION},
    ),
    "v1beta1 power annotation change is rejected by the webhook": (powered("300"), powered("400"), None, {ANNOTATION}),
    "v1beta1 power annotation addition is rejected by the webhook": (UNLIMITED, powered("300"), None, {ANNOTATION}),
    "v1beta1 power annotation removal is rejected by the webhook": (powered("300"), UNLIMITED, None, {ANNOTATION}),
    "v1beta1 effective GPU change is rejected by the webhook": (
        powered("300"),
        with_(powered("300"), f"{MAIN}.resources", TWO_GPUS),
        None,
        {f"{MAIN}.resources"},
    ),
    "v1beta1 shadow request change is allowed when GPU limit is unchanged": (
        powered("300"),
        with_(powered("300"), f"{MAIN}.resources.requests", {"nvidia.com/gpu": "1"}),
        None,
        "",
    ),
    "v1beta1 power node count change is rejected by the webhook": (
        WIDE,
        with_(WIDE, f"{WORKER}.multinode.nodeCount", 3),
        LWS,
        {f"{WORKER}.multinode.nodeCount"},
    ),
    "v1beta1 unrelated power component update reaches webhook": (
        powered("300"),
        with_(powered("300"), f"{WORKER}.replicas", 2),
        None,
        "",
    ),
    "v1beta1 unannotated component GPU change remains allowed": (
        UNLIMITED,
        with_(UNLIMITED, f"{MAIN}.resources", TWO_GPUS),
        None,
        "",
    ),
    "v1alpha1 power annotation change is rejected after conversion by the webhook": (
        alpha_powered("300"),
        alpha_powered("400"),
        None,
        {ALPHA_ANNOTATION},
    ),
    "v1alpha1 effective GPU change is rejected after conversion by the webhook": (
        alpha_powered("300"),
        alpha_powered("300", gpus="2"),
        None,
        SERVICE,
    ),
    "v1alpha1 power node count change is rejected after conversion by the webhook": (
        ALPHA_WIDE,
        with_(ALPHA_WIDE, f"{SERVICE}.multinode.nodeCount", 3),
        LWS,
        {f"{SERVICE}.multinode.nodeCount"},
    ),
    "v1alpha1 unrelated power service update reaches webhook": (
        alpha_powered("300"),
        with_(alpha_powered("300"), f"{SERVICE}.replicas", 2),
        None,
        "",
    ),
    "checkpoint compatibility is revalidated on update": (
        featured(checkpoint=CHECKPOINT, gpuMemoryService={}),
        featured(checkpoint=CHECKPOINT, gpuMemoryService={}, failover={}),
        None,
        {f"{FEATURES}.failover"},
    ),
    "first provider override can be added without lifecycle history": (a_graph(), OVERRIDDEN, GROVE, ""),
    "provider override can be removed without lifecycle status": (OVERRIDDEN, a_graph(), GROVE, ""),
    "legacy provider override schema identity is immutable during repair": (
        with_(OVERRIDDEN, "spec.providerOverride.apiVersion", "grove.io/v1"),
        OVERRIDDEN,
        GROVE,
        {"spec.providerOverride.apiVersion"},
    ),
    "legacy multinode role provider identity is immutable during repair": (
        FOREIGN_ROLE,
        with_(FOREIGN_ROLE, ROLE_OVERRIDE, an_override(CLIQUE, PLACED)),
        GROVE,
        {f"{ROLE_OVERRIDE}.target"},
    ),
    "user cannot materialize a legacy workload provider": (a_graph(), provided("component"), None, {RECORDED}),
    "workload provider cannot change": (provided("component"), provided("grove"), GROVE, {RECORDED}),
    "Grove provider retains Grove admission semantics when the gate is disabled": (
        provided("grove"),
        provided("grove", priorityClassName="high"),
        None,
        "",
    ),
    "component topology is immutable": (
        a_graph(),
        with_(a_graph(), "spec.components[2]", a_component("third")),
        None,
        {"spec.components"},
    ),
    "component add and remove reports both sides": (
        a_graph(),
        graph(f"{WORKER}.name", "other"),
        None,
        {"spec.components"},
    ),
    "spec topology constraint change is immutable": (
        a_graph(topologyConstraint=PACKED),
        a_graph(topologyConstraint={**PACKED, "packDomain": "rack"}),
        GROVE,
        {"spec.topologyConstraint"},
    ),
    "spec topology constraint removal is immutable": (
        a_graph(topologyConstraint=PACKED),
        a_graph(),
        GROVE,
        {"spec.topologyConstraint"},
    ),
    "unchanged topology constraints are allowed": (
        PACKED_PART,
        with_(PACKED_PART, f"{WORKER}.replicas", 2),
        GROVE,
        "",
    ),
    "component topology constraint is immutable": (
        a_graph(topologyConstraint=PACKED),
        PACKED_PART,
        GROVE,
        {f"{WORKER}.topologyConstraint"},
    ),
    "component topology constraint change is immutable": (
        PACKED_PART,
        with_(PACKED_PART, f"{WORKER}.topologyConstraint", {"packDomain": "host"}),
        GROVE,
        {f"{WORKER}.topologyConstraint"},
    ),
    "component topology constraint removal is immutable": (
        PACKED_PART,
        a_graph(topologyConstraint=PACKED),
        GROVE,
        {f"{WORKER}.topologyConstraint"},
    ),
    "kv transfer policy is immutable": (
        a_transfer(labelKey="zone"),
        a_transfer(labelKey="rack"),
        None,
        {"spec.experimental.kvTransferPolicy"},
    ),
    "unchanged kv transfer policy is allowed": (
        a_transfer(labelKey="zone"),
        with_(a_transfer(labelKey="zone"), f"{WORKER}.replicas", 2),
        None,
        "",
    ),
    "kv transfer policy removal is immutable": (
        a_transfer(labelKey="zone"),
        a_graph(),
        None,
        {"spec.experimental.kvTransferPolicy"},
    ),
    "GMS extra client container update must resolve": (
        clients("loader"),
        clients("ghost"),
        None,
        {f"{FEATURES}.gpuMemoryService.extraClientContainers[0]"},
    ),
    "inter-pod GMS layout is immutable": (
        memory(),
        memory(**ACROSS),
        GROVE,
        {f"{FEATURES}.gpuMemoryService.mode", f"{FEATURES}.gpuMemoryService"},
    ),
    "inter-pod GMS layout removal is immutable": (
        memory(**ACROSS),
        memory(),
        GROVE,
        {f"{FEATURES}.gpuMemoryService"},
    ),
    "inter-pod failover toggle is immutable": (
        memory(**ACROSS),
        ACROSS_PODS,
        GROVE,
        {f"{FEATURES}.failover", f"{FEATURES}.failover.mode"},
    ),
    "inter-pod failover removal is immutable": (ACROSS_PODS, memory(**ACROSS), GROVE, {f"{FEATURES}.failover"}),
    "inter-pod failover shadow count is immutable": (
        ACROSS_PODS,
        with_(ACROSS_PODS, f"{FEATURES}.failover.numShadows", 2),
        GROVE,
        {f"{FEATURES}.failover", f"{FEATURES}.failover.numShadows"},
    ),
    "grove.forceScalingGroup removal is immutable": (
        GROVE_BLOCK,
        a_graph(),
        GROVE,
        {f"{FEATURES}.grove.forceScalingGroup"},
    ),
    "unchanged grove.forceScalingGroup update reaches the webhook": (
        GROVE_BLOCK,
        with_(GROVE_BLOCK, f"{WORKER}.replicas", 2),
        GROVE,
        "",
    ),
    "explicit false grove.forceScalingGroup addition reaches the webhook": (
        a_graph(),
        graph(FEATURES, {"grove": {"forceScalingGroup": False}}),
        GROVE,
        "",
    ),
    "grove block removal with retained experimental is immutable": (
        GROVE_BLOCK,
        graph(FEATURES, {}),
        GROVE,
        {f"{FEATURES}.grove.forceScalingGroup"},
    ),
    "scaling adapter fails closed without user info": (
        ADAPTED,
        with_(ADAPTED, f"{WORKER}.replicas", 5),
        None,
        {f"{WORKER}.replicas"},
    ),
    "scaling adapter removal cannot bypass replica ownership": (
        ADAPTED,
        graph(f"{WORKER}.replicas", 5),
        None,
        {f"{WORKER}.replicas"},
    ),
    "restart id cannot change during active rolling update": (
        rolling("InProgress", restart={"id": "1"}),
        a_graph(restart={"id": "2"}),
        None,
        {"spec.restart.id"},
    ),
    "restart id can stay unchanged during active rolling update": (
        rolling("InProgress", restart={"id": "1"}),
        with_(a_graph(restart={"id": "1"}), f"{WORKER}.replicas", 2),
        None,
        "",
    ),
    "restart id can change after completed rolling update": (
        rolling("Completed", restart={"id": "1"}),
        a_graph(restart={"id": "2"}),
        None,
        "",
    ),
    "unknown restart order component is rejected on update": (
        a_graph(),
        ordered(order=["Frontend", "decode", "ghost"]),
        None,
        {"spec.restart.strategy.order[2]"},
    ),
    "incomplete restart order is rejected on update": (
        a_graph(),
        ordered(order=["decode"]),
        None,
        {"spec.restart.strategy.order"},
    ),
    "parallel restart rejects order on update": (
        a_graph(),
        ordered(type="Parallel", order=["decode", "Frontend"]),
        None,
        {"spec.restart.strategy.order"},
    ),
    "v1beta1 backend framework update reaches the webhook and warns": (
        a_graph(backendFramework="vllm"),
        a_graph(backendFramework="sglang"),
        None,
        {"spec.backendFramework"},
    ),
}
BY_THE_OPERATOR: Changed = {
    "operator can change scaling-adapter-owned replicas": (
        ADAPTED,
        with_(ADAPTED, f"{WORKER}.replicas", 5),
        None,
        "",
    ),
}
