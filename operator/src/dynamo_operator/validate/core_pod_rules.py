"""Rules of a pod's own objects that an API server has beyond their forms: the pod, its containers, volumes and mounts.

Pure. In the table of `core_rules`, for pod templates and for v1alpha1's `extraPodSpec` and `mainContainer` alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from dynamo_operator.api.quantity import parse_quantity
from dynamo_operator.validate.core_tables import is_address
from dynamo_operator.validate.field import Field
from dynamo_operator.validate.violation import Violation

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
HOST_NAMESPACES = ("hostIPC", "hostNetwork", "hostPID")
_SYSCTL = re.compile(r"(?=.{1,253}$)([a-z0-9]([-_a-z0-9]*[a-z0-9])?[./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?", re.ASCII)


def check_pod_spec(pod: Field) -> Iterator[Violation]:
    if pod["activeDeadlineSeconds"].is_present:
        yield pod["activeDeadlineSeconds"].broken("is not for pods of a Deployment", "nothing")
    if pod["ephemeralContainers"].items:
        yield pod["ephemeralContainers"].broken("are added to running pods only", "nothing")
    if pod["dnsPolicy"].text == "None" and not pod["dnsConfig"]["nameservers"].items:
        yield pod["dnsConfig"]["nameservers"].broken("is required with dnsPolicy None", "at least one address")
    for address in pod["dnsConfig"]["nameservers"].items:
        if not is_address(address.text):
            yield address.broken("not an address", "an IP address")
    if pod["hostUsers"].value is False:
        for name in HOST_NAMESPACES:
            if pod[name].is_true:
                yield pod[name].broken("cannot be had with hostUsers: false", "false, or nothing")
    yield from _check_spread(pod["topologySpreadConstraints"])
    for container in pod["initContainers"].items:
        yield from _check_init_container(container)
    if pod["hostNetwork"].is_true:
        for container in (*pod["containers"].items, pod["mainContainer"]):
            yield from _check_host_ports(container["ports"])


def check_core_container(container: Field) -> Iterator[Violation]:
    if container["securityContext"]["privileged"].is_true:
        return
    for mount in container["volumeMounts"].items:
        if mount["mountPropagation"].text == "Bidirectional":
            yield mount["mountPropagation"].broken("needs a privileged container", "HostToContainer, None, or nothing")


def check_volume_mount(mount: Field) -> Iterator[Violation]:
    inside, expression = mount["subPath"], mount["subPathExpr"]
    if inside.text and expression.text:
        yield expression.broken("subPath is set too", "one of subPath, subPathExpr")
    for path in (inside, expression):
        if path.text.startswith("/") or ".." in path.text.split("/"):
            yield path.broken("not a path inside a volume", "a relative path without '..'")


def check_sysctl(sysctl: Field) -> Iterator[Violation]:
    if sysctl["name"].text and not _SYSCTL.fullmatch(sysctl["name"].text):
        yield sysctl["name"].broken("not a kernel parameter", "a name like net.core.somaxconn")


def check_empty_dir(volume: Field) -> Iterator[Violation]:
    medium, size = volume["medium"], parse_quantity(volume["sizeLimit"].value)
    if medium.text and medium.text != "Memory" and not medium.text.startswith("HugePages"):
        yield medium.broken("unsupported value", "Memory, HugePages, HugePages-<size>, or nothing for the disk")
    if size is not None and size < 0:
        yield volume["sizeLimit"].broken("a negative size", "0 or more")


def _check_spread(constraints: Field) -> Iterator[Violation]:
    seen: dict[tuple[str, str], str] = {}
    for constraint in constraints.items:
        key = constraint["topologyKey"].text, constraint["whenUnsatisfiable"].text
        first = seen.setdefault(key, constraint.path)
        if first != constraint.path:
            yield constraint.broken(f"duplicate of {first}", "each topologyKey and whenUnsatisfiable once")


def _check_init_container(container: Field) -> Iterator[Violation]:
    if container["restartPolicy"].text == "Always":
        return
    for name in (*PROBES, "lifecycle"):
        if container[name].is_present:
            yield container[name].broken(
                "is for init containers that go on running", "nothing, or restartPolicy: Always"
            )


def _check_host_ports(ports: Field) -> Iterator[Violation]:
    for port in ports.items:
        if port["hostPort"].integer not in (None, 0, port["containerPort"].integer):
            yield port["hostPort"].broken("differs from containerPort, with hostNetwork", "the same number, or nothing")
