from __future__ import annotations

import pytest

from dynamo.planner.errors import ConfigError
from dynamo.planner.settings import read_settings
from dynamo.wire.cards import Role

LAPTOP = {
    "DYN_DISCOVERY_BACKEND": "file",
    "DYN_PLANNER_FRONTEND_URLS": "http://127.0.0.1:8000",
    "DYN_PLANNER_WORKER_URLS": "aggregated=http://127.0.0.1:1,aggregated=http://127.0.0.1:2",
}


def test_on_a_laptop_metrics_come_from_the_processes_that_are_named() -> None:
    settings, _ = read_settings(["--config", "mode: agg"], LAPTOP)

    assert settings.config.environment == "virtual"
    assert [each.name for each in settings.processes.frontends] == ["http://127.0.0.1:8000"]
    assert len(settings.processes.workers[Role.AGGREGATED]) == 2


def test_on_a_cluster_the_graphs_name_is_needed() -> None:
    with pytest.raises(ConfigError, match="DYN_PARENT_DGD_K8S_NAME: not set"):
        read_settings(["--config", "mode: agg"], {"DYN_DISCOVERY_BACKEND": "kubernetes"})


@pytest.mark.parametrize(
    ("variable", "text", "complaint"),
    [
        ("DYN_PLANNER_WORKER_URLS", "prefill=http://127.0.0.1:1", "expected aggregated=http://host:port"),
        ("DYN_PLANNER_WORKER_URLS", "aggregated=127.0.0.1:1", "expected http://host:port"),
        ("DYN_PLANNER_FRONTEND_URLS", "127.0.0.1:8000", "expected http://host:port"),
    ],
)
def test_an_address_that_cannot_be_read_is_named(variable: str, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as refused:
        read_settings(["--config", "mode: agg"], {**LAPTOP, variable: text})

    assert str(refused.value).startswith(f"{variable}: found")
