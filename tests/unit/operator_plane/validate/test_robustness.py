"""Whatever is in a manifest, validation answers and does not break."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo_operator.validate import Context, validate, validate_update, warnings
from tests.unit.operator_plane.validate.manifests import a_component, a_container, a_graph, a_model, an_alpha_graph

RICH = a_graph(
    a_component("Frontend", "frontend", scalingAdapter={}, sharedMemorySize="1Gi"),
    a_component(
        multinode={"nodeCount": 2},
        compilationCache={"pvcName": "c"},
        experimental={"gpuMemoryService": {}, "failover": {}, "checkpoint": {"enabled": False}},
        podTemplate={
            "metadata": {"annotations": {"dynamo.nvidia.com/gpu-power-limit": "300"}},
            "spec": {
                "volumes": [{"name": "v", "emptyDir": {}}],
                "tolerations": [{"operator": "Exists"}],
                "containers": [
                    a_container(
                        env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                        ports=[{"name": "http", "containerPort": 1}],
                        volumeMounts=[{"name": "v", "mountPath": "/v"}],
                        livenessProbe={"httpGet": {"port": "http"}},
                        resources={"limits": {"cpu": "1", "nvidia.com/gpu": 1}, "requests": {"cpu": 1}},
                    )
                ],
            },
        },
    ),
    restart={"id": "1", "strategy": {"order": ["Frontend", "decode"]}},
    topologyConstraint={"clusterTopologyName": "t", "packDomain": "rack"},
    experimental={"kvTransferPolicy": {"labelKey": "a/b", "domain": "rack"}},
)
ALPHA = an_alpha_graph(pvcs=[{"name": "p", "create": True}], envs=[{"name": "A", "value": "b"}])
ALPHA["spec"]["services"]["decode"].update(
    resources={"limits": {"gpu": "1", "custom": {"rdma/ib": "1"}}},
    volumeMounts=[{"name": "p", "mountPoint": "/p"}],
    sharedMemory={"size": "1Gi"},
    ingress={"enabled": True, "host": "h"},
)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a document."""
    found: list[tuple[Any, Any]] = []
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        found += [(value, key), *places(value[key])]
    return found


@settings(max_examples=400, deadline=None)
@given(st.data(), anything)
def test_no_value_anywhere_breaks_validation(data: st.DataObject, value: object) -> None:
    original = data.draw(st.sampled_from([RICH, ALPHA, a_model(modelType="lora", source={"uri": "hf://a"})]))
    changed = copy.deepcopy(original)
    container, key = data.draw(st.sampled_from(places(changed)))
    container[key] = value
    for context in (Context(), Context(has_grove=True, cluster_topologies=(("t", ("zone", "rack")),))):
        for violation in validate(changed, context):
            assert violation.path
            assert "\n" not in str(violation)
        validate_update(original, changed, context)
        validate_update(changed, original, context)
    warnings(changed)


@given(anything)
def test_a_document_of_any_kind_is_answered(value: Any) -> None:
    assert validate(value)
    assert warnings(value) == ()
