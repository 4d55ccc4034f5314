"""Rules of resource amounts, where v1alpha1 writes them in two places."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.validate import validate
from tests.unit.operator_plane.validate.cases import Row, alpha, assert_only_violation, wrong
from tests.unit.operator_plane.validate.manifests import DECODE, with_

OWN = f"{DECODE}.extraPodSpec.mainContainer.resources"


def both(dedicated: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """A service with amounts of its own, and with those of its main container."""
    return with_(alpha(f"{DECODE}.resources", dedicated), OWN, own)


@pytest.mark.parametrize(
    "row",
    [
        wrong(
            "alpha-request-over-limit",
            alpha(f"{DECODE}.resources", {"limits": {"cpu": "1"}, "requests": {"cpu": "1500m"}}),
            f"{DECODE}.resources.requests.cpu",
            '"1500m"',
            "at most 1",
        ),
        wrong(
            "alpha-gpu-fraction",
            alpha(f"{DECODE}.resources", {"limits": {"gpu": "0.5"}}),
            f"{DECODE}.resources.limits.gpu",
            '"0.5"',
            "a whole number",
        ),
        wrong(
            "alpha-quantity",
            alpha(f"{DECODE}.resources", {"limits": {"memory": "4GB"}}),
            f"{DECODE}.resources.limits.memory",
            '"4GB"',
            "a quantity",
        ),
        wrong(
            "claim-without-a-name",
            alpha(f"{DECODE}.resources", {"claims": [{"name": ""}]}),
            f"{DECODE}.resources.claims[0].name",
            '""',
            "none: the pod has no resourceClaims",
        ),
        wrong(
            "request-over-the-containers-limit",
            both({"requests": {"cpu": "2"}}, {"limits": {"cpu": "1"}}),
            f"{DECODE}.resources.requests.cpu",
            '"2"',
            "at most 1",
        ),
        wrong(
            "containers-request-over-the-limit",
            both({"limits": {"memory": "1Gi"}}, {"requests": {"memory": "2Gi"}}),
            f"{OWN}.requests[memory]",
            '"2Gi"',
            "at most 1Gi",
        ),
        wrong(
            "containers-devices-other-than-the-limit",
            both({"limits": {"gpu": "1"}}, {"requests": {"nvidia.com/gpu": "2"}}),
            f"{OWN}.requests[nvidia.com/gpu]",
            '"2"',
            "at most 1",
        ),
    ],
)
def test_one_wrong_amount_gives_one_violation(row: Row) -> None:
    assert_only_violation(*row)


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param(both({"limits": {"gpu": "1"}}, {"requests": {"nvidia.com/gpu": "1"}}), id="devices-in-two-places"),
        pytest.param(both({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}, {"limits": {"cpu": "3"}}), id="overlaid"),
    ],
)
def test_amounts_are_judged_together(manifest: dict[str, Any]) -> None:
    assert [str(each) for each in validate(manifest)] == []


def test_amounts_of_a_service_without_a_container_are_judged_too() -> None:
    bare = {"componentType": "worker", "resources": {"limits": {"cpu": "-1"}}}
    assert {each.path for each in validate(alpha(DECODE, bare))} == {
        f"{DECODE}.extraPodSpec.mainContainer.image",
        f"{DECODE}.resources.limits.cpu",
    }
