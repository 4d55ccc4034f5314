"""The pure half of Kubernetes discovery: documents, readiness, addresses, and who this pod is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from dynamo.discovery import DiscoveryError, open_registry
from dynamo.discovery.cluster.identity import Pod, read_mode, read_pod
from dynamo.discovery.cluster.metadata import Announcement, manifest, read_announcement
from dynamo.discovery.cluster.reflector import Pace, retry_s
from dynamo.discovery.cluster.sight import (
    EndpointSlice,
    PodObject,
    Ready,
    at_address,
    join,
    ready_containers,
    ready_pods,
)
from dynamo.wire.cards import Role, WorkerCard
from tests.contract.test_discovery import a_card
from tests.shared import shared

POD = Pod("w-0", "uid-0", "default")
READY = {"w-0": Ready("uid-0", ("10.1.0.7",))}


def stored(*cards: WorkerCard, **changes: Any) -> bytes:
    document = manifest(POD, cards)
    document["spec"]["data"].update(changes)
    return msgspec.json.encode(document)


def test_cards_come_back_as_they_were() -> None:
    cards = (a_card(1, loras=("sql",)), a_card(2, role=Role.DECODE, context_length=4096))
    assert read_announcement(stored(*cards)) == Announcement("w-0", "uid-0", cards)


def test_data_kept_as_a_string_is_read_too() -> None:
    document = manifest(POD, [a_card()])
    document["spec"]["data"] = msgspec.json.encode(document["spec"]["data"]).decode()
    assert read_announcement(msgspec.json.encode(document)).cards == (a_card(),)


def test_broken_card_costs_only_itself_and_is_named() -> None:
    good = manifest(POD, [a_card(1)])["spec"]["data"]["workers"]
    found = read_announcement(stored(workers={**good, "2": {"worker_id": "x"}}))
    assert found.cards == (a_card(1),)
    assert len(found.defects) == 1
    assert "w-0: spec.data.workers.2: worker card:" in found.defects[0]


def test_upstreams_announcements_announce_nobody_here() -> None:
    documents = list(yaml.safe_load_all(shared("corpus/live/workermetadata.yaml").read_text()))
    found = [read_announcement(msgspec.json.encode(document)) for document in documents]
    assert len(found) == 2
    assert all((one.cards, one.defects) == ((), ()) for one in found)


def test_our_document_has_every_key_that_upstreams_readers_use() -> None:
    (theirs, *_) = yaml.safe_load_all(shared("corpus/live/workermetadata.yaml").read_text())
    ours = manifest(POD, [a_card()])["spec"]["data"]
    (their_card,) = theirs["spec"]["data"]["model_cards"].values()
    (our_card,) = ours["model_cards"].values()
    read = ("display_name", "worker_type", "kv_cache_block_size", "architectural_max_context_length", "needs")
    assert set(read) <= our_card["card_json"].keys() & their_card["card_json"].keys()
    limits = {"context_length", "total_kv_blocks", "max_num_seqs", "max_num_batched_tokens", "runtime_data"}
    assert limits <= our_card["card_json"]["runtime_config"].keys()
    assert their_card.keys() == our_card.keys()


def test_ready_pods_of_a_live_cluster_are_found() -> None:
    documents = yaml.safe_load_all(shared("corpus/live/endpointslices.yaml").read_text())
    slices = [msgspec.convert(document, EndpointSlice) for document in documents]
    found = ready_pods(slices)
    assert {pod.addresses for pod in found.values()} == {("10.244.0.3",), ("10.244.0.4",), ("10.244.0.5",)}


@pytest.mark.parametrize(
    ("conditions", "is_there"),
    [
        pytest.param({"ready": True}, True, id="ready"),
        pytest.param({}, True, id="unknown-counts-as-ready"),
        pytest.param({"ready": False, "serving": True, "terminating": True}, False, id="terminating"),
    ],
)
def test_readiness_is_read_from_conditions(conditions: dict[str, bool], is_there: bool) -> None:
    endpoint = {"addresses": ["10.1.0.7"], "conditions": conditions, "targetRef": {"kind": "Pod", "name": "w-0"}}
    found = ready_pods([msgspec.convert({"metadata": {"name": "s"}, "endpoints": [endpoint]}, EndpointSlice)])
    assert ("w-0" in found) is is_there


@pytest.mark.parametrize("is_deleted", [False, True])
def test_ready_containers_of_pods_that_stay_are_found(is_deleted: bool) -> None:
    metadata = {"name": "p", "uid": "u", **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if is_deleted else {})}
    status = {
        "podIP": "10.1.0.7",
        "containerStatuses": [{"name": "a", "ready": True}, {"name": "b", "ready": False}],
        "initContainerStatuses": [{"name": "c", "ready": True}],
    }
    found = ready_containers([msgspec.convert({"metadata": metadata, "status": status}, PodObject)])
    assert set(found) == (set() if is_deleted else {"p-a", "p-c"})


@pytest.mark.parametrize(
    ("host", "addresses", "expected"),
    [
        pytest.param("10.1.0.7", ("10.1.0.7",), "10.1.0.7", id="same"),
        pytest.param("10.1.0.7", ("10.1.0.9",), "10.1.0.9", id="moved"),
        pytest.param("10.1.0.7", ("fd00::7", "10.1.0.9"), "10.1.0.9", id="of-the-same-family"),
        pytest.param("10.1.0.7", ("fd00::7",), "[fd00::7]", id="only-the-other-family"),
        pytest.param("node-1", ("10.1.0.9",), "node-1", id="a-name-is-left-alone"),
        pytest.param("10.1.0.7", (), "10.1.0.7", id="nothing-known"),
    ],
)
def test_address_is_where_the_pod_is(host: str, addresses: tuple[str, ...], expected: str) -> None:
    card = a_card(
        address=f"http://{host}:8000",
        system_address=f"http://{host}:9090",
        event_address=f"tcp://{host}:5557",
        bootstrap_host=host,
    )
    moved = at_address(card, addresses)
    assert (moved.address, moved.system_address) == (f"http://{expected}:8000", f"http://{expected}:9090")
    assert moved.event_address == f"tcp://{expected}:5557"
    assert moved.bootstrap_host == expected.strip("[]")


def test_worker_needs_both_its_announcement_and_a_ready_pod() -> None:
    announcement = Announcement("w-0", "uid-0", (a_card(),))
    assert join([announcement], READY, has_labelled=True).cards == (a_card(),)
    assert join([announcement], {}, has_labelled=True).cards == ()
    assert join([], READY, has_labelled=True).cards == ()
    assert join([], READY, has_labelled=True).problems == ()


def test_many_unready_workers_are_said_in_one_short_line() -> None:
    announcements = [Announcement(f"w-{n}", "u", (a_card(n),)) for n in range(9)]
    assert join(announcements, {}, has_labelled=True).problems == (
        "announced but not ready: w-0, w-1, w-2, w-3, w-4 and 4 more",
    )


ENV = {"POD_NAME": "w-0", "POD_UID": "uid-0", "POD_NAMESPACE": "default"}


def test_files_of_the_downward_api_beat_the_environment(tmp_path: Path) -> None:
    (tmp_path / "pod_name").write_text("from-file\n")
    assert read_pod(ENV, tmp_path) == Pod("from-file", "uid-0", "default")


@pytest.mark.parametrize("missing", ENV)
def test_missing_identity_is_named(missing: str, tmp_path: Path) -> None:
    with pytest.raises(DiscoveryError, match=f"^{missing}: not set"):
        read_pod({name: value for name, value in ENV.items() if name != missing}, tmp_path)


def test_each_container_announces_itself_in_container_mode(tmp_path: Path) -> None:
    env = {**ENV, "DYN_KUBE_DISCOVERY_MODE": "container", "CONTAINER_NAME": "main"}
    assert read_pod(env, tmp_path).announcement == "w-0-main"
    assert read_pod({**env, "DYN_KUBE_DISCOVERY_MODE": "pod"}, tmp_path).announcement == "w-0"
    with pytest.raises(DiscoveryError, match="CONTAINER_NAME: not set"):
        read_pod({**env, "CONTAINER_NAME": ""}, tmp_path)
    with pytest.raises(DiscoveryError, match="found 'node'; expected one of pod, container"):
        read_mode({"DYN_KUBE_DISCOVERY_MODE": "node"})


def test_no_way_to_an_api_server_is_said(tmp_path: Path) -> None:
    with pytest.raises(DiscoveryError, match="name a file in KUBECONFIG"):
        open_registry("kubernetes", {**ENV, "KUBECONFIG": str(tmp_path / "none")})


def test_other_backends_do_not_load_the_kubernetes_client() -> None:
    code = "import sys, dynamo.discovery, dynamo.frontend.server; sys.exit('lightkube' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_pauses_grow_to_a_bound_and_differ_between_clients() -> None:
    pace = Pace(retry_first_s=0.2, retry_most_s=15.0)
    assert [retry_s(pace, failures, 1.0) for failures in (1, 2, 3, 30, 5000)] == [0.2, 0.4, 0.8, 15.0, 15.0]
    assert retry_s(pace, 30, 0.0) == 7.5
