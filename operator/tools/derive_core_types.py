"""Writes validate/core_types.json: the fields of a pod template, from the official Kubernetes client's model metadata.

Run by hand in an environment that has `kubernetes` installed, when a newer Kubernetes should be known:
`python operator/tools/derive_core_types.py > operator/src/dynamo_operator/validate/core_types.json`.
It must not be imported; the project does not depend on the client.
"""

import json
import re
import sys
from importlib import import_module
from typing import Any

ROOTS = ("V1PodTemplateSpec", "V1ObjectMeta")

# The client's metadata call these plain strings or objects.
QUANTITIES = {
    "ResourceRequirements.limits": "{quantity}",
    "ResourceRequirements.requests": "{quantity}",
    "VolumeResourceRequirements.limits": "{quantity}",
    "VolumeResourceRequirements.requests": "{quantity}",
    "PodSpec.overhead": "{quantity}",
    "EmptyDirVolumeSource.sizeLimit": "quantity",
    "ResourceFieldSelector.divisor": "quantity",
    "HTTPGetAction.port": "int-or-str",
    "TCPSocketAction.port": "int-or-str",
}
# Asked for by a rule of its own, because manifests give partial containers and pod specs.
ASKED_ELSEWHERE = {"PodSpec.containers", "Container.name"}
SCALARS = {"str": "str", "int": "int", "bool": "bool", "float": "float", "object": "any", "datetime": "str"}


def main() -> None:
    models = import_module("kubernetes.client.models")
    types: dict[str, object] = {}
    waiting = list(ROOTS)
    while waiting:
        model = waiting.pop()
        if short(model) in types:
            continue
        described, used = describe(model, getattr(models, model))
        types[short(model)] = described
        waiting += used
    version = import_module("kubernetes").__version__
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(types[name])}" for name in sorted(types))
    sys.stdout.write(f'{{"source": "kubernetes client {version}", "types": {{\n{lines}\n}}}}\n')


def short(model: str) -> str:
    return re.sub(r"^V\d+((alpha|beta)\d+)?", "", model)


def describe(model: str, cls: Any) -> tuple[dict[str, object], list[str]]:
    """One type's fields and required fields, and the models that it refers to."""
    fields, required, used = {}, [], []
    for attribute, type_name in sorted(cls.openapi_types.items()):
        name = cls.attribute_map[attribute]
        key = f"{short(model)}.{name}"
        written, refers = QUANTITIES.get(key), []
        if written is None:
            written, refers = translate(type_name)
        fields[name] = written
        used += refers
        field = cls.model_fields.get(attribute)  # fields named like a Python keyword are absent, and optional
        if field is not None and field.is_required() and key not in ASKED_ELSEWHERE:
            required.append(name)
    return {"fields": fields, "required": required}, used


def translate(type_name: str) -> tuple[str, list[str]]:
    """`List[V1Container]` -> `[Container]`, `Dict[str, str]` -> `{str}`, and the models named in it."""
    if match := re.fullmatch(r"[Ll]ist\[(.+)\]", type_name):
        inner, used = translate(match[1])
        return f"[{inner}]", used
    if match := re.fullmatch(r"[Dd]ict[\[(]str, (.+)[\])]", type_name):
        inner, used = translate(match[1])
        return f"{{{inner}}}", used
    if type_name in SCALARS:
        return SCALARS[type_name], []
    return short(type_name), [type_name]


if __name__ == "__main__":
    main()
