"""What refusals mean."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dynamo_operator.kube import Blocked, Conflict, Ending, Forbidden, Gone, Invalid, KubeError, Throttled, Unreachable
from dynamo_operator.kube.answers import MESSAGE_LIMIT, refusal

DENIED = 'admission webhook "v.kb.io" denied the request: spec.components: too many'


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        pytest.param(400, {}, Invalid, id="bad-request"),
        pytest.param(401, {}, Forbidden, id="unauthenticated"),
        pytest.param(403, {"message": "User cannot list"}, Forbidden, id="rbac"),
        pytest.param(403, {"message": DENIED}, Invalid, id="webhook-with-its-default-code"),
        pytest.param(500, {"message": DENIED}, Invalid, id="webhook-with-any-code"),
        pytest.param(500, {"message": 'failed calling webhook "v.kb.io"'}, Blocked, id="webhook-is-down"),
        pytest.param(403, {"details": {"causes": [{"reason": "NamespaceTerminating"}]}}, Ending, id="namespace-goes"),
        pytest.param(404, {}, Gone, id="not-found"),
        pytest.param(405, {}, Invalid, id="method"),
        pytest.param(409, {"reason": "AlreadyExists"}, Conflict, id="exists"),
        pytest.param(410, {}, Unreachable, id="expired-list-position"),
        pytest.param(422, {}, Invalid, id="schema"),
        pytest.param(422, {"details": {"causes": [{"field": "metadata.uid"}]}}, Conflict, id="replaced"),
        pytest.param(429, {}, Throttled, id="too-many"),
        pytest.param(500, {}, Unreachable, id="server"),
        pytest.param(504, {}, Unreachable, id="gateway"),
    ],
)
def test_a_refusal_has_one_meaning(code: int, status: dict[str, Any], expected: type[KubeError]) -> None:
    assert type(refusal(code, json.dumps(status).encode(), {})) is expected


def test_the_servers_message_is_kept_and_bounded() -> None:
    error = refusal(422, json.dumps({"message": "spec.replicas: " + "x" * 5000}).encode(), {})
    assert str(error).startswith("spec.replicas: x")
    assert len(str(error)) == MESSAGE_LIMIT


@pytest.mark.parametrize(
    ("headers", "status", "expected_s"),
    [
        pytest.param({"Retry-After": "7"}, {}, 7.0, id="header"),
        pytest.param({}, {"details": {"retryAfterSeconds": 3}}, 3.0, id="status"),
        pytest.param({"Retry-After": "Wed, 21 Oct"}, {}, 1.0, id="a-date-is-not-read"),
    ],
)
def test_throttling_says_how_long(headers: dict[str, str], status: dict[str, Any], expected_s: float) -> None:
    error = refusal(429, json.dumps(status).encode(), headers)
    assert isinstance(error, Throttled)
    assert error.retry_after_s == expected_s


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'"text"'])
def test_a_body_that_is_no_status_still_gives_an_error(body: bytes) -> None:
    assert str(refusal(502, body, {})) == "the API server answered 502"
