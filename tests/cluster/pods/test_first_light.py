"""From a file to an answer: the example graph as a user applies, asks, scales and deletes it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx

from tests.cluster.pods.graphs import Graph, everything_in, wait_gone
from tests.cluster.pods.load import MODEL, Ask, stream_once
from tests.cluster.port import Cluster
from tests.cluster.settings import REPOSITORY

EXAMPLES = REPOSITORY / "examples"


def test_an_example_goes_from_apply_to_nothing_left(cluster: Cluster, agg_router: Graph, record_property: Any) -> None:
    before = everything_in(cluster, agg_router.namespace)
    began_s = time.monotonic()
    agg_router.apply_file(EXAMPLES / "agg-router.yaml")
    agg_router.wait_ready()
    ready_s = time.monotonic() - began_s
    url = agg_router.url()

    a_streamed_chat_is_whole(url)
    identical_prompts_meet_on_the_warm_worker(url)

    agg_router.kubectl("scale", "dgdsa/agg-router-worker", "--replicas=3")
    agg_router.wait_pods("worker", 3)
    assert [each.get("replicas") for each in agg_router.document()["spec"]["components"]] == [1, 3]

    agg_router.delete()
    gone_s = wait_gone(cluster, agg_router.namespace, before)
    record_property("load", ("an example", f"Ready {ready_s:.1f} s after its apply, gone {gone_s:.1f} s after its end"))


def a_streamed_chat_is_whole(url: str) -> None:
    async def ask() -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            stream = await stream_once(client, Ask(url, tokens=40), "Tell me of rivers.")
        assert stream.failure(40) == ""

    asyncio.run(ask())


def identical_prompts_meet_on_the_warm_worker(url: str) -> None:
    """Whoever has the prompt's blocks gets it again, although the other worker is as idle."""
    prompt = "a long story of copper and rivers " * 60
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        assert _cached_tokens(client, prompt) == 0
        assert _cached_tokens(client, prompt) > 300
        newest, older = _decisions(client)[:2]
    assert newest["worker_name"] == older["worker_name"]
    assert newest["overlap_blocks"] > 20


def _cached_tokens(client: httpx.Client, prompt: str) -> int:
    body = {"model": MODEL, "max_tokens": 4, "messages": [{"role": "user", "content": prompt}]}
    answer = client.post("/v1/chat/completions", json=body)
    answer.raise_for_status()
    return int(answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"])


def _decisions(client: httpx.Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/debug/decisions").json()["decisions"]
    return found
