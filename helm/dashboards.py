"""Writes the chart's Grafana dashboards from the tables below: `python helm/dashboards.py`.

Duty: one place that says what is shown, in a form that a review can read; the JSON beside the chart is made from it, a
test compares the two, and asks the running processes whether every metric named here exists. Callers: people, tests.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "dynamo-platform" / "files" / "dashboards"
PANEL_WIDTH, PANEL_HEIGHT, PANELS_PER_ROW = 8, 8, 3
GRAPH = 'dynamo_namespace=~"$graph"'


@dataclass(frozen=True, slots=True)
class Panel:
    """One time series panel. `queries`: legend -> PromQL; `unit` is Grafana's."""

    title: str
    queries: dict[str, str]
    unit: str = "short"


def per_second(counter: str, by: str, where: str = GRAPH) -> str:
    return f"sum by ({by}) (rate({counter}{{{where}}}[$__rate_interval]))"


def quantile(of: float, histogram: str, by: str, where: str = GRAPH) -> str:
    buckets = f"sum by (le, {by}) (rate({histogram}_bucket{{{where}}}[$__rate_interval]))"
    return f"histogram_quantile({of}, {buckets})"


def mean(histogram: str, by: str, where: str = GRAPH) -> str:
    return f"{per_second(f'{histogram}_sum', by, where)} / {per_second(f'{histogram}_count', by, where)}"


def total(gauge: str, by: str, where: str = GRAPH) -> str:
    return f"sum by ({by}) ({gauge}{{{where}}})"


def latencies(title: str, histogram: str) -> Panel:
    quantiles = {f"p{round(of * 100)} {{{{model}}}}": quantile(of, histogram, "model") for of in (0.5, 0.95, 0.99)}
    return Panel(title, quantiles, "s")


GRAPHS = {
    "Requests": (
        Panel(
            "Requests started", {"{{model}}": per_second("dynamo_frontend_requests_started_total", "model")}, "reqps"
        ),
        Panel(
            "Requests ended, by outcome",
            {"{{status}} {{error_type}}": per_second("dynamo_frontend_requests_total", "status, error_type")},
            "reqps",
        ),
        Panel(
            "In flight and waiting",
            {
                "in flight {{model}}": total("dynamo_frontend_inflight_requests", "model"),
                "waiting {{model}}": total("dynamo_frontend_queued_requests", "model"),
            },
        ),
    ),
    "Latency": (
        latencies("Time to first token", "dynamo_frontend_time_to_first_token_seconds"),
        latencies("Time between tokens", "dynamo_frontend_inter_token_latency_seconds"),
        latencies("Request duration", "dynamo_frontend_request_duration_seconds"),
    ),
    "Tokens": (
        Panel("Output tokens", {"{{model}}": per_second("dynamo_frontend_output_tokens_total", "model")}, "cps"),
        Panel(
            "Tokens per request",
            {
                "input {{model}}": mean("dynamo_frontend_input_sequence_tokens", "model"),
                "output {{model}}": mean("dynamo_frontend_output_sequence_tokens", "model"),
            },
        ),
        Panel(
            "Prefix hit ratio",
            {"hit ratio": mean("dynamo_component_router_kv_hit_rate", "dynamo_namespace", "")},
            "percentunit",
        ),
    ),
    "Workers": (
        Panel(
            "Running and waiting in engines",
            {
                "running": "sum(vllm:num_requests_running)",
                "waiting": "sum(vllm:num_requests_waiting)",
            },
        ),
        Panel("KV cache used", {"{{pod}}": "max by (pod) (vllm:kv_cache_usage_perc)"}, "percentunit"),
        Panel("Model ready", {"{{model}}": f"max by (model) (dynamo_frontend_model_ready{{{GRAPH}}})"}),
    ),
    "Planner": (
        Panel(
            "Replicas",
            {
                "prefill": total("dynamo_planner_num_prefill_replicas", "dynamo_namespace"),
                "decode": total("dynamo_planner_num_decode_replicas", "dynamo_namespace"),
            },
        ),
        Panel(
            "First token, seen and target",
            {
                "seen": f"max(dynamo_planner_observed_ttft_ms{{{GRAPH}}})",
                "target": f"max(dynamo_planner_sla_target_ttft_ms{{{GRAPH}}})",
            },
            "ms",
        ),
        Panel(
            "Between tokens, seen and target",
            {
                "seen": f"max(dynamo_planner_observed_itl_ms{{{GRAPH}}})",
                "target": f"max(dynamo_planner_sla_target_itl_ms{{{GRAPH}}})",
            },
            "ms",
        ),
    ),
}

OPERATOR = {
    "Graphs": (
        Panel(
            "Resources by state",
            {"{{resource_type}} {{status}}": total("dynamo_operator_resources_total", "resource_type, status", "")},
        ),
        Panel(
            "Passes",
            {
                "{{resource_type}} {{result}}": per_second(
                    "dynamo_operator_reconcile_total", "resource_type, result", ""
                )
            },
            "ops",
        ),
        Panel(
            "Errors",
            {"{{error_type}}": per_second("dynamo_operator_reconcile_errors_total", "error_type", "")},
            "ops",
        ),
    ),
    "Speed": (
        Panel(
            "Duration of a pass",
            {
                "p99 {{resource_type}}": quantile(
                    0.99, "dynamo_operator_reconcile_duration_seconds", "resource_type", ""
                )
            },
            "s",
        ),
        Panel(
            "Duration of an admission",
            {"p99 {{operation}}": quantile(0.99, "dynamo_operator_webhook_duration_seconds", "operation", "")},
            "s",
        ),
        Panel(
            "Admissions",
            {
                "{{operation}} {{result}}": per_second(
                    "dynamo_operator_webhook_requests_total", "operation, result", ""
                ),
                "refused: {{reason}}": per_second("dynamo_operator_webhook_denials_total", "reason", ""),
            },
            "ops",
        ),
    ),
}

DASHBOARDS = {"graphs": ("Dynamo graphs", GRAPHS), "operator": ("Dynamo operator", OPERATOR)}


def dashboard(name: str) -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
    title, rows = DASHBOARDS[name]
    panels: list[dict[str, Any]] = []
    for row, (heading, members) in enumerate(rows.items()):
        top = row * (PANEL_HEIGHT + 1)
        place = {"x": 0, "y": top, "w": PANEL_WIDTH * PANELS_PER_ROW, "h": 1}
        panels.append({"type": "row", "title": heading, "id": len(panels) + 1, "gridPos": place, "panels": []})
        for column, panel in enumerate(members):
            place = {"x": column * PANEL_WIDTH, "y": top + 1, "w": PANEL_WIDTH, "h": PANEL_HEIGHT}
            panels.append(_drawn(panel, len(panels) + 1, place))
    return {
        "uid": f"dynamo-{name}",
        "title": title,
        "tags": ["dynamo"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": _variables(name)},
        "panels": panels,
    }


def _drawn(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "type": "timeseries",
        "title": panel.title,
        "id": number,
        "gridPos": place,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + index), "legendFormat": legend, "expr": query}
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def _variables(name: str) -> list[dict[str, Any]]:
    source = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}
    if name != "graphs":
        return [source]
    query = "label_values(dynamo_frontend_model_ready, dynamo_namespace)"
    graph = {
        "name": "graph",
        "type": "query",
        "label": "Graph",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": query,
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }
    return [source, graph]


def text(name: str) -> str:
    return json.dumps(dashboard(name), indent=1) + "\n"


if __name__ == "__main__":
    for each in DASHBOARDS:
        (FOLDER / f"{each}.json").write_text(text(each))
