"""The generation hash of a graph's workers. Pure.

Any change to a worker's pods starts a new generation of all workers together; a change of replicas never does. Only
equality matters to readers, so the bytes hashed are private to this operator.
"""

from __future__ import annotations

import hashlib
import json
import re

from dynamo_operator.api import Component, Graph, thaw
from dynamo_operator.convert.documents import canonical

FORMAT = "dynamo-worker-generation-1"
_HASH = re.compile("[a-f][0-9a-f]{7}")
_FIELDS = (
    "globalDynamoNamespace",
    "podTemplate",
    "multinode",
    "sharedMemorySize",
    "frontendSidecar",
    "compilationCache",
    "experimental",
    "runtimeVersionOverride",
)


def worker_hash(graph: Graph) -> str | None:
    """8 hex digits over what makes the workers' pods; None where the graph has no workers."""
    workers = {each.name: _identity(each) for each in graph.components if each.is_worker}
    if not workers:
        return None
    identity = {
        "format": FORMAT,
        "backendFramework": graph.backend_framework,
        "env": canonical(thaw(graph.env)),
        "workers": workers,
    }
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return _hash8(text)


def _hash8(text: str) -> str:
    """8 hex digits from the first letter on: YAML tools read 12345678 and 1234e567 as numbers, not as text."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    found = _HASH.search(digest)
    return found.group() if found else _hash8(digest)


def _identity(component: Component) -> dict[str, object]:
    """Spelt in one way: clients of another API version write amounts as text, and nothing has changed then."""
    return {name: canonical(thaw(component.spec[name]), name) for name in _FIELDS if name in component.spec}
