"""The Helm chart as tests use it: rendered with chosen values by the real helm."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.local.binaries import HELM, ensure

CHART = Path(__file__).resolve().parents[2] / "helm" / "dynamo-platform"
KUBE_VERSION = "1.34.4"
MONITORING = ("PodMonitor", "ServiceMonitor", "PrometheusRule")


@dataclass(frozen=True, slots=True)
class Chart:
    helm: Path
    release: str = "dynamo"
    namespace: str = "dynamo-system"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self.helm, *arguments], capture_output=True, text=True, timeout=60, check=False)

    def template(self, *values: str) -> list[dict[str, Any]]:
        """Every rendered document, hooks included; `values` are given by --set."""
        done = self.run(
            "template",
            self.release,
            str(CHART),
            f"--namespace={self.namespace}",
            f"--kube-version={KUBE_VERSION}",
            *(f"--set={each}" for each in values),
        )
        if done.returncode:
            raise ValueError(done.stderr)
        return [each for each in yaml.safe_load_all(done.stdout) if each]


def built_chart(cache: Path) -> Chart:
    return Chart(ensure(cache, HELM) / "helm")


def rules_of(documents: list[dict[str, Any]], kind: str, name: str) -> list[dict[str, Any]]:
    found = [each for each in documents if each["kind"] == kind and each["metadata"]["name"] == name]
    assert len(found) == 1, f"{kind} {name}: found {len(found)}"
    rules: list[dict[str, Any]] = found[0]["rules"]
    return rules


def pairs(rules: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    """Every (group, resource, verb) that the rules grant."""
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
