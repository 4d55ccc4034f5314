"""Cards as a DynamoWorkerMetadata and back. Pure.

`data.endpoints` and `data.model_cards` have the form that readers of upstream's documents know (planners, dashboards);
`data.workers` holds our own cards whole, by hexadecimal id, and is all that our readers look at. Documents without it
belong to other data planes and announce nobody here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from dynamo.discovery.cluster.identity import Pod
from dynamo.wire.cards import CardError, ModelType, Role, WorkerCard, decode_card, encode_card

API_VERSION = "nvidia.com/v1alpha1"
KIND = "DynamoWorkerMetadata"
ENDPOINT = "generate"

_MODEL_TYPES = {ModelType.CHAT: "Chat", ModelType.COMPLETIONS: "Completions", ModelType.EMBEDDINGS: "Embedding"}
_NEEDS: dict[Role, list[list[str]]] = {
    Role.AGGREGATED: [],
    Role.PREFILL: [[Role.DECODE.value]],
    Role.DECODE: [[Role.PREFILL.value]],
}


@dataclass(frozen=True, slots=True)
class Announcement:
    """What one DynamoWorkerMetadata says."""

    name: str
    pod_uid: str | None
    """Of the pod that owns it; None where nobody does."""
    cards: tuple[WorkerCard, ...]
    defects: tuple[str, ...] = ()
    """Why cards were left out."""


def manifest(pod: Pod, cards: Iterable[WorkerCard]) -> dict[str, Any]:
    """What is applied, server-side: the pod owns it, so it goes with the pod."""
    cards = sorted(cards, key=lambda card: card.worker_id)
    owner = {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": pod.name,
        "uid": pod.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": pod.announcement, "namespace": pod.namespace, "ownerReferences": [owner]},
        "spec": {
            "data": {
                "endpoints": {_key(card): _endpoint(card) for card in cards},
                "model_cards": {_key(card): _model_card(card) for card in cards},
                "workers": {card.hex_id: msgspec.json.decode(encode_card(card)) for card in cards},
            }
        },
    }


def _key(card: WorkerCard) -> str:
    return f"{card.namespace}/{card.component}/{ENDPOINT}/{card.hex_id}"


def _address(card: WorkerCard) -> dict[str, Any]:
    return {
        "namespace": card.namespace,
        "component": card.component,
        "endpoint": ENDPOINT,
        "instance_id": card.worker_id,
    }


def _endpoint(card: WorkerCard) -> dict[str, Any]:
    return {"type": "Endpoint", **_address(card), "transport": {"http": card.address}}


def _model_card(card: WorkerCard) -> dict[str, Any]:
    document: dict[str, Any] = {
        "display_name": card.model,
        "worker_type": card.role.value,
        "needs": _NEEDS[card.role],
        "model_type": " | ".join(_MODEL_TYPES[kind] for kind in card.model_types),
        "model_input": "Text",
        "kv_cache_block_size": card.block_size,
        "context_length": card.context_length or 0,
        "architectural_max_context_length": card.context_length,
        "migration_limit": 0,
        "user_data": card.user_data,
        "runtime_config": {
            "context_length": card.context_length or 0,
            "total_kv_blocks": card.total_kv_blocks,
            "max_num_seqs": card.max_num_seqs,
            "max_num_batched_tokens": card.max_num_batched_tokens,
            "data_parallel_start_rank": 0,
            "data_parallel_size": card.data_parallel_size,
            "kv_event_publishing_enabled": card.event_address is not None,
            "bootstrap_host": card.bootstrap_host,
            "bootstrap_port": card.bootstrap_port,
            "runtime_data": {},
        },
    }
    return {"type": "Model", **_address(card), "card_json": document}


class _Owner(msgspec.Struct, frozen=True):
    kind: str = ""
    uid: str = ""


class _Metadata(msgspec.Struct, frozen=True):
    name: str
    ownerReferences: tuple[_Owner, ...] = ()  # noqa: N815  # Kubernetes' names


class _Spec(msgspec.Struct, frozen=True):
    data: msgspec.Raw = msgspec.Raw(b"{}")


class _Object(msgspec.Struct, frozen=True):
    metadata: _Metadata
    spec: _Spec = _Spec()


class _Data(msgspec.Struct, frozen=True):
    workers: dict[str, msgspec.Raw] = {}


_object = msgspec.json.Decoder(_Object)
_data = msgspec.json.Decoder(_Data | str)


def read_announcement(document: bytes) -> Announcement:
    """Raises msgspec.ValidationError for what is no Kubernetes object; a broken card costs only itself."""
    found = _object.decode(document)
    pod_uid = next((owner.uid for owner in found.metadata.ownerReferences if owner.kind == "Pod"), None)
    try:
        data = _data.decode(found.spec.data)
        # Some writers keep the document as a string within the document.
        workers = (msgspec.json.decode(data, type=_Data) if isinstance(data, str) else data).workers
    except msgspec.DecodeError as error:
        return Announcement(found.metadata.name, pod_uid, (), (f"{found.metadata.name}: spec.data: {error}",))
    cards, defects = [], []
    for key, raw in workers.items():
        try:
            cards.append(decode_card(bytes(raw)))
        except CardError as error:
            defects.append(f"{found.metadata.name}: spec.data.workers.{key}: {error}")
    return Announcement(found.metadata.name, pod_uid, tuple(cards), tuple(defects))
