"""An object as a cluster would store it: the schema's defaults and the operator's own filled in. Pure.

Both sides of a plan are brought to this form, so that a default that one of them spells out is no difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dynamo_operator.render.context import CONTRACT_VERSION
from dynamo_operator.validate import Context, load_crds
from dynamo_operator.webhook.defaults import defaulted

Document = dict[str, Any]


def stored(document: Mapping[str, Any], old: Mapping[str, Any] | None, facts: Context) -> Document:
    """`old` is the object before; its stored values are kept where the operator keeps them."""
    crd = load_crds()[str(document["kind"])]
    schema = crd.versions[str(document["apiVersion"])].schema
    whole: Document = {**document, "spec": with_defaults(document.get("spec"), schema["properties"]["spec"])}
    return defaulted(whole, old, facts, CONTRACT_VERSION).document


def with_defaults(value: Any, schema: Mapping[str, Any]) -> Any:
    """What an API server fills in: a default where a key is absent, at every level that is there."""
    if isinstance(value, Mapping):
        properties = schema.get("properties") or {}
        others = schema.get("additionalProperties")
        filled = {key: part["default"] for key, part in properties.items() if "default" in part and key not in value}
        whole = {**value, **filled}
        beneath = {**dict.fromkeys(whole, others if isinstance(others, Mapping) else {}), **properties}
        return {key: with_defaults(part, beneath[key]) for key, part in whole.items()}
    if isinstance(value, list):
        return [with_defaults(item, schema.get("items") or {}) for item in value]
    return value
