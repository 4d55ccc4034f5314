"""What pods and Deployments tell of why nothing serves, in words that stay the same while the trouble does."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.kube import Live
from dynamo_operator.kube.objects import POD
from dynamo_operator.plan.troubles import LONGEST, creation_trouble, pods_trouble
from tests.unit.operator_plane.plan.lives import a_live

ENDED = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


def a_pod(status: dict[str, Any], name: str = "p", **metadata: Any) -> Live:
    spec = {
        "initContainers": [{"name": "wait", "image": "tools:1"}],
        "containers": [{"name": "main", "image": "engine:1.5.0"}],
    }
    return a_live(POD, name, spec=spec, status=status, metadata=metadata)


def with_main(*, ready: bool = False, last: Any = None, restarts: int = 0, **state: Any) -> Live:
    main = {"name": "main", "ready": ready, "state": state, "lastState": last or {}, "restartCount": restarts}
    return a_pod({"phase": "Pending", "containerStatuses": [main]})


def waiting(reason: str, message: str = "") -> Live:
    return with_main(waiting={"reason": reason, "message": message})


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        pytest.param(waiting("ErrImagePull", "tried at 12:01"), "cannot pull image engine:1.5.0", id="pull-refused"),
        pytest.param(waiting("ImagePullBackOff", "20 s"), "cannot pull image engine:1.5.0", id="pull-backs-off"),
        pytest.param(waiting("InvalidImageName"), "has an invalid image name engine:1.5.0", id="image-name"),
        pytest.param(
            waiting("CreateContainerConfigError", 'secret "hf-token" not found'),
            'cannot start, CreateContainerConfigError: secret "hf-token" not found',
            id="missing-secret",
        ),
        pytest.param(
            with_main(waiting={"reason": "CrashLoopBackOff", "message": "back-off 40s"}, last=ENDED, restarts=3),
            "ends and is started again, last with exit code 137 (OOMKilled)",
            id="crash-loop",
        ),
        pytest.param(
            with_main(running=RUNNING["running"], last=ENDED, restarts=3),
            "ends and is started again, last with exit code 137 (OOMKilled)",
            id="crash-loop-between-crashes",
        ),
    ],
)
def test_container_that_cannot_run_is_named_with_its_reason(pod: Live, expected: str) -> None:
    assert pods_trouble([pod]) == f"1 pod: container main {expected}"


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param(waiting("ContainerCreating"), id="starting"),
        pytest.param(waiting("PodInitializing"), id="initializing"),
        pytest.param(with_main(running=RUNNING["running"]), id="loading-its-model"),
        pytest.param(with_main(running=RUNNING["running"], ready=True, last=ENDED, restarts=1), id="recovered"),
        pytest.param(a_pod({}), id="without-a-status"),
        pytest.param(
            a_pod({"initContainerStatuses": [{"name": "wait", "state": {"terminated": {"exitCode": 0}}}]}),
            id="init-container-done",
        ),
        pytest.param(
            a_pod({"phase": "Failed", "reason": "Evicted"}, deletionTimestamp="2026-01-01T00:00:00Z"), id="leaving"
        ),
    ],
)
def test_pod_without_trouble_tells_nothing(pod: Live) -> None:
    assert pods_trouble([pod]) == ""


def test_init_container_is_named() -> None:
    broken = {"name": "wait", "ready": False, "state": {"waiting": {"reason": "ErrImagePull"}}}
    assert (
        pods_trouble([a_pod({"initContainerStatuses": [broken]})]) == "1 pod: container wait cannot pull image tools:1"
    )


def test_unscheduled_pod_tells_what_the_scheduler_says() -> None:
    message = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    assert pods_trouble([a_pod({"conditions": [condition]})]) == f"1 pod: not scheduled, {message.rstrip('.')}"


def test_evicted_pod_tells_why() -> None:
    status = {"phase": "Failed", "reason": "Evicted", "message": "low on memory"}
    assert pods_trouble([a_pod(status)]) == "1 pod: failed, Evicted: low on memory"


def test_same_trouble_is_told_once_and_the_commonest_first() -> None:
    pods = [waiting("CreateContainerError", "x"), *[waiting("ErrImagePull"), waiting("ImagePullBackOff")]]
    assert pods_trouble(pods) == (
        "2 pods: container main cannot pull image engine:1.5.0; "
        "1 pod: container main cannot start, CreateContainerError: x"
    )


def test_long_message_is_cut_to_one_line() -> None:
    (line,) = pods_trouble([waiting("CreateContainerError", "a\n" * 1000)]).splitlines()
    assert len(line) <= LONGEST + len("1 pod: ")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param(
            'pods "g-a-7b5-x2x4d" is forbidden: exceeded quota: small, requested: pods=1, used: pods=0',
            "pods cannot be created: exceeded quota: small, requested: pods=1, used: pods=0",
            id="quota-without-the-generated-name",
        ),
        pytest.param(
            'admission webhook "no.example" denied the request: never',
            'pods cannot be created: admission webhook "no.example" denied the request: never',
            id="webhook-of-others",
        ),
    ],
)
def test_refused_pods_are_told_from_the_deployment(message: str, expected: str) -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    assert creation_trouble({"conditions": [{"type": "Available", "status": "False"}, failure]}) == expected
    assert creation_trouble({"conditions": [{**failure, "status": "False"}]}) == ""
