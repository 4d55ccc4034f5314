"""The key pair by which the nodes of a TensorRT-LLM group log in to each other, one for a namespace.

Duty: have the Secret before pods mount it. It is made once and never changed: a second pair would lock running nodes
out from each other. It goes with the last of the roots that needed it, which all own it and none controls. A user's own
Secret of that name serves as well and stays the user's. Keys appear in no log, message or repr.
Callers: the reconcilers.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from dynamo_operator.api import ComponentDeployment
from dynamo_operator.kube import Blocked, Conflict, Document, Forbidden, Gone, Invalid, Live, Ref
from dynamo_operator.kube.objects import SECRET
from dynamo_operator.reconcile.ports import Kube
from dynamo_operator.render import names
from dynamo_operator.render.multinode import needs_key_pair

PRIVATE_KEY, PUBLIC_KEY = "private.key", "private.key.pub"
_ATTEMPTS = 3  # a lost race means that another pass has made or owned it; more than two roots at once are rare


class Need(Enum):
    """What the Secret needs for a root's sake."""

    NOTHING = "it is as it should be"
    MAKING = "there is none"
    OWNER = "it is ours and does not know this root yet"
    LEAVING = "it is being deleted"
    KEYS = "somebody's Secret without the keys"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Both halves in OpenSSH's formats."""

    private: bytes = field(repr=False)
    public: bytes = field(repr=False)


def need_of(secret: Live | None, root: Live) -> Need:
    """Pure."""
    if secret is None:
        return Need.MAKING
    if secret.is_terminating:
        return Need.LEAVING
    data = secret.document.get("data") or {}
    if not (data.get(PRIVATE_KEY) and data.get(PUBLIC_KEY)):
        return Need.KEYS
    is_ours = secret.labels.get(names.MANAGED_BY) == names.OPERATOR
    return Need.OWNER if is_ours and root.uid not in [each["uid"] for each in _owners(secret)] else Need.NOTHING


async def key_pair_failures(
    kube: Kube, root: Live, deployments: Iterable[ComponentDeployment], name: str
) -> dict[Ref, str]:
    """Have the Secret where one of the deployments needs it; a sentence where that cannot be."""
    if not any(needs_key_pair(each) for each in deployments):
        return {}
    ref = Ref(SECRET, root.ref.namespace, name)
    try:
        failure = await _have(kube, root, ref)
    except (Blocked, Forbidden, Invalid) as error:
        failure = f"Secret {name}: {error}"
    return {ref: failure} if failure else {}


def make_key_pair() -> KeyPair:
    key = Ed25519PrivateKey.generate()
    return KeyPair(
        key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b"\n",
    )


async def _have(kube: Kube, root: Live, ref: Ref) -> str:
    for _ in range(_ATTEMPTS):
        secret = await kube.get(ref)
        try:
            match need_of(secret, root):
                case Need.NOTHING:
                    return ""
                case Need.MAKING:
                    await kube.create(_document(ref, root, make_key_pair()))
                case Need.OWNER:
                    assert secret is not None
                    await kube.patch(ref, _with_owner(secret, root))
                case Need.LEAVING:
                    return f"Secret {ref.name} is being deleted; it is made anew when it is gone"
                case Need.KEYS:
                    keys = f"{PRIVATE_KEY} and {PUBLIC_KEY}"
                    return f"Secret {ref.name} exists without {keys}; add an OpenSSH key pair, or delete it"
            return ""
        except (Conflict, Gone):
            continue
    return f"Secret {ref.name}: others changed it {_ATTEMPTS} times meanwhile"


def _document(ref: Ref, root: Live, pair: KeyPair) -> Document:
    data = {PRIVATE_KEY: pair.private, PUBLIC_KEY: pair.public}
    return {
        "apiVersion": SECRET.api_version,
        "kind": SECRET.name,
        "metadata": {
            "name": ref.name,
            "namespace": ref.namespace,
            "labels": {names.MANAGED_BY: names.OPERATOR},
            "ownerReferences": [_owner(root)],
        },
        "type": "Opaque",
        "immutable": True,
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def _with_owner(secret: Live, root: Live) -> list[dict[str, Any]]:
    """The version test makes it a Conflict when somebody was faster; garbage collection checks versions likewise."""
    return [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": secret.resource_version},
        {"op": "add", "path": "/metadata/ownerReferences", "value": [*_owners(secret), _owner(root)]},
    ]


def _owner(root: Live) -> dict[str, Any]:
    kind = root.ref.kind
    return {"apiVersion": kind.api_version, "kind": kind.name, "name": root.ref.name, "uid": root.uid}


def _owners(secret: Live) -> list[dict[str, Any]]:
    return list(secret.document["metadata"].get("ownerReferences") or ())
