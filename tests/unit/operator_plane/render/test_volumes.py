"""Volumes of pods and the mounts of their containers."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.render import RenderError
from tests.unit.operator_plane.render.factories import a_component, a_graph, pod_spec

CACHE = {"pvcName": "kernels", "mountPath": "/cache"}


def _mount(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "mountPath": path}


def _scratch(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "emptyDir": {}} for name in names]


def _mounts(pod: dict[str, Any], container: int = 0) -> list[tuple[str, str]]:
    return [(each["name"], each["mountPath"]) for each in pod["containers"][container].get("volumeMounts", [])]


def test_volumes_stand_as_the_main_container_mounts_them_and_others_follow() -> None:
    mounts = [_mount("b", "/b"), _mount("claim", "/c"), _mount("a", "/a"), _mount("b", "/again")]
    pod = pod_spec(a_graph(a_component(main={"volumeMounts": mounts}, pod={"volumes": _scratch("z", "a", "b")})))
    assert [each["name"] for each in pod["volumes"]] == ["b", "claim", "a", "shared-memory", "z"]


def test_memory_that_the_user_mounts_is_not_mounted_again() -> None:
    memory = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "64Gi"}}
    main = {"volumeMounts": [_mount("shm", "/dev/shm")]}
    pod = pod_spec(a_graph(a_component(main=main, pod={"volumes": [memory]})))
    assert pod["volumes"] == [memory]
    assert _mounts(pod) == [("shm", "/dev/shm")]


def test_a_volume_of_the_users_named_shared_memory_is_the_memory() -> None:
    memory = {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "64Gi"}}
    pod = pod_spec(a_graph(a_component(pod={"volumes": [memory]})))
    assert pod["volumes"] == [memory]
    assert _mounts(pod) == [("shared-memory", "/dev/shm")]


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        pytest.param([], [("kernels", "/cache")], id="not-mounted"),
        pytest.param([_mount("kernels", "/cache")], [("kernels", "/cache")], id="mounted-there"),
        pytest.param(
            [_mount("kernels", "/models")], [("kernels", "/models"), ("kernels", "/cache")], id="mounted-elsewhere"
        ),
    ],
)
def test_a_compilation_cache_is_mounted_once_at_its_path(
    mounts: list[dict[str, Any]], expected: list[tuple[str, str]]
) -> None:
    pod = pod_spec(a_graph(a_component(main={"volumeMounts": mounts}, compilationCache=CACHE)))
    assert _mounts(pod) == [*expected, ("shared-memory", "/dev/shm")]
    assert pod["volumes"][0] == {"name": "kernels", "persistentVolumeClaim": {"claimName": "kernels"}}


def test_a_compilation_cache_has_a_path_of_its_own() -> None:
    main = {"volumeMounts": [_mount("a", "/cache")]}
    with pytest.raises(RenderError, match="Worker: compilationCache has the path /cache, where volume 'a' is mounted"):
        pod_spec(a_graph(a_component(main=main, pod={"volumes": _scratch("a")}, compilationCache=CACHE)))


def test_a_frontend_beside_an_engine_reads_what_the_engine_reads() -> None:
    sidecar = {"name": "front", "image": "f:1.5.0", "volumeMounts": [_mount("a", "/mine")]}
    component = a_component(
        main={"volumeMounts": [_mount("a", "/a"), _mount("b", "/b")]},
        pod={"volumes": _scratch("a", "b")},
        frontendSidecar="front",
        compilationCache=CACHE,
    )
    component["podTemplate"]["spec"]["containers"].append(sidecar)
    assert _mounts(pod_spec(a_graph(component)), 1) == [("a", "/mine"), ("b", "/b"), ("kernels", "/cache")]


def test_volumes_of_a_picker_are_added_to() -> None:
    main = {"volumeMounts": [_mount("a", "/a")]}
    config = {"configMapRef": {"name": "c", "key": "k"}}
    pod = pod_spec(a_graph(a_component("Epp", "epp", main=main, pod={"volumes": _scratch("a")}, eppConfig=config)))
    names = ["a", "epp-config", "hf-cache", "shared-memory"]
    assert [each["name"] for each in pod["volumes"]] == names
    assert [name for name, _ in _mounts(pod)] == names


@pytest.mark.parametrize(("chosen", "key"), [("k", "k"), ("", "epp-config-dynamo.yaml")])
def test_a_pickers_own_config_map_is_mounted_under_the_one_name(chosen: str, key: str) -> None:
    config = {"configMapRef": {"name": "c", "key": chosen}}
    pod = pod_spec(a_graph(a_component("Epp", "epp", eppConfig=config)))
    source = next(each["configMap"] for each in pod["volumes"] if each["name"] == "epp-config")
    assert source == {"name": "c", "items": [{"key": key, "path": "epp-config-dynamo.yaml"}]}
    arguments = pod["containers"][0]["args"]
    assert arguments[arguments.index("--config-file") + 1] == "/etc/epp/epp-config-dynamo.yaml"
