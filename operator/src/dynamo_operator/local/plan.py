"""From rendered objects to processes: the laptop's counterpart of what a cluster does with Deployments.

Pure: free ports and available modules are asked through the settings. Called by the command line before anything
starts, so every refusal comes first. What a pod template says and this machine cannot do becomes one note.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dynamo_operator.local.command import command_line, is_shell, module_of, without_image_files
from dynamo_operator.local.environment import Pod, environment, ignored
from dynamo_operator.local.errors import Refused
from dynamo_operator.local.ports import assign_ports, named_port
from dynamo_operator.local.specs import Note, Plan, Probe, ProcessSpec

Json = Mapping[str, Any]

_LABEL = "nvidia.com/dynamo-"
_OPTIONAL_ROLES = frozenset({"planner", "epp"})
_WORKER_ROLES = frozenset({"worker", "prefill", "decode"})
_OWN_MODULES = ("dynamo.frontend", "dynamo.mocker")


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """What this machine and the command line say."""

    namespace: str
    """Kubernetes namespace that the graph was rendered for."""
    discovery_folder: str
    python: str
    """Path of the interpreter that runs `python` and `python3` commands."""
    host: str
    """Address that frontends listen on."""
    take_port: Callable[[int | None], int]
    """A free port; given a number, that one or the next free one. The same port is never given twice."""
    is_available: Callable[[str], bool]
    """Whether `python -m <module>` can start here."""
    exists: Callable[[str], bool]
    """Whether there is a file or folder of this path."""
    frontend_port: int | None = None
    """The first frontend's port; None: what the manifest says, or the next free one."""


@dataclass(frozen=True, slots=True)
class _Component:
    """One Deployment's pod template, unpacked."""

    name: str
    role: str
    deployment: str
    replicas: int
    metadata: Json
    pod_spec: Json
    container: Json


def plan(graph: str, objects: Iterable[Json], settings: PlanSettings) -> Plan:
    """Raises Refused for a component that cannot run here: no command, or an engine that is not installed."""
    notes: dict[str, list[str]] = defaultdict(list)
    processes: list[ProcessSpec] = []
    components = list(_components(objects))
    _check_engines(components, settings)
    for component in components:
        if not _runs_here(component, settings, notes):
            continue
        for text in ignored(component.pod_spec, component.container):
            notes[text].append(component.name)
        for index in range(component.replicas):
            spec, said = _process(component, index, settings, is_first_frontend=not _frontends(processes))
            processes.append(spec)
            for text in said if index == 0 else ():
                notes[text].append(component.name)
    if not processes:
        raise Refused(f"graph {graph!r} has nothing to run: every component is left out or has 0 replicas")
    front = next(iter(_frontends(processes)), None)
    return Plan(
        graph=graph,
        processes=tuple(_informed(spec, processes) for spec in processes),
        notes=tuple(Note(text, tuple(names)) for text, names in notes.items()),
        url=f"http://{front.host}:{front.http_port}" if front else None,
        serves_models=front is not None
        and module_of(front.argv) == "dynamo.frontend"
        and any(spec.role in _WORKER_ROLES for spec in processes),
    )


def _components(objects: Iterable[Json]) -> Iterator[_Component]:
    for deployment in objects:
        if deployment.get("kind") != "Deployment":
            continue
        template: Json = deployment["spec"]["template"]
        metadata: Json = template.get("metadata") or {}
        labels: Json = metadata.get("labels") or {}
        name = str(labels.get(f"{_LABEL}component") or deployment["metadata"]["name"])
        containers: Sequence[Json] = template["spec"]["containers"]
        replicas = deployment["spec"].get("replicas")
        yield _Component(
            name=name,
            role=str(labels.get(f"{_LABEL}component-type") or ""),
            deployment=str(deployment["metadata"]["name"]),
            replicas=1 if replicas is None else int(replicas),
            metadata=metadata,
            pod_spec=template["spec"],
            container=next((each for each in containers if each.get("name") == "main"), containers[0]),
        )


def _runs_here(component: _Component, settings: PlanSettings, notes: dict[str, list[str]]) -> bool:
    words = command_line(component.container, {}, {}, settings.python)
    if not words or (is_shell(words) and len(words) < 3):
        if component.role in _OPTIONAL_ROLES:
            notes["left out: its command comes from its image"].append(component.name)
            return False
        raise Refused(
            f"component {component.name!r} has no command: on a cluster its image brings one, here nothing does",
            "give its main container a command, for example [python3, -m, dynamo.mocker]",
        )
    if (missing := _missing_module(component, settings)) is not None:
        notes[f"left out: {missing} is not installed here"].append(component.name)
        return False
    return True


def _check_engines(components: Iterable[_Component], settings: PlanSettings) -> None:
    """Refuses components that cannot be left out and whose engine is not installed, all of one engine at once."""
    missing: dict[str, list[str]] = defaultdict(list)
    for component in components:
        module = _missing_module(component, settings)
        if module is not None and component.role not in _OPTIONAL_ROLES:
            missing[module].append(repr(component.name))
    for module, names in missing.items():
        subject, verb = ("component", "runs") if len(names) == 1 else ("components", "run")
        near = difflib.get_close_matches(module, _OWN_MODULES, n=1)
        raise Refused(
            f"{subject} {', '.join(names)} {verb} {module}, which is not installed here",
            f"did you mean {near[0]}?"
            if near
            else "to try the graph without that engine, make the command [python3, -m, dynamo.mocker] in a copy of the "
            "file and drop the engine's own args; examples/agg-router.yaml shows how",
        )


def _missing_module(component: _Component, settings: PlanSettings) -> str | None:
    """The part of this product that the component runs, if it is not installed here."""
    module = module_of(command_line(component.container, {}, {}, settings.python))
    is_ours = module is not None and module.startswith("dynamo.")
    return module if module is not None and is_ours and not settings.is_available(module) else None


def _process(
    component: _Component, index: int, settings: PlanSettings, *, is_first_frontend: bool
) -> tuple[ProcessSpec, tuple[str, ...]]:
    ports = assign_ports(
        component.container,
        is_frontend=component.role == "frontend",
        wanted=settings.frontend_port if is_first_frontend else None,
        take=settings.take_port,
    )
    pod = _pod(component, index, settings)
    env, notes = environment(component.container, pod, ports.moved, settings.discovery_folder)
    if is_first_frontend and ports.evaded is not None:
        notes += (f"port {ports.evaded} is taken, so the frontend listens on {ports.http}; --port chooses another",)
    if ports.system is not None:
        env["DYN_SYSTEM_PORT"] = str(ports.system)
    argv, left_out = without_image_files(
        command_line(component.container, env, ports.moved, settings.python), settings.exists
    )
    notes += left_out
    return ProcessSpec(
        name=f"{component.name.lower()}-{index}",
        pod=pod.name,
        component=component.name,
        role=component.role,
        argv=argv,
        env=env,
        readiness=_readiness(component.container, ports.moved),
        http_port=ports.http,
        system_port=ports.system,
        host=_reachable(settings.host) if ports.http else "127.0.0.1",
        has_shell=is_shell(argv),
    ), notes


def _informed(spec: ProcessSpec, processes: Sequence[ProcessSpec]) -> ProcessSpec:
    """A planner is told where to read metrics: there is no API server to ask, and nothing here that it could scale."""
    if spec.role != "planner":
        return spec
    frontends = ",".join(f"http://{each.host}:{each.http_port}" for each in _frontends(processes))
    is_split = any(each.role == "prefill" for each in processes)
    names = {"worker": "decode" if is_split else "aggregated", "prefill": "prefill", "decode": "decode"}
    workers = ",".join(
        f"{names[each.role]}=http://{each.host}:{each.system_port}" for each in processes if each.role in names
    )
    told = {"DYN_PLANNER_FRONTEND_URLS": frontends, "DYN_PLANNER_WORKER_URLS": workers}
    return replace(spec, env={**spec.env, **told})


def _readiness(container: Json, ports: Mapping[int, int]) -> Probe | None:
    probe: Json = container.get("readinessProbe") or {}
    check: Json = probe.get("httpGet") or probe.get("tcpSocket") or {}
    port = check.get("port")
    if port is None:
        return None
    number = int(port) if str(port).isdigit() else named_port(container, str(port))
    if number is None:
        return None
    return Probe(
        port=ports.get(number, number),
        path=str(check.get("path") or "/") if "httpGet" in probe else None,
        timeout_s=float(probe.get("timeoutSeconds") or 1),
    )


def _pod(component: _Component, index: int, settings: PlanSettings) -> Pod:
    return Pod(
        name=f"{component.deployment}-{index}",
        namespace=settings.namespace,
        labels=component.metadata.get("labels") or {},
        annotations=component.metadata.get("annotations") or {},
        service_account=str(component.pod_spec.get("serviceAccountName") or "default"),
        host=settings.host,
    )


def _frontends(processes: Sequence[ProcessSpec]) -> list[ProcessSpec]:
    return [spec for spec in processes if spec.http_port is not None]


def _reachable(host: str) -> str:
    """Where a client on this machine finds a server bound to `host`."""
    wildcard = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - compared with, not bound to
    return wildcard.get(host) or (f"[{host}]" if ":" in host else host)
