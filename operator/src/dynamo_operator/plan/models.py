"""What a DynamoModel asks of the workers of its base model, and what it reports. Pure.

What a worker has loaded is asked of the worker. The status remembers one thing per endpoint that no worker tells: under
which name and from where we loaded it (`Wish.mark`), so that a renamed or moved adapter replaces the one before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dynamo_operator.kube import Live
from dynamo_operator.plan.conditions import Change, Status, Verdict, condition_of, conditions
from dynamo_operator.plan.models_secrets import redacted
from dynamo_operator.render import names

SYSTEM_PORT = 9090
ENDPOINTS_READY, SERVICES_FOUND = "EndpointsReady", "ServicesFound"
NAMED_FAILURES = 3
_ADDRESS_TYPES = ("IPv4", "IPv6")  # a host name in a slice is somebody's own, and may lead anywhere


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """A worker's system server. `is_ready` as its pod is; only ready ones are asked."""

    pod: str
    address: str
    is_ready: bool


@dataclass(frozen=True, slots=True)
class Wish:
    """The adapter that a model wants loaded."""

    name: str
    uri: str

    @property
    def mark(self) -> str:
        """Name and origin, without secrets: a new password or signature is no reason to load again."""
        return f"{self.name}@{hashlib.sha256(redacted(self.uri).encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True)
class Steps:
    """What brings one worker to a wish."""

    unload: str = ""
    load: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One endpoint after a pass. `mark`: what we loaded there last. No failure and not ready: it is still loading."""

    endpoint: Endpoint
    mark: str = ""
    is_ready: bool = False
    failure: str = ""


def base_model_of(model: Live) -> str:
    return str(model.document["spec"]["baseModelName"])


def wish_of(model: Live) -> Wish | None:
    """None for models that nothing is loaded for: base models, and adapters that somebody else loads."""
    spec = model.document["spec"]
    if spec.get("modelType") != "lora":
        return None
    return Wish(spec["modelName"], (spec.get("source") or {}).get("uri", ""))


def endpoints_of(slices: Iterable[Live], base_model: str) -> tuple[Endpoint, ...]:
    """Every worker of a base model once, those that are ending left out."""
    found: dict[str, Endpoint] = {}
    for live in sorted(_of_model(slices, base_model), key=lambda each: (each.document["addressType"], each.ref)):
        port = next((each["port"] for each in live.document.get("ports") or () if each.get("name") == "system"), None)
        for each in live.document.get("endpoints") or ():
            target = each.get("targetRef") or {}
            state = each.get("conditions") or {}
            if not state.get("terminating"):
                endpoint = Endpoint(
                    pod=target.get("name") or "",
                    address=_address(each["addresses"][0], port or SYSTEM_PORT),
                    is_ready=state.get("ready") is not False,
                )
                found.setdefault(target.get("uid") or endpoint.address, endpoint)  # a pod may be in two families
    return tuple(sorted(found.values()))


def marks_of(model: Live) -> Mapping[tuple[str, str], str]:
    """What we loaded, by pod and address, as the status remembers it."""
    listed = (model.document.get("status") or {}).get("endpoints") or ()
    return {(each.get("podName") or "", each["address"]): each.get("loaded") or "" for each in listed}


def name_in(mark: str) -> str:
    return mark.rpartition("@")[0]


def steps_of(wish: Wish, mark: str, loaded: frozenset[str], kept: frozenset[str]) -> Steps:
    """`loaded`: what the worker has. `kept`: names that other models want there."""
    before = name_in(mark)
    is_renamed = bool(before) and before != wish.name
    is_moved = before == wish.name and mark != wish.mark
    if is_renamed and before in loaded and before not in kept:
        return Steps(unload=before, load=wish.name not in loaded)
    if is_moved and before in loaded:
        return Steps(unload=before, load=True)
    return Steps(load=wish.name not in loaded)


def kept_names(model: Live, others: Iterable[Live]) -> frozenset[str]:
    """Adapters of the same base model that other models want."""
    mates = (each for each in others if each.uid != model.uid and not each.is_terminating)
    wishes = (wish_of(each) for each in mates if base_model_of(each) == base_model_of(model))
    return frozenset(wish.name for wish in wishes if wish is not None)


def model_status(model: Live, findings: Sequence[Finding], *, has_service: bool, now: str) -> Status:
    ready = sum(each.is_ready for each in findings)
    verdicts = (_readiness(model, findings, ready), _services(model, has_service=has_service))
    return {
        "endpoints": [_shown(each) for each in findings],
        "readyEndpoints": ready,
        "totalEndpoints": len(findings),
        "conditions": conditions(model.document.get("status") or {}, verdicts, now, model.generation),
    }


def model_changes(previous: Mapping[str, Any], status: Mapping[str, Any]) -> tuple[Change, ...]:
    """News of a model between two statuses, one Event at most."""
    now, before = (condition_of(each, ENDPOINTS_READY) for each in (status, previous))
    if (now["reason"], now["message"]) == (before.get("reason"), before.get("message")):
        return ()
    message, is_partial = now["message"], status["readyEndpoints"] > 0
    match now["reason"]:
        case "NoEndpoints":
            return (Change("NoEndpointsFound", message, is_warning=True),)
        case "AllEndpointsReady":
            return (Change("EndpointsReady", message),)
        case "NotReady":
            return (Change("PartialEndpointFailure" if is_partial else "NotReady", message, is_warning=True),)
        case reason:
            return (Change(reason, message),)


def _readiness(model: Live, findings: Sequence[Finding], ready: int) -> Verdict:
    wish, base, total = wish_of(model), base_model_of(model), len(findings)
    if not findings:
        return Verdict(
            ENDPOINTS_READY, False, "NoEndpoints", f"no pod of a component with modelRef.name {base} has an address yet"
        )
    if wish is None:
        return Verdict(ENDPOINTS_READY, True, "EndpointsDiscovered", f"{_counted(total)} of base model {base}")
    if ready == total:
        text = f"adapter {wish.name} is loaded on all of {_counted(total)}"
        return Verdict(ENDPOINTS_READY, True, "AllEndpointsReady", text)
    lacking = [f"{each.endpoint.pod or each.endpoint.address} {_lack(each)}" for each in findings if not each.is_ready]
    more = [f"{len(lacking) - NAMED_FAILURES} more"] if len(lacking) > NAMED_FAILURES else []
    text = f"adapter {wish.name} is loaded on {ready} of {_counted(total)}: "
    return Verdict(ENDPOINTS_READY, False, "NotReady", text + "; ".join([*lacking[:NAMED_FAILURES], *more]))


def _services(model: Live, *, has_service: bool) -> Verdict:
    base = base_model_of(model)
    name = f"dynamo-model-{names.model_hash(base)}"
    if has_service:
        return Verdict(SERVICES_FOUND, True, "ServicesFound", f"Service {name} covers the pods of base model {base}")
    lacks = f"no component in namespace {model.ref.namespace} has modelRef.name {base}, so there is no Service {name}"
    return Verdict(SERVICES_FOUND, False, "NoServicesFound", lacks)


def _lack(finding: Finding) -> str:
    if finding.failure:
        return finding.failure
    return "is loading it" if finding.endpoint.is_ready else "is not ready"


def _counted(total: int) -> str:
    return f"{total} endpoint" if total == 1 else f"{total} endpoints"


def _shown(finding: Finding) -> dict[str, Any]:
    endpoint = finding.endpoint
    return {
        "address": endpoint.address,
        **({"podName": endpoint.pod} if endpoint.pod else {}),
        "ready": finding.is_ready,
        **({"loaded": finding.mark} if finding.mark else {}),
    }


def _of_model(slices: Iterable[Live], base_model: str) -> list[Live]:
    """A slice that says which model it is of is believed; few do."""
    return [
        each
        for each in slices
        if each.document.get("addressType") in _ADDRESS_TYPES
        and each.annotations.get(names.BASE_MODEL, base_model) == base_model
    ]


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
