"""Every manifest that upstream accepts, through kubectl, webhooks and the operator on a real API server, and back.

In the four pathways, one after the other on one API server, as an installation grows: plain, with the Inference
Extension, with LeaderWorkerSet and Volcano, with Grove. What is there at the end is upstream's, apart from the
differences that docs/compatibility.md lists; and once all pods are ready, so is every graph.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from dynamo_operator.handlers.settings import Duration, Orchestrator, Orchestrators, Rbac, Settings
from tests.cluster.api.conftest import WholeCluster
from tests.cluster.api.corpus_rules import LIVE, RULES
from tests.cluster.api.corpus_run import Kept, Run, plain_status, way_to
from tests.cluster.crds import Neighbour, neighbour_crds
from tests.cluster.errors import ClusterError
from tests.shared import shared
from tests.unit.operator_plane.convert.test_corpus import hidden
from tests.unit.operator_plane.render.corpus import (
    CONTEXT,
    CORPUS,
    CURRENT_HASH,
    Case,
    all_cases,
    cases,
    load,
    with_hash,
)
from tests.unit.operator_plane.render.differences import Difference, differences
from tests.unit.operator_plane.render.documented import documented_ids

Document = dict[str, Any]

# Upstream's own chart, by which the reference objects were made.
SETTINGS = Settings(
    rbac=Rbac(
        planner_cluster_role_name=str(CONTEXT.planner_cluster_role),
        epp_cluster_role_name=str(CONTEXT.epp_cluster_role),
    ),
    orchestrators=Orchestrators(grove=Orchestrator(termination_delay=Duration(CONTEXT.grove_termination_delay_s))),
)
# In this order: what is installed stays.
NEIGHBOURS = {
    "component": (),
    "gaie": (Neighbour.INFERENCE_EXTENSION,),
    "lws": (Neighbour.LEADERWORKERSET, Neighbour.VOLCANO),
    "grove": (Neighbour.GROVE,),
}
# Pathways whose every workload is one that this cluster's controllers run.
COMPLETE = ("component", "gaie")
# Inputs that belong to no graph; upstream's bookkeeping on models is another controller's.
OTHER_INPUTS = {"DynamoModel"}
CASES = [pytest.param(case, id=f"{case.pathway}/{case.manifest}") for case in cases()]


@dataclass(frozen=True)
class Outcome:
    """What a manifest became: when all controllers had done their work, and when all pods were ready, if they can."""

    settled: Kept
    ready: Kept | None


Outcomes = Mapping[Case, Outcome]


@dataclass
class Corpus:
    """`rewritten`: by pathway, what a second process wrote that found everything done."""

    outcomes: dict[Case, Outcome] = field(default_factory=dict)
    rewritten: dict[str, tuple[str, ...]] = field(default_factory=dict)


@pytest.fixture(scope="session")
def corpus(whole_cluster: WholeCluster) -> Corpus:
    shared("corpus/rendered")
    found = Corpus()
    for pathway, neighbours in NEIGHBOURS.items():
        for neighbour in neighbours:
            whole_cluster.access.install_crds(neighbour_crds(whole_cluster.access.cache, neighbour))
        asyncio.run(_run(found, whole_cluster, pathway))
    return found


@pytest.fixture(scope="session")
def outcomes(corpus: Corpus) -> Outcomes:
    return corpus.outcomes


async def _run(corpus: Corpus, cluster: WholeCluster, pathway: str) -> None:
    placed = {f"{pathway}-{n}-ns": case for n, case in enumerate(cases()) if case.pathway == pathway}
    async with way_to(cluster.access) as way:
        run = Run(cluster.access, cluster.facts, SETTINGS, way)
        await run.begin()
        run.apply({namespace: load(case.source) for namespace, case in placed.items()})
        await run.settle(placed)
        settled = {case: await run.kept(namespace) for namespace, case in placed.items()}
        corpus.rewritten[pathway] = await run.rewritten(placed)
        ready: dict[Case, Kept] = {}
        if pathway in COMPLETE:
            await run.make_ready(placed)
            ready = {case: await run.kept(namespace) for namespace, case in placed.items()}
        corpus.outcomes.update({case: Outcome(kept, ready.get(case)) for case, kept in settled.items()})


def differences_of(case: Case, kept: Kept) -> list[Difference]:
    """All differences from upstream's objects and statuses, generation hashes made equal."""
    theirs = with_hash(load(case.oracle), kept.graph["metadata"]["annotations"].get(CURRENT_HASH))
    for document in theirs:
        if "status" in document:
            document["status"] = plain_status(document["status"])
    inputs = {(each["kind"], each["metadata"]["name"]) for each in load(case.source) if each["kind"] != _GRAPH}
    return [
        each
        for each in differences(theirs, kept.objects)
        if (each.kind, each.name) not in inputs and each.kind not in OTHER_INPUTS
    ]


@pytest.mark.parametrize("case", CASES)
def test_what_is_there_at_the_end_is_upstreams_but_for_documented_rules(outcomes: Outcomes, case: Case) -> None:
    found = differences_of(case, outcomes[case].settled)
    left = [str(each) for each in found if not any(rule.covers(each) for rule in RULES)]
    assert not left, "\n".join(left)


@pytest.mark.parametrize("pathway", NEIGHBOURS)
def test_a_new_process_finds_nothing_to_write(corpus: Corpus, pathway: str) -> None:
    assert corpus.rewritten[pathway] == ()


def test_every_rule_is_needed_by_a_manifest(outcomes: Outcomes) -> None:
    found = [each for case, outcome in outcomes.items() for each in differences_of(case, outcome.settled)]
    idle = [f"{rule.id} {rule.kind} {rule.path}" for rule in RULES if not any(rule.covers(each) for each in found)]
    assert idle == []


def test_rules_of_live_objects_are_the_documented_ones() -> None:
    assert documented_ids("L") == list(dict.fromkeys(rule.id for rule in LIVE if rule.id.startswith("L")))


@pytest.mark.parametrize("case", [pytest.param(case, id=case.manifest) for case in cases() if case.pathway in COMPLETE])
def test_every_graph_is_successful_once_its_pods_are_ready(outcomes: Outcomes, case: Case) -> None:
    ready = outcomes[case].ready
    assert ready is not None
    status = ready.graph["status"]
    assert (status["state"], status["conditions"]["Ready"]["status"]) == ("successful", "True"), status
    lacking = {name: part for name, part in status["components"].items() if part["readyReplicas"] != part["replicas"]}
    assert lacking == {}


@pytest.mark.parametrize("case", CASES)
def test_both_versions_read_as_upstreams_do(outcomes: Outcomes, case: Case) -> None:
    """Unlike in the tests of conversion, after webhooks and operator have written into them."""
    path = CORPUS / "converted" / f"{case.manifest}.both.yaml"
    if not path.exists() or case.pathway == "grove":
        pytest.skip("upstream's was read in both versions on the component pathway only")
    both = yaml.safe_load(path.read_text())
    for version in ("v1alpha1", "v1beta1"):
        ours = outcomes[case].settled.versions[f"nvidia.com/{version}"]
        assert hidden(_as_written(ours)) == hidden(_as_written(both[version])), version


def test_requests_are_refused_by_name(whole_cluster: WholeCluster) -> None:
    """Their kind is not served: docs/compatibility.md says so, and kubectl names it."""
    others = [case for case in all_cases() if case not in cases()]
    for case in others:
        for document in load(case.source):
            if document["kind"] == "DynamoGraphDeploymentRequest":
                with pytest.raises(ClusterError, match='no matches for kind "DynamoGraphDeploymentRequest"'):
                    whole_cluster.access.kubectl("apply", "-f", "-", stdin=json.dumps(document))
                return
    pytest.skip("the corpus is not here (set DYNAMO_SHARED to its folder)")


def _as_written(document: Document) -> Document:
    """Without what the reference does not show (statuses), and what rules C2, L5 and L6 are about."""
    metadata = document["metadata"]
    left_out = ["nvidia.com/current-worker-hash", "nvidia.com/dgd-status"]
    if document["apiVersion"] == "nvidia.com/v1beta1":
        left_out.append("nvidia.com/dgd-spec")
    annotations = {key: value for key, value in metadata["annotations"].items() if key not in left_out}
    kept = {"name": metadata["name"], "labels": metadata.get("labels", {}), "annotations": annotations}
    spec = _without_default_protocol(document["spec"])
    return {"apiVersion": document["apiVersion"], "kind": document["kind"], "metadata": kept, "spec": spec}


def _without_default_protocol(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_default_protocol(each) for each in value]
    if not isinstance(value, dict):
        return value
    is_port = "containerPort" in value and value.get("protocol") == "TCP"
    return {key: _without_default_protocol(each) for key, each in value.items() if not (is_port and key == "protocol")}


_GRAPH = "DynamoGraphDeployment"
