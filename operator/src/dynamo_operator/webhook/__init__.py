"""The operator's HTTPS server: admission (validating and mutating) and conversion, and the certificates it runs on.

Duty: judge what API servers send (`admission`, `conversion`: pure, over `validate` and `convert`), and keep the
certificates that they trust. It must not reconcile anything. Callers: the operator's wiring.
"""

from __future__ import annotations

from dynamo_operator.webhook.admission import AdmissionContext, Verb, review_admission
from dynamo_operator.webhook.configurations import HOOKS, Hook, Reach, conversion_stanza, webhook_configurations
from dynamo_operator.webhook.conversion import review_conversion
from dynamo_operator.webhook.ports import Kube, Observer
from dynamo_operator.webhook.server import WebhookServer
from dynamo_operator.webhook.settings import CONVERTED_CRDS, WebhookSettings

__all__ = [
    "CONVERTED_CRDS",
    "HOOKS",
    "AdmissionContext",
    "Hook",
    "Kube",
    "Observer",
    "Reach",
    "Verb",
    "WebhookServer",
    "WebhookSettings",
    "conversion_stanza",
    "review_admission",
    "review_conversion",
    "webhook_configurations",
]
