"""Which engine a component runs."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.render.backend import backend_frameworks
from tests.unit.operator_plane.render.factories import a_clique, a_component, a_graph


def _runs(name: str, type_: str, *words: str) -> dict[str, Any]:
    return a_component(name, type_, main={"command": list(words)})


FRONTEND = _runs("F", "frontend", "python3", "-m", "dynamo.frontend", "--for", "dynamo.trtllm")


@pytest.mark.parametrize(
    ("components", "stated", "expected"),
    [
        pytest.param([FRONTEND], None, {"F": None}, id="a-frontends-flags-say-nothing"),
        pytest.param([FRONTEND, _runs("W", "worker", "x")], "vllm", {"F": "vllm", "W": "vllm"}, id="stated"),
        pytest.param(
            [FRONTEND, _runs("W", "decode", "sh", "-c", "python3 -m dynamo.sglang --x")],
            None,
            {"F": "sglang", "W": "sglang"},
            id="found-in-a-script",
        ),
        pytest.param([_runs("W", "worker", "python3", "-m", "dynamo.mocker")], None, {"W": None}, id="mocker"),
        pytest.param(
            [
                _runs("P", "prefill", "python3", "-m", "dynamo.vllm"),
                _runs("D", "decode", "python3", "-m", "dynamo.sglang"),
                FRONTEND,
            ],
            None,
            {"P": "vllm", "D": "sglang", "F": "vllm"},
            id="each-worker-its-own",
        ),
        pytest.param(
            [_runs("W", "worker", "sh", "-c", "python3 -m dynamo.vllm & python3 -m dynamo.sglang")],
            "sglang",
            {"W": "sglang"},
            id="stated-where-a-command-starts-two",
        ),
    ],
)
def test_the_engine_is_stated_or_found(
    components: list[dict[str, Any]], stated: str | None, expected: dict[str, str | None]
) -> None:
    spec = {"backendFramework": stated} if stated else {}
    assert backend_frameworks(a_graph(*components, **spec)) == expected


def test_on_grove_a_command_of_nobody_known_runs_as_written() -> None:
    """Where a component has its own document, that names the engine of the whole graph; a clique has none."""
    several: dict[str, Any] = {"multinode": {"nodeCount": 2}}
    graph = a_graph(
        _runs("Known", "worker", "python3", "-m", "dynamo.sglang"), {**_runs("Own", "worker", "run"), **several}
    )
    leader, worker = (a_clique(graph, each)["spec"]["podSpec"]["containers"][0] for each in (1, 2))
    assert (leader["command"], worker["command"]) == (["run"], ["run"])
    assert "livenessProbe" in worker
    stated = a_graph({**_runs("Own", "worker", "run"), **several}, backendFramework="sglang")
    assert "livenessProbe" not in a_clique(stated, 1)["spec"]["podSpec"]["containers"][0]
