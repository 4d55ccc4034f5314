"""The table of webhooks is the chart's too, and its configurations protect only our resources."""

from __future__ import annotations

import re

from dynamo_operator.validate import load_crds
from dynamo_operator.webhook import HOOKS, Reach, Verb, conversion_stanza, webhook_configurations
from tests.cluster.settings import REPOSITORY

CHART = REPOSITORY / "helm/dynamo-platform/templates/webhooks.yaml"


def test_the_chart_sends_to_the_same_paths() -> None:
    assert set(re.findall(r'"path" "([^"]+)"', CHART.read_text())) == {hook.path for hook in HOOKS}


def test_every_hook_is_asked_about_served_versions_of_a_kind_of_ours() -> None:
    served = {crd.plural: {version.partition("/")[2] for version in crd.versions} for crd in load_crds().values()}
    assert all(set(hook.versions) == served[hook.resource] for hook in HOOKS)


def test_a_dead_webhook_can_stop_only_writes_of_our_group() -> None:
    for document in webhook_configurations(Reach()):
        for webhook in document["webhooks"]:
            assert webhook["failurePolicy"] == "Fail"
            assert webhook["sideEffects"] == "None"
            assert [rule["apiGroups"] for rule in webhook["rules"]] == [["nvidia.com"]]
            assert all("/" not in resource for rule in webhook["rules"] for resource in rule["resources"])


def test_each_verb_has_a_configuration_of_its_own() -> None:
    mutating, validating = webhook_configurations(Reach(), "x")
    assert (mutating["metadata"]["name"], validating["metadata"]["name"]) == ("x-mutating", "x-validating")
    for document, verb in ((mutating, Verb.MUTATE), (validating, Verb.VALIDATE)):
        assert [webhook["name"] for webhook in document["webhooks"]] == [h.name for h in HOOKS if h.verb is verb]


def test_the_conversion_of_the_shipped_crds_is_the_tables() -> None:
    stanzas = [crd.document["spec"].get("conversion") for crd in load_crds().values() if len(crd.versions) > 1]
    assert stanzas == [conversion_stanza(Reach())] * 3
