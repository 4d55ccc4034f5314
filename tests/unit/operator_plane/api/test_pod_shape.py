"""What rendering reads of a pod has the form that it relies on, or the field is named."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo_operator.api import SpecError, parse_graph
from dynamo_operator.render import RenderError, render
from tests.unit.operator_plane.render.factories import a_component, a_context, a_graph_document

Document = dict[str, Any]

TEMPLATE = "spec.components[0].podTemplate"
MAIN = f"{TEMPLATE}.spec.containers[0]"


@pytest.mark.parametrize(
    ("component", "path"),
    [
        pytest.param({"template": {"metadata": []}}, f"{TEMPLATE}.metadata", id="metadata"),
        pytest.param(
            {"template": {"metadata": {"labels": {"a": 1}}}}, f"{TEMPLATE}.metadata.labels[a]", id="label-no-text"
        ),
        pytest.param({"pod": {"volumes": [{}]}}, f"{TEMPLATE}.spec.volumes[0].name", id="volume-name"),
        pytest.param({"pod": {"tolerations": "all"}}, f"{TEMPLATE}.spec.tolerations", id="tolerations"),
        pytest.param({"pod": {"schedulerName": 1}}, f"{TEMPLATE}.spec.schedulerName", id="scheduler"),
        pytest.param({"main": {"image": []}}, f"{MAIN}.image", id="image"),
        pytest.param({"main": {"command": "run"}}, f"{MAIN}.command", id="command-no-list"),
        pytest.param({"main": {"args": ["a", 1]}}, f"{MAIN}.args[1]", id="word"),
        pytest.param({"main": {"env": [{"name": "A", "value": 1}]}}, f"{MAIN}.env[0].value", id="env-value"),
        pytest.param({"main": {"env": [{"name": "A", "valueFrom": 1}]}}, f"{MAIN}.env[0].valueFrom", id="env-source"),
        pytest.param(
            {"main": {"volumeMounts": [{"name": "a", "mountPath": []}]}}, f"{MAIN}.volumeMounts[0].mountPath", id="path"
        ),
        pytest.param({"main": {"ports": [{"name": "a"}]}}, f"{MAIN}.ports[0].containerPort", id="no-port"),
        pytest.param({"main": {"resources": {"limits": []}}}, f"{MAIN}.resources.limits", id="limits"),
        pytest.param({"main": {"resources": {"claims": [1]}}}, f"{MAIN}.resources.claims[0]", id="claim"),
        pytest.param({"main": {"livenessProbe": "x"}}, f"{MAIN}.livenessProbe", id="probe"),
        pytest.param(
            {"main": {"startupProbe": {"httpGet": {"port": []}}}}, f"{MAIN}.startupProbe.httpGet.port", id="probe-port"
        ),
    ],
)
def test_a_field_of_another_form_is_named(component: Document, path: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_graph(a_graph_document(a_component(**component)))
    assert caught.value.path == path


GROUPS = a_graph_document(
    a_component("Frontend", "frontend", sharedMemorySize="1Gi"),
    *(
        a_component(
            engine,
            main={
                "command": ["sh", "-c"],
                "args": [f"python3 -m dynamo.{engine} --tensor-parallel-size 16"],
                "resources": {"limits": {"nvidia.com/gpu": "8"}, "requests": {"cpu": 1}},
                "env": [{"name": "A", "value": "$(B)"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}],
                "ports": [{"containerPort": 9090}],
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                "livenessProbe": {"httpGet": {"port": "system"}},
            },
            pod={"volumes": [{"name": "v"}], "imagePullSecrets": [{"name": "s"}], "tolerations": [{"key": "k"}]},
            template={"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}},
            multinode={"nodeCount": 2},
            modelRef={"name": "m"},
            experimental={"gpuMemoryService": {}, "failover": {}},
        )
        for engine in ("vllm", "sglang", "trtllm")
    ),
    env=[{"name": "E", "value": "f"}],
    labels={"g": "h"},
)

CONTEXTS = (a_context(has_leader_worker_sets=True), a_context(has_grove=True, gang_scheduler="volcano"))

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(["", "x", "$(A)", "16"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "a"]), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(st.data(), anything)
def test_whatever_stands_in_a_graph_is_rendered_alike_twice_or_refused(data: st.DataObject, value: object) -> None:
    document = copy.deepcopy(GROUPS)
    container, key = data.draw(st.sampled_from(_places(document["spec"])))
    container[key] = value
    before = copy.deepcopy(document)
    for context in CONTEXTS:
        with contextlib.suppress(SpecError, RenderError):
            first = render(parse_graph(document), context)
            assert render(parse_graph(copy.deepcopy(document)), context) == first
    assert document == before


def test_the_graph_that_is_changed_renders_unchanged() -> None:
    assert all(render(parse_graph(GROUPS), context) for context in CONTEXTS)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a document."""
    found: list[tuple[Any, Any]] = []
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        found += [(value, key), *_places(value[key])]
    return found
