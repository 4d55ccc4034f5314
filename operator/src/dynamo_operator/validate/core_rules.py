"""Rules of core Kubernetes types beyond their fields' types, by type name: what an API server would refuse in them.

Pure: applies the tables beside it, and the rules between fields. Called by `core_types` for every object of a pod
template that it walks, wherever it stands, so that a rule holds for the fields of both API versions. Rules that need
the component or the whole pod are in `containers` and `pods`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from dynamo_operator.validate.containers import ENV_NAME, ENV_NAME_FORM, check_unique
from dynamo_operator.validate.core_pod_rules import (
    check_core_container,
    check_empty_dir,
    check_pod_spec,
    check_sysctl,
    check_volume_mount,
)
from dynamo_operator.validate.core_tables import (
    ENUMS,
    FORMS,
    INT32_LAST,
    INT64_FIELDS,
    INT64_LAST,
    KEYED,
    NO_VALUES,
    RANGES,
    REQUIRED,
)
from dynamo_operator.validate.field import Field
from dynamo_operator.validate.text_forms import (
    LABEL_VALUE_FORM,
    SUBDOMAIN_FORM,
    check_labels,
    is_label_value,
    is_subdomain,
)
from dynamo_operator.validate.violation import Violation, listed, nearest

Rule = Callable[[Field], Iterator[Violation]]


def check_core_rules(type_name: str, value: Field) -> Iterator[Violation]:
    """Violations of the rules of one object; those of its fields' types are not repeated."""
    yield from _check_integers(value)
    for key in REQUIRED.get(type_name, ()):
        if value[key].value in (None, "", [], {}):
            _, form = FORMS.get(type_name, {}).get(key, (None, "a value"))
            yield value[key].broken("is required", form)
    for key, allowed in ENUMS.get(type_name, {}).items():
        text = value[key].value
        if isinstance(text, str) and text not in allowed:
            yield value[key].broken("unsupported value", listed(filter(None, allowed)), nearest=nearest(text, allowed))
    for key, (least, most) in RANGES.get(type_name, {}).items():
        number = value[key].integer
        if number is not None and not least <= number <= most:
            yield value[key].broken("out of range", f"{least} to {most}" if most < INT32_LAST else f"at least {least}")
    for key, (is_right, form) in FORMS.get(type_name, {}).items():
        if value[key].text and not is_right(value[key].text):
            yield value[key].broken("wrong form", form)
    for key, name in KEYED.get(type_name, {}).items():
        yield from check_unique(value[key], name)
    if rule := _RULES.get(type_name):
        yield from rule(value)


def _check_integers(value: Field) -> Iterator[Violation]:
    for name in value.mapping:
        number = value[str(name)]
        last = INT64_LAST if name in INT64_FIELDS else INT32_LAST
        if number.integer is not None and not -last <= number.integer <= last:
            yield number.broken("too large", f"an integer of {64 if last == INT64_LAST else 32} bits")


def _one_of(*keys: str) -> Rule:
    def check(value: Field) -> Iterator[Violation]:
        found = [key for key in keys if value[key].value not in (None, "")]
        if len(found) != 1:
            yield value.broken("exactly one is required", f"one of {listed(keys)}", found=listed(found) or "neither")

    return check


def _command(value: Field) -> Iterator[Violation]:
    if not value["command"].items:
        yield value["command"].broken("is required", "a list of at least one word")


def _toleration(value: Field) -> Iterator[Violation]:
    operator, seconds = value["operator"], value["tolerationSeconds"]
    if not value["key"].text and operator.text in ("", "Equal", "Lt", "Gt"):
        yield operator.broken("must be Exists where no key is given", "Exists, or a key")
    if seconds.is_present and value["effect"].text != "NoExecute":
        yield seconds.broken("is only for effect NoExecute", "nothing, or effect NoExecute")


def _selector(value: Field) -> Iterator[Violation]:
    yield from check_labels(value["matchLabels"])


def _label_requirement(value: Field) -> Iterator[Violation]:
    yield from _requirement(value)
    for item in value["values"].items:
        if not is_label_value(item.text):
            yield item.broken("not a label value", LABEL_VALUE_FORM)


def _requirement(value: Field) -> Iterator[Violation]:
    operator, values = value["operator"].text, value["values"]
    if operator in NO_VALUES and values.items:
        yield values.broken(f"operator {operator} takes no values", "nothing")
    elif operator in ("In", "NotIn") and not values.items:
        yield values.broken(f"operator {operator} needs values", "at least one value")
    elif operator in ("Gt", "Lt") and len(values.items) != 1:
        yield values.broken(f"operator {operator} needs one value", "one whole number")


def _node_selector(value: Field) -> Iterator[Violation]:
    if not value["nodeSelectorTerms"].items:
        yield value["nodeSelectorTerms"].broken("is required", "at least one term")


def _host_path(value: Field) -> Iterator[Violation]:
    if ".." in value["path"].text.split("/"):
        yield value["path"].broken("not a path", "a path without '..'")


def _security(value: Field) -> Iterator[Violation]:
    if value["privileged"].is_true and value["allowPrivilegeEscalation"].value is False:
        yield value["allowPrivilegeEscalation"].broken("privileged containers may always escalate", "true, or nothing")


def _profile(value: Field) -> Iterator[Violation]:
    if (value["type"].text == "Localhost") != bool(value["localhostProfile"].text):
        yield value["localhostProfile"].broken("goes with type Localhost, and only with it", "a profile's path")


_POD_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
_KEYED_FIELD = re.compile(r"metadata\.(?:labels|annotations)\['[^']+'\]")
_RESOURCE_FIELD = re.compile(r"(?:limits|requests)\.(?:cpu|memory|ephemeral-storage|hugepages-.+)")


def _env_source(value: Field) -> Iterator[Violation]:
    path = value["fieldRef"]["fieldPath"]
    if path.text and path.text not in _POD_FIELDS and not _KEYED_FIELD.fullmatch(path.text):
        allowed = f"{listed(_POD_FIELDS)}, metadata.labels['<key>'], metadata.annotations['<key>']"
        yield path.broken(
            "not a field of a pod that its environment may have", allowed, nearest=nearest(path.text, _POD_FIELDS)
        )


def _env_from(value: Field) -> Iterator[Violation]:
    prefix = value["prefix"]
    if prefix.text and not ENV_NAME.fullmatch(prefix.text):
        yield prefix.broken("not the beginning of an environment variable's name", ENV_NAME_FORM)
    yield from _one_of("configMapRef", "secretRef")(value)


def _host_alias(value: Field) -> Iterator[Violation]:
    for name in value["hostnames"].items:
        if isinstance(name.value, str) and not is_subdomain(name.text):
            yield name.broken("not a host name", SUBDOMAIN_FORM)


def _resource_field(value: Field) -> Iterator[Violation]:
    resource = value["resource"]
    if resource.text and not _RESOURCE_FIELD.fullmatch(resource.text):
        yield resource.broken(
            "not an amount", "limits. or requests. and cpu, memory, ephemeral-storage or hugepages-<size>"
        )


_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "AppArmorProfile": _profile,
        "Container": check_core_container,
        "DownwardAPIVolumeFile": _one_of("fieldRef", "resourceFieldRef"),
        "EmptyDirVolumeSource": check_empty_dir,
        "EnvFromSource": _env_from,
        "EnvVarSource": _env_source,
        "ExecAction": _command,
        "HostAlias": _host_alias,
        "HostPathVolumeSource": _host_path,
        "LabelSelector": _selector,
        "LabelSelectorRequirement": _label_requirement,
        "NodeSelector": _node_selector,
        "NodeSelectorRequirement": _requirement,
        "PodResourceClaim": _one_of("resourceClaimName", "resourceClaimTemplateName"),
        "PodSpec": check_pod_spec,
        "ResourceFieldSelector": _resource_field,
        "SeccompProfile": _profile,
        "SecurityContext": _security,
        "Sysctl": check_sysctl,
        "Toleration": _toleration,
        "VolumeMount": check_volume_mount,
    }
)
