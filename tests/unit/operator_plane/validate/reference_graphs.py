"""Rows of the reference's cases about a graph that is created."""

from __future__ import annotations

from typing import Any

from tests.unit.operator_plane.validate.manifests import (
    IMAGE,
    a_container,
    a_graph,
    an_alpha_graph,
    an_alpha_service,
    with_,
    without,
)
from tests.unit.operator_plane.validate.reference_rows import (
    EXECUTOR,
    GPU,
    GROVE,
    ORIGIN,
    POOLS,
    POWER,
    RESTART,
    SERVICE,
    STRATEGY,
    WORKER,
    Admitted,
    Document,
    Refused,
    a_transfer,
    alpha,
    alpha_powered,
    an_alpha_picker,
    annotated,
    claiming,
    clients,
    featured,
    graph,
    picker,
    powered,
)
from tests.unit.operator_plane.validate.reference_standalone import (
    ACROSS,
    BOTH,
    CHECKPOINT,
    CONFIG,
    CONTAINER_DISCOVERY,
    CUSTOM,
)

ALPHA_GPU: Document = {"resources": {"limits": {"gpu": "1"}}}
FEATURES = f"{WORKER}.experimental"
POD = f"{WORKER}.podTemplate.spec"
ANNOTATIONS = f"{WORKER}.podTemplate.metadata.annotations"
TRANSFER = "spec.experimental.kvTransferPolicy"
PICKER = "spec.components[2]"


def memory(**service: Any) -> Document:
    return featured(gpuMemoryService=service)


ADMITTED: Admitted = {
    "v1alpha1 converted extraPodMetadata annotation does not receive v1beta1 CEL validation": (
        alpha(f"{SERVICE}.extraPodMetadata", {"annotations": {EXECUTOR: "slurm"}}),
        None,
    ),
    "v1beta1 discovery annotation survives the component pod template API server round trip": (
        graph(f"{WORKER}.podTemplate.metadata", {"annotations": CONTAINER_DISCOVERY}),
        None,
    ),
    "valid v1alpha1 deployment reaches the webhook": (an_alpha_graph(), None),
    "v1beta1 valid replicas and minAvailable reach the webhook": (
        with_(graph(f"{WORKER}.replicas", 3), f"{WORKER}.minAvailable", 2),
        GROVE,
    ),
    "v1beta1 DRA claim without power annotation remains accepted": (
        claiming(a_graph(), {"resourceClaimTemplateName": "gpus"}),
        None,
    ),
    "v1beta1 grove.forceScalingGroup on a single-node component reaches the webhook": (
        graph(FEATURES, {"grove": {"forceScalingGroup": True}}),
        GROVE,
    ),
    "v1beta1 valid GMS configuration reaches the webhook": (memory(mode="IntraPod"), None),
    "GMS accepts multiple declared client containers": (clients("loader", "main"), None),
    "nil alpha service entry is pruned": (alpha("spec.services[gone]", None), None),
    "valid preserved alpha-only fields are accepted": (
        with_(
            an_alpha_graph(pvcs=[{"name": "cache", "create": False}]),
            SERVICE,
            an_alpha_service(volumeMounts=[{"name": "cache", "mountPoint": "/cache"}], ingress={"enabled": False}),
        ),
        None,
    ),
    "GMS accepts GPU from alpha extraPodSpec main container resources": (
        with_(
            alpha(f"{SERVICE}.gpuMemoryService", {"enabled": True}),
            f"{SERVICE}.extraPodSpec.mainContainer.resources",
            GPU,
        ),
        None,
    ),
    "GMS accepts alpha GPUType resource after conversion": (
        with_(
            alpha(f"{SERVICE}.gpuMemoryService", {"enabled": True}),
            f"{SERVICE}.resources",
            {"limits": {"gpu": "1", "gpuType": "gpu.example.com/big"}},
        ),
        None,
    ),
    "v1alpha1 valid shared memory reaches the webhook": (alpha(f"{SERVICE}.sharedMemory", {"size": "2Gi"}), None),
    "v1beta1 valid EPP config reaches the webhook": (picker(False, eppConfig=CONFIG), POOLS),
}
REFUSED: Refused = {
    "beta component main image is required when pod template is absent on create": (
        without(a_graph(), f"{WORKER}.podTemplate"),
        None,
        f"{WORKER}.podTemplate",
    ),
    "alpha service main image is required when extra pod spec is absent on create": (
        without(an_alpha_graph(), f"{SERVICE}.extraPodSpec"),
        None,
        f"{SERVICE}.extraPodSpec",
    ),
    "alpha component custom image uses source-version path": (
        alpha(f"{SERVICE}.extraPodSpec.mainContainer.image", CUSTOM),
        None,
        {f"{SERVICE}.runtimeVersionOverride"},
    ),
    "inter-pod GMS requires Grove": (memory(**ACROSS), None, {f"{FEATURES}.gpuMemoryService.mode"}),
    "inter-pod GMS requires vLLM backend": (
        with_(memory(**ACROSS), "spec.backendFramework", "sglang"),
        GROVE,
        {f"{FEATURES}.gpuMemoryService.mode"},
    ),
    "KV transfer policy selector is rejected by CEL before webhook validation": (a_transfer(), None, {TRANSFER}),
    "intra-pod failover requires container discovery": (
        featured(gpuMemoryService={}, failover={}),
        None,
        {f"{FEATURES}.failover"},
    ),
    "checkpoint job with checkpointRef is rejected by CEL before webhook validation": (
        featured(checkpoint={**CHECKPOINT, "job": {}}),
        None,
        {f"{FEATURES}.checkpoint"},
    ),
    "v1beta1 compilation cache mount requires a PVC name in the schema": (
        graph(f"{WORKER}.compilationCache", {"pvcName": ""}),
        None,
        {f"{WORKER}.compilationCache.pvcName"},
    ),
    "v1alpha1 converted compilation cache mount with an empty PVC name is rejected": (
        alpha(f"{SERVICE}.volumeMounts", [{"name": "", "useAsCompilationCache": True}]),
        None,
        f"{SERVICE}.volumeMounts[0].name",
    ),
    "v1beta1 sidecars must provide an image in CEL": (
        graph(f"{POD}.containers[1]", {"name": "side"}),
        None,
        {f"{POD}.containers[1].image"},
    ),
    "v1beta1 init containers must provide an image in CEL": (
        graph(f"{POD}.initContainers", [{"name": "first"}]),
        None,
        {f"{POD}.initContainers[0].image"},
    ),
    "v1beta1 pod template backend annotation is validated by CEL": (
        graph(f"{WORKER}.podTemplate.metadata", {"annotations": {EXECUTOR: "slurm"}}),
        None,
        {f"{ANNOTATIONS}[{EXECUTOR}]"},
    ),
    "v1alpha1 invalid service annotation remains rejected by the webhook": (
        alpha(f"{SERVICE}.annotations", {EXECUTOR: "slurm"}),
        None,
        {f"{SERVICE}.annotations[{EXECUTOR}]"},
    ),
    "v1beta1 power annotation with intra-pod GMS DRA is rejected": (
        with_(powered("300"), FEATURES, {"gpuMemoryService": {}}),
        None,
        {f"{ANNOTATIONS}[{POWER}]"},
    ),
    "v1beta1 power annotation with inter-pod GMS DRA is rejected": (
        with_(powered("300"), FEATURES, {"gpuMemoryService": ACROSS}),
        GROVE,
        {f"{ANNOTATIONS}[{POWER}]", f"{FEATURES}.gpuMemoryService.mode"},
    ),
    "v1beta1 power annotation with DRA claim template is rejected": (
        claiming(powered("300"), {"resourceClaimTemplateName": "gpus"}),
        None,
        {f"{ANNOTATIONS}[{POWER}]"},
    ),
    "v1beta1 power annotation with direct DRA claim is rejected": (
        claiming(powered("300"), {"resourceClaimName": "gpu"}),
        None,
        {f"{ANNOTATIONS}[{POWER}]"},
    ),
    "v1beta1 power annotation with init-container DRA claim is rejected": (
        with_(
            with_(powered("300"), f"{POD}.resourceClaims", [{"name": "device", "resourceClaimName": "gpu"}]),
            f"{POD}.initContainers",
            [a_container(name="init-gpu", resources={"claims": [{"name": "device"}]})],
        ),
        None,
        {f"{ANNOTATIONS}[{POWER}]"},
    ),
    "v1alpha1 power annotation with GMS DRA is rejected after conversion": (
        with_(alpha_powered("300"), f"{SERVICE}.gpuMemoryService", {"enabled": True}),
        None,
        {f"{SERVICE}.extraPodMetadata.annotations[{POWER}]"},
    ),
    "v1beta1 conflicting KV-transfer selectors are rejected by CEL": (
        a_transfer(labelKey="zone", clusterTopologyName="t"),
        GROVE,
        {TRANSFER},
    ),
    "v1beta1 preferred KV-transfer enforcement without weight is rejected by CEL": (
        a_transfer(labelKey="zone", enforcement="preferred"),
        None,
        {f"{TRANSFER}.preferredWeight"},
    ),
    "v1beta1 required KV-transfer enforcement with weight is rejected by CEL": (
        a_transfer(labelKey="zone", enforcement="required", preferredWeight=0.5),
        None,
        {f"{TRANSFER}.preferredWeight"},
    ),
    "KV-transfer label key format is validated by the schema": (a_transfer(labelKey="a b"), None, TRANSFER),
    "KV-transfer label key name segment is validated by the schema": (a_transfer(labelKey="a.b/-"), None, TRANSFER),
    "KV-transfer cluster topology name must be a DNS-1123 subdomain": (
        a_transfer(clusterTopologyName="Not_A_Name"),
        GROVE,
        TRANSFER,
    ),
    "KV-transfer cluster topology name requires Grove pathway": (
        a_transfer(clusterTopologyName="t"),
        None,
        {f"{TRANSFER}.clusterTopologyName"},
    ),
    "KV-transfer domain is required by the schema": (
        without(a_transfer(labelKey="zone"), f"{TRANSFER}.domain"),
        None,
        TRANSFER,
    ),
    "KV-transfer domain format is validated by the schema": (a_transfer(labelKey="z", domain="A_B"), None, TRANSFER),
    "KV-transfer enforcement enum is validated by the schema": (
        a_transfer(labelKey="zone", enforcement="sometimes"),
        None,
        TRANSFER,
    ),
    "KV-transfer preferred weight range is validated by the schema": (
        a_transfer(labelKey="zone", enforcement="preferred", preferredWeight=2),
        None,
        TRANSFER,
    ),
    "GMS rejects frontend component": (
        graph("spec.components[0].experimental", {"gpuMemoryService": {}}),
        None,
        {"spec.components[0].experimental.gpuMemoryService"},
    ),
    "GMS client container names are validated by the schema": (
        memory(extraClientContainers=["A_B"]),
        None,
        f"{FEATURES}.gpuMemoryService.extraClientContainers[0]",
    ),
    "GMS client container references must resolve": (
        clients("ghost"),
        None,
        {f"{FEATURES}.gpuMemoryService.extraClientContainers[0]"},
    ),
    "GMS client container references must be unique": (
        clients("loader", "loader"),
        None,
        f"{FEATURES}.gpuMemoryService.extraClientContainers",
    ),
    "failover mode must match GMS mode": (
        featured(gpuMemoryService={}, failover=ACROSS),
        GROVE,
        {f"{FEATURES}.failover.mode"},
    ),
    "intra-pod failover shadow maximum is validated by the schema": (
        with_(
            featured(gpuMemoryService={}, failover={"numShadows": 2}),
            "metadata.annotations",
            CONTAINER_DISCOVERY,
        ),
        None,
        {f"{FEATURES}.failover.numShadows"},
    ),
    "inter-pod failover shadow-count minimum is validated by the schema": (
        featured(gpuMemoryService=ACROSS, failover={**ACROSS, "numShadows": 0}),
        GROVE,
        {f"{FEATURES}.failover.numShadows", f"{FEATURES}.failover.mode", f"{FEATURES}.gpuMemoryService.mode"},
    ),
    "inter-pod failover rejects frontend component": (
        graph("spec.components[0].experimental", {"gpuMemoryService": ACROSS, "failover": ACROSS}),
        GROVE,
        "spec.components[0].experimental",
    ),
    "alpha PVC empty name requirement is preserved structurally": (
        an_alpha_graph(pvcs=[{"name": ""}]),
        None,
        "spec.pvcs[0].name",
    ),
    "alpha PVC name requirement is preserved structurally": (an_alpha_graph(pvcs=[{}]), None, {"spec.pvcs[0].name"}),
    "alpha PVC create value constraints are preserved structurally": (
        an_alpha_graph(pvcs=[{"name": "a", "create": True}]),
        None,
        {"spec.pvcs[0].size", "spec.pvcs[0].storageClass", "spec.pvcs[0].volumeAccessMode"},
    ),
    "alpha volume mounts require mount point unless used as compilation cache": (
        with_(
            alpha(f"{SERVICE}.volumeMounts", [{"name": "a"}, {"name": "b", "useAsCompilationCache": True}]),
            "spec.backendFramework",
            "vllm",
        ),
        None,
        {f"{SERVICE}.volumeMounts[0].mountPoint"},
    ),
    "alpha EPP config sources are mutually exclusive": (
        an_alpha_picker(False, eppConfig=BOTH),
        POOLS,
        {"spec.services[epp].eppConfig"},
    ),
    "alpha intra-pod failover shadow maximum is preserved structurally": (
        with_(
            with_(
                alpha(
                    SERVICE, an_alpha_service(gpuMemoryService={"enabled": True}, resources={"limits": {"gpu": "1"}})
                ),
                f"{SERVICE}.failover",
                {"enabled": True, "numShadows": 2},
            ),
            "metadata.annotations",
            CONTAINER_DISCOVERY,
        ),
        None,
        {f"{SERVICE}.failover.numShadows"},
    ),
    "alpha frontend sidecar rejects generated container name conflict": (
        with_(
            alpha(f"{SERVICE}.frontendSidecar", {"image": IMAGE}),
            f"{SERVICE}.extraPodSpec.containers",
            [a_container(name="sidecar-frontend")],
        ),
        None,
        SERVICE,
    ),
    "alpha GMS client container names are validated by the source schema": (
        alpha(
            SERVICE,
            an_alpha_service(gpuMemoryService={"enabled": True, "extraClientContainers": ["A_B"]}, **ALPHA_GPU),
        ),
        None,
        f"{SERVICE}.gpuMemoryService.extraClientContainers[0]",
    ),
    "v1alpha1 enabled shared memory without a positive size is rejected by source CEL": (
        alpha(f"{SERVICE}.sharedMemory", {"size": "0"}),
        None,
        {f"{SERVICE}.sharedMemory.size"},
    ),
    "v1alpha1 EPP config without a source reaches the webhook without v1beta1 CEL": (
        an_alpha_picker(False, eppConfig={}),
        POOLS,
        {"spec.services[epp].eppConfig"},
    ),
    "v1beta1 EPP config without a source is rejected by CEL": (
        picker(False, eppConfig={}),
        POOLS,
        {f"{PICKER}.eppConfig"},
    ),
    "v1beta1 EPP config with both sources is rejected by CEL": (
        picker(False, eppConfig=BOTH),
        POOLS,
        {f"{PICKER}.eppConfig"},
    ),
    "Grove update strategy annotation rejects unknown value": (
        annotated(strategy="Sometimes"),
        GROVE,
        {f"metadata.annotations[{STRATEGY}]"},
    ),
    "independent root errors aggregate with exact field paths": (
        with_(a_graph(priorityClassName="high", restart=RESTART), "metadata.annotations", {ORIGIN: "new"}),
        None,
        {"spec.priorityClassName", "spec.restart", f"metadata.annotations[{ORIGIN}]"},
    ),
}
