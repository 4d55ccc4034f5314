from __future__ import annotations

import pytest

from dynamo_operator.validate import Context, warnings
from tests.unit.operator_plane.validate.manifests import DECODE, a_graph, an_alpha_graph, with_


def test_a_current_manifest_has_no_warnings() -> None:
    assert warnings(a_graph()) == ()


def test_a_deprecated_version_names_its_successor() -> None:
    assert warnings(an_alpha_graph()) == (
        "nvidia.com/v1alpha1 DynamoGraphDeployment is deprecated; use nvidia.com/v1beta1 DynamoGraphDeployment",
    )


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("autoscaling", {"enabled": True}, "deprecated and ignored"),
        ("subComponentType", "prefil", "did you mean prefill?"),
        ("sharedMemory", {"disabled": True, "size": "1Gi"}, "size has no effect"),
    ],
)
def test_a_field_without_effect_is_named(field: str, value: object, words: str) -> None:
    _, line = warnings(with_(an_alpha_graph(), f"{DECODE}.{field}", value))
    assert line.startswith(f"{DECODE}.{field}")
    assert words in line


def test_a_runtime_namespace_of_ones_own_is_shown_with_what_replaces_it() -> None:
    manifest = with_(an_alpha_graph(), f"{DECODE}.dynamoNamespace", "mine")
    assert '"prod-g"' in warnings(manifest, Context(namespace="prod"))[1]
    everywhere = with_(manifest, f"{DECODE}.globalDynamoNamespace", True)
    assert '"dynamo"' in warnings(everywhere)[1]


def test_prefill_alone_is_warned_about() -> None:
    assert "prefill" in warnings(with_(a_graph(), "spec.components[1].type", "prefill"))[0]
