"""The CA reaches every configuration, comes back when it is removed, and is left to cert-manager where asked."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest

from dynamo_operator.kube import Document
from dynamo_operator.validate import load_crds
from dynamo_operator.webhook import CONVERTED_CRDS, Reach, WebhookSettings, webhook_configurations
from dynamo_operator.webhook.injection import ca_operations, inject
from tests.unit.operator_plane.webhook.factories import MemoryKube, patched

SETTINGS = WebhookSettings("my-system", service_name="hooks")
BUNDLE = base64.b64encode(b"PEM").decode()


def a_configuration() -> Document:
    return copy.deepcopy(webhook_configurations(Reach())[1])


def a_crd(conversion: Any = None) -> Document:
    document: Document = {"metadata": {"name": "x"}, "spec": {}}
    if conversion is not None:
        document["spec"]["conversion"] = conversion
    return document


def injected(document: Document) -> Document:
    return patched(document, ca_operations(document, "PEM", SETTINGS))


def test_every_webhook_of_a_configuration_is_given_the_ca() -> None:
    done = injected(a_configuration())
    assert {webhook["clientConfig"]["caBundle"] for webhook in done["webhooks"]} == {BUNDLE}
    assert ca_operations(done, "PEM", SETTINGS) == []


def test_only_the_webhook_that_lost_the_ca_is_written() -> None:
    done = injected(a_configuration())
    del done["webhooks"][1]["clientConfig"]["caBundle"]
    assert [operation["path"] for operation in ca_operations(done, "PEM", SETTINGS)] == [
        "/webhooks/1/name",
        "/webhooks/1/clientConfig/caBundle",
    ]


@pytest.mark.parametrize(
    "conversion",
    [
        pytest.param(None, id="none-written"),
        pytest.param({"strategy": "None"}, id="switched-off"),
        pytest.param(load_crds()["DynamoGraphDeployment"].document["spec"]["conversion"], id="as-shipped"),
    ],
)
def test_a_crd_is_given_our_service_and_the_ca(conversion: Any) -> None:
    done = injected(a_crd(conversion))
    client = done["spec"]["conversion"]["webhook"]["clientConfig"]
    assert client["service"] == {"namespace": "my-system", "name": "hooks", "path": "/convert"}
    assert client["caBundle"] == BUNDLE
    assert done["spec"]["conversion"]["strategy"] == "Webhook"
    assert ca_operations(done, "PEM", SETTINGS) == []


def test_the_api_servers_default_port_is_no_difference() -> None:
    done = injected(a_crd())
    done["spec"]["conversion"]["webhook"]["clientConfig"]["service"]["port"] = 443
    assert ca_operations(done, "PEM", SETTINGS) == []


def test_a_crd_that_calls_an_address_keeps_it() -> None:
    url = {"strategy": "Webhook", "webhook": {"clientConfig": {"url": "https://x/convert"}}}
    assert injected(a_crd(url))["spec"]["conversion"]["webhook"]["clientConfig"] == {
        "url": "https://x/convert",
        "caBundle": BUNDLE,
    }


@pytest.mark.parametrize("document", [a_configuration(), a_crd()], ids=["configuration", "crd"])
def test_what_cert_manager_injects_is_left_to_it(document: Document) -> None:
    assert ca_operations(document, "PEM", SETTINGS)
    document["metadata"]["annotations"] = {"cert-manager.io/inject-ca-from": "ns/cert"}
    assert ca_operations(document, "PEM", SETTINGS) == []


async def test_a_round_writes_only_what_differs_and_skips_what_is_absent() -> None:
    mutating, validating = webhook_configurations(Reach())
    kube = MemoryKube(**{mutating["metadata"]["name"]: mutating, validating["metadata"]["name"]: validating})
    kube.objects[CONVERTED_CRDS[0]] = a_crd()
    await inject(kube, SETTINGS, "PEM")
    assert kube.writes == 3
    await inject(kube, SETTINGS, "PEM")
    assert kube.writes == 3
    await inject(kube, SETTINGS, "another PEM")
    assert kube.writes == 6
