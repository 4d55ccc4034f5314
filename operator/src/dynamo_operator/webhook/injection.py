"""Tells API servers whom to trust: the CA in both webhook configurations and in the CRDs' conversion.

Duty: `ca_operations` says, for a document as it is, which JSON Patch makes it right (none when it is); `inject` carries
that out. A document that carries cert-manager's injector annotation is left to cert-manager. Called by `upkeep`.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from typing import Any

from dynamo_operator.kube import Ref
from dynamo_operator.kube.objects import CRD, MUTATING_WEBHOOK, VALIDATING_WEBHOOK
from dynamo_operator.webhook.configurations import CONVERT_PATH
from dynamo_operator.webhook.ports import Kube
from dynamo_operator.webhook.settings import WebhookSettings

log = logging.getLogger(__name__)

INJECTOR_ANNOTATIONS = ("cert-manager.io/inject-ca-from", "cert-manager.io/inject-ca-from-secret")

Operations = list[dict[str, Any]]


async def inject(kube: Kube, settings: WebhookSettings, trusted: str) -> None:
    """Makes every configuration trust this bundle (PEM); absent ones are skipped. Raises KubeErrors."""
    refs = [
        Ref(VALIDATING_WEBHOOK, "", settings.validating_name),
        Ref(MUTATING_WEBHOOK, "", settings.mutating_name),
        *(Ref(CRD, "", name) for name in settings.crd_names),
    ]
    for ref in refs:
        live = await kube.get(ref)
        if live is None:
            log.warning("nothing to give the webhook's CA to: %s does not exist", ref)
            continue
        operations = ca_operations(live.document, trusted, settings)
        if operations:
            await kube.patch(ref, operations)
            log.info("webhook CA injected", extra={"object": str(ref)})


def ca_operations(document: Mapping[str, Any], trusted: str, settings: WebhookSettings) -> Operations:
    """What to change in a webhook configuration or a CRD so that its calls reach us and trust us."""
    annotations = document["metadata"].get("annotations") or {}
    if any(annotation in annotations for annotation in INJECTOR_ANNOTATIONS):
        return []
    bundle = base64.b64encode(trusted.encode()).decode()
    if "webhooks" in document:
        return _webhook_operations(document["webhooks"], bundle)
    return _conversion_operations(document["spec"].get("conversion") or {}, bundle, settings)


def _webhook_operations(webhooks: list[Mapping[str, Any]], bundle: str) -> Operations:
    operations: Operations = []
    for index, webhook in enumerate(webhooks):
        if webhook["clientConfig"].get("caBundle") != bundle:
            operations += [
                {"op": "test", "path": f"/webhooks/{index}/name", "value": webhook["name"]},
                {"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": bundle},
            ]
    return operations


def _conversion_operations(conversion: Mapping[str, Any], bundle: str, settings: WebhookSettings) -> Operations:
    webhook = conversion.get("webhook") or {}
    client = webhook.get("clientConfig") or {}
    if "url" in client:
        wanted = {"url": client["url"], "caBundle": bundle}
    else:
        service = {**(client.get("service") or {}), "namespace": settings.namespace, "name": settings.service_name}
        wanted = {"service": {**service, "path": CONVERT_PATH}, "caBundle": bundle}
    if conversion.get("strategy") == "Webhook" and client == wanted:
        return []
    versions = webhook.get("conversionReviewVersions") or ["v1"]
    value = {"strategy": "Webhook", "webhook": {"conversionReviewVersions": versions, "clientConfig": wanted}}
    return [{"op": "add", "path": "/spec/conversion", "value": value}]
