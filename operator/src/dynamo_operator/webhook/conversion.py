"""Conversion reviews: every object of a review in the wanted version, or one failure that says which object and why.

Pure; called by the server's route and by tests. How objects convert is the `convert` package's matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dynamo_operator.convert import ConversionError, convert
from dynamo_operator.webhook.errors import MalformedReview
from dynamo_operator.webhook.reviews import request_part

API_VERSION = "apiextensions.k8s.io/v1"
KIND = "ConversionReview"

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Conversion:
    """A ConversionReview with its response, and whether it succeeded."""

    review: Document
    succeeded: bool


def review_conversion(review: object) -> Conversion:
    """The answer to a ConversionReview; raises MalformedReview."""
    uid, wanted, objects = _request_of(review)
    converted: list[Document] = []
    for obj in objects:
        try:
            converted.append(convert(obj, wanted))
        except ConversionError as error:
            return Conversion(_answer(uid, {"status": "Failed", "message": f"{_named(obj)}: {error}"}, []), False)
    return Conversion(_answer(uid, {"status": "Success"}, converted), True)


def _answer(uid: str, result: Document, converted: list[Document]) -> Document:
    response = {"uid": uid, "result": result, "convertedObjects": converted}
    return {"apiVersion": API_VERSION, "kind": KIND, "response": response}


def _request_of(review: object) -> tuple[str, str, list[Mapping[str, Any]]]:
    request = request_part(review, API_VERSION, KIND)
    wanted, objects = request.get("desiredAPIVersion"), request.get("objects")
    if not isinstance(wanted, str):
        raise MalformedReview(f"request.desiredAPIVersion: found {wanted!r:.60}; allowed: an API version")
    if not isinstance(objects, list) or not all(isinstance(obj, Mapping) for obj in objects):
        raise MalformedReview("request.objects: found no list of objects; allowed: the objects to convert")
    return request["uid"], wanted, objects


def _named(obj: Mapping[str, Any]) -> str:
    metadata = obj.get("metadata")
    names = metadata if isinstance(metadata, Mapping) else {}
    return f"{obj.get('kind')} {names.get('namespace') or ''}/{names.get('name') or ''}"
