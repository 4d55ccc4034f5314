"""What a set of Grove's keeps, what its members are scaled to, and when they are ready."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from dynamo_operator.kube import Kind, Live
from dynamo_operator.kube.objects import POD_CLIQUE, POD_CLIQUE_SCALING_GROUP, POD_CLIQUE_SET
from dynamo_operator.plan.changes import graph_changes
from dynamo_operator.plan.gangs import Scaling, gang_trouble, is_replaced, kept, scalings, topology_verdict, workload_of
from dynamo_operator.plan.restart import Restart
from dynamo_operator.plan.status import Report, Standing, component_status, graph_status
from dynamo_operator.plan.workloads import Lack, read_workload
from tests.unit.operator_plane.plan.lives import a_live
from tests.unit.operator_plane.plan.test_status import NOW, a_root, component
from tests.unit.operator_plane.render.factories import a_component, a_graph, a_set

Document = dict[str, Any]

FULL_CLIQUE = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "scheduledReplicas": 2}
FULL_GROUP = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "scheduledReplicas": 2}


def a_member(kind: Kind = POD_CLIQUE, *, generation: int = 1, desired: int = 2, **status: Any) -> Live:
    """Complete unless told otherwise, and of template `h1`."""
    full = FULL_CLIQUE if kind == POD_CLIQUE else FULL_GROUP
    seen = {"observedGeneration": 1, "currentPodCliqueSetGenerationHash": "h1", **full, **status}
    owner = {"kind": "PodCliqueSet", "name": "g", "uid": "uid-g", "controller": True}
    metadata = {"ownerReferences": [owner]}
    return a_live(kind, "g-0-worker", generation=generation, spec={"replicas": desired}, status=seen, metadata=metadata)


def a_gang(*, generation: int = 1, strategy: str | None = None, **status: Any) -> Live:
    seen = {"observedGeneration": 1, "currentGenerationHash": "h1", **status}
    spec = {"updateStrategy": {"type": strategy}} if strategy else {}
    return a_live(POD_CLIQUE_SET, "g", generation=generation, spec=spec, status=seen)


def said(kind: str, reason: str) -> list[Document]:
    return [{"type": kind, "status": "False", "reason": reason}]


@pytest.mark.parametrize(
    ("live", "lack"),
    [
        pytest.param(a_member(), Lack.NOTHING, id="complete"),
        pytest.param(a_member(generation=2), Lack.UPDATING, id="status-of-an-older-spec"),
        pytest.param(a_member(observedGeneration=None), Lack.UPDATING, id="not-looked-at"),
        pytest.param(a_member(readyReplicas=1), Lack.PODS, id="a-pod-not-ready"),
        pytest.param(a_member(updatedReplicas=1), Lack.UPDATING, id="an-old-pod"),
        pytest.param(a_member(replicas=3), Lack.UPDATING, id="a-pod-too-many"),
        pytest.param(a_member(readyReplicas=1, scheduledReplicas=1), Lack.CAPACITY, id="a-pod-without-node"),
        pytest.param(a_member(readyReplicas=0, scheduledReplicas=0), Lack.PODS, id="nodes-not-told"),
        pytest.param(a_member(readyReplicas=0, scheduleGatedReplicas=2), Lack.CAPACITY, id="held-back"),
        pytest.param(
            a_member(readyReplicas=0, conditions=said("PodCliqueScheduled", "InsufficientScheduledPods")),
            Lack.CAPACITY,
            id="no-room-for-the-gang",
        ),
        pytest.param(a_member(scheduledReplicas=0), Lack.NOTHING, id="ready-without-word-of-nodes"),
        pytest.param(a_member(desired=0, replicas=0, readyReplicas=0, updatedReplicas=0), Lack.NOTHING, id="none"),
        pytest.param(a_member(desired=0, replicas=0, readyReplicas=1), Lack.NOTHING, id="none-but-ending-ones"),
        pytest.param(a_member(POD_CLIQUE_SCALING_GROUP), Lack.NOTHING, id="group-complete"),
        pytest.param(a_member(POD_CLIQUE_SCALING_GROUP, availableReplicas=1), Lack.PODS, id="group-not-available"),
        pytest.param(a_member(POD_CLIQUE_SCALING_GROUP, updatedReplicas=1), Lack.UPDATING, id="old-group"),
        pytest.param(
            a_member(
                POD_CLIQUE_SCALING_GROUP,
                availableReplicas=0,
                updatedReplicas=0,
                conditions=said("MinAvailableBreached", "InsufficientScheduledPodCliqueScalingGroupReplicas"),
            ),
            Lack.CAPACITY,
            id="no-room-for-groups",
        ),
    ],
)
def test_member_is_ready_with_all_its_replicas_updated_and_serving(live: Live, lack: Lack) -> None:
    assert read_workload(live).lack is lack


@pytest.mark.parametrize(
    ("gang", "lack"),
    [
        pytest.param(a_gang(), Lack.NOTHING, id="same-template"),
        pytest.param(a_gang(generation=2), Lack.UPDATING, id="set-not-seen-as-it-is"),
        pytest.param(a_gang(observedGeneration=None), Lack.UPDATING, id="set-never-seen"),
        pytest.param(a_gang(currentGenerationHash="h2"), Lack.UPDATING, id="template-not-handed-on"),
        pytest.param(a_gang(currentGenerationHash=None), Lack.NOTHING, id="a-grove-without-hashes"),
        pytest.param(None, Lack.UPDATING, id="set-gone"),
    ],
)
def test_member_that_looks_ready_is_not_before_it_has_its_sets_template(gang: Live | None, lack: Lack) -> None:
    """A restart changes annotations only: neither the member's generation nor its counts tell of it at first."""
    found = workload_of(a_member(), gang)
    assert found.lack is lack
    assert found.updated == (2 if lack is Lack.NOTHING else 0)


@pytest.mark.parametrize(
    ("hash_", "progress", "updated"),
    [
        pytest.param("h2", {"updateStartedAt": NOW}, 1, id="under-way"),
        pytest.param("h1", {"updateStartedAt": NOW}, 0, id="towards-an-older-template"),
        pytest.param("h2", {"updateStartedAt": NOW, "updateEndedAt": NOW}, 0, id="of-the-last-update"),
    ],
)
def test_updated_replicas_count_on_the_way_to_the_sets_template(hash_: str, progress: Document, updated: int) -> None:
    gang = a_gang(generation=2, currentGenerationHash="h2", updateProgress=progress)
    member = a_member(updateProgress={"podCliqueSetGenerationHash": hash_, "updateStartedAt": NOW}, updatedReplicas=1)
    found = workload_of(member, gang)
    assert (found.updated, found.is_ready) == (updated, False)


def test_other_workloads_need_no_set() -> None:
    assert workload_of(a_live(spec={"replicas": 0}, status={"observedGeneration": 1}), None).is_ready


@pytest.mark.parametrize(
    ("member", "gang", "expected"),
    [
        pytest.param(a_member(readyReplicas=0), a_gang(), True, id="ready-or-not"),
        pytest.param(a_member(updatedReplicas=1), a_gang(), False, id="one-left"),
        pytest.param(a_member(replicas=3), a_gang(), False, id="one-too-many"),
        pytest.param(a_member(), a_gang(currentGenerationHash="h2"), False, id="older-template"),
        pytest.param(a_member(updateProgress={"updateStartedAt": NOW}), a_gang(), False, id="under-way"),
        pytest.param(a_member(updateProgress={"updateEndedAt": NOW}), a_gang(), True, id="ended"),
    ],
)
def test_workers_are_replaced_when_none_of_an_older_template_is_left(member: Live, gang: Live, expected: bool) -> None:
    assert is_replaced(member, gang) is expected


LOCKED: Document = {"strategy": "Coherent", "updateProgress": {"updateStartedAt": NOW}}


@pytest.mark.parametrize(
    ("gang", "member", "wanted", "expected"),
    [
        pytest.param(a_gang(), a_member(), 3, 3, id="more"),
        pytest.param(a_gang(), a_member(), 0, 0, id="none"),
        pytest.param(a_gang(), a_member(), 2, None, id="equal"),
        pytest.param(a_gang(generation=2), a_member(), 3, 3, id="while-grove-updates"),
        pytest.param(a_gang(**LOCKED), a_member(), 3, None, id="not-during-a-coherent-update"),
        pytest.param(a_gang(strategy="Coherent", generation=2), a_member(), 3, None, id="nor-right-before-one"),
        pytest.param(
            a_gang(strategy="Coherent", updateProgress={"updateEndedAt": NOW}), a_member(), 3, 3, id="after-one"
        ),
    ],
)
def test_members_are_scaled_only_to_what_they_are_not(
    gang: Live, member: Live, wanted: int, expected: int | None
) -> None:
    found = () if expected is None else (Scaling(member.ref, expected),)
    assert scalings(gang, [(member, wanted)]) == found


def test_strangers_and_leaving_members_are_not_scaled() -> None:
    stranger, leaving, member = a_member(), a_member(), a_member()
    stranger.document["metadata"]["ownerReferences"][0]["uid"] = "other"
    leaving.document["metadata"]["deletionTimestamp"] = NOW
    assert scalings(a_gang(), [(stranger, 3), (leaving, 3), (member, 3)]) == (Scaling(member.ref, 3),)
    gone = a_gang()
    gone.document["metadata"]["deletionTimestamp"] = NOW
    assert scalings(gone, [(member, 3)]) == ()


def test_set_keeps_the_replicas_its_members_began_with_and_their_order() -> None:
    nodes = {"nodeCount": 2}
    before = a_set(a_graph(a_component("a", replicas=1), a_component("b", replicas=1, multinode=nodes)))
    after = a_set(
        a_graph(
            a_component("b", replicas=4, multinode={"nodeCount": 3}, main={"image": "engine:1.6.0"}),
            a_component("a", replicas=5),
            a_component("new", replicas=6),
        )
    )
    untouched = copy.deepcopy(after)

    template = kept(after, before)["spec"]["template"]

    names = ["a", "b-ldr", "b-wkr", "new"]
    assert [each["name"] for each in template["cliques"]] == names
    assert {each["name"]: each["spec"]["replicas"] for each in template["cliques"]} == dict(
        zip(names, (1, 1, 2, 6), strict=True)
    )
    assert [(each["name"], each["replicas"]) for each in template["podCliqueScalingGroups"]] == [("b", 1)]
    assert "engine:1.6.0" in str(template["cliques"][1])
    assert after == untouched


def test_scaling_alone_does_not_change_the_set() -> None:
    def graph(replicas: int) -> Document:
        return a_set(a_graph(a_component(replicas=replicas), a_component("m", replicas=replicas, multinode={})))

    assert graph(4) != graph(2)
    assert kept(graph(4), graph(2)) == graph(2)


def a_standing(live: Live | None, gang: Live | None = None) -> Standing:
    workload = workload_of(live, gang or a_gang()) if live else None
    return Standing(component(), "", POD_CLIQUE, "g-0-worker", workload, trouble=gang_trouble(gang))


@pytest.mark.parametrize(
    ("lives", "reason"),
    [
        pytest.param([None], "some_resources_are_not_ready", id="not-made-yet"),
        pytest.param([a_member(generation=2)], "some_resources_are_not_ready", id="not-seen-yet"),
        pytest.param([a_member(scheduledReplicas=1, readyReplicas=0)], "insufficient_capacity", id="no-node"),
        pytest.param([a_member(readyReplicas=0)], "pods_not_ready", id="not-ready"),
        pytest.param([a_member(updatedReplicas=0)], "updating", id="old-pods"),
        pytest.param([a_member(desired=1, replicas=1, updatedReplicas=1, readyReplicas=1)], "updating", id="unscaled"),
        pytest.param([a_member(readyReplicas=0)] * 2, "pods_not_ready", id="two-alike"),
        pytest.param([a_member(readyReplicas=0), None], "mixed_not_ready_reasons", id="two-that-differ"),
        pytest.param([a_member()], "all_resources_are_ready", id="ready"),
    ],
)
def test_graph_says_what_all_its_members_lack(lives: list[Live | None], reason: str) -> None:
    report = Report(tuple(a_standing(live) for live in lives), (), False, Restart({}, None), ())
    (ready,) = graph_status(a_root(), report, NOW)["conditions"]
    assert ready["reason"] == reason


def test_status_has_the_counts_that_the_kind_knows() -> None:
    identity = {"componentKind": "PodClique", "componentNames": ["g-0-worker"]}
    clique = component_status(a_standing(a_member()))
    assert clique.items() >= {**identity, **FULL_CLIQUE}.items()
    assert "availableReplicas" not in clique
    group = component_status(a_standing(a_member(POD_CLIQUE_SCALING_GROUP)))
    assert group.items() >= FULL_GROUP.items()
    assert "readyReplicas" not in group
    absent = component_status(a_standing(None))
    assert absent.items() >= {**identity, "replicas": 0, "updatedReplicas": 0}.items()
    assert not {"readyReplicas", "scheduledReplicas"} & absent.keys()
    assert "scheduledReplicas" not in component_status(a_standing(a_member(generation=2)))


def test_what_grove_fails_at_is_told_until_the_member_is_there() -> None:
    gang = a_gang(lastErrors=[{"code": "E", "description": "no queue of that name", "observedAt": NOW}])
    assert a_standing(None, gang).lack == "not created yet (Grove: no queue of that name)"
    assert gang_trouble(a_gang()) == ""


def a_packed_gang(*conditions: Document) -> Live:
    packed = {"topologyConstraint": {"pack": {"required": "rack"}}}
    template = {"cliques": [{"name": "a"}], "podCliqueScalingGroups": [{"name": "b", **packed}]}
    return a_live(POD_CLIQUE_SET, "g", spec={"template": template}, status={"conditions": list(conditions)})


def unavailable(status: str, reason: str = "") -> Document:
    return {"type": "TopologyLevelsUnavailable", "status": status, "reason": reason, "message": "no rack"}


@pytest.mark.parametrize(
    ("gang", "status", "reason"),
    [
        pytest.param(a_packed_gang(), "Unknown", "TopologyConditionPending", id="not-looked-yet"),
        pytest.param(a_packed_gang(unavailable("False")), "True", "AllTopologyLevelsAvailable", id="there"),
        pytest.param(
            a_packed_gang(unavailable("True", "ClusterTopologyLevelsUnavailable")),
            "False",
            "TopologyLevelsUnavailable",
            id="level-gone",
        ),
        pytest.param(
            a_packed_gang(unavailable("True", "ClusterTopologyNotFound")),
            "False",
            "TopologyDefinitionNotFound",
            id="topology-gone",
        ),
    ],
)
def test_a_packed_graph_says_whether_its_levels_are_there(gang: Live, status: str, reason: str) -> None:
    report = Report((a_standing(a_member()),), (), False, Restart({}, None), (), topology=topology_verdict(gang))
    written = graph_status(a_root(), report, NOW)
    ready, topology = written["conditions"]
    assert ready["status"] == "True"
    assert (topology["type"], topology["status"], topology["reason"]) == ("TopologyLevelsAvailable", status, reason)
    told = [change for change in graph_changes({}, written) if change.is_warning]
    assert [change.reason for change in told] == ([reason] if status == "False" else [])
    assert [change for change in graph_changes(written, written) if change.is_warning] == []


def test_a_graph_that_asks_for_no_place_says_nothing_of_it() -> None:
    gang = a_packed_gang(unavailable("True"))
    del gang.document["spec"]["template"]["podCliqueScalingGroups"]
    assert topology_verdict(gang) is None
    assert topology_verdict(None) is None
