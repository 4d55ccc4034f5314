"""Asks processes on this machine whether they are ready. Edge: network. Called by the supervisor."""

from __future__ import annotations

import asyncio
import contextlib

import httpx

from dynamo_operator.local.specs import Probe


async def is_ready(probe: Probe, host: str, client: httpx.AsyncClient) -> bool:
    """As Kubernetes counts: 200 to 399 is ready; a refused connection or silence is not."""
    if probe.path is None:
        return await _accepts(host, probe.port, probe.timeout_s)
    with contextlib.suppress(httpx.HTTPError):
        url = f"http://{host}:{probe.port}{probe.path}"
        answer = await client.get(url, timeout=probe.timeout_s)
        return 200 <= answer.status_code < 400
    return False


async def first_model(url: str, client: httpx.AsyncClient) -> str | None:
    """The id of a model that the frontend serves now."""
    with contextlib.suppress(httpx.HTTPError, ValueError, LookupError, TypeError):
        answer = await client.get(f"{url}/v1/models", timeout=2)
        return str(answer.json()["data"][0]["id"])
    return None


async def read_metrics(url: str, client: httpx.AsyncClient) -> str:
    """The metrics page as text; empty when it cannot be had."""
    with contextlib.suppress(httpx.HTTPError):
        answer = await client.get(url, timeout=2)
        return answer.text if answer.status_code == 200 else ""
    return ""


def local_client() -> httpx.AsyncClient:
    """Ignores proxy settings: everything asked is on this machine."""
    return httpx.AsyncClient(trust_env=False)


async def _accepts(host: str, port: int, timeout_s: float) -> bool:
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(host.strip("[]"), port)
            writer.close()
            return True
    return False
