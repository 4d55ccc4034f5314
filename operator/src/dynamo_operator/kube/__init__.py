"""The API server: objects as they are named and seen there, and the client that reads and writes them.

Duty: carry documents to and from the API server and say in one small error tree what went wrong. It must not decide
what to write. Callers: the reconcilers (through the port that they declare), the webhook certificates, the CLI.
"""

from __future__ import annotations

from dynamo_operator.kube.access import Access, NoAccess, find_access, own_namespace
from dynamo_operator.kube.client import Client, unfenced
from dynamo_operator.kube.connections import Answer, Connections, Fence, Lost, NotSent, Request, Way
from dynamo_operator.kube.errors import (
    Blocked,
    Conflict,
    Deposed,
    Ending,
    Forbidden,
    Gone,
    Invalid,
    KubeError,
    Throttled,
    Unreachable,
)
from dynamo_operator.kube.live import FIELD_MANAGER, live_of
from dynamo_operator.kube.objects import Document, Kind, Live, Ref, controller_uid, kind_of, ref_of
from dynamo_operator.kube.packed import Packed, pack

__all__ = [
    "FIELD_MANAGER",
    "Access",
    "Answer",
    "Blocked",
    "Client",
    "Conflict",
    "Connections",
    "Deposed",
    "Document",
    "Ending",
    "Fence",
    "Forbidden",
    "Gone",
    "Invalid",
    "Kind",
    "KubeError",
    "Live",
    "Lost",
    "NoAccess",
    "NotSent",
    "Packed",
    "Ref",
    "Request",
    "Throttled",
    "Unreachable",
    "Way",
    "controller_uid",
    "find_access",
    "kind_of",
    "live_of",
    "own_namespace",
    "pack",
    "ref_of",
    "unfenced",
]
