"""What an owner no longer wants goes, and pods that still serve go last."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.kube import Live, Ref
from dynamo_operator.kube.objects import CLAIM, COMPONENT_DEPLOYMENT, DEPLOYMENT, SERVICE
from dynamo_operator.plan.intents import Intent
from dynamo_operator.plan.strays import strays
from tests.unit.operator_plane.plan.lives import a_deployment, a_live

OWNER = Ref(COMPONENT_DEPLOYMENT, "ns", "c")


def owned(owner: str = "c", **metadata: Any) -> dict[str, Any]:
    return {"ownerReferences": [{"name": owner, "controller": True}], **metadata}


def wanted(replicas: int = 2) -> Intent:
    return Intent(Ref(DEPLOYMENT, "ns", "d"), {"spec": {"replicas": replicas}}, OWNER)


def left(present: Live | None, stray: Live) -> bool:
    children = {live.ref: live for live in (present, stray) if live}
    return strays([wanted()], children) == ()


UNREADY = a_deployment(2, available=1)
OLD = a_live(name="old", metadata=owned())


@pytest.mark.parametrize(
    ("present", "stray", "is_left"),
    [
        pytest.param(a_deployment(2), OLD, False, id="the-others-serve"),
        pytest.param(UNREADY, OLD, True, id="the-others-do-not-serve-yet"),
        pytest.param(a_deployment(1), OLD, True, id="the-others-are-too-few"),
        pytest.param(None, OLD, True, id="the-others-are-not-there"),
        pytest.param(UNREADY, a_live(SERVICE, "old", metadata=owned()), False, id="no-pods"),
        pytest.param(UNREADY, a_live(name="old", metadata=owned("x")), False, id="of-another-owner"),
        pytest.param(
            a_deployment(2), a_live(name="old", metadata=owned(deletionTimestamp="t")), True, id="is-going-already"
        ),
        pytest.param(a_deployment(2), a_live(CLAIM, "old", metadata=owned()), True, id="kept-for-its-data"),
    ],
)
def test_what_nobody_wants_goes_once_nothing_depends_on_it(present: Live | None, stray: Live, is_left: bool) -> None:
    assert left(present, stray) == is_left
