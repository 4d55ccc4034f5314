from __future__ import annotations

import pytest

from dynamo_operator.cli.demo import routing


@pytest.mark.parametrize(
    ("headers", "facts"),
    [
        pytest.param(
            {"x-dynamo-worker-name": "shop-worker-0", "x-dynamo-cached-blocks": "12/40"},
            ["served by worker-0", "12 of 40 blocks were cached"],
            id="explained",
        ),
        pytest.param({"x-dynamo-worker-name": "other"}, ["served by other"], id="a-worker-of-another-graph"),
        pytest.param({}, [], id="a-frontend-that-does-not-explain"),
    ],
)
def test_routing_is_told_from_the_answers_headers(headers: dict[str, str], facts: list[str]) -> None:
    assert routing(headers, {"shop-worker-0": "worker-0"}) == facts
