"""Dashboards and alerts name metrics and labels that the processes really export, and alerts fire when they should."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from dynamo.planner.config import read_config
from dynamo.planner.exposition import Exposition
from dynamo_operator.handlers.metrics import Metrics
from dynamo_operator.handlers.store import LiveStore
from dynamo_operator.kube import Invalid, Ref
from dynamo_operator.kube.objects import GRAPH
from dynamo_operator.kube.packed import pack
from helm import dashboards
from tests.cluster.chart import Chart, built_chart
from tests.cluster.local.binaries import HELM, is_built
from tests.cluster.settings import Settings
from tests.integration.frontend.test_metrics import a_page
from tests.integration.mocker.running import running

RULES = "dynamo-operator.prometheusRules.enabled=true"
# Given to every series by the chart's PodMonitors, from labels of the pods, and by Prometheus itself.
FROM_PODS = {"dynamo_namespace", "dynamo_component_type", "dynamo_graph", "pod"}
_NAME = re.compile(r"(?<![\w:$\"])((?:dynamo|vllm)[_:][a-z0-9_:]+)")
_WORDS = {"dynamo_namespace", "dynamo_component_type", "dynamo_graph"}

Families = dict[str, set[str]]


def families_of(page: str) -> Families:
    """Labels by sample name."""
    found: Families = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def operator_page() -> str:
    metrics, store = Metrics(CollectorRegistry()), LiveStore()
    graph = Ref(GRAPH, "team", "g")
    metadata = {"name": "g", "namespace": "team", "uid": "1", "resourceVersion": "1"}
    store.put(pack({"metadata": metadata, "status": {"state": "failed"}}, GRAPH))
    metrics.watch_store(store, (GRAPH,), lambda: 0)
    metrics.passed(graph, 0.1, None, is_requeued=False)
    metrics.passed(graph, 0.1, Invalid("no"), is_requeued=False)
    metrics.answered("CREATE", "denied", 0.01, denied_fields=("spec.components",))
    return metrics.render().decode()


@pytest.fixture
async def exported() -> Families:
    """What operator, frontend, mocker and planner show on their pages."""
    async with running() as mocker:
        await mocker.chat()
        engine = (await mocker.http.get("/metrics")).text
    config, _ = read_config("mode: agg")
    pages = [await a_page(), engine, operator_page(), Exposition(config.policy()).text().decode()]
    merged: Families = {}
    for page in pages:
        for name, labels in families_of(page).items():
            merged.setdefault(name, set()).update(labels)
    return merged


@pytest.fixture(scope="module")
def rules(cluster_settings: Settings) -> list[dict[str, Any]]:
    if not is_built(cluster_settings.cache, HELM):
        pytest.skip("helm is not built yet (once): make cluster-binaries")
    return alert_rules(built_chart(cluster_settings.cache))


def alert_rules(chart: Chart) -> list[dict[str, Any]]:
    document = next(each for each in chart.template(RULES) if each["kind"] == "PrometheusRule")
    return [rule for group in document["spec"]["groups"] for rule in group["rules"]]


def dashboard_queries() -> Iterator[tuple[str, str]]:
    for name in dashboards.DASHBOARDS:
        for panel in dashboards.dashboard(name)["panels"]:
            for target in panel.get("targets", ()):
                yield f"{name}: {panel['title']}", target["expr"]


def unknown_parts(query: str, exported: Families) -> list[str]:
    names = [name for name in _NAME.findall(query) if name not in _WORDS]
    assert names, query
    unknown = [name for name in names if name not in exported]
    allowed = set().union(*(exported.get(name, set()) for name in names)) | FROM_PODS | {"le"}
    grouped = {word.strip() for group in re.findall(r"by \(([^)]*)\)", query) for word in group.split(",")}
    matched = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", query))
    return unknown + sorted((grouped | matched) - allowed)


async def test_every_panel_shows_something_that_is_exported(exported: Families) -> None:
    wrong = {title: parts for title, query in dashboard_queries() if (parts := unknown_parts(query, exported))}

    assert wrong == {}


async def test_every_alert_is_about_something_that_is_exported(exported: Families, rules: list[dict[str, Any]]) -> None:
    wrong = {rule["alert"]: parts for rule in rules if (parts := unknown_parts(rule["expr"], exported))}

    assert wrong == {}


async def test_a_misspelt_metric_or_label_would_be_found(exported: Families) -> None:
    assert unknown_parts("sum(dynamo_frontend_requests_totl)", exported) == ["dynamo_frontend_requests_totl"]
    assert unknown_parts('sum by (modell) (dynamo_frontend_requests_total{state="x"})', exported) == ["modell", "state"]


@pytest.mark.parametrize("name", dashboards.DASHBOARDS)
def test_the_charts_dashboard_is_the_one_described(name: str) -> None:
    assert (dashboards.FOLDER / f"{name}.json").read_text() == dashboards.text(name)


FIRING: dict[str, dict[str, str]] = {
    "DynamoOperatorFailing": {
        'dynamo_operator_reconcile_errors_total{resource_type="DynamoGraphDeployment", namespace="n"}': ("0+1x40")
    },
    "DynamoGraphFailed": {
        'dynamo_operator_resources_total{resource_type="DynamoGraphDeployment", namespace="n", status="failed"}': "1x40"
    },
    "DynamoGraphNotReady": {
        'dynamo_operator_resources_total{resource_type="DynamoGraphDeployment", namespace="n", status="pending"}': (
            "1x40"
        )
    },
    "DynamoWebhookFailing": {'dynamo_operator_webhook_requests_total{operation="CREATE", result="error"}': "0+1x40"},
    "DynamoModelNotReady": {'dynamo_frontend_model_ready{dynamo_namespace="n", model="m"}': "0x40"},
    "DynamoRequestsFailing": {
        'dynamo_frontend_requests_total{dynamo_namespace="n", model="m", status="error", error_type="internal"}': (
            "0+10x40"
        ),
        'dynamo_frontend_requests_total{dynamo_namespace="n", model="m", status="success", error_type=""}': "0+90x40",
    },
    "DynamoRequestsQueue": {'dynamo_frontend_queued_requests{dynamo_namespace="n", model="m"}': "3x40"},
    "DynamoTimeToFirstTokenHigh": {
        'dynamo_frontend_time_to_first_token_seconds_sum{dynamo_namespace="n", model="m"}': "0+60x40",
        'dynamo_frontend_time_to_first_token_seconds_count{dynamo_namespace="n", model="m"}': "0+6x40",
    },
    "DynamoInterTokenLatencyHigh": {
        'dynamo_frontend_inter_token_latency_seconds_sum{dynamo_namespace="n", model="m"}': "0+6x40",
        'dynamo_frontend_inter_token_latency_seconds_count{dynamo_namespace="n", model="m"}': "0+6x40",
    },
    "DynamoPlannerHolding": {'dynamo_planner_holding{dynamo_namespace="n"}': "1x40"},
}
QUIET: dict[str, dict[str, str]] = {
    "DynamoOperatorFailing": {
        'dynamo_operator_reconcile_errors_total{resource_type="DynamoGraphDeployment", namespace="n"}': ("0+0.1x40")
    },
    "DynamoGraphFailed": {
        'dynamo_operator_resources_total{resource_type="DynamoGraphDeployment", namespace="n", status="failed"}': (
            "1 1 1 0x37"
        )
    },
    "DynamoGraphNotReady": {
        'dynamo_operator_resources_total{resource_type="DynamoGraphDeployment", namespace="n", status="pending"}': (
            "1x20 0x20"
        )
    },
    "DynamoWebhookFailing": {'dynamo_operator_webhook_requests_total{operation="CREATE", result="denied"}': "0+1x40"},
    "DynamoModelNotReady": {
        'dynamo_frontend_model_ready{dynamo_namespace="n", model="m", pod="a"}': "0x40",
        'dynamo_frontend_model_ready{dynamo_namespace="n", model="m", pod="b"}': "1x40",
    },
    "DynamoRequestsFailing": {
        'dynamo_frontend_requests_total{dynamo_namespace="n", model="m", status="error", error_type="validation"}': (
            "0+50x40"
        ),
        'dynamo_frontend_requests_total{dynamo_namespace="n", model="m", status="success", error_type=""}': "0+50x40",
    },
    "DynamoRequestsQueue": {'dynamo_frontend_queued_requests{dynamo_namespace="n", model="m"}': "3x30 0 3x9"},
    "DynamoTimeToFirstTokenHigh": {
        'dynamo_frontend_time_to_first_token_seconds_sum{dynamo_namespace="n", model="m"}': "0+6x40",
        'dynamo_frontend_time_to_first_token_seconds_count{dynamo_namespace="n", model="m"}': "0+6x40",
    },
    "DynamoInterTokenLatencyHigh": {
        'dynamo_frontend_inter_token_latency_seconds_sum{dynamo_namespace="n", model="m"}': "0+6x40",
        'dynamo_frontend_inter_token_latency_seconds_count{dynamo_namespace="n", model="m"}': "0+600x40",
    },
    "DynamoPlannerHolding": {'dynamo_planner_holding{dynamo_namespace="n"}': "1x5 0x35"},
}


def test_every_alert_has_a_case(rules: list[dict[str, Any]]) -> None:
    assert {rule["alert"] for rule in rules} == set(FIRING) == set(QUIET)


@pytest.mark.parametrize("alert", FIRING)
def test_an_alert_fires_when_it_should_and_not_otherwise(
    alert: str, rules: list[dict[str, Any]], tmp_path: Path
) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed: make cluster-packages")
    rule = next(each for each in rules if each["alert"] == alert)
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": [rule]}]}))
    tests = [_case(alert, FIRING[alert], fires=True), _case(alert, QUIET[alert], fires=False)]
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": tests}))

    done = subprocess.run(
        ["promtool", "test", "rules", "tests.yaml"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 0, done.stdout + done.stderr


def _case(alert: str, series: dict[str, str], *, fires: bool) -> dict[str, Any]:
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    query = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})'
    samples = [{"labels": "{}", "value": 1}] if fires else []
    return {
        "interval": "1m",
        "input_series": inputs,
        "promql_expr_test": [{"expr": query, "eval_time": "39m", "exp_samples": samples}],
    }
