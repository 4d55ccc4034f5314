"""Rows of the reference's cases: the rules that most manifests meet."""

from __future__ import annotations

from tests.unit.operator_plane.validate.manifests import (
    MAIN,
    a_component,
    a_container,
    a_graph,
    a_standalone,
    with_,
    without,
)
from tests.unit.operator_plane.validate.reference_rows import (
    ADAPTED,
    ALONE,
    EXECUTOR,
    GROVE,
    LWS,
    PACKED,
    RESTART,
    SERVICE,
    TWO,
    WORKER,
    Admitted,
    Changed,
    Refused,
    alone,
    alpha,
    annotated,
    graph,
    ordered,
    powered,
)

ADMITTED: Admitted = {
    "valid deployment": (a_standalone(), None),
    "valid deployment with components": (a_graph(), None),
    "v1beta1 derives runtime version from a semver image tag": (alone(f"{ALONE}.image", "r.example/x:1.5.0"), None),
    "v1beta1 accepts four-digit runtime version override segments": (
        alone("spec.runtimeVersionOverride", "1234.5678.9012"),
        None,
    ),
    "runtime version override takes precedence over a semver image tag": (
        a_graph(a_component(runtimeVersionOverride="1.4.0")),
        None,
    ),
    "vLLM ray service annotation reaches the webhook": (
        alpha(f"{SERVICE}.annotations", {EXECUTOR: "ray"}),
        None,
    ),
    "disabled ingress does not require a host": (alpha(f"{SERVICE}.ingress", {"enabled": False}), None),
    "disabled shared memory does not require a size": (alpha(f"{SERVICE}.sharedMemory", {"disabled": True}), None),
    "frontend sidecar without extra containers is accepted": (
        alpha("spec.services[Frontend].frontendSidecar", {"image": "r.example/x:1.5.0"}),
        None,
    ),
    "origin version accepts semver": (annotated(origin="1.2.3"), None),
    "vLLM backend annotation accepts mp": (annotated(executor="mp"), None),
    "vLLM backend annotation accepts ray case-insensitively": (annotated(executor="RAY"), None),
    "Grove update strategy annotation accepts RollingRecreate": (annotated(strategy="RollingRecreate"), GROVE),
    "Grove update strategy annotation accepts OnDelete": (annotated(strategy="OnDelete"), GROVE),
    "discovery mode accepts pod": (annotated(discovery="pod"), None),
    "discovery mode accepts container": (annotated(discovery="container"), None),
    "priority class is allowed with Grove": (a_graph(priorityClassName="high"), GROVE),
    "deployment pack domain can be inherited": (a_graph(topologyConstraint=PACKED), GROVE),
    "component topology with deployment topology is valid": (
        with_(a_graph(topologyConstraint=PACKED), f"{WORKER}.topologyConstraint", {"packDomain": "rack"}),
        GROVE,
    ),
    "v1beta1 power tuple is accepted on create": (powered("300"), None),
    "v1beta1 pod template container counts are not artificially bounded": (
        a_graph(
            a_component(
                podTemplate={
                    "spec": {
                        "containers": [a_container()] + [a_container(name=f"side-{number}") for number in range(12)]
                    }
                }
            )
        ),
        None,
    ),
    "v1beta1 redundant grove.forceScalingGroup on a multinode component reaches the webhook": (
        with_(graph(f"{WORKER}.multinode", TWO), f"{WORKER}.experimental", {"grove": {"forceScalingGroup": True}}),
        GROVE,
    ),
    "replicas zero can keep minAvailable for scale-up intent": (
        a_graph(a_component(replicas=0, minAvailable=1)),
        GROVE,
    ),
    "GMS accepts GPU from alpha dedicated resources": (
        with_(
            alpha(f"{SERVICE}.gpuMemoryService", {"enabled": True}), f"{SERVICE}.resources", {"limits": {"gpu": "1"}}
        ),
        None,
    ),
}
REFUSED: Refused = {
    "no components": (a_graph() | {"spec": {"components": []}}, None, "spec.components"),
    "v1beta1 main image is required": (without(a_standalone(), f"{ALONE}.image"), None, f"{ALONE}.image"),
    "v1alpha1 main image is required": (
        alpha(f"{SERVICE}.extraPodSpec", {"mainContainer": {}}),
        None,
        f"{SERVICE}.extraPodSpec.mainContainer.image",
    ),
    "component custom image requires runtime version override": (
        graph(f"{MAIN}.image", "r.example/x:mine"),
        None,
        f"{WORKER}.runtimeVersionOverride",
    ),
    "v1beta1 rejects runtime version override segments longer than four digits": (
        a_graph(a_component(runtimeVersionOverride="12345.1.1")),
        None,
        "spec.components[0].runtimeVersionOverride",
    ),
    "invalid replicas": (alone("spec.replicas", -1), None, "spec.replicas"),
    "component replicas must be non-negative": (graph(f"{WORKER}.replicas", -1), None, f"{WORKER}.replicas"),
    "component minAvailable requires Grove": (graph(f"{WORKER}.minAvailable", 1), None, f"{WORKER}.minAvailable"),
    "minAvailable is unsupported for standalone DCD": (alone("spec.minAvailable", 1), None, "spec.minAvailable"),
    "minAvailable must be positive": (graph(f"{WORKER}.minAvailable", 0), GROVE, f"{WORKER}.minAvailable"),
    "priority class requires Grove": (a_graph(priorityClassName="high"), None, "spec.priorityClassName"),
    "component topology constraint requires deployment topology": (
        graph(f"{WORKER}.topologyConstraint", {"packDomain": "rack"}),
        GROVE,
        f"{WORKER}.topologyConstraint",
    ),
    "component grove.forceScalingGroup requires Grove": (
        graph(f"{WORKER}.experimental", {"grove": {"forceScalingGroup": True}}),
        None,
        f"{WORKER}.experimental.grove",
    ),
    "v1beta1 component names are unique case-insensitively in CEL": (
        a_graph(a_component("a"), a_component("A")),
        None,
        "spec.components[1].name",
    ),
    "v1beta1 component name is required by the schema": (
        without(a_graph(), f"{WORKER}.name"),
        None,
        f"{WORKER}.name",
    ),
    "frontend sidecar container-name collision is rejected": (
        with_(
            alpha("spec.services[Frontend].frontendSidecar", {"image": "r.example/x:1.5.0"}),
            "spec.services[Frontend].extraPodSpec.containers",
            [a_container(name="sidecar-frontend")],
        ),
        None,
        "spec.services[Frontend]",
    ),
    "v1beta1 frontend sidecar must reference an existing container": (
        graph("spec.components[0].frontendSidecar", "ghost"),
        None,
        "spec.components[0].frontendSidecar",
    ),
    "alpha ingress requires host": (
        alpha("spec.services[Frontend].ingress", {"enabled": True}),
        None,
        "spec.services[Frontend].ingress.host",
    ),
    "GMS requires GPU resources on the main container": (
        graph(f"{WORKER}.experimental", {"gpuMemoryService": {}}),
        None,
        WORKER,
    ),
    "checkpoint configuration requires operator feature gate": (
        graph(f"{WORKER}.experimental", {"checkpoint": {"enabled": True, "checkpointRef": "c"}}),
        None,
        f"{WORKER}.experimental.checkpoint",
    ),
    "intra-pod failover requires GMS": (
        graph(f"{WORKER}.experimental", {"failover": {}}),
        None,
        f"{WORKER}.experimental",
    ),
    "restart on create is rejected by CEL before webhook validation": (a_graph(restart=RESTART), None, "spec.restart"),
    "origin version rejects non-semver": (annotated(origin="new"), None, "metadata.annotations"),
    "vLLM backend annotation rejects unknown value": (annotated(executor="slurm"), None, "metadata.annotations"),
    "discovery mode rejects unknown value": (annotated(discovery="node"), None, "metadata.annotations"),
    "Grove update strategy annotation rejects lowercase value": (
        annotated(strategy="ondelete"),
        GROVE,
        "metadata.annotations",
    ),
    "Grove update strategy annotation rejects whitespace": (
        annotated(strategy=" OnDelete"),
        GROVE,
        "metadata.annotations",
    ),
    "v1beta1 power annotation with zero value is rejected on create": (powered("0"), None, WORKER),
    "v1beta1 power annotation with negative value is rejected on create": (powered("-1"), None, WORKER),
    "v1beta1 power annotation with non-integer value is rejected on create": (powered("3.5"), None, WORKER),
}
CHANGED: Changed = {
    "component removal is immutable": (a_graph(), a_graph(a_component()), None, "spec.components"),
    "component reorder is allowed": (
        a_graph(a_component("a"), a_component("b")),
        a_graph(a_component("b"), a_component("a")),
        None,
        "",
    ),
    "single-node to multinode transition is immutable": (
        a_graph(),
        graph(f"{WORKER}.multinode", TWO),
        LWS,
        f"{WORKER}.multinode",
    ),
    "node count-only update remains allowed": (
        graph(f"{WORKER}.multinode", TWO),
        graph(f"{WORKER}.multinode", {"nodeCount": 3}),
        LWS,
        "",
    ),
    "spec topology constraint is immutable": (
        a_graph(),
        a_graph(topologyConstraint=PACKED),
        GROVE,
        "spec.topologyConstraint",
    ),
    "scaling adapter blocks direct replica changes": (
        ADAPTED,
        with_(ADAPTED, f"{WORKER}.replicas", 3),
        None,
        f"{WORKER}.replicas",
    ),
    "duplicate restart order is rejected on update": (
        a_graph(),
        ordered(order=["Frontend", "decode", "decode"]),
        None,
        "spec.restart.strategy.order[2]",
    ),
    "complete sequential restart order is valid on update": (
        a_graph(),
        ordered(order=["decode", "Frontend"]),
        None,
        "",
    ),
    "empty sequential restart order is valid on update": (a_graph(), ordered(type="Sequential"), None, ""),
    "parallel restart without order is valid on update": (a_graph(), ordered(type="Parallel"), None, ""),
    "restart id is required on update": (a_graph(), a_graph(restart={}), None, "spec.restart.id"),
    "grove.forceScalingGroup addition is immutable": (
        a_graph(),
        graph(f"{WORKER}.experimental", {"grove": {"forceScalingGroup": True}}),
        GROVE,
        f"{WORKER}.experimental",
    ),
    "unchanged legacy beta component runtime version is ratcheted on update": (
        graph(f"{MAIN}.image", "r.example/x:mine"),
        graph(f"{MAIN}.image", "r.example/x:mine"),
        None,
        "",
    ),
    "beta component image change to custom requires runtime version override": (
        a_graph(),
        graph(f"{MAIN}.image", "r.example/x:mine"),
        None,
        f"{WORKER}.runtimeVersionOverride",
    ),
}
