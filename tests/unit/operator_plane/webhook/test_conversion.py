"""All objects of a review convert, or the first that cannot is named."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.convert import V1ALPHA1, V1BETA1, to_v1alpha1
from dynamo_operator.webhook import review_conversion
from dynamo_operator.webhook.errors import MalformedReview
from tests.unit.operator_plane.validate.manifests import a_graph, a_standalone
from tests.unit.operator_plane.webhook.factories import a_conversion


def test_every_object_comes_back_in_order_in_the_wanted_version() -> None:
    first, second = a_graph(name="one"), a_standalone()
    conversion = review_conversion(a_conversion(V1ALPHA1, first, second))
    assert conversion.succeeded
    response = conversion.review["response"]
    assert (response["uid"], response["result"]) == ("u-1", {"status": "Success"})
    assert response["convertedObjects"] == [to_v1alpha1(first), to_v1alpha1(second)]


def test_one_failure_fails_the_review_and_names_object_and_field() -> None:
    broken = a_graph(name="bad") | {"spec": {"components": [{"name": 3}]}}
    broken["metadata"]["namespace"] = "team"
    conversion = review_conversion(a_conversion(V1ALPHA1, a_graph(), broken))
    assert not conversion.succeeded
    response = conversion.review["response"]
    assert response["result"]["status"] == "Failed"
    assert "DynamoGraphDeployment team/bad: spec.components[0].name: found 3" in response["result"]["message"]
    assert response["convertedObjects"] == []


@pytest.mark.parametrize("broken", [{}, {"metadata": 1, "kind": "DynamoGraphDeployment", "apiVersion": V1BETA1}])
def test_an_object_without_identity_fails_with_a_message(broken: dict[str, Any]) -> None:
    assert review_conversion(a_conversion(V1ALPHA1, broken)).review["response"]["result"]["status"] == "Failed"


@pytest.mark.parametrize(
    "review",
    [
        pytest.param(None, id="nothing"),
        pytest.param(a_conversion(V1ALPHA1) | {"kind": "AdmissionReview"}, id="another-kind"),
        pytest.param(a_conversion(V1ALPHA1, uid=3), id="no-uid"),
        pytest.param(a_conversion(V1ALPHA1, desiredAPIVersion=None), id="no-version"),
        pytest.param(a_conversion(V1ALPHA1, objects=None), id="no-objects"),
        pytest.param(a_conversion(V1ALPHA1, 3), id="no-object"),
    ],
)
def test_what_is_no_review_is_said_to_be_none(review: Any) -> None:
    with pytest.raises(MalformedReview, match=r"found .*; allowed: "):
        review_conversion(review)
