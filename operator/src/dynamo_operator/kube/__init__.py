"""The API server: objects as they are named and seen there, and the client that reads and writes them.

Duty: carry documents to and from the API server and say in one small error tree what went wrong. It must not decide
what to write. Callers: the reconcilers (through the port that they declare), the webhook certificates, the CLI.
"""

from __future__ import annotations

from dynamo_operator.kube.errors import (
    Conflict,
    Deposed,
    Forbidden,
    Gone,
    Invalid,
    KubeError,
    Throttled,
    Unreachable,
)
from dynamo_operator.kube.objects import Document, Kind, Live, Ref, controller_uid, kind_of, ref_of

__all__ = [
    "Conflict",
    "Deposed",
    "Document",
    "Forbidden",
    "Gone",
    "Invalid",
    "Kind",
    "KubeError",
    "Live",
    "Ref",
    "Throttled",
    "Unreachable",
    "controller_uid",
    "kind_of",
    "ref_of",
]
