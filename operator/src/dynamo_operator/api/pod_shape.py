"""The form of what rendering reads in a pod template; every failure names the field. Pure; called by `parse`.

An API server has checked a stored object against its schema already. Files on a laptop, and objects whose schema was
looser when they were stored, have not been, and rendering may then not stumble over them.
"""

from __future__ import annotations

from dynamo_operator.api.documents import (
    EMPTY,
    JsonObject,
    read_count,
    read_labels,
    read_list,
    read_object,
    read_text,
    require_text,
)
from dynamo_operator.api.errors import SpecError

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def check_pod_template(template: JsonObject, path: str) -> None:
    """Raises SpecError for the first field that has not the form that rendering relies on."""
    metadata = read_object(template, "metadata", path) or EMPTY
    for key in ("labels", "annotations"):
        read_labels(metadata, key, f"{path}.metadata")
    pod = read_object(template, "spec", path) or EMPTY
    for key in ("containers", "initContainers"):
        for position, container in enumerate(read_list(pod, key, f"{path}.spec")):
            _check_container(container, f"{path}.spec.{key}[{position}]")
    for key in ("imagePullSecrets", "resourceClaims", "volumes"):
        _check_named(pod, key, f"{path}.spec")
    read_list(pod, "tolerations", f"{path}.spec")
    for key in ("schedulerName", "serviceAccountName"):
        read_text(pod, key, f"{path}.spec")


def check_environment(owner: JsonObject, path: str, key: str = "env") -> None:
    """Entries with a name, and with a text or a source as their value."""
    for position, entry in enumerate(_check_named(owner, key, path)):
        read_text(entry, "value", f"{path}.{key}[{position}]")
        read_object(entry, "valueFrom", f"{path}.{key}[{position}]")


def _check_container(container: JsonObject, path: str) -> None:
    require_text(container, "name", path)
    read_text(container, "image", path)
    for key in ("command", "args"):
        _check_words(container, key, path)
    check_environment(container, path)
    for position, mount in enumerate(_check_named(container, "volumeMounts", path)):
        read_text(mount, "mountPath", f"{path}.volumeMounts[{position}]")
    for position, port in enumerate(read_list(container, "ports", path)):
        read_text(port, "name", f"{path}.ports[{position}]")
        if read_count(port, "containerPort", f"{path}.ports[{position}]", default=0) == 0:
            raise SpecError(f"{path}.ports[{position}].containerPort", port.get("containerPort"), "a port's number")
    resources = read_object(container, "resources", path) or EMPTY
    for key in ("limits", "requests"):
        read_object(resources, key, f"{path}.resources")
    read_list(resources, "claims", f"{path}.resources")
    for key in PROBES:
        _check_probe(container, key, path)


def _check_probe(container: JsonObject, key: str, path: str) -> None:
    probe = read_object(container, key, path) or EMPTY
    handler = read_object(probe, "httpGet", f"{path}.{key}") or EMPTY
    port = handler.get("port")
    if port is not None and not isinstance(port, (str, int)):
        raise SpecError(f"{path}.{key}.httpGet.port", port, "a port's name or number")


def _check_words(container: JsonObject, key: str, path: str) -> None:
    words = container.get(key)
    if words is not None and not isinstance(words, (list, tuple)):
        raise SpecError(f"{path}.{key}", words, "a list of strings")
    for position, word in enumerate(words or ()):
        if not isinstance(word, str):
            raise SpecError(f"{path}.{key}[{position}]", word, "a string")


def _check_named(owner: JsonObject, key: str, path: str) -> list[JsonObject]:
    """The list at `key`, all of whose items have a name."""
    items = list(read_list(owner, key, path))
    for position, item in enumerate(items):
        require_text(item, "name", f"{path}.{key}[{position}]")
    return items
