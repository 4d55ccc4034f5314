from __future__ import annotations

import yaml

from dynamo_operator.install.check import BAD_FIELD, alpha_graph, bad_graph, good_graph
from dynamo_operator.install.definitions import definitions
from dynamo_operator.validate import Context, crd_folder, validate


def test_conversion_goes_to_the_installations_own_service() -> None:
    services = [
        each["spec"]["conversion"]["webhook"]["clientConfig"]["service"]
        for each in definitions("platform", "hooks")
        if "conversion" in each["spec"]
    ]

    assert len(services) == 3
    assert all(each == {"namespace": "platform", "name": "hooks", "path": "/convert"} for each in services)


def test_nothing_else_of_a_definition_changes() -> None:
    written = {
        (document := yaml.safe_load(path.read_text()))["metadata"]["name"]: document
        for path in crd_folder().glob("*.yaml")
    }

    for each in definitions("dynamo-system", "dynamo-operator-webhook-service"):
        assert each == written.pop(each["metadata"]["name"])
    assert not written


def test_cert_manager_is_told_where_the_authority_is_only_for_definitions_that_convert() -> None:
    annotated = {
        each["spec"]["names"]["kind"]: each["metadata"]["annotations"].get("cert-manager.io/inject-ca-from")
        for each in definitions("platform", "hooks", "platform/webhook")
    }

    assert annotated == {
        "DynamoGraphDeployment": "platform/webhook",
        "DynamoComponentDeployment": "platform/webhook",
        "DynamoGraphDeploymentScalingAdapter": "platform/webhook",
        "DynamoModel": None,
        "DynamoWorkerMetadata": None,
    }


def test_the_checks_graphs_are_what_they_claim() -> None:
    context = Context(namespace="default")

    assert validate(good_graph(), context) == ()
    assert validate(alpha_graph(), context) == ()
    assert [violation.path for violation in validate(bad_graph(), context)] == [BAD_FIELD]
