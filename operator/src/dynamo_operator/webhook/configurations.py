"""Which requests the API server sends here: one table, and the webhook configurations made of it.

Pure. The server makes its routes of `HOOKS`; tests install `webhook_configurations` and compare the chart's with them.
Both versions of a kind are listed, so that a request comes in the version that its author wrote and the answer names
the author's fields.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from dynamo_operator.webhook.admission import Verb

CONVERT_PATH = "/convert"
HEALTH_PATH = "/healthz"
TIMEOUT_S = 10
BOTH_VERSIONS = ("v1alpha1", "v1beta1")


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook: its name, what it is asked about, and its path."""

    name: str
    verb: Verb
    resource: str
    versions: tuple[str, ...]
    path: str


HOOKS = (
    Hook(
        "mdynamographdeployment.kb.io",
        Verb.MUTATE,
        "dynamographdeployments",
        BOTH_VERSIONS,
        "/mutate/nvidia.com/v1beta1/dynamographdeployments",
    ),
    Hook(
        "mdynamocomponentdeployment.kb.io",
        Verb.MUTATE,
        "dynamocomponentdeployments",
        BOTH_VERSIONS,
        "/mutate-nvidia-com-v1beta1-dynamocomponentdeployment",
    ),
    Hook(
        "vdynamographdeployment.kb.io",
        Verb.VALIDATE,
        "dynamographdeployments",
        BOTH_VERSIONS,
        "/validate/nvidia.com/v1beta1/dynamographdeployments",
    ),
    Hook(
        "vdynamocomponentdeployment.kb.io",
        Verb.VALIDATE,
        "dynamocomponentdeployments",
        BOTH_VERSIONS,
        "/validate/nvidia.com/v1beta1/dynamocomponentdeployments",
    ),
    Hook(
        "vdynamomodel.kb.io",
        Verb.VALIDATE,
        "dynamomodels",
        ("v1alpha1",),
        "/validate-nvidia-com-v1alpha1-dynamomodel",
    ),
)

_KINDS = {Verb.MUTATE: "MutatingWebhookConfiguration", Verb.VALIDATE: "ValidatingWebhookConfiguration"}


@dataclass(frozen=True, slots=True)
class Reach:
    """How the API server calls this server: by `url` (tests, an operator outside of the cluster) or a Service."""

    service_namespace: str = "dynamo-system"
    service_name: str = "dynamo-operator-webhook-service"
    url: str = ""
    trusted: str = ""

    def client_config(self, path: str) -> dict[str, Any]:
        if self.url:
            config: dict[str, Any] = {"url": self.url.rstrip("/") + path}
        else:
            config = {"service": {"namespace": self.service_namespace, "name": self.service_name, "path": path}}
        if self.trusted:
            config["caBundle"] = base64.b64encode(self.trusted.encode()).decode()
        return config


def webhook_configurations(reach: Reach, name: str = "dynamo-operator") -> tuple[dict[str, Any], dict[str, Any]]:
    """The mutating and the validating configuration, ready to apply."""
    mutating, validating = (_configuration(verb, reach, name) for verb in (Verb.MUTATE, Verb.VALIDATE))
    return mutating, validating


def conversion_stanza(reach: Reach) -> dict[str, Any]:
    """The `spec.conversion` of a CRD with two versions."""
    webhook = {"conversionReviewVersions": ["v1"], "clientConfig": reach.client_config(CONVERT_PATH)}
    return {"strategy": "Webhook", "webhook": webhook}


def _configuration(verb: Verb, reach: Reach, name: str) -> dict[str, Any]:
    suffix = "mutating" if verb is Verb.MUTATE else "validating"
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": _KINDS[verb],
        "metadata": {"name": f"{name}-{suffix}"},
        "webhooks": [_webhook(hook, reach) for hook in HOOKS if hook.verb is verb],
    }


def _webhook(hook: Hook, reach: Reach) -> dict[str, Any]:
    rule = {
        "apiGroups": ["nvidia.com"],
        "apiVersions": list(hook.versions),
        "resources": [hook.resource],
        "operations": ["CREATE", "UPDATE"],
        "scope": "Namespaced",
    }
    return {
        "name": hook.name,
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "timeoutSeconds": TIMEOUT_S,
        "clientConfig": reach.client_config(hook.path),
        "rules": [rule],
    }
