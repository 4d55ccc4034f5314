"""Rules of the compilation cache: a valid manifest with one thing wrong gives one violation."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.validate import validate
from tests.unit.operator_plane.validate.cases import Row, alpha, assert_only_violation, beta, wrong
from tests.unit.operator_plane.validate.manifests import (
    DECODE,
    MAIN,
    a_component,
    a_container,
    a_graph,
    with_,
)

WORKER = "spec.components[1]"
CACHED = {"useAsCompilationCache": True}
VLLM = a_component(
    "vllm", podTemplate={"spec": {"containers": [a_container(command=["python3", "-m", "dynamo.vllm"])]}}
)
SCRATCHED = with_(
    with_(a_graph(), f"{MAIN}.volumeMounts", [{"name": "s", "mountPath": "/s"}]),
    f"{WORKER}.podTemplate.spec.volumes",
    [{"name": "s", "emptyDir": {}}],
)


def cached_alpha(first: dict[str, Any], *others: dict[str, Any]) -> dict[str, Any]:
    """A service whose first mount is its compilation cache."""
    return alpha(f"{DECODE}.volumeMounts", [{**first, **CACHED}, *others])


@pytest.mark.parametrize(
    "row",
    [
        wrong(
            "compilation-cache-of-no-known-engine",
            beta(f"{WORKER}.compilationCache", {"pvcName": "c"}),
            f"{WORKER}.compilationCache.mountPath",
            "nothing",
            "an absolute path",
        ),
        wrong(
            "cache-where-another-volume-is",
            with_(SCRATCHED, f"{WORKER}.compilationCache", {"pvcName": "c", "mountPath": "/s"}),
            f"{MAIN}.volumeMounts[0].mountPath",
            '"/s"',
            "another path",
        ),
        wrong(
            "cache-that-is-read-only",
            with_(
                beta(f"{MAIN}.volumeMounts", [{"name": "c", "mountPath": "/c", "readOnly": True}]),
                f"{WORKER}.compilationCache",
                {"pvcName": "c", "mountPath": "/c"},
            ),
            f"{MAIN}.volumeMounts[0].readOnly",
            "true",
            "false",
        ),
        wrong(
            "cache-named-like-another-volume",
            with_(SCRATCHED, f"{WORKER}.compilationCache", {"pvcName": "s", "mountPath": "/c"}),
            f"{WORKER}.podTemplate.spec.volumes[0]",
            "an object",
            "that claim",
        ),
        wrong(
            "second-cache-without-a-path",
            with_(cached_alpha({"name": "a"}, {"name": "b", **CACHED}), "spec.backendFramework", "vllm"),
            f"{DECODE}.volumeMounts[1].mountPoint",
            "nothing",
            "an absolute path",
        ),
        wrong(
            "v1alpha1-cache-of-no-known-engine",
            cached_alpha({"name": "c"}),
            f"{DECODE}.volumeMounts[0].mountPoint",
            "nothing",
            "an absolute path",
        ),
        wrong(
            "v1alpha1-cache-where-another-volume-usually-is",
            with_(
                with_(cached_alpha({"name": "c"}), "spec.backendFramework", "vllm"),
                f"{DECODE}.extraPodSpec.mainContainer.volumeMounts",
                [{"name": "shared-memory", "mountPath": "/root/.cache/vllm"}],
            ),
            f"{DECODE}.extraPodSpec.mainContainer.volumeMounts[0].mountPath",
            '"/root/.cache/vllm"',
            "another path",
        ),
        wrong(
            "v1alpha1-cache-named-like-another-volume",
            with_(
                cached_alpha({"name": "c", "mountPoint": "/c"}),
                f"{DECODE}.extraPodSpec.volumes",
                [{"name": "c", "emptyDir": {}}],
            ),
            f"{DECODE}.extraPodSpec.volumes[0]",
            "an object",
            "that claim",
        ),
        wrong(
            "cache-at-two-paths-in-one",
            beta(f"{WORKER}.compilationCache", {"pvcName": "c", "mountPath": "/a:/b"}),
            f"{WORKER}.compilationCache.mountPath",
            '"/a:/b"',
            'without ":"',
        ),
        wrong(
            "cache-without-default-directory",
            with_(a_graph(backendFramework="sglang"), f"{WORKER}.compilationCache", {"pvcName": "c"}),
            f"{WORKER}.compilationCache.mountPath",
            "nothing",
            "an absolute path",
        ),
    ],
)
def test_one_wrong_thing_gives_one_violation(row: Row) -> None:
    assert_only_violation(*row)


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param(
            with_(cached_alpha({"name": "c"}), "spec.backendFramework", "vllm"),
            id="a-v1alpha1-cache-in-its-place",
        ),
        pytest.param(
            alpha(f"{DECODE}.volumeMounts", [{"name": name, "mountPoint": f"/{name}", **CACHED} for name in "ab"]),
            id="a-second-cache-is-a-mount",
        ),
        pytest.param(
            with_(beta(f"{WORKER}.compilationCache", {"pvcName": "c"}), "spec.backendFramework", "vllm"),
            id="cache-of-the-stated-engine",
        ),
        pytest.param(a_graph(VLLM, a_component(compilationCache={"pvcName": "c"})), id="cache-of-a-neighbours-engine"),
    ],
)
def test_what_upstream_runs_is_accepted(manifest: dict[str, Any]) -> None:
    assert [str(each) for each in validate(manifest)] == []
