"""The envelope that admission and conversion reviews share. Pure; called by `admission` and `conversion`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dynamo_operator.webhook.errors import MalformedReview


def request_part(review: object, api_version: str, kind: str) -> Mapping[str, Any]:
    """The review's request, which has a uid; raises MalformedReview for anything but a review of this kind."""
    envelope = review if isinstance(review, Mapping) else {}
    found_kind, found_version = envelope.get("kind"), envelope.get("apiVersion")
    if found_kind != kind or found_version != api_version:
        raise MalformedReview(
            f"found kind {found_kind!r:.60} of {found_version!r:.60}; allowed: {kind} of {api_version}"
        )
    request = envelope.get("request")
    if not isinstance(request, Mapping) or not isinstance(request.get("uid"), str):
        raise MalformedReview("request.uid: found nothing; allowed: a request with a uid")
    return request
