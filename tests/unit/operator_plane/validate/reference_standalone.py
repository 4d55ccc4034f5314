"""Rows of the reference's cases about a component deployment on its own."""

from __future__ import annotations

from dynamo_operator.validate import Context
from tests.unit.operator_plane.validate.manifests import (
    IMAGE,
    a_container,
    a_standalone,
    with_,
    without,
)
from tests.unit.operator_plane.validate.reference_rows import (
    ALONE,
    DISCOVERY,
    EXECUTOR,
    GROVE,
    LWS,
    POOLS,
    SERVICE,
    TWO,
    WORKER,
    Admitted,
    Changed,
    Document,
    Refused,
    alone,
    alpha,
    an_alpha_picker,
    an_alpha_standalone,
    clients,
    featured,
    graph,
    picker,
)

CUSTOM = "r.example/x:mine"
CONFIG = {"configMapRef": {"name": "c", "key": "k"}}
PLUGINS = {"config": {"plugins": [{"type": "a"}], "schedulingProfiles": [{"name": "default"}]}}
BOTH = {**CONFIG, **PLUGINS}
A_MAIN = "spec.extraPodSpec.mainContainer"
FEATURES = "spec.experimental"
ACROSS = {"mode": "InterPod"}
CHECKPOINT = {"enabled": True, "checkpointRef": "c"}
JOB = {"enabled": True, "job": {"gmsClientContainers": ["main"]}}
INIT = "spec.podTemplate.spec.initContainers"
CONTAINER_DISCOVERY = {DISCOVERY: "container"}


def alone_alpha(path: str, value: object) -> Document:
    return with_(an_alpha_standalone(), path, value)


ALPHA_GMS = an_alpha_standalone(gpuMemoryService={"enabled": True}, resources={"limits": {"gpu": "1"}})

ADMITTED: Admitted = {
    "v1alpha1 custom image does not require runtime version override": (alone_alpha(f"{A_MAIN}.image", CUSTOM), None),
    "v1beta1 custom image does not require runtime version override": (alone(f"{ALONE}.image", CUSTOM), None),
    "v1alpha1 accepts four-digit runtime version override segments": (
        an_alpha_standalone(runtimeVersionOverride="1234.5678.9012"),
        None,
    ),
    "valid shared spec with all fields": (
        an_alpha_standalone(
            annotations={EXECUTOR: "mp"},
            labels={"a": "b"},
            replicas=2,
            resources={"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}},
            envs=[{"name": "A", "value": "b"}],
            envFromSecret="s",
            volumeMounts=[{"name": "cache", "mountPoint": "/cache"}],
            ingress={"enabled": True, "host": "a.example"},
            sharedMemory={"size": "1Gi"},
            livenessProbe={"httpGet": {"path": "/live", "port": 9090}},
        ),
        None,
    ),
    "empty dynamo namespace is accepted": (an_alpha_standalone(dynamoNamespace=""), None),
    "vLLM mp service annotation reaches the webhook": (an_alpha_standalone(annotations={EXECUTOR: "mp"}), None),
    "disabled checkpoint with GMS is accepted": (
        featured(True, checkpoint={"enabled": False}, gpuMemoryService={}),
        None,
    ),
    "GMS extra client containers are accepted": (clients("loader", is_alone=True), None),
    "frontend sidecar with non-conflicting containers is accepted": (
        with_(
            an_alpha_standalone(frontendSidecar={"image": IMAGE}),
            "spec.extraPodSpec.containers",
            [a_container(name="other")],
        ),
        None,
    ),
    "GMS accepts GPU requests when limits are unset": (
        featured(True, {"requests": {"nvidia.com/gpu": "1"}}, gpuMemoryService={}),
        None,
    ),
    "intra-pod GMS is accepted": (featured(True, gpuMemoryService={"mode": "IntraPod"}), None),
    "unset GMS mode is accepted": (featured(True, gpuMemoryService={}), None),
    "disabled failover permits dormant shadow configuration": (
        an_alpha_standalone(failover={"enabled": False, "numShadows": 3}),
        None,
    ),
    "single-shadow intra-pod failover is accepted": (
        with_(
            featured(True, gpuMemoryService={}, failover={"numShadows": 1}), "metadata.annotations", CONTAINER_DISCOVERY
        ),
        None,
    ),
    "valid v1alpha1 EPP config reaches the webhook": (an_alpha_picker(eppConfig=CONFIG), POOLS),
    "valid v1beta1 EPP config reaches the v1beta1 webhook": (picker(eppConfig=PLUGINS), POOLS),
    "v1beta1 discovery annotation survives the generated DCD API server round trip": (
        alone("spec.podTemplate.metadata", {"annotations": CONTAINER_DISCOVERY}),
        None,
    ),
    "v1alpha1 invalid extra pod metadata annotation reaches the webhook": (
        an_alpha_standalone(extraPodMetadata={"annotations": {EXECUTOR: "slurm"}}),
        None,
    ),
    "valid v1beta1 deployment reaches the v1beta1 webhook": (a_standalone(backendFramework="vllm"), None),
}
REFUSED: Refused = {
    "v1beta1 main image is required when pod template is absent on create": (
        without(a_standalone(), "spec.podTemplate"),
        None,
        "spec.podTemplate",
    ),
    "v1alpha1 main image is required when extra pod spec is absent on create": (
        without(an_alpha_standalone(), "spec.extraPodSpec"),
        None,
        "spec.extraPodSpec",
    ),
    "v1alpha1 compatibility validation does not duplicate runtime version errors": (
        an_alpha_standalone(runtimeVersionOverride="one"),
        None,
        {"spec.runtimeVersionOverride"},
    ),
    "v1alpha1 rejects runtime version override segments longer than four digits": (
        an_alpha_standalone(runtimeVersionOverride="1.12345.1"),
        None,
        {"spec.runtimeVersionOverride"},
    ),
    "v1beta1 minAvailable reaches the standalone DCD webhook": (
        a_standalone(replicas=2, minAvailable=2),
        None,
        {"spec.minAvailable"},
    ),
    "v1beta1 structural validation aggregates independent shared-spec errors": (
        a_standalone(replicas=-1, sharedMemorySize="-1Gi", frontendSidecar="ghost"),
        None,
        {"spec.replicas", "spec.sharedMemorySize", "spec.frontendSidecar"},
    ),
    "invalid ingress": (an_alpha_standalone(ingress={"enabled": True}), None, {"spec.ingress.host"}),
    "invalid volume mount": (
        an_alpha_standalone(volumeMounts=[{"name": "cache"}]),
        None,
        {"spec.volumeMounts[0].mountPoint"},
    ),
    "invalid shared memory": (an_alpha_standalone(sharedMemory={"disabled": False}), None, {"spec.sharedMemory.size"}),
    "v1alpha1 replicas below minAvailable are rejected by CEL": (
        an_alpha_standalone(replicas=1, minAvailable=2),
        None,
        "spec.minAvailable",
    ),
    "v1beta1 replicas below minAvailable are rejected by CEL": (
        graph(f"{WORKER}.minAvailable", 2),
        GROVE,
        {f"{WORKER}.minAvailable"},
    ),
    "v1alpha1 inter-pod GMS client containers are rejected by CEL": (
        with_(ALPHA_GMS, "spec.gpuMemoryService", {"enabled": True, "mode": "interPod", "extraClientContainers": []}),
        None,
        "spec.gpuMemoryService",
    ),
    "v1beta1 inter-pod GMS client containers are rejected by CEL": (
        with_(clients("loader"), f"{WORKER}.experimental.gpuMemoryService.mode", "InterPod"),
        GROVE,
        f"{WORKER}.experimental.gpuMemoryService",
    ),
    "v1alpha1 non-empty GMS extra client pods are rejected by CEL": (
        with_(ALPHA_GMS, "spec.gpuMemoryService.extraClientPods", [{}]),
        None,
        "spec.gpuMemoryService.extraClientPods",
    ),
    "v1beta1 non-empty GMS extra client pods are rejected by CEL": (
        featured(gpuMemoryService={"extraClientPods": [{}]}),
        GROVE,
        f"{WORKER}.experimental.gpuMemoryService.extraClientPods",
    ),
    "v1beta1 EPP config on a worker is rejected by CEL": (alone("spec.eppConfig", CONFIG), None, {"spec.eppConfig"}),
    "v1beta1 checkpoint job with checkpointRef is rejected by CEL": (
        featured(True, checkpoint={**CHECKPOINT, "job": {}}),
        None,
        {f"{FEATURES}.checkpoint"},
    ),
    "v1beta1 checkpoint with inter-pod GMS and failover reports both errors": (
        featured(True, checkpoint=CHECKPOINT, gpuMemoryService=ACROSS, failover=ACROSS),
        None,
        {f"{FEATURES}.gpuMemoryService.mode", f"{FEATURES}.failover.mode", f"{FEATURES}.checkpoint"},
    ),
    "invalid vLLM service annotation is rejected by the webhook": (
        an_alpha_standalone(annotations={EXECUTOR: "slurm"}),
        None,
        {f"spec.annotations[{EXECUTOR}]"},
    ),
    "checkpoint target container name is validated by the source schema": (
        featured(True, checkpoint={**CHECKPOINT, "targetContainerName": "Main_1"}),
        None,
        {f"{FEATURES}.checkpoint.targetContainerName", f"{FEATURES}.checkpoint"},
    ),
    "GMS extra client container names are validated by the source schema": (
        with_(clients("loader", is_alone=True), f"{FEATURES}.gpuMemoryService.extraClientContainers", ["Not_A_Name"]),
        None,
        f"{FEATURES}.gpuMemoryService.extraClientContainers[0]",
    ),
    "checkpoint job with checkpointRef is rejected by source CEL": (
        an_alpha_standalone(checkpoint={**CHECKPOINT, "job": {}}),
        None,
        {"spec.checkpoint"},
    ),
    "checkpoint GMS clients require GMS": (
        featured(True, checkpoint=JOB),
        None,
        {f"{FEATURES}.checkpoint"},
    ),
    "checkpoint GMS client names are validated by the source schema": (
        featured(True, checkpoint={"enabled": True, "job": {"gmsClientContainers": ["A_B"]}}, gpuMemoryService={}),
        None,
        {f"{FEATURES}.checkpoint.job.gmsClientContainers[0]", f"{FEATURES}.checkpoint"},
    ),
    "GMS rejects non-worker components": (
        a_standalone(type="frontend", experimental={"gpuMemoryService": {}}),
        None,
        {f"{FEATURES}.gpuMemoryService"},
    ),
    "GMS requires a GPU": (featured(True, {}, gpuMemoryService={}), None, {f"{FEATURES}.gpuMemoryService"}),
    "GMS extra client container reference must resolve": (
        clients("ghost", is_alone=True),
        None,
        {f"{FEATURES}.gpuMemoryService.extraClientContainers[0]"},
    ),
    "GMS rejects non-numeric GPU limits": (
        featured(True, {"limits": {"nvidia.com/gpu": "many"}}, gpuMemoryService={}),
        None,
        {f"{ALONE}.resources.limits[nvidia.com/gpu]", f"{FEATURES}.gpuMemoryService"},
    ),
    "checkpoint GMS clients reject inter-pod GMS": (
        featured(True, checkpoint=JOB, gpuMemoryService=ACROSS),
        None,
        {f"{FEATURES}.gpuMemoryService.mode", f"{FEATURES}.checkpoint"},
    ),
    "inter-pod failover requires GMS": (featured(True, failover=ACROSS), None, {f"{FEATURES}.failover"}),
    "inter-pod failover requires matching GMS mode": (
        featured(True, gpuMemoryService={}, failover=ACROSS),
        None,
        {f"{FEATURES}.failover.mode"},
    ),
    "intra-pod failover rejects multiple shadows": (
        with_(
            with_(ALPHA_GMS, "spec.failover", {"enabled": True, "numShadows": 2}),
            "metadata.annotations",
            CONTAINER_DISCOVERY,
        ),
        None,
        {"spec.failover.numShadows"},
    ),
    "v1alpha1 EPP cannot be multinode": (
        an_alpha_picker(eppConfig=CONFIG, multinode=TWO),
        Context(has_inference_pools=True, has_leader_worker_sets=True),
        {"spec.multinode"},
    ),
    "v1alpha1 EPP requires one replica": (an_alpha_picker(eppConfig=CONFIG, replicas=2), POOLS, {"spec.replicas"}),
    "v1alpha1 EPP requires configuration": (an_alpha_picker(), POOLS, {"spec.eppConfig"}),
    "v1beta1 EPP without configuration reaches and is rejected by the v1beta1 webhook": (
        picker(),
        POOLS,
        {"spec.eppConfig"},
    ),
    "v1alpha1 empty EPP config reaches and is rejected by the webhook": (
        an_alpha_picker(eppConfig={}),
        POOLS,
        {"spec.eppConfig"},
    ),
    "v1beta1 empty EPP config is rejected by source CEL": (picker(eppConfig={}), POOLS, {"spec.eppConfig"}),
    "v1alpha1 conflicting EPP config reaches and is rejected by the webhook": (
        an_alpha_picker(eppConfig=BOTH),
        POOLS,
        {"spec.eppConfig"},
    ),
    "v1beta1 conflicting EPP config is rejected by source CEL": (picker(eppConfig=BOTH), POOLS, {"spec.eppConfig"}),
    "v1alpha1 EPP config map without a name reaches and is rejected by the webhook": (
        an_alpha_picker(eppConfig={"configMapRef": {"key": "k"}}),
        POOLS,
        {"spec.eppConfig.configMapRef.name"},
    ),
    "v1beta1 sidecar without image is rejected by CEL": (
        alone("spec.podTemplate.spec.containers[1]", {"name": "side"}),
        None,
        {"spec.podTemplate.spec.containers[1].image"},
    ),
    "v1beta1 init container without image is rejected by CEL": (
        alone(INIT, [{"name": "first"}]),
        None,
        {f"{INIT}[0].image"},
    ),
    "v1beta1 invalid pod template backend annotation is rejected by CEL": (
        alone("spec.podTemplate.metadata", {"annotations": {EXECUTOR: "slurm"}}),
        None,
        {f"spec.podTemplate.metadata.annotations[{EXECUTOR}]"},
    ),
}
CHANGED: Changed = {
    "v1beta1 main image cannot be removed by removing pod template": (
        a_standalone(),
        without(a_standalone(), "spec.podTemplate"),
        None,
        "spec.podTemplate",
    ),
    "v1alpha1 main image cannot be removed by removing extra pod spec": (
        an_alpha_standalone(),
        without(an_alpha_standalone(), "spec.extraPodSpec"),
        None,
        "spec.extraPodSpec",
    ),
    "v1beta1 metadata update with custom image does not require runtime version override": (
        alone(f"{ALONE}.image", CUSTOM),
        with_(alone(f"{ALONE}.image", CUSTOM), "metadata.labels", {"a": "b"}),
        None,
        "",
    ),
    "v1alpha1 metadata update with custom image does not require runtime version override": (
        alone_alpha(f"{A_MAIN}.image", CUSTOM),
        with_(alone_alpha(f"{A_MAIN}.image", CUSTOM), "metadata.labels", {"a": "b"}),
        None,
        "",
    ),
    "v1beta1 image change to custom does not require runtime version override": (
        a_standalone(),
        alone(f"{ALONE}.image", CUSTOM),
        None,
        "",
    ),
    "changing a v1alpha1 custom image does not require runtime version override": (
        alone_alpha(f"{A_MAIN}.image", CUSTOM),
        alone_alpha(f"{A_MAIN}.image", "r.example/x:yours"),
        None,
        "",
    ),
    "checkpoint update requires operator feature gate": (
        a_standalone(),
        featured(True, checkpoint=CHECKPOINT),
        None,
        {f"{FEATURES}.checkpoint"},
    ),
    "v1alpha1 minAvailable change is rejected by CEL": (
        an_alpha_standalone(replicas=2, minAvailable=1),
        an_alpha_standalone(replicas=2, minAvailable=2),
        None,
        {"spec.minAvailable"},
    ),
    "v1beta1 minAvailable change is rejected by CEL": (
        a_standalone(replicas=2, minAvailable=1),
        a_standalone(replicas=2, minAvailable=2),
        None,
        {"spec.minAvailable"},
    ),
    "GMS extra client container update reports one indexed cause": (
        clients("loader", is_alone=True),
        clients("loader", "ghost", is_alone=True),
        None,
        {f"{FEATURES}.gpuMemoryService.extraClientContainers[1]"},
    ),
    "v1alpha1 update without changes reaches the webhook": (an_alpha_standalone(), an_alpha_standalone(), None, ""),
    "v1beta1 update without changes reaches the v1beta1 webhook": (a_standalone(), a_standalone(), None, ""),
    "v1alpha1 backend framework update reaches and is rejected by the webhook": (
        an_alpha_standalone(backendFramework="vllm"),
        an_alpha_standalone(backendFramework="sglang"),
        None,
        {"spec.backendFramework"},
    ),
    "v1beta1 backend framework update reaches and is rejected by the v1beta1 webhook": (
        a_standalone(backendFramework="vllm"),
        a_standalone(backendFramework="sglang"),
        None,
        {"spec.backendFramework"},
    ),
    "v1alpha1 replicas update reaches the webhook": (an_alpha_standalone(), an_alpha_standalone(replicas=3), None, ""),
    "v1beta1 replicas update reaches the v1beta1 webhook": (a_standalone(), a_standalone(replicas=3), None, ""),
    "v1beta1 multinode layout change is rejected by the shared update validator": (
        a_standalone(),
        a_standalone(multinode=TWO),
        LWS,
        {"spec.multinode"},
    ),
    "v1alpha1 update aggregates create and DCD-specific update errors": (
        an_alpha_standalone(backendFramework="vllm"),
        an_alpha_standalone(backendFramework="sglang", ingress={"enabled": True}),
        None,
        {"spec.backendFramework", "spec.ingress.host"},
    ),
}
WARNED: dict[str, tuple[Document, str]] = {
    "deprecated autoscaling emits a warning": (
        an_alpha_standalone(autoscaling={"enabled": True, "minReplicas": 1, "maxReplicas": 2}),
        "spec.autoscaling is deprecated and ignored",
    ),
    "deprecated dynamo namespace warning shows calculated namespace": (
        an_alpha_standalone(dynamoNamespace="mine"),
        'will be replaced with "default-g-decode"',
    ),
    "alpha compatibility warnings are preserved": (
        alpha(f"{SERVICE}.dynamoNamespace", "mine"),
        f"{SERVICE}.dynamoNamespace is deprecated and ignored",
    ),
}
