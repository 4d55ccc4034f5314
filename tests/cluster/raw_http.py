"""Plain HTTP to an API server with a kubeconfig's rights, for what the operator's client never does."""

from __future__ import annotations

from pathlib import Path

import httpx2
from lightkube.config.client_adapter import AsyncClient, ConnectionParams

from dynamo_operator.kube import find_access


def raw_http(kubeconfig: Path, *, timeout_s: float) -> httpx2.AsyncClient:
    parameters = ConnectionParams(timeout=httpx2.Timeout(timeout_s), trust_env=False)
    return AsyncClient(find_access(kubeconfig).config, parameters)
