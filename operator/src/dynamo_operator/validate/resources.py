"""Rules of resource amounts: a pod that breaks them is refused by an API server, or never scheduled.

Pure. Called by `pods` for each container, and for v1alpha1's dedicated `resources` block.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from dynamo_operator.api.quantity import ALLOWED, parse_quantity
from dynamo_operator.validate.field import Field
from dynamo_operator.validate.text_forms import is_qualified_name
from dynamo_operator.validate.violation import Violation, listed, nearest

STANDARD = ("cpu", "memory", "ephemeral-storage")
HUGE_PAGES = "hugepages-"
QUOTA_PREFIX = "requests."  # a quota's way to name a device's amount
DEFAULT_GPU = "nvidia.com/gpu"
NO_RESOURCES = Field("", None)

Amounts = dict[str, tuple[Field, Fraction]]


def check_resources(
    resources: Field, claims: frozenset[str], *, needs_gpu_limit: bool = True, beside: Field = NO_RESOURCES
) -> Iterator[Violation]:
    """A container's `resources`; `claims` are the pod's resource claims.

    `needs_gpu_limit` is false where rendering moves the GPUs into a claim (GPU memory service). `beside` is the block
    of a v1alpha1 service that the container's own entries are laid over.
    """
    limits = _alpha_amounts(beside["limits"]) | _amounts(resources["limits"])
    requests = _alpha_amounts(beside["requests"]) | _amounts(resources["requests"])
    yield from _check_names((*resources["limits"].entries, *resources["requests"].entries))
    yield from check_amounts(limits, requests, needs_gpu_limit=needs_gpu_limit)
    yield from _check_claims(resources["claims"], claims)


def check_alpha_resources(resources: Field, claims: frozenset[str]) -> Iterator[Violation]:
    """v1alpha1's block: cpu, memory, gpu (of gpuType) and a custom map, in requests and limits; and claims.

    Its amounts are judged with those of the main container, in `check_resources`.
    """
    for part in ("limits", "requests"):
        kind = resources[part]["gpuType"]
        if kind.text and not ("/" in kind.text and is_qualified_name(kind.text)):
            yield kind.broken("not a device", f"a name like {DEFAULT_GPU}")
        for field in (resources[part]["cpu"], resources[part]["memory"], resources[part]["gpu"]):
            if field.text and parse_quantity(field.value) is None:
                yield field.broken("not a quantity", ALLOWED)
        for field in _custom(resources[part]):
            if isinstance(field.value, str) and parse_quantity(field.value) is None:
                yield field.broken("not a quantity", ALLOWED)
    yield from _check_names(
        (*resources["limits"]["custom"].entries, *resources["requests"]["custom"].entries),
    )
    yield from _check_claims(resources["claims"], claims)


def check_amounts(limits: Amounts, requests: Amounts, *, needs_gpu_limit: bool = True) -> Iterator[Violation]:
    pages = next((field for name, (field, _) in limits.items() if name.startswith(HUGE_PAGES)), None)
    if pages is not None and not {"cpu", "memory"} & {*limits, *requests}:
        yield pages.broken("huge pages alone", "cpu or memory beside them")
    for name, (field, amount) in (*limits.items(), *requests.items()):
        if amount < 0:
            yield field.broken("a negative amount", "0 or more")
        elif is_extended(name) and amount.denominator != 1:
            yield field.broken(f"{name} cannot be shared out in fractions", "a whole number")
    for name, (field, amount) in requests.items():
        limit = limits.get(name)
        if limit is None:
            if (is_extended(name) and needs_gpu_limit) or name.startswith(HUGE_PAGES):
                yield field.broken(f"{name} needs a limit too", "the same amount in limits")
        elif amount > limit[1]:
            yield field.broken(f"more than the limit at {limit[0].path}", f"at most {limit[0].value}")
        elif is_extended(name) and amount != limit[1]:
            yield field.broken(f"{name} cannot be overcommitted", f"the limit, {limit[0].value}")


def is_extended(name: str) -> bool:
    """Whether the resource comes from a device plug-in: counted in whole numbers and never overcommitted."""
    return "/" in name and "kubernetes.io/" not in name


def gpu_count(resources: Field) -> Fraction:
    """Devices in limits, else in requests: every extended resource whose name says it is a GPU."""
    for part in ("limits", "requests"):
        counts = [amount for name, (_, amount) in _amounts(resources[part]).items() if "gpu" in name]
        if counts:
            return sum(counts, Fraction(0))
    return Fraction(0)


def alpha_gpu_count(resources: Field) -> Fraction:
    for part in ("limits", "requests"):
        amount = parse_quantity(resources[part]["gpu"].value)
        if amount is not None:
            return amount
    return Fraction(0)


def _check_claims(listed_claims: Field, claims: frozenset[str]) -> Iterator[Violation]:
    seen: dict[tuple[str, str], str] = {}
    for claim in listed_claims.items:
        name = claim["name"]
        first = seen.setdefault((name.text, claim["request"].text), claim.path)
        if first != claim.path:
            yield name.broken(f"duplicate of {first}", "each claim and request once")
        if isinstance(name.value, str) and name.text not in claims:
            allowed = listed(sorted(claims)) or "none: the pod has no resourceClaims"
            yield name.broken("no such resource claim in this pod", allowed, nearest=nearest(name.text, claims))


def _check_names(entries: tuple[tuple[str, Field], ...]) -> Iterator[Violation]:
    for name, field in entries:
        is_device = "/" in name and is_qualified_name(name) and not name.startswith(QUOTA_PREFIX)
        if not is_device and name not in STANDARD and not name.startswith(HUGE_PAGES):
            allowed = f"{listed(STANDARD)}, {HUGE_PAGES}<size>, or a device like {DEFAULT_GPU}"
            meant = nearest(name, (*STANDARD, "gpu"))
            meant = DEFAULT_GPU if meant == "gpu" else meant
            yield field.broken("unknown resource", allowed, found=f'"{name}"', nearest=meant)


def _amounts(block: Field) -> Amounts:
    parsed = ((name, field, parse_quantity(field.value)) for name, field in block.entries)
    return {name: (field, amount) for name, field, amount in parsed if amount is not None}


def _alpha_amounts(block: Field) -> Amounts:
    gpu_name = block["gpuType"].text or DEFAULT_GPU
    named = [("cpu", block["cpu"]), ("memory", block["memory"]), (gpu_name, block["gpu"]), *block["custom"].entries]
    parsed = ((name, field, parse_quantity(field.value)) for name, field in named)
    return {name: (field, amount) for name, field, amount in parsed if amount is not None}


def _custom(block: Field) -> tuple[Field, ...]:
    return tuple(field for _, field in block["custom"].entries)
