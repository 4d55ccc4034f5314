"""The chart: what it renders is accepted by an API server, grants no more than needed, and refuses wrong values."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from dynamo_operator.handlers.settings import parse_settings
from dynamo_operator.render.access import DISCOVERY_RULES
from dynamo_operator.webhook.configurations import Reach, webhook_configurations
from tests.cluster.chart import CHART, MONITORING, Chart, built_chart, pairs, rules_of
from tests.cluster.errors import ClusterError
from tests.cluster.local.api_only import ApiCluster
from tests.cluster.settings import Settings

OP = "dynamo-operator"
NAMESPACE_ONLY = (
    f"{OP}.namespaceRestriction.enabled=true",
    f"{OP}.webhook.enabled=false",
    f"{OP}.upgradeCRD=false",
)
VARIANTS = [
    pytest.param((), id="defaults"),
    pytest.param(("global.nats.install=true", "nats.storage.size=1Gi"), id="nats"),
    pytest.param((f"{OP}.networkPolicies.enabled=true", "global.nats.install=true"), id="network-policies"),
    pytest.param((f"{OP}.namespaceRestriction.enabled=true",), id="restricted"),
    pytest.param(NAMESPACE_ONLY, id="namespace-only"),
    pytest.param((f"{OP}.controllerManager.replicas=2", f"{OP}.dashboards.enabled=true"), id="two-replicas"),
    pytest.param((f"{OP}.webhook.certificateSecret.external=true", f"{OP}.webhook.caBundle=PEM"), id="own-certificate"),
]


@pytest.fixture(scope="module")
def chart(cluster_settings: Settings, api_cluster: ApiCluster) -> Chart:
    return built_chart(cluster_settings.cache)


@pytest.fixture
def chart_namespace(api_cluster: ApiCluster, chart: Chart) -> str:
    """The release's namespace, under the restricted Pod Security Standard."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": chart.namespace, "labels": labels}}
    api_cluster.apply(document)
    return chart.namespace


@pytest.mark.parametrize("values", VARIANTS)
def test_an_api_server_takes_all_of_it(
    api_cluster: ApiCluster, chart: Chart, chart_namespace: str, values: tuple[str, ...]
) -> None:
    documents = chart.template(*values)
    # A pod's account must exist even for a dry run.
    api_cluster.apply(*(each for each in documents if each["kind"] == "ServiceAccount"))

    text = yaml.safe_dump_all(documents)
    answer = api_cluster.kubectl(
        "apply", "--dry-run=server", "--validate=strict", "-n", chart_namespace, "-f", "-", stdin=text
    )

    assert len(answer.splitlines()) == len(documents)


@pytest.mark.parametrize("values", VARIANTS)
def test_every_pod_passes_the_restricted_standard(
    api_cluster: ApiCluster, chart: Chart, chart_namespace: str, values: tuple[str, ...]
) -> None:
    for each in chart.template(*values):
        template = each if each["kind"] == "Pod" else each.get("spec", {}).get("template")
        if template is None:
            continue
        spec = {**template["spec"], "serviceAccountName": "default"}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "checked"}, "spec": spec}
        claims = each["spec"].get("volumeClaimTemplates") or ()
        pod["spec"].setdefault("volumes", []).extend({"name": c["metadata"]["name"], "emptyDir": {}} for c in claims)
        api_cluster.kubectl("create", "--dry-run=server", "-n", chart_namespace, "-f", "-", stdin=json.dumps(pod))


def test_a_pod_that_may_be_root_would_be_refused(api_cluster: ApiCluster, chart_namespace: str) -> None:
    spec = {"serviceAccountName": "default", "containers": [{"name": "c", "image": "i"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "checked"}, "spec": spec}

    with pytest.raises(ClusterError, match="violates PodSecurity"):
        api_cluster.kubectl("create", "--dry-run=server", "-n", chart_namespace, "-f", "-", stdin=json.dumps(pod))


def test_lint_finds_nothing(chart: Chart) -> None:
    done = chart.run("lint", str(CHART), "--strict", "--kube-version=1.34.4")

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        pytest.param(f"{OP}.webhook.failurePolicy=Maybe", "'/dynamo-operator/webhook/failurePolicy'", id="enum"),
        pytest.param(f"{OP}.replicas=3", "additional properties 'replicas' not allowed", id="unknown"),
        pytest.param(
            f"{OP}.controllerManager.replicas=many", "'/dynamo-operator/controllerManager/replicas'", id="type"
        ),
        pytest.param(f"{OP}.namespaceRestriction.lease.duration=30", "lease/duration'", id="duration-without-unit"),
    ],
)
def test_a_wrong_value_is_refused_by_name(chart: Chart, value: str, complaint: str) -> None:
    with pytest.raises(ValueError, match="values don't meet") as refused:
        chart.template(value)

    assert complaint in str(refused.value)


def test_every_default_is_known_to_the_schema_and_the_other_way_round() -> None:
    def defaults(values: Any, path: str = "") -> set[str]:
        if not isinstance(values, dict) or not values:
            return {path}
        return set().union(*(defaults(inner, f"{path}.{key}") for key, inner in values.items()))

    def described(schema: Any, path: str = "") -> set[str]:
        if not schema.get("properties"):
            return {path}
        own = {key: inner for key, inner in schema["properties"].items() if "$comment" not in inner}  # else upstream's
        return set().union(*(described(inner, f"{path}.{key}") for key, inner in own.items()))

    values = defaults(yaml.safe_load((CHART / "values.yaml").read_text()))
    schema = described(json.loads((CHART / "values.schema.json").read_text()))
    free = {path for path in schema if any(value.startswith(f"{path}.") for value in values)}
    optional = {f".dynamo-operator.webhook.certManager.issuerRef.{key}" for key in ("name", "kind", "group")}

    assert {value for value in values if not any(value.startswith(f"{path}.") for path in free)} - schema == {
        ".dynamo-operator.webhook.certManager.issuerRef"
    }
    assert schema - values - free == optional


def test_a_namespace_only_install_has_nothing_cluster_wide(chart: Chart) -> None:
    documents = chart.template(*NAMESPACE_ONLY)

    assert {each["metadata"].get("namespace") for each in documents} == {chart.namespace}
    assert not [each for each in documents if each["kind"].startswith("Cluster") or "Webhook" in each["kind"]]


def test_the_log_of_a_test_outlives_it_and_its_rights_do_not(chart: Chart) -> None:
    """`helm test --logs` reads the pod's log after the hooks of success have been deleted."""
    metadata = [each["metadata"] | {"kind": each["kind"]} for each in chart.template()]
    policies = {
        each["kind"]: each["annotations"]["helm.sh/hook-delete-policy"].split(",")
        for each in metadata
        if (each.get("annotations") or {}).get("helm.sh/hook") == "test"
    }

    assert policies.pop("Pod") == ["before-hook-creation"]
    assert policies.keys() == {"ServiceAccount", "Role", "RoleBinding"}
    assert all(each == ["before-hook-creation", "hook-succeeded"] for each in policies.values())


def test_monitors_come_where_the_cluster_knows_them_or_when_asked(chart: Chart) -> None:
    def kinds(*values: str) -> set[str]:
        return {each["kind"] for each in chart.template(*values)} & set(MONITORING)

    assert kinds() == set()
    on = (f"{OP}.dynamo.metrics.podMonitors.enabled=true", f"{OP}.prometheusRules.enabled=true")
    assert kinds(*on) == set(MONITORING)


def test_the_operator_grants_only_what_it_holds(chart: Chart) -> None:
    held = pairs(rules_of(chart.template(), "ClusterRole", "dynamo-operator"))
    discovery = pairs([{key: list(value) for key, value in rule.items()} for rule in DISCOVERY_RULES])

    assert discovery <= held


def verbs_on_any_secret(documents: list[dict[str, Any]]) -> set[str]:
    rules = rules_of(documents, "ClusterRole", "dynamo-operator")
    return {
        verb
        for each in rules
        if "secrets" in each["resources"]
        if "resourceNames" not in each
        for verb in each["verbs"]
    }


def test_the_operator_holds_little(chart: Chart) -> None:
    documents = chart.template()
    held = pairs(rules_of(documents, "ClusterRole", "dynamo-operator"))

    assert verbs_on_any_secret(documents) == {"create", "list"}
    assert not {pair for pair in held if "*" in pair}
    assert not {verb for _, _, verb in held} & {"escalate", "impersonate", "deletecollection"}
    assert {(resource, verb) for _, resource, verb in held if verb == "bind"} == {("clusterroles", "bind")}
    assert {verb for _, resource, verb in held if resource == "customresourcedefinitions"} == {"get", "patch"}


def test_secrets_are_out_of_reach_without_their_discovery(chart: Chart) -> None:
    documents = chart.template(f"{OP}.imagePullSecretDiscovery.enabled=false")

    assert verbs_on_any_secret(documents) == {"create"}


def test_rights_over_named_objects_name_them(chart: Chart) -> None:
    for each in chart.template():
        for rule in each.get("rules", ()):
            if not isinstance(rule, dict) or "resources" not in rule or each["kind"] not in ("Role", "ClusterRole"):
                continue
            resources, verbs = set(rule["resources"]), set(rule["verbs"])
            if resources & {"customresourcedefinitions", "clusterroles", "validatingwebhookconfigurations"}:
                assert rule.get("resourceNames") or verbs == {"create"}, rule


@pytest.mark.parametrize("values", VARIANTS)
def test_the_operator_reads_the_configuration_that_the_chart_writes(chart: Chart, values: tuple[str, ...]) -> None:
    written = next(each for each in chart.template(*values) if each["metadata"]["name"] == "dynamo-operator-config")

    settings = parse_settings(yaml.safe_load(written["data"]["config.yaml"]))

    assert settings.leader_election.enabled
    assert settings.server.webhook.enabled == ("webhook.enabled=false" not in " ".join(values))
    assert settings.namespace.restricted == (chart.namespace if "Restriction.enabled=true" in " ".join(values) else "")


def test_values_reach_the_operator(chart: Chart) -> None:
    documents = chart.template(
        f"{OP}.dynamo.groveTerminationDelay=4h",
        f"{OP}.orchestrators.grove=false",
        f"{OP}.dynamo.ingressHostSuffix=example.org",
        f"{OP}.natsAddr=nats://elsewhere:4222",
        f"{OP}.webhook.certManager.enabled=true",
        f"{OP}.dynamo.metrics.prometheusEndpoint=http://prometheus:9090",
    )
    written = next(each for each in documents if each["metadata"]["name"] == "dynamo-operator-config")

    settings = parse_settings(yaml.safe_load(written["data"]["config.yaml"]))

    assert settings.orchestrators.grove.termination_delay == 4 * 3600
    assert settings.orchestrators.grove.enabled is False
    assert settings.ingress_defaults.host_suffix == "example.org"
    assert settings.service_env == {
        "NATS_SERVER": "nats://elsewhere:4222",
        "PROMETHEUS_ENDPOINT": "http://prometheus:9090",
    }
    assert settings.server.webhook.cert_provision_mode == "manual"


def test_the_chart_installs_the_operators_own_table_of_webhooks(chart: Chart) -> None:
    reach = Reach(chart.namespace, "dynamo-operator-webhook-service")
    documents = {each["kind"]: each for each in chart.template() if "Webhook" in each["kind"]}

    for wanted in webhook_configurations(reach):
        found = documents[wanted["kind"]]
        hooks = [{**each} for each in found["webhooks"]]
        for each in hooks:
            assert each.pop("reinvocationPolicy", "Never") == "Never"
        assert found["metadata"]["name"] == wanted["metadata"]["name"]
        assert sorted(hooks, key=lambda each: each["name"]) == sorted(wanted["webhooks"], key=lambda each: each["name"])
