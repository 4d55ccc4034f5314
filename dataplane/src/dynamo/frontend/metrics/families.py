"""Metric families from label values and numbers: the little that every exposition here needs of prometheus_client."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from dynamo.frontend.metrics.histogram import Histogram

Labelled = tuple[Sequence[str], float]
"""Label values and the number."""


def counter(name: str, text: str, labels: Sequence[str], found: Iterable[Labelled]) -> Metric:
    """`name` without `_total`, which the text form adds."""
    family = CounterMetricFamily(name, text, labels=labels)
    for values, number in found:
        family.add_metric(values, number)
    return family


def gauge(name: str, text: str, labels: Sequence[str], found: Iterable[Labelled]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, number in found:
        family.add_metric(values, number)
    return family


def histogram(name: str, text: str, labels: Sequence[str], found: Iterable[tuple[Sequence[str], Histogram]]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=labels)
    for values, counted in found:
        family.add_metric(values, counted.cumulative(), counted.total)
    return family
