"""Admission: what the API server asks about one object, and the answer.

Pure; called by the server's routes and by tests. Both reviews judge the whole object and name everything that is wrong
at once. The mutating one comes first, before the API server's own schema check: only so does a manifest with a wrong
type, a broken rule and a missing field get one answer instead of three. The validating one judges what is left after
all mutations of others, and tries to render what breaks no rule. Status writes and objects that are being deleted pass
unseen.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from dynamo_operator.lint import find_unrenderable
from dynamo_operator.validate import Context, Violation, load_crds, validate, validate_update, warnings
from dynamo_operator.webhook.defaults import defaulted
from dynamo_operator.webhook.errors import MalformedReview
from dynamo_operator.webhook.reviews import request_part

API_VERSION = "admission.k8s.io/v1"
KIND = "AdmissionReview"
PLANNER_ACCOUNT = "planner-serviceaccount"

Document = dict[str, Any]


class Verb(StrEnum):
    MUTATE = "mutate"
    VALIDATE = "validate"


@dataclass(frozen=True, slots=True)
class AdmissionContext:
    """What requests are judged against.

    cluster: facts about the cluster; its namespace is replaced by the request's.
    operator_version: the contract version that is stamped on new objects.
    scaler_users: names of users that may set the replicas of components with a scaling adapter: the operator's own.
    planner_accounts: service accounts that may so in their own namespace.
    """

    cluster: Context
    operator_version: str
    scaler_users: frozenset[str] = frozenset()
    planner_accounts: frozenset[str] = frozenset({PLANNER_ACCOUNT})

    def may_scale(self, user: str, namespace: str) -> bool:
        planners = {f"system:serviceaccount:{namespace}:{account}" for account in self.planner_accounts}
        return user in self.scaler_users or user in planners


@dataclass(frozen=True, slots=True)
class Request:
    """One admission request, as far as it is looked at; `old` is None on creation."""

    uid: str
    kind: str
    name: str
    namespace: str
    user: str
    document: Document
    old: Document | None


@dataclass(frozen=True, slots=True)
class Answer:
    """An AdmissionReview with its response, and the fields that it was denied for."""

    review: Document
    denied_fields: tuple[str, ...] = field(default=())


def review_admission(review: object, context: AdmissionContext, verb: Verb) -> Answer:
    """The answer to an AdmissionReview; raises MalformedReview."""
    request = _request_of(review)
    if request is None or "deletionTimestamp" in request.document["metadata"]:
        return _allowed(_uid_of(review))
    facts = dataclasses.replace(context.cluster, namespace=request.namespace or context.cluster.namespace)
    filled = defaulted(request.document, request.old, facts, context.operator_version)
    violations = _violations(request, filled.document, facts, context)
    if verb is Verb.VALIDATE:
        violations = violations or _unrenderable(request, filled.document, facts)
    if violations:
        return _denied(request, violations)
    if verb is Verb.MUTATE:
        return _allowed(request.uid, operations=filled.operations)
    return _allowed(request.uid, warnings=_own_warnings(request.document, facts))


def field_class(path: str) -> str:
    """A field's path without indices and keys, so that there are only so many: `spec.components.replicas`."""
    return re.sub(r"\[[^]]*\]", "", path)


def _violations(
    request: Request, document: Document, facts: Context, context: AdmissionContext
) -> tuple[Violation, ...]:
    if request.old is None:
        return validate(document, facts)
    may_scale = context.may_scale(request.user, request.namespace)
    return validate_update(request.old, document, facts, may_scale=may_scale)


def _unrenderable(request: Request, document: Document, facts: Context) -> tuple[Violation, ...]:
    """What breaks no rule, and yet nothing could be made of; an object of which that was so before stays editable."""
    if request.old is not None and request.old.get("spec") == document.get("spec"):
        return ()
    found = find_unrenderable(document, facts)
    before = find_unrenderable(request.old, facts) if found and request.old is not None else ()
    return tuple(Violation(each.path, "", each.allowed, each.message) for each in found if each not in before)


def _own_warnings(document: Document, facts: Context) -> tuple[str, ...]:
    """Without the one about the version, which the API server gives by itself."""
    crd = load_crds().get(str(document.get("kind")))
    version = crd.versions.get(str(document.get("apiVersion"))) if crd else None
    given = version.deprecation if version else ""
    return tuple(line for line in warnings(document, facts) if line != given)


def _allowed(uid: str, *, operations: tuple[Document, ...] = (), warnings: tuple[str, ...] = ()) -> Answer:
    response: Document = {"uid": uid, "allowed": True}
    if operations:
        encoded = base64.b64encode(json.dumps(operations).encode()).decode()
        response |= {"patchType": "JSONPatch", "patch": encoded}
    if warnings:
        response["warnings"] = list(warnings)
    return Answer(_review_with(response))


def _denied(request: Request, violations: tuple[Violation, ...]) -> Answer:
    """422 with one cause a violation: kubectl prints each as `* field: message`."""
    causes = [
        {"reason": "FieldValueInvalid", "field": violation.place, "message": violation.explanation}
        for violation in violations
    ]
    subject = f'{request.kind} "{request.name}" is invalid'
    status: Document = {
        "status": "Failure",
        "code": 422,
        "reason": "Invalid",
        "message": f"{subject}: " + "; ".join(str(violation) for violation in violations),
        "details": {"group": "nvidia.com", "kind": request.kind, "name": request.name, "causes": causes},
    }
    response = {"uid": request.uid, "allowed": False, "status": status}
    fields = tuple(dict.fromkeys(field_class(violation.path) for violation in violations))
    return Answer(_review_with(response), fields)


def _review_with(response: Document) -> Document:
    return {"apiVersion": API_VERSION, "kind": KIND, "response": response}


def _request_of(review: object) -> Request | None:
    """The request; None for one that needs no judgement: a status or scale write, a deletion."""
    request = request_part(review, API_VERSION, KIND)
    if request.get("subResource") or request.get("operation") not in ("CREATE", "UPDATE"):
        return None
    document = _object(request, "object")
    if document is None:
        raise MalformedReview("request.object: found nothing; allowed: the object to admit")
    user = request.get("userInfo")
    return Request(
        uid=str(request["uid"]),
        kind=str(document.get("kind")),
        name=str(request.get("name") or document["metadata"].get("name") or document["metadata"].get("generateName")),
        namespace=str(request.get("namespace") or ""),
        user=str(user.get("username") or "") if isinstance(user, Mapping) else "",
        document=document,
        old=_object(request, "oldObject") if request["operation"] == "UPDATE" else None,
    )


def _uid_of(review: object) -> str:
    return str(request_part(review, API_VERSION, KIND)["uid"])


def _object(request: Mapping[str, Any], name: str) -> Document | None:
    value = request.get(name)
    if value is None:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("metadata"), dict):
        raise MalformedReview(f"request.{name}: found {type(value).__name__}; allowed: an object with metadata")
    return value
