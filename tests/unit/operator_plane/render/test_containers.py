"""Commands, environment, ports, probes and mounts of containers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_operator.render import RenderError
from dynamo_operator.render.environment import merged
from tests.unit.operator_plane.render.factories import a_component, a_graph, env_of, main_container, pod_spec


@pytest.mark.parametrize(
    ("type_", "main", "command", "args"),
    [
        pytest.param("frontend", {}, ["python3"], ["-m", "dynamo.frontend"], id="frontend-default"),
        pytest.param("frontend", {"args": ["-m", "x"]}, ["python3"], ["-m", "x"], id="frontend-args"),
        pytest.param("frontend", {"command": ["x"]}, ["x"], None, id="frontend-command-has-its-own-args"),
        pytest.param("frontend", {"args": []}, ["python3"], ["-m", "dynamo.frontend"], id="no-argument-is-none-given"),
        pytest.param("frontend", {"command": None}, ["python3"], ["-m", "dynamo.frontend"], id="null-is-none-given"),
        pytest.param(
            "worker", {"command": [], "args": ["run"]}, ["/bin/sh", "-c"], ["run"], id="no-word-is-none-given"
        ),
        pytest.param("worker", {}, ["/bin/sh", "-c"], None, id="worker-default"),
        pytest.param("worker", {"args": ["run"]}, ["/bin/sh", "-c"], ["run"], id="worker-args-go-to-the-shell"),
        pytest.param("worker", {"command": ["run"]}, ["run"], None, id="worker-command"),
        pytest.param(None, {}, ["/bin/sh", "-c"], None, id="untyped-default"),
    ],
)
def test_what_the_user_wrote_wins_over_the_default_command(
    type_: str | None, main: dict[str, object], command: list[str], args: list[str] | None
) -> None:
    container = main_container(a_graph(a_component(type_=type_, main=main)))
    assert (container["command"], container.get("args")) == (command, args)


def test_environment_of_the_graph_yields_to_the_components_and_both_to_nothing_of_ours() -> None:
    chosen = [{"name": "SHARED", "value": "component"}, {"name": "DYN_SYSTEM_PORT", "value": "1"}]
    graph = a_graph(
        a_component(main={"env": chosen}),
        env=[{"name": "SHARED", "value": "graph"}, {"name": "ONLY", "value": "graph"}],
    )
    env = env_of(main_container(graph, service_env={"NATS_SERVER": "nats://n", "ONLY": "operator"}))
    assert env["SHARED"] == "component"
    assert env["ONLY"] == "graph"
    assert env["DYN_SYSTEM_PORT"] == "1"
    assert env["NATS_SERVER"] == "nats://n"


def test_a_reference_comes_after_what_it_refers_to() -> None:
    env = [{"name": "A", "value": "$(Z)/$(M)"}, {"name": "M", "value": "$(Z)"}, {"name": "Z", "value": "1"}]
    assert [each["name"] for each in merged([], env)] == ["Z", "M", "A"]


def test_references_in_a_circle_stay_in_order_of_their_names() -> None:
    env = [{"name": "B", "value": "$(A)"}, {"name": "A", "value": "$(B)"}]
    assert {each["name"] for each in merged([], env)} == {"A", "B"}


_NAMES = st.sampled_from("ABCDEF")
_VALUES = st.one_of(st.just("x"), st.lists(_NAMES, max_size=3).map(lambda names: "".join(f"$({n})" for n in names)))
_ENTRIES = st.lists(st.fixed_dictionaries({"name": _NAMES, "value": _VALUES}), max_size=8)


@given(_ENTRIES, _ENTRIES)
def test_merging_keeps_each_name_once_and_the_last_value(
    defaults: list[dict[str, str]], chosen: list[dict[str, str]]
) -> None:
    result = merged(defaults, chosen)
    names = [each["name"] for each in result]
    assert len(names) == len(set(names))
    assert {each["name"]: each["value"] for each in result} == {
        each["name"]: each["value"] for each in (*defaults, *chosen)
    }


@given(st.lists(st.fixed_dictionaries({"name": _NAMES, "value": st.just("x")}), max_size=8))
def test_entries_without_references_are_sorted_by_name(entries: list[dict[str, str]]) -> None:
    names = [each["name"] for each in merged([], entries)]
    assert names == sorted(names)


def test_a_probe_is_replaced_as_a_whole() -> None:
    probe = {"exec": {"command": ["true"]}}
    container = main_container(a_graph(a_component(main={"livenessProbe": probe})))
    assert container["livenessProbe"] == probe
    assert container["readinessProbe"]["httpGet"]["path"] == "/health"


def test_what_says_nothing_leaves_the_default() -> None:
    nothing = {"livenessProbe": None, "env": None, "ports": None, "imagePullPolicy": ""}
    container = main_container(a_graph(a_component(main=nothing)))
    assert container["livenessProbe"]["httpGet"]["path"] == "/live"
    assert "imagePullPolicy" not in container
    pod = pod_spec(a_graph(a_component(pod={"securityContext": None, "restartPolicy": "", "serviceAccountName": ""})))
    assert pod["securityContext"]["fsGroup"] == 1000
    assert (pod["restartPolicy"], pod["serviceAccountName"]) == ("Always", "g-k8s-service-discovery")


def test_a_default_port_gives_way_to_one_of_the_same_number() -> None:
    container = main_container(a_graph(a_component(main={"ports": [{"name": "mine", "containerPort": 9090}]})))
    assert [port["name"] for port in container["ports"]] == ["mine", "nixl"]


def test_a_port_without_a_name_gets_the_one_that_probes_look_for() -> None:
    container = main_container(a_graph(a_component(main={"ports": [{"containerPort": 9090}, {"containerPort": 80}]})))
    assert [port.get("name") for port in container["ports"]] == ["system", None, "nixl"]


def test_a_component_without_a_type_gets_the_generic_defaults() -> None:
    container = main_container(a_graph(a_component(type_=None)))
    assert [port["name"] for port in container["ports"]] == ["system"]
    assert "DYN_COMPONENT" not in env_of(container)
    assert "DYN_SYSTEM_PORT" not in env_of(container)
    assert not {"livenessProbe", "readinessProbe", "startupProbe"} & set(container)


@pytest.mark.parametrize(
    ("version", "strict", "canary_is_off", "has_startup_probe"),
    [
        pytest.param("1.5.9", None, "false", False, id="before-the-gate"),
        pytest.param("1.6.0-rc1", "true", None, True, id="a-pre-release-counts-as-its-release"),
        pytest.param("2.0.0", "true", None, True, id="later"),
        pytest.param("nightly", None, "false", False, id="no-version"),
    ],
)
def test_newer_runtimes_get_newer_defaults(
    version: str, strict: str | None, canary_is_off: str | None, has_startup_probe: bool
) -> None:
    image = {"image": f"host:5000/engine:{version}"}
    graph = a_graph(a_component("Frontend", "frontend", main=image), a_component(main=image))
    frontend, worker = main_container(graph), main_container(graph, 1)
    assert env_of(frontend).get("DYN_NAMESPACE_PREFIX_STRICT") == strict
    assert env_of(worker).get("DYN_HEALTH_CHECK_ENABLED") == canary_is_off
    assert ("startupProbe" in frontend) == has_startup_probe


def test_the_version_override_wins_over_the_tag() -> None:
    graph = a_graph(a_component("Frontend", "frontend", runtimeVersionOverride="1.6.0"))
    assert env_of(main_container(graph))["DYN_NAMESPACE_PREFIX_STRICT"] == "true"


@pytest.mark.parametrize("size", ["0", "0Gi", "0.0Mi", 0])
def test_a_shared_memory_size_of_zero_removes_the_volume(size: object) -> None:
    pod = pod_spec(a_graph(a_component(sharedMemorySize=size)))
    assert "volumes" not in pod
    assert "volumeMounts" not in pod["containers"][0]


def test_a_mount_without_a_volume_gets_a_claim_of_its_name() -> None:
    pod = pod_spec(a_graph(a_component(main={"volumeMounts": [{"name": "models", "mountPath": "/models"}]})))
    assert pod["volumes"][0] == {"name": "models", "persistentVolumeClaim": {"claimName": "models"}}


def test_a_compilation_cache_needs_a_path_where_the_engine_has_no_usual_place() -> None:
    cache = {"pvcName": "cache"}
    graph = a_graph(a_component(compilationCache=cache, main={"command": ["python3", "-m", "dynamo.sglang"]}))
    with pytest.raises(RenderError, match="Worker: compilationCache has no mountPath and runs sglang"):
        main_container(graph)
    graph = a_graph(a_component(compilationCache=cache, main={"command": ["python3", "-m", "dynamo.vllm"]}))
    assert env_of(main_container(graph))["VLLM_CACHE_ROOT"] == "/root/.cache/vllm"


@pytest.mark.parametrize(
    ("chosen", "order"),
    [
        pytest.param({"VLLM_USE_V1": "1", "ZED": "z"}, ["VLLM_USE_V1", "ZED", "VLLM_CACHE_ROOT"], id="last"),
        pytest.param({"ZED": "$(VLLM_CACHE_ROOT)/z"}, ["VLLM_CACHE_ROOT", "ZED"], id="before-who-refers-to-it"),
        pytest.param({"VLLM_CACHE_ROOT": "/mine", "ZED": "z"}, ["VLLM_CACHE_ROOT", "ZED"], id="the-users-own"),
    ],
)
def test_the_caches_variable_is_added_to_a_complete_environment(chosen: dict[str, str], order: list[str]) -> None:
    env = [{"name": name, "value": value} for name, value in chosen.items()]
    main = {"command": ["python3", "-m", "dynamo.vllm"], "env": env}
    found = env_of(
        main_container(a_graph(a_component(main=main, compilationCache={"pvcName": "c", "mountPath": "/c"})))
    )
    assert [name for name in found if name in order] == order
    assert found["VLLM_CACHE_ROOT"] == chosen.get("VLLM_CACHE_ROOT", "/c")


def _front(**fields: object) -> dict[str, Any]:
    component = a_component(frontendSidecar="front")
    component["podTemplate"]["spec"]["containers"].append({"name": "front", "image": "front:1.5.0", **fields})
    front: dict[str, Any] = pod_spec(a_graph(component))["containers"][1]
    return front


def test_a_probe_of_a_frontend_sidecar_is_laid_over_the_default() -> None:
    probe = {"httpGet": {"path": "/ready"}, "periodSeconds": 5}
    front = _front(readinessProbe=probe)
    assert front["readinessProbe"] == {
        "httpGet": {"path": "/ready", "port": "http"},
        "initialDelaySeconds": 10,
        "periodSeconds": 5,
        "timeoutSeconds": 3,
        "failureThreshold": 3,
    }
    assert front["livenessProbe"]["httpGet"] == {"path": "/live", "port": "http"}
    assert _front(readinessProbe={})["readinessProbe"] == _front()["readinessProbe"]


def test_a_probe_of_a_frontend_sidecar_has_one_handler_and_its_own_port() -> None:
    handler = {"exec": {"command": ["true"]}}
    assert _front(readinessProbe=handler)["readinessProbe"] == {
        **handler,
        "initialDelaySeconds": 10,
        "periodSeconds": 10,
        "timeoutSeconds": 3,
        "failureThreshold": 3,
    }
    assert _front(livenessProbe={"httpGet": {"port": 1234}})["livenessProbe"]["httpGet"]["port"] == 1234


def test_a_frontend_sidecar_that_does_not_exist_is_refused() -> None:
    with pytest.raises(RenderError, match="frontendSidecar is 'gone'"):
        pod_spec(a_graph(a_component(frontendSidecar="gone")))


def test_a_frontend_beside_an_engine_has_the_runtimes_defaults() -> None:
    component = a_component(frontendSidecar="front", main={"image": "engine:1.6.0"})
    component["podTemplate"]["spec"]["containers"].append({"name": "front", "image": "front:1.6.0"})
    front = pod_spec(a_graph(component))["containers"][1]
    assert env_of(front)["DYN_NAMESPACE_PREFIX_STRICT"] == "true"
    assert "startupProbe" in front


def test_a_grace_period_of_zero_is_kept() -> None:
    assert (
        pod_spec(a_graph(a_component(pod={"terminationGracePeriodSeconds": 0})))["terminationGracePeriodSeconds"] == 0
    )


def test_a_legacy_deployment_configuration_is_only_passed_on() -> None:
    text = '{"Worker": {"ServiceArgs": {"resources": {"gpu": "1"}}}}'
    container = main_container(a_graph(a_component(main={"env": [{"name": "DYN_DEPLOYMENT_CONFIG", "value": text}]})))
    assert env_of(container)["DYN_DEPLOYMENT_CONFIG"] == text
    assert "resources" not in container


def test_container_discovery_names_the_container() -> None:
    graph = a_graph(annotations_={"nvidia.com/dynamo-kube-discovery-mode": "container"})
    env = env_of(main_container(graph))
    assert (env["CONTAINER_NAME"], env["DYN_KUBE_DISCOVERY_MODE"]) == ("main", "container")
