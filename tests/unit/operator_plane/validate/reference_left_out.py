"""The reference's cases that have no row of their own, each with its reason."""

from __future__ import annotations

NO_CASE = "a name within a manifest of the reference, not a case"
NOT_SERVED = "DynamoGraphDeploymentRequest is not served"
ACROSS_PODS = "modes across pods are refused (S17)"
NO_TRANSFER = "a KV transfer policy that is right is refused as a whole (S2)"
NO_CHECKPOINTS = "a checkpoint that is right is refused as a whole (S3)"
NEEDS_IMAGES = "a container without an image is refused in both versions (W4)"

LEFT_OUT: dict[str, tuple[str, ...]] = {
    NO_CASE: ("gms-loader", "trtllm-disagg", "gpu", "device", "init-gpu"),
    ACROSS_PODS: ("standalone inter-pod GMS is accepted", "matching inter-pod GMS failover is accepted"),
    NO_TRANSFER: (
        "v1beta1 label-key KV-transfer policy reaches the webhook",
        "v1beta1 valid preferred KV-transfer enforcement reaches the webhook",
        "KV-transfer cluster topology policy is valid",
        "KV-transfer cluster topology policy rejects missing topology",
        "KV-transfer cluster topology policy rejects missing domain",
    ),
    NO_CHECKPOINTS: (
        "v1beta1 valid checkpoint configuration reaches the webhook",
        "ordinary GMS snapshot combination is accepted",
        "checkpoint without GMS is accepted",
        "deprecated checkpoint mode with checkpointRef is accepted",
        "checkpoint GMS clients accept intra-pod GMS",
    ),
    NEEDS_IMAGES: (
        "v1alpha1 sidecar without image reaches the webhook",
        "v1alpha1 init container without image reaches the webhook",
        "v1alpha1 converted sidecar without image reaches the webhook",
        "v1alpha1 frontend sidecar without image reaches the webhook",
        "v1alpha1 converted init container without image reaches the webhook",
    ),
    "services with one name in two cases are refused, for their Services would be one (W2)": (
        "v1alpha1 converted service names may collide case-insensitively",
    ),
    "a service without a name is refused: its children would have none either (W10)": (
        "v1alpha1 converted empty service map key is accepted",
    ),
    "a provider that is written is kept or refused, not replaced (W11)": (
        "workload provider input is normalized from routing intent on create",
    ),
    "a provider is recorded when a graph is created, and later by nobody (W12)": (
        "operator can materialize a legacy workload provider",
        "provider override requires a materialized workload provider on legacy update",
    ),
    NOT_SERVED: (
        "valid v1beta1 request is defaulted",
        "custom image requires runtime version override",
        "runtime version override must be canonical semver core",
        "valid v1alpha1 request converts through the production path",
        "v1beta1 empty model is rejected by source schema",
        "v1beta1 SLA optimization enum is rejected by source schema",
        "v1alpha1 backend enum is rejected by source schema before conversion",
        "DGD-only metadata annotations are ignored",
        "thorough search requires a concrete backend",
        "GPU discovery permits omitted hardware",
        "disabled GPU discovery requires manual hardware",
        "manual hardware permits disabled GPU discovery",
        "independent create failures aggregate in API declaration order",
        "unchanged spec is accepted during profiling",
        "spec update is rejected during profiling",
        "auto apply can be enabled after reviewing a ready request",
        "auto apply activation can add a missing runtime version override",
        "auto apply activation requires a missing runtime version override",
        "runtime version override can be added while ready with auto apply disabled",
        "runtime version override can change while ready with auto apply disabled",
        "runtime version override can change while profiling with auto apply disabled",
        "other spec updates remain forbidden while ready with auto apply disabled",
        "spec update is rejected during deploying",
        "spec update is rejected during deployed",
        "spec update is accepted during failed phase",
        "unchanged thorough and auto violation is ratcheted on update",
        "unchanged legacy custom image without override is ratcheted on update",
        "adding runtime version override is rejected after deployment",
        "newly introduced custom image without override is rejected on update",
        "changing a legacy custom image without override is rejected on update",
        "missing hardware is ratcheted when GPU discovery becomes disabled",
        "removing manual hardware is rejected while GPU discovery is disabled",
        "newly introduced search violation is rejected on update",
    ),
}
