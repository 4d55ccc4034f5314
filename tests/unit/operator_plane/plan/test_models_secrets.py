"""Addresses of adapters are shown without what they keep secret."""

from __future__ import annotations

import pytest

from dynamo_operator.plan.models_secrets import redacted, without_secrets

SIGNED = "s3://key:hunter22@bucket.host/a/b?X-Amz-Signature=deadbeef&X-Amz-Credential=who%2Fwhat#frag-ment"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        pytest.param("hf://org/name", "hf://org/name", id="nothing-secret"),
        pytest.param("hf://org/name@main", "hf://org/name@main", id="revision-stays"),
        pytest.param(SIGNED, "s3://bucket.host/a/b", id="everything-secret"),
        pytest.param("s3://user:p@ss@bucket/a", "s3://bucket/a", id="at-sign-in-password"),
        pytest.param("s3://tok@bucket", "s3://bucket", id="no-path"),
        pytest.param("s3://bucket?sig=1", "s3://bucket", id="query-without-path"),
        pytest.param("user:pw@host/path", "host/path", id="no-scheme"),
        pytest.param("", "", id="empty"),
    ],
)
def test_address_is_shown_without_secrets(uri: str, shown: str) -> None:
    assert redacted(uri) == shown


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(f"cannot read {SIGNED}", id="whole"),
        pytest.param("key:hunter22 is wrong", id="password"),
        pytest.param("no bucket X-Amz-Signature=deadbeef&X-Amz-Credential=who%2Fwhat", id="query"),
        pytest.param("signature deadbeef does not match", id="one-value"),
        pytest.param("not allowed for who/what", id="decoded"),
        pytest.param("GET https://other:hunter22@mirror/a?token=deadbeef failed", id="another-address"),
    ],
)
def test_what_a_worker_says_is_shown_without_secrets(said: str) -> None:
    shown = without_secrets(said, SIGNED)
    for secret in ("hunter22", "deadbeef", "who/what", "who%2Fwhat"):
        assert secret not in shown


@pytest.mark.parametrize("secret_free", ["rank 64 is too large (max 16)", "why? no room", "GET http://w:9090/v1/loras"])
def test_other_words_stay(secret_free: str) -> None:
    assert without_secrets(secret_free, SIGNED) == secret_free


def test_a_password_is_hidden_as_it_is_written_and_as_it_is_read() -> None:
    assert without_secrets("p%40ssword or p@ssword", "s3://u:p%40ssword@h/a") == "… or …"


def test_foreign_addresses_lose_their_secrets_too() -> None:
    shown = without_secrets("tried http://me:mine@mirror/x?token=abc first", "hf://a/b")
    assert shown == "tried http://…@mirror/x?… first"


def test_what_is_no_address_is_no_crash() -> None:
    assert without_secrets("bad http://[::1 is it", "http://[::1") == "bad http://[::1 is it"
