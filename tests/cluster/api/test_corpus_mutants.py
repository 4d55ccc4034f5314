"""Manifests with one thing changed at random, through the whole operator: who is admitted gets all its objects.

A refusal names a field. Whatever the webhooks let through, the operator renders, and the API server takes every object
of it: no graph is admitted to fail afterwards. In the other API version it reads and writes back as the same.
"""

from __future__ import annotations

import asyncio
import copy
import os
import random
import re
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from dynamo_operator.convert import V1ALPHA1, V1BETA1, convert
from dynamo_operator.handlers.settings import Enabled, Orchestrator, Orchestrators, Settings
from dynamo_operator.kube import Ref
from dynamo_operator.kube.objects import GRAPH
from dynamo_operator.validate import load_crds
from tests.cluster.api.conftest import WholeCluster
from tests.cluster.api.corpus_run import AT_ONCE, CALL_TIMEOUT_S, Run, way_to
from tests.cluster.api.webhook.test_admission_mutations import Mutant, mutants
from tests.cluster.raw_http import raw_http
from tests.shared import SHARED
from tests.unit.operator_plane.convert.manifests import meaning

SAMPLES = int(os.environ.get("DYNAMO_CORPUS_MUTANTS", "30"))
SETTINGS = Settings(orchestrators=Orchestrators(grove=Orchestrator(enabled=False), lws=Enabled(enabled=False)))
FIELD = re.compile(r"\b(spec|metadata)\b")
WEIRD_TEXTS = ("é", "a\u202eb", "\U0001f600", "a\nb", " ", "-", "A_b", "${HOME}", "$(HOME)", "x" * 64)


@dataclass(frozen=True)
class Tried:
    """A mutant in its namespace: what the API server answered (None when it took it), and the graph's status."""

    story: str
    manifest: dict[str, Any]
    answer: str | None
    status: dict[str, Any]


@pytest.fixture(scope="session")
def tried(whole_cluster: WholeCluster) -> list[Tried]:
    if not SHARED.exists():
        pytest.skip(f"reference material is not at {SHARED}")
    seed = int(os.environ.get("DYNAMO_SEED", random.SystemRandom().randrange(2**32)))
    print(f"DYNAMO_SEED={seed}")
    changed = [*mutants(seed, SAMPLES), *_with_weird_texts(seed, SAMPLES)]
    graphs = [each for each in changed if each.manifest["kind"] == GRAPH.name]
    return asyncio.run(_try(whole_cluster, graphs))


def test_a_refusal_names_a_field(tried: list[Tried]) -> None:
    nameless = [f"{each.story}\n  {each.answer}" for each in tried if each.answer and not FIELD.search(each.answer)]
    assert not nameless, "\n".join(nameless)


def test_who_is_admitted_gets_all_its_objects(tried: list[Tried]) -> None:
    stuck = [
        f"{each.story}\n  {each.status}"
        for each in tried
        if each.answer is None and each.status.get("state") not in ("pending", "successful")
    ]
    assert not stuck, "\n".join(stuck)
    assert {each.answer is None for each in tried} == {True, False}  # both kinds are among them


def test_who_is_admitted_survives_the_other_version(tried: list[Tried]) -> None:
    lost = []
    for each in tried:
        other = V1ALPHA1 if each.manifest["apiVersion"] == V1BETA1 else V1BETA1
        if each.answer is None:
            back = convert(convert(each.manifest, other), each.manifest["apiVersion"])
            lost += [each.story] if meaning(dict(back)) != meaning(each.manifest) else []
    assert lost == []


def _with_weird_texts(seed: int, count: int) -> list[Mutant]:
    """The reference manifests with a text that programs stumble over, somewhere where there was a text."""
    dice = random.Random(seed)
    found = []
    for mutant in mutants(seed + 1, count):
        manifest = copy.deepcopy(mutant.manifest)
        places = _texts(manifest["spec"], "spec")
        if not places:
            continue
        parent, key, path = dice.choice(places)
        parent[key] = dice.choice(WEIRD_TEXTS)
        found.append(Mutant(manifest, f"{mutant.story}, and {path} {parent[key]!r}"))
    return found


def _texts(value: Any, path: str) -> list[tuple[Any, Any, str]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    found = [(value, key, f"{path}[{key}]") for key in keys if isinstance(value[key], str)]
    return [*found, *(place for key in keys for place in _texts(value[key], f"{path}[{key}]"))]


async def _try(cluster: WholeCluster, changed: list[Mutant]) -> list[Tried]:
    placed = {f"mutant-{number}-ns": mutant for number, mutant in enumerate(changed)}
    async with way_to(cluster.access) as way, raw_http(cluster.access.kubeconfig, timeout_s=CALL_TIMEOUT_S) as http:
        run = Run(cluster.access, cluster.facts, SETTINGS, way)
        await run.begin()
        run.apply(dict.fromkeys(placed, ()))
        turns = asyncio.Semaphore(AT_ONCE)

        async def create(namespace: str, manifest: dict[str, Any]) -> str | None:
            async with turns:
                return await _created(http, namespace, manifest)

        answers = await asyncio.gather(*(create(name, mutant.manifest) for name, mutant in placed.items()))
        admitted = [name for name, answer in zip(placed, answers, strict=True) if answer is None]
        await run.settle(admitted)
        found = []
        for (namespace, mutant), answer in zip(placed.items(), answers, strict=True):
            live = run.store.get(Ref(GRAPH, namespace, mutant.manifest["metadata"]["name"])) if answer is None else None
            status = dict(live.document.get("status") or {}) if live else {}
            found.append(Tried(mutant.story, mutant.manifest, answer, status))
        return found


async def _created(http: httpx2.AsyncClient, namespace: str, manifest: dict[str, Any]) -> str | None:
    plural = load_crds()[manifest["kind"]].plural
    path = f"/apis/{manifest['apiVersion']}/namespaces/{namespace}/{plural}"
    answer = await http.post(path, json=manifest, params={"fieldValidation": "Strict"})
    return None if answer.status_code == httpx2.codes.CREATED else str(answer.json()["message"])
