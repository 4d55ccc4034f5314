"""Which differences from upstream's objects are meant; docs/compatibility.md explains each under the same id."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from tests.unit.operator_plane.render.differences import ABSENT, Difference


@dataclass(frozen=True)
class Rule:
    """Covers a difference of a kind at a path, where `holds` says that it is the one meant."""

    id: str
    kind: str
    path: str
    holds: Callable[[Difference], bool]

    def covers(self, difference: Difference) -> bool:
        """Whether this rule explains the difference."""
        at = re.fullmatch(self.kind, difference.kind) and re.fullmatch(self.path, difference.path)
        return bool(at) and self.holds(difference)


def _only_theirs(difference: Difference) -> bool:
    return bool(difference.ours == ABSENT)


def _only_ours(difference: Difference) -> bool:
    return bool(difference.theirs == ABSENT)


def _both(difference: Difference) -> bool:
    return ABSENT not in (difference.theirs, difference.ours)


def _key_pair(difference: Difference) -> bool:
    return difference.name == "mpi-run-ssh-secret" and _only_theirs(difference)


def _only_ours_of_workers(difference: Difference) -> bool:
    return _only_ours(difference) and "nvidia.com/dynamo-worker-hash" in difference.ours["metadata"]["labels"]


def _values(theirs: Any, ours: Any) -> Callable[[Difference], bool]:
    return lambda difference: bool((difference.theirs, difference.ours) == (theirs, ours))


def _same_picker_config(difference: Difference) -> bool:
    theirs, ours = (yaml.safe_load(str(side)) for side in (difference.theirs, difference.ours))
    return bool(_without_blanks(theirs) == ours)


def same_plugins(difference: Difference) -> bool:
    """The same plugins of an endpoint picker, apart from blanks."""
    return bool(_without_blanks(difference.theirs) == difference.ours)


def _same_launch(difference: Difference) -> bool:
    """Two scripts that start the same ranks on the same hosts with the same environment, or an SSH server."""
    theirs, ours = (_launch(str(script)) for (script,) in (difference.theirs, difference.ours))
    return bool(theirs == ours and theirs is not None)


def _launch(script: str) -> tuple[object, ...] | None:
    if "mpirun" not in script:
        return ("sshd",) if "/usr/sbin/sshd -D -f " in script else None
    size = re.search(r" -n (\d+) -H (\S+) ", script)
    assert size is not None
    engine = script.partition(" bash -c ")[2].strip()
    return size.groups(), sorted(re.findall(r"-x (\w+)", script)), engine


def _without_blanks(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_blanks(inner) for key, inner in value.items() if inner not in (None, "")}
    return [_without_blanks(inner) for inner in value] if isinstance(value, list) else value


_ANY = ".*"
_GRAPHS_CHILD = "DynamoComponentDeployment"
_CONTAINER = r"/spec/template/spec/containers\[[^]]+\]"
_GANG = "PodCliqueSet"
_GANG_CONTAINER = r"/spec/template/cliques\[[^]]+\]/spec/podSpec/containers\[[^]]+\]"
_POD = r"(/spec/template/spec|/podSpec)"
_POD_CONTAINER = rf"{_POD}/(initC|c)ontainers\[[^]]+\]"

RULES = (
    Rule("R1", _ANY, r"/metadata/annotations/nvidia\.com/last-applied-(generation|hash)", _only_theirs),
    Rule("R2", _GRAPHS_CHILD, r"/metadata/annotations/nvidia\.com/dcd-spec", lambda _: True),
    Rule("R3", _GRAPHS_CHILD, r"/metadata/finalizers", _values(["nvidia.com/finalizer"], ABSENT)),
    Rule("R4", f"{_GRAPHS_CHILD}|DynamoGraphDeploymentScalingAdapter", r"/status", _only_theirs),
    Rule("R6", "Deployment", rf"{_CONTAINER}/livenessProbe/failureThreshold", _values(1, 3)),
    Rule("R6", _GANG, rf"{_GANG_CONTAINER}/livenessProbe/failureThreshold", _values(1, 3)),
    Rule("R7", "Deployment", rf"{_CONTAINER}/args", _values(["-m", "dynamo.frontend"], ABSENT)),
    Rule("R8", "Deployment", rf"{_CONTAINER}/ports\[system\]", _only_ours),
    Rule("R9", "Service", r"/spec/ports\[system\]/targetPort", _values("system", "system-0")),
    Rule(
        "R10",
        "Deployment|Service",
        r"/spec(/selector|/template/metadata/labels)/nvidia\.com/dynamo-namespace",
        lambda difference: bool(difference.theirs == "ignored-one"),
    ),
    Rule("R11", "Ingress", r"/metadata/annotations/[^/]+", _only_ours),
    Rule("R12", "ConfigMap", r"/data/epp-config-dynamo\.yaml", _same_picker_config),
    Rule("R12", _GRAPHS_CHILD, r"/spec/eppConfig/config/(apiVersion|kind)", _only_theirs),
    Rule("R12", _GRAPHS_CHILD, r"/spec/eppConfig/config/plugins", same_plugins),
    Rule("R13", "ConfigMap", r"/data/wait-for-leader\.py", _both),
    Rule("R14", "Secret", "", _key_pair),
    Rule("R15", "LeaderWorkerSet", "", _only_ours),
    Rule("R15", "Service", "", _only_ours_of_workers),
    Rule("R16", _GANG, rf"{_GANG_CONTAINER}/resources", _values({}, ABSENT)),
    Rule("R17", _GANG, rf"{_GANG_CONTAINER}/args", _same_launch),
    Rule("R18", _ANY, rf".*{_POD}/securityContext/seccompProfile", _values(ABSENT, {"type": "RuntimeDefault"})),
    Rule("R18", _ANY, rf".*{_POD_CONTAINER}/securityContext", _values(ABSENT, {"allowPrivilegeEscalation": False})),
    Rule("R18", _ANY, rf".*{_POD_CONTAINER}/securityContext/allowPrivilegeEscalation", _values(ABSENT, False)),
)
# Generation hashes are made equal before comparing, so this one covers no single difference.
HASH_RULE = "R5"
