"""Rules of one container: environment, ports, probes and mounts that an API server would refuse, or that cannot start.

Pure. Called by `pods` for each container of a component's pod.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from dynamo_operator.validate.field import Field
from dynamo_operator.validate.violation import Violation, listed, nearest

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
VALUE_SOURCES = ("configMapKeyRef", "fieldRef", "fileKeyRef", "resourceFieldRef", "secretKeyRef")
IMAGE_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
PROTOCOLS = ("TCP", "UDP", "SCTP")

ENV_NAME = re.compile(r"[ -<>-~]+")  # printable ASCII without "="
ENV_NAME_FORM = 'one or more printable ASCII characters, without "="'
_PORT_NAME = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?", re.ASCII)
# 0 is as good as absent: an API server takes its default for it.
_PROBE_NUMBERS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")


def check_container(
    container: Field, volumes: frozenset[str], added_ports: tuple[str, ...], completed: tuple[str, ...] = ()
) -> Iterator[Violation]:
    """`volumes` are the names that mounts may use; `added_ports` the port names that rendering adds here.

    `completed` are the probes that need not say how to ask: rendering knows it from elsewhere.
    """
    yield from check_enum(container["imagePullPolicy"], IMAGE_PULL_POLICIES)
    yield from check_env(container["env"])
    yield from check_ports(container["ports"])
    yield from check_mounts(container["volumeMounts"], volumes)
    port_names = frozenset(container["ports"].names) | frozenset(added_ports)
    for name in PROBES:
        yield from check_probe(container[name], port_names, needs_handler=name not in completed)
    for hook in ("postStart", "preStop"):
        handler = container["lifecycle"][hook]
        if handler.is_present:
            yield from _one_of(handler, ("exec", "httpGet", "tcpSocket", "sleep"), "handler")


def check_env(env: Field, *, is_of_a_container: bool = True) -> Iterator[Violation]:
    """A container's list is keyed by name. Lists that are merged into one may repeat a name: the last entry wins."""
    seen: dict[str, str] = {}
    for entry in env.items:
        name = entry["name"]
        if name.value == "" or (name.text and not ENV_NAME.fullmatch(name.text)):
            yield name.broken("not a name for an environment variable", ENV_NAME_FORM)
        if name.text in seen and is_of_a_container:
            yield name.broken(f"duplicate of {seen[name.text]}", "each name once")
        elif name.text:
            seen[name.text] = entry.path
        source = entry["valueFrom"]
        if not source.is_present:
            continue
        if entry["value"].text:
            yield source.broken("value and valueFrom are both set", "one of value, valueFrom")
        yield from _one_of(source, VALUE_SOURCES, "source")


def check_ports(ports: Field) -> Iterator[Violation]:
    seen: dict[tuple[int | None, str], str] = {}
    for port in ports.items:
        inside, outside = port["containerPort"], port["hostPort"]
        if inside.integer is not None and not 0 < inside.integer < 65536:
            yield inside.broken("not a port number", "1 to 65535")
        if outside.integer is not None and not 0 <= outside.integer < 65536:
            yield outside.broken("not a port number", "1 to 65535, or 0 for none")
        yield from check_enum(port["protocol"], PROTOCOLS)
        name = port["name"]
        if name.text and not _PORT_NAME.fullmatch(name.text):
            yield name.broken("not a port name", "1 to 15 of a-z, 0-9 and single inner '-', with at least one letter")
        key = port["containerPort"].integer, port["protocol"].text or "TCP"
        if key in seen:
            yield port["containerPort"].broken(f"duplicate of {seen[key]}", "each port and protocol once")
        elif key[0] is not None:
            seen[key] = port.path
    yield from check_unique(ports, "name")


def check_mounts(mounts: Field, volumes: frozenset[str], path_key: str = "mountPath") -> Iterator[Violation]:
    """Mounts name known volumes and different paths. `path_key` is `mountPoint` in v1alpha1's dedicated mounts."""
    for mount in mounts.items:
        name, path = mount["name"], mount[path_key]
        if name.text and name.text not in volumes:
            yield name.broken(
                "no such volume in this pod", listed(sorted(volumes)) or "none", nearest=nearest(name.text, volumes)
            )
        if path.value == "" or ":" in path.text:
            yield path.broken("not a path to mount at", 'a path without ":"')
    yield from check_unique(mounts, path_key)


def check_probe(probe: Field, port_names: frozenset[str], *, needs_handler: bool = True) -> Iterator[Violation]:
    if not probe.is_present:
        return
    if needs_handler or asks(probe):
        yield from _one_of(probe, HANDLERS, "handler")
    for name in _PROBE_NUMBERS:
        number = probe[name]
        if number.integer is not None and number.integer < 0:
            yield number.broken("too small", "at least 0")
    if not probe.path.endswith("readinessProbe") and (probe["successThreshold"].integer or 1) != 1:
        yield probe["successThreshold"].broken("only a readiness probe may ask for more than one success", "1")
    for handler in ("httpGet", "tcpSocket"):
        port = probe[handler]["port"]
        if port.integer is not None and not 0 < port.integer < 65536:
            yield port.broken("not a port number", "1 to 65535")
        elif port.text and port.text not in port_names:
            allowed = listed(sorted(port_names)) or "a port number"
            yield port.broken("no port of this name in the container", allowed, nearest=nearest(port.text, port_names))


def asks(probe: Field) -> bool:
    """Whether the probe says how to ask."""
    return any(probe[handler].is_present for handler in HANDLERS)


def check_enum(field: Field, allowed: tuple[str, ...]) -> Iterator[Violation]:
    if field.text and field.text not in allowed:
        yield field.broken("unsupported value", listed(allowed), nearest=nearest(field.text, allowed))


def check_unique(items: Field, key: str) -> Iterator[Violation]:
    """Elements of a list have different values of `key`; absent ones are not compared."""
    seen: dict[str, str] = {}
    for item in items.items:
        value = item[key].text
        if value in seen:
            yield item[key].broken(f"duplicate of {seen[value]}", "each once")
        elif value:
            seen[value] = item.path


def _one_of(field: Field, names: tuple[str, ...], what: str) -> Iterator[Violation]:
    found = [name for name in names if field[name].is_present]
    if len(found) > 1:
        yield field.broken(f"more than one {what}", f"one of {listed(names)}", found=listed(found))
    elif not found:
        yield field.broken(f"no {what}", f"one of {listed(names)}")
