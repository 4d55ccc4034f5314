from __future__ import annotations

from dataclasses import replace

import pytest

from dynamo_operator.api import ComponentType
from dynamo_operator.render import RenderContext
from dynamo_operator.render.access import render_shared_access

CONTEXT = RenderContext(namespace="team", planner_cluster_role="scale", epp_cluster_role="pick")


@pytest.mark.parametrize("kind", ["ClusterRole", "Role"])
def test_planners_and_pickers_are_bound_to_the_role_that_was_installed(kind: str) -> None:
    rendered = render_shared_access({ComponentType.PLANNER, ComponentType.EPP}, replace(CONTEXT, shared_role_kind=kind))

    bound = [each["roleRef"] for each in rendered if each["kind"] == "RoleBinding"]
    assert [(each["kind"], each["name"]) for each in bound] == [(kind, "scale"), (kind, "pick")]
