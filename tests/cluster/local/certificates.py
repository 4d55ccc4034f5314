"""The keys and certificates of a local cluster: who exists (pure), and the files.

One authority signs all; everything is made anew for each cluster and valid for a few days.
Called by the API server's boot.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID_FOR = datetime.timedelta(days=7)
_CLOCK_SKEW = datetime.timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Identity:
    """One certificate: its file's name, whom it names, and the addresses it serves under."""

    file: str
    common_name: str
    organisation: str = ""
    hosts: tuple[str, ...] = ()


def identities(api_addresses: Sequence[str], node: str, node_address: str) -> tuple[Identity, ...]:
    """Everyone in a cluster who shows a certificate; groups and names are those that RBAC's defaults know."""
    service = "kubernetes.default.svc"
    api_hosts = ("localhost", "kubernetes", "kubernetes.default", service, f"{service}.cluster.local", *api_addresses)
    return (
        Identity("apiserver", "kube-apiserver", hosts=api_hosts),
        Identity("kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
        Identity("admin", "kubernetes-admin", "system:masters"),
        Identity("controller-manager", "system:kube-controller-manager"),
        Identity("scheduler", "system:kube-scheduler"),
        Identity("proxy", "system:kube-proxy"),
        Identity("front-proxy", "front-proxy-client"),
        Identity("kwok", "kwok", "system:masters"),
        Identity("node", f"system:node:{node}", "system:nodes", hosts=(node, node_address)),
    )


def write_certificates(folder: Path, wanted: Sequence[Identity]) -> None:
    """Writes `ca`, each identity and the service accounts' key pair as .crt and .key; keeps what is there."""
    if (folder / "done").exists():
        return
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    now = datetime.datetime.now(datetime.UTC)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate(Identity("ca", "dynamo-test-ca"), authority_key.public_key(), authority_key, None, now)
    _write(folder, "ca", authority_key, authority)
    for identity in wanted:
        key = ec.generate_private_key(ec.SECP256R1())
        _write(folder, identity.file, key, _certificate(identity, key.public_key(), authority_key, authority, now))
    accounts = ec.generate_private_key(ec.SECP256R1())
    _write_private(folder / "service-accounts.key", _pem(accounts))
    public = accounts.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "service-accounts.pub").write_bytes(public)
    (folder / "done").touch()


def _certificate(
    identity: Identity,
    public: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate | None,
    now: datetime.datetime,
) -> x509.Certificate:
    """Signed by the authority; an authority of None makes the authority itself."""
    subject = _name(identity)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.subject if authority else subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
    )
    if authority is not None:
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if identity.hosts:
        names = x509.SubjectAlternativeName([_host(host) for host in identity.hosts])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(signer, hashes.SHA256())


def _name(identity: Identity) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, identity.common_name)]
    if identity.organisation:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, identity.organisation))
    return x509.Name(parts)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(folder: Path, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    _write_private(folder / f"{name}.key", _pem(key))
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _write_private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
