"""Where the server's certificates are kept: a Secret that the operator fills itself, or a mounted folder.

Duty: `current()` gives the certificates to serve and trust, renewing them when `certificates` says so. Several replicas
agree through the Secret: every write names the resourceVersion that it builds on, the first one wins and the others
take what it wrote. Must not serve or inject. Called by `upkeep`.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import datetime
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from dynamo_operator.kube import Conflict, Invalid, Live, Ref
from dynamo_operator.kube.objects import SECRET
from dynamo_operator.webhook.certificates import Material, Pair, Step, advanced, check_trusted, leaf_of, next_step
from dynamo_operator.webhook.errors import BadCertificates
from dynamo_operator.webhook.ports import Kube
from dynamo_operator.webhook.settings import WebhookSettings

log = logging.getLogger(__name__)

SERVING = ("tls.crt", "tls.key")
TRUSTED = "ca.crt"
SUCCESSOR = ("next.crt", "next.key")

_ATTEMPTS = 5  # Each lost race means that another replica has written; two are enough unless somebody edits by hand.


class Custody(Protocol):
    async def current(self, announced: str) -> Material:
        """What to serve and trust now. `announced` is the trusted bundle that clients are known to have been given.

        Raises BadCertificates, and KubeErrors where the API server is asked.
        """
        ...


class SecretCustody:
    """Self-made certificates in a Secret."""

    def __init__(self, kube: Kube, ref: Ref, names: tuple[str, ...], now: Callable[[], datetime.datetime]) -> None:
        self._kube = kube
        self._ref = ref
        self._names = names
        self._now = now

    async def current(self, announced: str) -> Material:
        for _ in range(_ATTEMPTS):
            secret = await self._kube.get(self._ref) or await self._kube.apply(_empty_secret(self._ref))
            material, step = self._judged(secret, announced)
            if step is Step.KEEP:
                assert material is not None
                return material
            wanted = advanced(material, step, self._names, self._now())
            try:
                await self._kube.patch(self._ref, _replacement(secret, wanted))
            except (Conflict, Invalid):  # The test on the resourceVersion failed: somebody else was first.
                continue
            log.info("webhook certificates: %s", step.value, extra={"secret": str(self._ref), "names": self._names})
            return wanted
        raise BadCertificates(f"{self._ref}: others changed it {_ATTEMPTS} times while it was being filled")

    def _judged(self, secret: Live, announced: str) -> tuple[Material | None, Step]:
        """What the Secret holds and needs. What cannot be read is made anew: nobody could be served with it."""
        try:
            material = _material_in(secret.document.get("data") or {})
            is_announced = material is not None and material.trusted == announced
            return material, next_step(material, self._names, self._now(), is_announced=is_announced)
        except BadCertificates as error:
            log.warning("webhook certificates are made anew: %s", error, extra={"secret": str(self._ref)})
            return None, Step.CREATE


class ForeignSecretCustody:
    """A Secret that cert-manager or a person keeps; only read. Without ca.crt there is nothing to inject."""

    def __init__(self, kube: Kube, ref: Ref) -> None:
        self._kube = kube
        self._ref = ref

    async def current(self, announced: str) -> Material:  # noqa: ARG002 - whoever renews it looks after that
        secret = await self._kube.get(self._ref)
        if secret is None:
            raise BadCertificates(f"{self._ref}: found nothing; allowed: a Secret with {', '.join(SERVING)}, {TRUSTED}")
        try:
            texts = {key: _decoded(secret.document.get("data") or {}, key) for key in SERVING}
            trusted = _decoded(secret.document["data"], TRUSTED) if TRUSTED in secret.document["data"] else ""
            return _usable(texts, trusted)
        except BadCertificates as error:
            raise BadCertificates(f"{self._ref}: {error}") from error


class FolderCustody:
    """Certificates that cert-manager or a person keeps, mounted as files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def current(self, announced: str) -> Material:  # noqa: ARG002 - whoever renews it looks after that
        return await asyncio.to_thread(self._read)

    def _read(self) -> Material:
        texts = {key: self._text(key) for key in SERVING}
        trusted = self._text(TRUSTED) if (self._folder / TRUSTED).exists() else ""
        try:
            return _usable(texts, trusted)
        except BadCertificates as error:
            raise BadCertificates(f"{self._folder}: {error}") from error

    def _text(self, name: str) -> str:
        try:
            return (self._folder / name).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise BadCertificates(f"{self._folder / name}: {error}") from error


def custody_of(settings: WebhookSettings, kube: Kube, now: Callable[[], datetime.datetime]) -> Custody:
    if settings.certificates_folder is not None:
        return FolderCustody(settings.certificates_folder)
    ref = Ref(SECRET, settings.namespace, settings.secret_name)
    if settings.is_secret_foreign:
        return ForeignSecretCustody(kube, ref)
    return SecretCustody(kube, ref, settings.dns_names, now)


def _usable(texts: Mapping[str, str], trusted: str) -> Material:
    material = Material(Pair(texts[SERVING[0]], texts[SERVING[1]]), trusted)
    leaf_of(material.serving)
    if trusted:
        check_trusted(trusted)
    return material


def _empty_secret(ref: Ref) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": ref.namespace, "name": ref.name}}


def _replacement(secret: Live, material: Material) -> list[dict[str, Any]]:
    texts = dict(zip(SERVING, (material.serving.certificate, material.serving.key), strict=True))
    texts[TRUSTED] = material.trusted
    if material.successor is not None:
        texts |= zip(SUCCESSOR, (material.successor.certificate, material.successor.key), strict=True)
    kept = {key: value for key, value in (secret.document.get("data") or {}).items() if key not in SUCCESSOR}
    data = kept | {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": secret.resource_version},
        {"op": "add", "path": "/data", "value": data},
    ]


def _material_in(data: Mapping[str, str]) -> Material | None:
    """What is kept in a Secret's data; None if nothing is. Raises BadCertificates."""
    if not any(key in data for key in SERVING):
        return None
    texts = {key: _decoded(data, key) for key in (*SERVING, TRUSTED)}
    check_trusted(texts[TRUSTED])
    successor = None
    if all(key in data for key in SUCCESSOR):
        successor = Pair(_decoded(data, SUCCESSOR[0]), _decoded(data, SUCCESSOR[1]))
    return Material(Pair(texts[SERVING[0]], texts[SERVING[1]]), texts[TRUSTED], successor)


def _decoded(data: Mapping[str, str], key: str) -> str:
    try:
        return base64.b64decode(data[key], validate=True).decode("ascii")
    except KeyError as error:
        raise BadCertificates(f"{key} is missing") from error
    except (binascii.Error, UnicodeDecodeError) as error:
        raise BadCertificates(f"{key} is no text: {error}") from error
