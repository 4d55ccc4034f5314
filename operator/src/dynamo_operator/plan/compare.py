"""Whether applying a document would change anything. Pure; called before every apply.

The API server rewrites what it is given: quantities are made canonical, empty values are dropped, map keys of lists
get defaults. So values are compared by meaning. Whoever relies on this never writes when nothing changed, even right
after a restart, because what we applied last is read from the live object and not from memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dynamo_operator.api.documents import SCALARS
from dynamo_operator.api.quantity import parse_quantity
from dynamo_operator.kube import Live

_IDENTITY = ("apiVersion", "kind", "status")
_QUANTITY_MAPS = frozenset({"limits", "requests", "capacity"})
_QUANTITIES = frozenset({"sizeLimit", "divisor", "quantity"})
# What the server fills in where we own the whole: keys of list items, and parts of values that are atomic, as fieldRef
# is. Taking one of these back means the same as leaving it.
_SERVER_DEFAULTS: Mapping[str, object] = {
    "protocol": "TCP",
    "apiVersion": "v1",
    "divisor": "0",
    "expirationSeconds": 3600,
    "allocationMode": "ExactCount",
    "count": 1,
}
_LIST_KEYS = ("name", "containerPort", "port", "mountPath", "devicePath", "uid", "ip", "topologyKey", "type")


def needs_apply(desired: Mapping[str, Any], live: Live) -> bool:
    """True where `desired`, applied whole, would set, change or give back a field of `live`."""
    return not _same(_comparable(desired), _comparable(live.applied), _comparable(live.document), "")


def _comparable(document: Mapping[str, Any]) -> dict[str, Any]:
    metadata = document.get("metadata") or {}
    shown = {
        key: metadata[key] for key in ("labels", "annotations", "ownerReferences", "finalizers") if key in metadata
    }
    return {**{key: value for key, value in document.items() if key not in _IDENTITY}, "metadata": shown}


def _same(want: Any, have: Any, seen: Any, key: str) -> bool:
    """`want` against what we applied (`have`); `seen` is the live value, others' fields included."""
    if isinstance(want, SCALARS):
        return _same_scalar(want, have, key)
    if isinstance(want, Mapping) and isinstance(have, Mapping):
        return _same_mapping(want, have, seen if isinstance(seen, Mapping) else {}, key)
    if isinstance(want, (list, tuple)) and isinstance(have, (list, tuple)):
        return _same_list(want, have, seen if isinstance(seen, (list, tuple)) else ())
    return _same_scalar(want, have, key)


def _same_mapping(want: Mapping[str, Any], have: Mapping[str, Any], seen: Mapping[str, Any], parent: str) -> bool:
    for name in {*want, *have}:
        key = "quantity" if parent in _QUANTITY_MAPS else name
        if name not in have:
            # Empty values are not stored, so we own nothing there; fine as long as nobody else filled it.
            if not (_is_void(want[name]) and _is_void(seen.get(name))):
                return False
        elif name not in want:
            if not (_is_void(have[name]) or _SERVER_DEFAULTS.get(name) == have[name]):
                return False
        elif not _same(want[name], have[name], seen.get(name), key):
            return False
    return True


def _same_list(want: Sequence[Any], have: Sequence[Any], seen: Sequence[Any]) -> bool:
    if len(want) != len(have):
        return False
    return all(_same(one, other, _counterpart(other, seen), "") for one, other in zip(want, have, strict=True))


def _counterpart(item: Any, among: Sequence[Any]) -> Any:
    """The live item with the same key, which may also hold what others set."""
    if not isinstance(item, Mapping):
        return None
    keys = [key for key in _LIST_KEYS if key in item]
    candidates = (each for each in among if isinstance(each, Mapping))
    return next((each for each in candidates if all(each.get(key) == item[key] for key in keys)), None)


def _same_scalar(want: Any, have: Any, key: str) -> bool:
    if want == have and isinstance(want, bool) == isinstance(have, bool):
        return True
    if _is_void(want) and _is_void(have) and not isinstance(want, int) and not isinstance(have, int):
        return True
    amount = parse_quantity(want) if key in _QUANTITIES else None
    return amount is not None and amount == parse_quantity(have)


def _is_void(value: Any) -> bool:
    """What the API server leaves out when it stores an object."""
    if isinstance(value, Mapping):
        return all(_is_void(each) for each in value.values())
    return value is None or value in ("", 0, False) or (isinstance(value, (list, tuple)) and not value)
