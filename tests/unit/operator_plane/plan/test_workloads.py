"""When a workload is ready, by kind; and that nothing else calls it so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dynamo_operator.kube import Kind, Live
from dynamo_operator.kube.objects import DEPLOYMENT, LEADER_WORKER_SET
from dynamo_operator.plan.workloads import RESTARTED_AT, Lack, read_workload, restart_ids, with_pods_of, with_restart
from dynamo_operator.render import names
from tests.unit.operator_plane.plan.lives import a_deployment, a_live


@pytest.mark.parametrize(
    ("live", "lack"),
    [
        pytest.param(a_deployment(), Lack.NOTHING, id="complete"),
        pytest.param(a_deployment(generation=2), Lack.UPDATING, id="status-of-an-older-spec"),
        pytest.param(a_deployment(updated=1), Lack.UPDATING, id="old-pods-satisfy-the-count"),
        pytest.param(a_deployment(pods=3), Lack.UPDATING, id="an-old-pod-left"),
        pytest.param(a_deployment(available=1), Lack.PODS, id="a-pod-not-available"),
        pytest.param(a_deployment(conditions=[]), Lack.PODS, id="not-called-available"),
        pytest.param(
            a_deployment(available=1, conditions=[{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]),
            Lack.STUCK,
            id="stuck",
        ),
        pytest.param(a_deployment(0), Lack.NOTHING, id="none-wanted"),
        pytest.param(a_deployment(0, generation=2), Lack.UPDATING, id="none-wanted-and-not-seen-yet"),
    ],
)
def test_deployment_is_ready_only_by_its_present_spec(live: Live, lack: Lack) -> None:
    assert read_workload(live).lack is lack


def test_deployment_is_drained_once_its_controller_has_seen_zero() -> None:
    assert read_workload(a_deployment(0)).is_drained
    assert not read_workload(a_deployment(0, generation=2)).is_drained
    assert not read_workload(a_deployment(0, pods=1)).is_drained


def a_set(**status: Any) -> Live:
    return a_live(LEADER_WORKER_SET, spec={"replicas": 2}, status=status)


AVAILABLE = [{"type": "Available", "status": "True"}]


@pytest.mark.parametrize(
    ("live", "lack"),
    [
        pytest.param(
            a_set(replicas=2, updatedReplicas=2, readyReplicas=2, conditions=AVAILABLE), Lack.NOTHING, id="complete"
        ),
        pytest.param(a_set(), Lack.UPDATING, id="no-status-yet"),
        pytest.param(
            a_set(replicas=2, updatedReplicas=1, readyReplicas=2, conditions=AVAILABLE), Lack.UPDATING, id="old-group"
        ),
        pytest.param(
            a_set(replicas=2, updatedReplicas=2, readyReplicas=1, conditions=AVAILABLE), Lack.PODS, id="group-not-ready"
        ),
    ],
)
def test_leader_worker_set_is_ready_with_all_its_groups(live: Live, lack: Lack) -> None:
    assert read_workload(live).lack is lack


def test_restart_reaches_only_its_component_and_changes_no_input() -> None:
    template = {"metadata": {"labels": {names.COMPONENT: "Worker"}}}
    document = {"kind": "Deployment", "spec": {"template": template}}

    changed = with_restart(document, {"Worker": "7", "Other": "8"})

    assert changed["spec"]["template"]["metadata"]["annotations"] == {RESTARTED_AT: "7"}
    assert "annotations" not in template["metadata"]
    assert restart_ids(a_live(spec=changed["spec"])) == {"Worker": "7"}
    assert with_restart(document, {"Other": "8"}) == document


@pytest.mark.parametrize(("kind", "key"), [(DEPLOYMENT, "template"), (LEADER_WORKER_SET, "leaderWorkerTemplate")])
def test_pods_of_a_leaving_generation_stay_as_they_are(kind: Kind, key: str) -> None:
    wanted = {"kind": kind.name, "spec": {"replicas": 1, key: {"new": "way"}}}
    by_others = a_live(kind, spec={"replicas": 2, key: {"old": "way", "defaulted": True}})
    by_us = replace(by_others, applied={"spec": {key: {"old": "way"}}})
    assert with_pods_of(wanted, by_others)["spec"] == {"replicas": 1, key: {"old": "way", "defaulted": True}}
    assert with_pods_of(wanted, by_us)["spec"] == {"replicas": 1, key: {"old": "way"}}
