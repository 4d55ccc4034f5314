"""What can go wrong in the webhook server.

WebhookError
  MalformedReview      the body is no review that this server answers  -> HTTP 400
  BadCertificates      certificates or a key cannot be used; the server goes on with those it has
"""

from __future__ import annotations


class WebhookError(Exception):
    """The message is one line for the reader of an answer or a log."""


class MalformedReview(WebhookError):
    """Names the field, what was found and what is allowed."""


class BadCertificates(WebhookError):
    """Says which file or Secret key and why."""
