"""Manifests with one thing changed at random: the offline verdict is the API server's, and a refusal names a field."""

from __future__ import annotations

import asyncio
import copy
import os
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from dynamo_operator.validate import load_crds, validate
from tests.cluster.api.webhook.conftest import Guarded
from tests.cluster.raw_http import raw_http
from tests.shared import SHARED
from tests.unit.operator_plane.validate.test_corpus import CORPUS, REQUEST, documents, outcomes

SAMPLES = int(os.environ.get("DYNAMO_ADMISSION_MUTATIONS", "150"))
AT_ONCE = 4

Change = Callable[[Any, Any], None]


def _set(value: Any) -> Change:
    def change(parent: Any, key: Any) -> None:
        parent[key] = value

    return change


def _delete(parent: Any, key: Any) -> None:
    del parent[key]


def _unknown_sibling(parent: Any, key: Any) -> None:
    if isinstance(parent, dict):
        parent["unknownField"] = 1


def _twice(parent: Any, key: Any) -> None:
    if isinstance(parent, list):
        parent.append(copy.deepcopy(parent[key]))


CHANGES: dict[str, Change] = {
    "deleted": _delete,
    "null": _set(None),
    "number": _set(7),
    "negative": _set(-1),
    "huge": _set(2**40),
    "fraction": _set(1.5),
    "text": _set("Some text!"),
    "long-text": _set("x" * 300),
    "empty-text": _set(""),
    "flag": _set(True),
    "list": _set([]),
    "object": _set({}),
    "unknown-sibling": _unknown_sibling,
    "twice": _twice,
}


@dataclass(frozen=True)
class Mutant:
    manifest: dict[str, Any]
    story: str


def mutants(seed: int, count: int) -> list[Mutant]:
    """Of the reference manifests that are accepted without Grove or the Inference Extension."""
    dice = random.Random(seed)
    names = [outcome.values[1] for outcome in outcomes(".objects.yaml") if outcome.values[0] == "component"]
    sources = [
        (name, document)
        for name in names
        for document in documents(CORPUS / str(name))
        if document["kind"] != REQUEST and not validate(document)
    ]
    return [_mutant(dice, *dice.choice(sources)) for _ in range(count)]


def _mutant(dice: random.Random, name: Any, document: dict[str, Any]) -> Mutant:
    manifest = copy.deepcopy(document)
    manifest["metadata"].pop("namespace", None)
    parent, key, path = dice.choice(list(_places(manifest["spec"], "spec")))
    change = dice.choice(list(CHANGES))
    CHANGES[change](parent, key)
    return Mutant(manifest, f"{name}: {path} {change}")


def _places(value: Any, path: str) -> list[tuple[Any, Any, str]]:
    found: list[tuple[Any, Any, str]] = []
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        here = f"{path}[{key}]" if isinstance(value, list) else f"{path}.{key}"
        found += [(value, key, here), *_places(value[key], here)]
    return found


@pytest.mark.skipif(not SHARED.exists(), reason=f"reference material is not at {SHARED}")
def test_offline_verdicts_on_mutants_are_the_api_servers(guarded: Guarded, namespace: str) -> None:
    seed = int(os.environ.get("DYNAMO_SEED", random.SystemRandom().randrange(2**32)))
    print(f"DYNAMO_SEED={seed}")
    tried = mutants(seed, SAMPLES)
    answers = guarded.running.call(_dry_runs(guarded, namespace, [mutant.manifest for mutant in tried]))
    differences, unnamed = [], []
    for mutant, answer in zip(tried, answers, strict=True):
        violations = [str(violation) for violation in validate(mutant.manifest)]
        if (answer is None) != (not violations):
            differences.append(f"{mutant.story}\n  offline: {violations}\n  server: {answer}")
        if answer is not None and not re.search(r"\b(spec|metadata)\b", answer):
            unnamed.append(f"{mutant.story}\n  server: {answer}")
    assert not differences, "\n".join(differences)
    assert not unnamed, "\n".join(unnamed)
    assert {answer is None for answer in answers} == {True, False}  # both kinds are among them


async def _dry_runs(guarded: Guarded, namespace: str, manifests: list[dict[str, Any]]) -> list[str | None]:
    """What the API server says to each creation; None if it would create the object."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def dry_run(client: httpx2.AsyncClient, manifest: dict[str, Any]) -> str | None:
        plural = load_crds()[manifest["kind"]].plural
        path = f"/apis/{manifest['apiVersion']}/namespaces/{namespace}/{plural}"
        async with turns:
            answer = await client.post(
                path, json=manifest, params={"dryRun": "All", "fieldValidation": "Strict"}, timeout=60
            )
        return None if answer.status_code == 201 else str(answer.json()["message"])

    async with raw_http(guarded.cluster.kubeconfig, timeout_s=60) as client:
        return list(await asyncio.gather(*(dry_run(client, manifest) for manifest in manifests)))
