from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.render.security import secured

FILTER = {"type": "RuntimeDefault"}


def a_pod(*containers: dict[str, Any], **pod: Any) -> dict[str, Any]:
    return {"containers": [{"name": "main", **each} for each in containers], **pod}


def test_what_nobody_said_is_closed() -> None:
    pod = secured(a_pod({}, initContainers=[{"name": "first"}], securityContext={"fsGroup": 1000}))

    assert pod["securityContext"] == {"fsGroup": 1000, "seccompProfile": FILTER}
    for each in (*pod["containers"], *pod["initContainers"]):
        assert each["securityContext"] == {"allowPrivilegeEscalation": False}


def test_what_the_author_says_wins() -> None:
    written = {"allowPrivilegeEscalation": True, "runAsUser": 0}
    pod = secured(a_pod({"securityContext": written}, securityContext={"seccompProfile": {"type": "Unconfined"}}))

    assert pod["securityContext"] == {"seccompProfile": {"type": "Unconfined"}}
    assert pod["containers"][0]["securityContext"] == written


@pytest.mark.parametrize(
    "context",
    [
        pytest.param({"privileged": True}, id="privileged"),
        pytest.param({"capabilities": {"add": ["SYS_ADMIN"]}}, id="may-administer"),
        pytest.param({"capabilities": {"add": ["CAP_SYS_ADMIN"]}}, id="may-administer-by-its-long-name"),
    ],
)
def test_a_privileged_container_is_left_as_it_is(context: dict[str, Any]) -> None:
    pod = secured(a_pod({"securityContext": context}, {}))

    assert pod["containers"][0]["securityContext"] == context
    assert pod["containers"][1]["securityContext"] == {"allowPrivilegeEscalation": False}
    assert "securityContext" not in pod


def test_capabilities_are_kept() -> None:
    context = {"capabilities": {"add": ["IPC_LOCK"]}}
    pod = secured(a_pod({"securityContext": context}))

    assert pod["containers"][0]["securityContext"] == {**context, "allowPrivilegeEscalation": False}


def test_the_input_is_not_changed() -> None:
    pod = a_pod({}, securityContext={"fsGroup": 1})

    secured(pod)

    assert pod == a_pod({}, securityContext={"fsGroup": 1})
