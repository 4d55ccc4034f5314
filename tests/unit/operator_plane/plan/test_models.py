"""Models: which workers, what each should do, and what is reported."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.kube import Live
from dynamo_operator.kube.objects import ENDPOINT_SLICE, MODEL
from dynamo_operator.plan.models import (
    Endpoint,
    Finding,
    Steps,
    Wish,
    endpoints_of,
    kept_names,
    marks_of,
    model_changes,
    model_status,
    steps_of,
    wish_of,
)
from dynamo_operator.render import names
from tests.unit.operator_plane.plan.lives import a_live

WISH = Wish("a", "hf://org/a")
NOW = "2026-01-01T00:00:00Z"
NOTHING: frozenset[str] = frozenset()


def a_model(name: str = "m", *, lora: str = "a", base: str = "b", **document: Any) -> Live:
    spec = {"modelName": lora, "baseModelName": base, "modelType": "lora", "source": {"uri": f"hf://org/{lora}"}}
    return a_live(MODEL, name, spec=spec, **document)


def a_base(**document: Any) -> Live:
    return a_live(MODEL, "m", spec={"modelName": "b", "baseModelName": "b", "modelType": "base"}, **document)


def an_endpoint(address: str = "10.0.0.1", pod: str = "w-0", **conditions: Any) -> dict[str, Any]:
    target = {"kind": "Pod", "name": pod, "uid": f"uid-{pod}"}
    return {"addresses": [address], "conditions": {"ready": True, **conditions}, "targetRef": target}


def a_slice(*endpoints: dict[str, Any], name: str = "s", family: str = "IPv4", **more: Any) -> Live:
    ports = more.pop("ports", [{"name": "system", "port": 9090}])
    return a_live(ENDPOINT_SLICE, name, addressType=family, endpoints=list(endpoints), ports=ports, **more)


READY = Endpoint("w-0", "http://10.0.0.1:9090", True)


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        pytest.param([a_slice(an_endpoint())], [READY], id="one"),
        pytest.param([], [], id="none"),
        pytest.param(
            [a_slice(an_endpoint(ready=False))], [Endpoint("w-0", "http://10.0.0.1:9090", False)], id="not-ready"
        ),
        pytest.param([a_slice(an_endpoint(ready=None))], [READY], id="unknown-is-ready"),
        pytest.param([a_slice(an_endpoint(ready=False, terminating=True))], [], id="ending-is-left-out"),
        pytest.param(
            [a_slice(an_endpoint("fd00::1"), name="a", family="IPv6"), a_slice(an_endpoint(), name="z")],
            [READY],
            id="a-pod-in-two-families-counts-once",
        ),
        pytest.param(
            [a_slice(an_endpoint("fd00::1"), family="IPv6")],
            [Endpoint("w-0", "http://[fd00::1]:9090", True)],
            id="ipv6",
        ),
        pytest.param([a_slice(an_endpoint("metadata.internal"), family="FQDN")], [], id="host-names-are-not-followed"),
        pytest.param(
            [a_slice(an_endpoint(), ports=[{"name": "http", "port": 8000}])], [READY], id="other-ports-are-not-used"
        ),
        pytest.param(
            [a_slice(an_endpoint(), ports=[{"name": "system", "port": 9191}])],
            [Endpoint("w-0", "http://10.0.0.1:9191", True)],
            id="named-port",
        ),
        pytest.param(
            [a_slice(an_endpoint(), metadata={"annotations": {names.BASE_MODEL: "other"}})],
            [],
            id="same-hash-of-another-model",
        ),
        pytest.param(
            [a_slice(an_endpoint(), metadata={"annotations": {names.BASE_MODEL: "b"}})], [READY], id="named-model"
        ),
    ],
)
def test_workers_of_a_base_model(slices: list[Live], expected: list[Endpoint]) -> None:
    assert list(endpoints_of(slices, "b")) == expected


@pytest.mark.parametrize(
    ("mark", "loaded", "kept", "expected"),
    [
        pytest.param("", "", "", Steps(load=True), id="new-worker"),
        pytest.param("", "a", "", Steps(), id="somebody-loaded-it"),
        pytest.param(WISH.mark, "a", "", Steps(), id="we-loaded-it"),
        pytest.param(WISH.mark, "", "", Steps(load=True), id="the-pod-began-anew"),
        pytest.param(Wish("a", "hf://x").mark, "a", "", Steps("a", True), id="moved"),
        pytest.param(Wish("a", "hf://x").mark, "", "", Steps(load=True), id="moved-and-lost"),
        pytest.param(Wish("old", "hf://x").mark, "old", "", Steps("old", True), id="renamed"),
        pytest.param(Wish("old", "hf://x").mark, "old a", "", Steps("old", False), id="renamed-to-what-is-there"),
        pytest.param(Wish("old", "hf://x").mark, "old", "old", Steps("", True), id="the-old-name-is-anothers-now"),
        pytest.param(Wish("old", "hf://x").mark, "", "", Steps("", True), id="renamed-and-lost"),
        pytest.param(Wish("x@y", "hf://x").mark, "x@y", "", Steps("x@y", True), id="a-name-with-an-at-sign"),
    ],
)
def test_what_a_worker_needs(mark: str, loaded: str, kept: str, expected: Steps) -> None:
    assert steps_of(WISH, mark, frozenset(loaded.split()), frozenset(kept.split())) == expected


def test_a_new_signature_is_no_reason_to_load_again() -> None:
    before, after = Wish("a", "s3://u:p@h/a?sig=1"), Wish("a", "s3://h/a?sig=2")
    assert before.mark == after.mark != Wish("a", "s3://h/b").mark
    assert "u:p" not in before.mark


def test_only_loras_are_loaded() -> None:
    assert wish_of(a_model()) == WISH
    assert wish_of(a_base()) is None
    adapter = a_live(MODEL, spec={"modelName": "x", "baseModelName": "b", "modelType": "adapter"})
    assert wish_of(adapter) is None


def test_names_that_others_want_are_kept() -> None:
    leaving = {"deletionTimestamp": NOW}
    others = [
        a_model(),
        a_model("same", lora="a"),
        a_model("other-base", lora="c", base="z"),
        a_model("leaving", lora="d", metadata=leaving),
        a_live(MODEL, "base", spec={"modelName": "b", "baseModelName": "b", "modelType": "base"}),
    ]
    assert kept_names(a_model(), others) == {"a"}
    assert kept_names(a_model(), others[:1]) == NOTHING


def condition(status: dict[str, Any], kind: str = "EndpointsReady") -> tuple[str, str, str]:
    found = next(each for each in status["conditions"] if each["type"] == kind)
    return found["status"], found["reason"], found["message"]


def finding(number: int = 0, *, is_ready: bool = True, failure: str = "", pod_ready: bool = True) -> Finding:
    endpoint = Endpoint(f"w-{number}", f"http://10.0.0.{number}:9090", pod_ready)
    return Finding(endpoint, WISH.mark if is_ready else "", is_ready, failure)


@pytest.mark.parametrize(
    ("model", "findings", "expected", "event"),
    [
        pytest.param(
            a_model(),
            [],
            ("False", "NoEndpoints", "no pod of a component with modelRef.name b has an address yet"),
            "NoEndpointsFound",
            id="no-endpoints",
        ),
        pytest.param(
            a_model(),
            [finding()],
            ("True", "AllEndpointsReady", "adapter a is loaded on all of 1 endpoint"),
            "EndpointsReady",
            id="all",
        ),
        pytest.param(
            a_model(),
            [finding(), finding(1, is_ready=False, failure="cannot be reached")],
            ("False", "NotReady", "adapter a is loaded on 1 of 2 endpoints: w-1 cannot be reached"),
            "PartialEndpointFailure",
            id="some",
        ),
        pytest.param(
            a_model(),
            [finding(each, is_ready=False, failure="hangs") for each in range(5)],
            ("False", "NotReady", "adapter a is loaded on 0 of 5 endpoints: w-0 hangs; w-1 hangs; w-2 hangs; 2 more"),
            "NotReady",
            id="none",
        ),
        pytest.param(
            a_model(),
            [finding(is_ready=False), finding(1, is_ready=False, pod_ready=False)],
            ("False", "NotReady", "adapter a is loaded on 0 of 2 endpoints: w-0 is loading it; w-1 is not ready"),
            "NotReady",
            id="loading",
        ),
        pytest.param(
            a_base(),
            [finding(is_ready=False)],
            ("True", "EndpointsDiscovered", "1 endpoint of base model b"),
            "EndpointsDiscovered",
            id="base",
        ),
    ],
)
def test_readiness_is_reported_with_its_reason(
    model: Live, findings: list[Finding], expected: tuple[str, str, str], event: str
) -> None:
    status = model_status(model, findings, has_service=True, now=NOW)
    assert condition(status) == expected
    assert (status["readyEndpoints"], status["totalEndpoints"]) == (sum(f.is_ready for f in findings), len(findings))
    assert [(each.reason, each.message) for each in model_changes({}, status)] == [(event, expected[2])]
    assert model_changes(status, status) == ()


def test_endpoints_are_listed_and_remember_what_was_loaded() -> None:
    status = model_status(a_model(), [finding(), finding(1, is_ready=False)], has_service=True, now=NOW)
    assert status["endpoints"] == [
        {"address": "http://10.0.0.0:9090", "podName": "w-0", "ready": True, "loaded": WISH.mark},
        {"address": "http://10.0.0.1:9090", "podName": "w-1", "ready": False},
    ]
    assert marks_of(a_model(status=status)) == {
        ("w-0", "http://10.0.0.0:9090"): WISH.mark,
        ("w-1", "http://10.0.0.1:9090"): "",
    }


@pytest.mark.parametrize(("has_service", "reason"), [(True, "ServicesFound"), (False, "NoServicesFound")])
def test_the_service_of_the_base_model_is_reported(has_service: bool, reason: str) -> None:
    status = model_status(a_model(), [], has_service=has_service, now=NOW)
    found = condition(status, "ServicesFound")
    assert found[:2] == (str(has_service), reason)
    assert f"dynamo-model-{names.model_hash('b')}" in found[2]
