"""Certificates of the webhook server: what is in its Secret, what must happen to it, and new ones.

Duty: `next_step` decides from dates passed in; `issued` makes an authority and a server certificate (it draws keys: the
one thing here that is not a function of its arguments). Each authority signs one certificate and its key is dropped at
once, so there is no signing key to steal. A renewal therefore is a new authority, and goes in two steps: announce it
(clients trust both), and only once they had time to hear of it, serve its certificate.
Must not read or write anything. Called by `custody`.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dynamo_operator.webhook.errors import BadCertificates

LIFETIME = datetime.timedelta(days=365)
RENEW_BEFORE = datetime.timedelta(days=90)
CLOCK_SKEW = datetime.timedelta(hours=1)  # Validity starts this much earlier: an API server's clock may be behind.
ANNOUNCEMENT = datetime.timedelta(minutes=10)  # API servers hear of a new CA within seconds; a replica may be away.


@dataclass(frozen=True, slots=True)
class Pair:
    """A server certificate and its key, PEM."""

    certificate: str
    key: str


@dataclass(frozen=True, slots=True)
class Material:
    """All that is kept: the pair that is served, the authorities that clients trust, and an announced successor."""

    serving: Pair
    trusted: str
    successor: Pair | None = None


class Step(StrEnum):
    KEEP = "keep"
    CREATE = "create"
    ANNOUNCE = "announce"
    PROMOTE = "promote"


def next_step(material: Material | None, names: tuple[str, ...], now: datetime.datetime, *, is_announced: bool) -> Step:
    """What must happen to what is kept; `is_announced`: clients are known to have been given `trusted`.

    Raises BadCertificates for what cannot be read.
    """
    if material is None:
        return Step.CREATE
    serving = leaf_of(material.serving)
    if now >= serving.not_valid_after_utc or not set(names) <= set(names_of(serving)):
        return Step.CREATE
    if material.successor is None:
        return Step.ANNOUNCE if now >= serving.not_valid_after_utc - RENEW_BEFORE else Step.KEEP
    announced = leaf_of(material.successor).not_valid_before_utc + CLOCK_SKEW
    return Step.PROMOTE if is_announced and now >= announced + ANNOUNCEMENT else Step.KEEP


def advanced(material: Material | None, step: Step, names: tuple[str, ...], now: datetime.datetime) -> Material:
    """What is kept after a step other than KEEP."""
    if step is Step.PROMOTE:
        assert material is not None
        assert material.successor is not None
        return Material(material.successor, _still_valid(material.trusted, now))
    authority, pair = issued(names, now)
    trusted = authority + _still_valid(material.trusted if material else "", now)
    if step is Step.ANNOUNCE:
        assert material is not None
        return Material(material.serving, trusted, pair)
    return Material(pair, trusted)


def issued(names: tuple[str, ...], now: datetime.datetime) -> tuple[str, Pair]:
    """A new authority's certificate, and the pair that it signed for these DNS names."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    # Subjects differ between authorities, or clients could pick the wrong one of a bundle.
    issuer = _subject(f"{names[0]} CA {now:%Y%m%dT%H%M%S} {x509.random_serial_number():x}"[:64])
    ca_identity = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    signer_usage = _key_usage(signs_certificates=True)
    authority = (
        _builder(issuer, issuer, ca_key, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(signer_usage, critical=True)
        .add_extension(ca_identity, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    certificate = (
        _builder(_subject(names[0][:64]), issuer, key, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_identity), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return _pem(authority), Pair(_pem(certificate), _key_pem(key))


def leaf_of(pair: Pair) -> x509.Certificate:
    """The served certificate: the first, an intermediate may follow. Raises BadCertificates also for a foreign key."""
    try:
        certificate = x509.load_pem_x509_certificates(pair.certificate.encode())[0]
        key = serialization.load_pem_private_key(pair.key.encode(), None)
    except (ValueError, TypeError) as error:
        raise BadCertificates(f"certificate or key cannot be read: {error}") from error
    if key.public_key() != certificate.public_key():
        raise BadCertificates("the key is not the certificate's")
    return certificate


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(extension.value.get_values_for_type(x509.DNSName))


def check_trusted(bundle: str) -> None:
    """Raises BadCertificates unless the bundle holds certificates."""
    try:
        x509.load_pem_x509_certificates(bundle.encode())
    except ValueError as error:
        raise BadCertificates(f"the authorities' certificates cannot be read: {error}") from error


def _still_valid(bundle: str, now: datetime.datetime) -> str:
    """The authorities that have not expired; an unreadable bundle is worth nothing."""
    try:
        authorities = x509.load_pem_x509_certificates(bundle.encode())
    except ValueError:
        return ""
    return "".join(_pem(authority) for authority in authorities if authority.not_valid_after_utc > now)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, pkcs8, plain).decode()
