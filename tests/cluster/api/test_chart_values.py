"""Every value of the chart does something, and upstream's names for values do the same or say what to do instead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from dynamo_operator.handlers.settings import parse_settings
from tests.cluster.chart import CHART, Chart, built_chart
from tests.cluster.commands import wait_until
from tests.cluster.errors import ClusterError
from tests.cluster.local.api_only import ApiCluster

OP = "dynamo-operator"
NATS = ("global.nats.install=true",)
STORED = (*NATS, "nats.storage.size=1Gi")
RESTRICTED = (f"{OP}.namespaceRestriction.enabled=true",)
MONITORS = (f"{OP}.dynamo.metrics.podMonitors.enabled=true",)
RULES = (f"{OP}.prometheusRules.enabled=true",)
CERT_MANAGER = (f"{OP}.webhook.certManager.enabled=true",)
EXTERNAL = (f"{OP}.webhook.certificateSecret.external=true",)
INGRESS = (f"{OP}.dynamo.ingress.enabled=true", f"{OP}.dynamo.ingress.className=nginx")
ISTIO = (f"{OP}.dynamo.istio.enabled=true", f"{OP}.dynamo.istio.gateway=mesh/gateway")
NEEDS = {
    "nats.storage.storageClassName": STORED,
    "nats": NATS,
    f"{OP}.namespaceRestriction.targetNamespace": RESTRICTED,
    f"{OP}.dynamo.istio.enabled": (f"{OP}.dynamo.istio.gateway=mesh/gateway",),
    f"{OP}.dynamo.istio.gateway": ISTIO,
    f"{OP}.dynamo.ingress.enabled": (f"{OP}.dynamo.ingress.className=nginx",),
    f"{OP}.dynamo.ingress": INGRESS,
    f"{OP}.dynamo.metrics.podMonitors": MONITORS,
    f"{OP}.prometheusRules": RULES,
    f"{OP}.dashboards.labels": (f"{OP}.dashboards.enabled=true",),
    f"{OP}.webhook.caBundle": EXTERNAL,
    f"{OP}.webhook.certManager.issuerRef": CERT_MANAGER,
}
"""What has to be on before a value can show; the first prefix that fits."""
OTHER = {
    "nats.image.pullPolicy": "Always",
    f"{OP}.controllerManager.nodeSelector": "disk: ssd",
    f"{OP}.controllerManager.tolerations": "[{key: gpu, operator: Exists}]",
    f"{OP}.controllerManager.affinity": "{nodeAffinity: {}}",
    f"{OP}.controllerManager.podAnnotations": "{note: x}",
    f"{OP}.controllerManager.manager.image.pullPolicy": "Always",
    f"{OP}.controllerManager.manager.env": "[{name: A, value: b}]",
    f"{OP}.imagePullSecrets": "[{name: pull}]",
    f"{OP}.logging.level": "debug",
    f"{OP}.logging.format": "text",
    f"{OP}.dynamo.metrics.podMonitors.labels": "{team: a}",
    f"{OP}.dynamo.metrics.podMonitors.frontendPath": "/other",
    f"{OP}.namespaceRestriction.targetNamespace": "shop",
    f"{OP}.controllerManager.leaderElection.namespace": "elsewhere",
    f"{OP}.metricsService.port": "8090",
    f"{OP}.webhook.failurePolicy": "Ignore",
    f"{OP}.webhook.certManager.issuerRef": "{name: ours, kind: ClusterIssuer}",
    f"{OP}.prometheusRules.labels": "{team: a}",
    f"{OP}.prometheusRules.enabled": "false",
    f"{OP}.dynamo.metrics.podMonitors.enabled": "false",
}
"""Another value than the default, where its type does not say one."""


def leaves(values: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, dict) and values:
        for key, inner in values.items():
            yield from leaves(inner, f"{path}.{key}" if path else key)
    else:
        yield path, values


DEFAULTS = dict(leaves(yaml.safe_load((CHART / "values.yaml").read_text())))


@pytest.fixture(scope="module")
def chart(api_programs: Path) -> Chart:
    return built_chart(api_programs)


@cache
def rendered(chart: Chart, values: tuple[str, ...]) -> str:
    """Without checksums, which would change with a value that nothing else uses."""
    return re.sub(r"checksum/\w+: \w+", "", yaml.safe_dump_all(chart.template(*values)))


def with_another(path: str, default: Any) -> dict[str, Any]:
    if path in OTHER:
        value = yaml.safe_load(OTHER[path])
    elif default is None or isinstance(default, bool):
        value = not default
    elif isinstance(default, int | float):
        value = default + 1
    else:
        value = _another_text(str(default))
    for key in reversed(path.split(".")):
        value = {key: value}
    return dict(value)


def _another_text(text: str) -> str:
    amount = re.fullmatch(r"(\d+)(\D+)", text)
    return f"{int(amount[1]) + 1}{amount[2]}" if amount else "1Gi" if text == "" else f"{text}x"


@pytest.mark.parametrize("path", DEFAULTS)
def test_every_value_changes_what_is_installed(chart: Chart, tmp_path: Path, path: str) -> None:
    needs = next((values for prefix, values in NEEDS.items() if path.startswith(prefix)), ())
    others = [each for each in needs if not each.startswith(f"{path}=")]
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(with_another(path, DEFAULTS[path])))

    changed = chart.run(
        "template", chart.release, str(CHART), f"--namespace={chart.namespace}", "--kube-version=1.34.4",
        f"--values={file}", *(f"--set={each}" for each in others),
    )  # fmt: skip

    assert changed.returncode == 0, changed.stderr
    documents = [each for each in yaml.safe_load_all(changed.stdout) if each]
    assert re.sub(r"checksum/\w+: \w+", "", yaml.safe_dump_all(documents)) != rendered(chart, needs)


def test_every_value_is_described() -> None:
    """A comment stands above it, or above a group that it is in."""
    bare, groups, is_commented = [], dict[int, bool](), False
    for line in (CHART / "values.yaml").read_text().splitlines():
        text, depth = line.strip(), len(line) - len(line.lstrip())
        if text.startswith("#"):
            is_commented = True
        elif text:
            groups = {at: told for at, told in groups.items() if at < depth}
            if not (is_commented or any(groups.values()) or text.endswith(":")):
                bare.append(text)
            groups[depth], is_commented = is_commented, False

    assert bare == []


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("global.etcd.install=true", "global.etcd.install: this chart does not install it; discovery needs none"),
        ("global.grove.install=true", "the operator finds it once it is there"),
        ("global.kai-scheduler.install=true", "then set dynamo-operator.orchestrators.kaiScheduler"),
        ("global.snapshot.install=true", "checkpoints are not implemented"),
        ("etcd.enabled=true", "etcd.enabled: this chart does not install it"),
        ("nats.enabled=true", "nats.enabled: set global.nats.install"),
        (f"{OP}.gpuDiscovery.enabled=true", f"{OP}.gpuDiscovery.enabled: found true; only DynamoGraph"),
        (f"{OP}.checkpoint.enabled=true", "checkpoints are not implemented; leave it out"),
        (f"{OP}.webhook.podCheckpointRestoreFailurePolicy=Fail", "found Fail; checkpoints are not implemented"),
        (f"{OP}.dynamo.dockerRegistry.server=example.org", "found example.org; graphs name their images"),
        (f"{OP}.dynamo.serviceMesh.provider=istio", "set dynamo-operator.dynamo.istio.enabled"),
        (f"{OP}.dynamo.mpiRun.secretName=keys", "found keys; the key pair is made in each namespace"),
        (f"{OP}.webhook.port=8080", "found 8080 and 8080; allowed: two different ones"),
        (f"{OP}.metricsService.port=8081", "and not 8081"),
        (f"{OP}.dynamo.ingress.enabled=true", f"{OP}.dynamo.ingress.className: found nothing"),
        (f"{OP}.dynamo.istio.enabled=true", f"{OP}.dynamo.istio.gateway: found nothing"),
    ],
)
def test_what_means_nothing_here_is_refused_with_what_to_do(chart: Chart, value: str, complaint: str) -> None:
    with pytest.raises(ValueError, match="execution error") as refused:
        chart.template(value)

    assert complaint in str(refused.value)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(
            (f"{OP}.controllerManager.replicas=2", f"{OP}.controllerManager.leaderElection.enabled=false"),
            id="two-leaders",
        ),
        pytest.param((*CERT_MANAGER, *EXTERNAL), id="two-makers-of-the-certificate"),
    ],
)
def test_values_that_exclude_each_other_are_refused(chart: Chart, values: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=f"execution error.*{OP}"):
        chart.template(*values)


@pytest.mark.parametrize(
    "value",
    [
        "global.etcd.install=false",
        "global.grove.enabled=false",
        "etcd.enabled=false",
        f"{OP}.gpuDiscovery.enabled=false",
        f"{OP}.checkpoint.enabled=false",
        f"{OP}.dynamo.mpiRun.secretName=mpi-run-ssh-secret",
    ],
)
def test_what_upstreams_values_switch_off_is_passed_over(chart: Chart, value: str) -> None:
    assert rendered(chart, (value,)) == rendered(chart, ())


@pytest.mark.parametrize(
    ("upstream", "own"),
    [
        ("grove", "grove"),
        ("kai-scheduler", "kaiScheduler"),
        ("volcano-scheduler", "volcanoScheduler"),
    ],
)
def test_upstreams_names_of_orchestrators_are_taken_over(chart: Chart, upstream: str, own: str) -> None:
    theirs, ours = f"global.{upstream}.enabled=true", f"{OP}.orchestrators.{own}=true"

    assert rendered(chart, (theirs,)) == rendered(chart, (ours,)) != rendered(chart, ())
    (written,) = [each for each in chart.template(theirs) if each["metadata"]["name"] == "dynamo-operator-config"]
    orchestrators = parse_settings(yaml.safe_load(written["data"]["config.yaml"])).orchestrators
    assert [each.enabled for each in (orchestrators.grove, orchestrators.kai_scheduler, orchestrators.volcano_scheduler)
            ].count(True) == 1  # fmt: skip
    assert rendered(chart, (theirs, ours.replace("true", "false"))) == rendered(chart, (ours.replace("true", "false"),))


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (f"{OP}.controllerManager.manager.resources.limits.memory=lots", "'lots' does not match"),
        (f"{OP}.controllerManager.manager.resources.limit.memory=1Gi", "'limit' not allowed"),
        (f"{OP}.controllerManager.manager.env[0].value=x", "missing property 'name'"),
        (f"{OP}.namespaceRestriction.targetNamespace=Bad_NS", "'Bad_NS' does not match"),
    ],
)
def test_what_a_cluster_would_refuse_later_is_refused_by_name(chart: Chart, value: str, complaint: str) -> None:
    with pytest.raises(ValueError, match="values don't meet") as refused:
        chart.template(value)

    assert complaint in str(refused.value)
    assert "/".join(value.partition("=")[0].split(".")[:2]) in str(refused.value)


def test_who_may_view_or_edit_a_namespace_may_do_so_with_graphs(chart: Chart, api_cluster: ApiCluster) -> None:
    """Kubernetes' own controller adds the rules to its roles `view` and `edit`."""
    roles = [each for each in chart.template() if each["metadata"]["name"] in {"dynamo-view", "dynamo-edit"}]
    people = {name: f"somebody-who-may-{name}" for name in ("view", "edit")}
    bindings = [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name, "namespace": "default"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": person}],
        }
        for name, person in people.items()
    ]

    def may(person: str, verb: str, resource: str = "dynamographdeployments.nvidia.com") -> bool:
        words = ("auth", "can-i", verb, resource, "-n", "default", f"--as={person}")
        try:
            return api_cluster.kubectl(*words).strip() == "yes"
        except ClusterError:  # so kubectl tells of "no"
            return False

    try:
        api_cluster.apply(*bindings)
        assert not may(people["view"], "get")
        api_cluster.apply(*roles)
        wait_until(lambda: may(people["edit"], "create"), "the rules are added to Kubernetes' roles", deadline_s=30)

        assert [may(people["view"], verb) for verb in ("get", "list", "create", "delete")] == [True, True, False, False]
        scale = "dynamographdeploymentscalingadapters.nvidia.com/scale"
        assert may(people["edit"], "patch", scale)
        assert not may(people["view"], "patch", scale)
        assert not may(people["edit"], "create", "dynamoworkermetadatas.nvidia.com"), "workers write these"
    finally:
        api_cluster.kubectl("delete", "rolebinding", *people, "-n", "default", "--ignore-not-found")
        api_cluster.kubectl("delete", "clusterrole", "dynamo-view", "dynamo-edit", "--ignore-not-found")
