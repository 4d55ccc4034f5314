"""When certificates are made, announced and promoted, and that a client which trusts the bundle is never refused."""

from __future__ import annotations

import datetime
import ssl
import tempfile
from typing import Any

import pytest
from cryptography import x509

from dynamo_operator.webhook.certificates import (
    ANNOUNCEMENT,
    CLOCK_SKEW,
    LIFETIME,
    RENEW_BEFORE,
    Material,
    Pair,
    Step,
    advanced,
    issued,
    leaf_of,
    names_of,
    next_step,
)
from dynamo_operator.webhook.errors import BadCertificates

NAMES = ("w.ns.svc", "w.ns.svc.cluster.local")
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def created(now: datetime.datetime = START) -> Material:
    return advanced(None, Step.CREATE, NAMES, now)


def announced() -> Material:
    return advanced(created(), Step.ANNOUNCE, NAMES, START + LIFETIME - RENEW_BEFORE)


def step(material: Material | None, now: datetime.datetime, *, is_announced: bool = True) -> Step:
    return next_step(material, NAMES, now, is_announced=is_announced)


@pytest.mark.parametrize(
    ("material", "after", "is_announced", "expected"),
    [
        pytest.param(None, 0, True, Step.CREATE, id="nothing-yet"),
        pytest.param(created(), 0, True, Step.KEEP, id="fresh"),
        pytest.param(created(), LIFETIME - RENEW_BEFORE - ANNOUNCEMENT, True, Step.KEEP, id="not-due"),
        pytest.param(created(), LIFETIME - RENEW_BEFORE, True, Step.ANNOUNCE, id="due"),
        pytest.param(created(), LIFETIME, True, Step.CREATE, id="expired"),
        pytest.param(announced(), LIFETIME - RENEW_BEFORE, True, Step.KEEP, id="announced-just-now"),
        pytest.param(announced(), LIFETIME - RENEW_BEFORE + ANNOUNCEMENT, True, Step.PROMOTE, id="announced-long-ago"),
        pytest.param(announced(), LIFETIME - RENEW_BEFORE + ANNOUNCEMENT, False, Step.KEEP, id="nobody-heard-of-it"),
        pytest.param(announced(), LIFETIME, False, Step.CREATE, id="nobody-heard-and-expired"),
    ],
)
def test_what_is_due(material: Material | None, after: Any, is_announced: bool, expected: Step) -> None:
    now = START + (after or datetime.timedelta())
    assert step(material, now, is_announced=is_announced) is expected


def test_another_name_needs_another_certificate() -> None:
    assert next_step(created(), ("other.ns.svc",), START, is_announced=True) is Step.CREATE


def test_a_key_of_another_certificate_is_noticed() -> None:
    one, two = created(), created()
    mixed = Material(Pair(one.serving.certificate, two.serving.key), one.trusted)
    with pytest.raises(BadCertificates, match="the key is not the certificate's"):
        step(mixed, START)


def test_a_certificate_is_for_its_names_and_servers_only() -> None:
    authority, pair = issued(NAMES, START)
    leaf = leaf_of(pair)
    assert names_of(leaf) == NAMES
    assert leaf.not_valid_before_utc == START - CLOCK_SKEW
    assert leaf.not_valid_after_utc == START + LIFETIME
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    signer = x509.load_pem_x509_certificate(authority.encode())
    assert signer.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(True, 0)
    leaf.verify_directly_issued_by(signer)


def test_whoever_heard_of_an_announcement_trusts_what_is_served_before_and_after() -> None:
    before = created(datetime.datetime.now(datetime.UTC))
    during = advanced(before, Step.ANNOUNCE, NAMES, datetime.datetime.now(datetime.UTC))
    after = advanced(during, Step.PROMOTE, NAMES, datetime.datetime.now(datetime.UTC))
    assert during.serving == before.serving
    assert after.serving == during.successor
    for material in (before, during, after):
        shake_hands(during.trusted, material.serving)
    shake_hands(after.trusted, before.serving)  # a replica that has not looked yet still serves the old one
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(before.trusted, after.serving)


def test_an_expired_authority_leaves_the_bundle() -> None:
    old = announced()
    late = START + LIFETIME
    assert advanced(old, Step.PROMOTE, NAMES, late).trusted.count("BEGIN") == 1
    assert advanced(old, Step.PROMOTE, NAMES, late - ANNOUNCEMENT).trusted.count("BEGIN") == 2


def shake_hands(trusted: str, pair: Pair) -> None:
    """A TLS handshake in memory; raises SSLCertVerificationError."""
    client_in, client_out = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context(cadata=trusted).wrap_bio(client_in, client_out, server_hostname=NAMES[0])
    server = server_context(pair).wrap_bio(client_out, client_in, server_side=True)
    pending = [client, server]
    for _ in range(10):
        for side in list(pending):
            try:
                side.do_handshake()
                pending.remove(side)
            except ssl.SSLWantReadError:
                continue
    assert not pending


def server_context(pair: Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(pair.certificate + pair.key)
        file.flush()
        context.load_cert_chain(file.name)
    return context
