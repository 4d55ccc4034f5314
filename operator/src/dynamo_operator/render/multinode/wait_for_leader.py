"""Waits until the leader of this pod's group accepts connections.

It runs in an init container of the workers, from a ConfigMap, in whatever image the engine has: so it needs nothing
but Python's own library. LEADER_HOST and LEADER_PORT say where the leader is. A leader that is being deleted does not
count, although its name may still lead to it: a worker that joins it has to be started once more.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PODS_URL = "https://kubernetes.default.svc/api/v1/namespaces/{namespace}/pods?{query}"
PAUSE_S = 2.0
REPORT_EVERY_S = 30.0
TIMEOUT_S = 5.0


def pods_at(address: str) -> list[dict[str, dict[str, object]]]:
    """The pods that have this address, as the API server knows them."""
    query = urllib.parse.urlencode({"fieldSelector": f"status.podIP={address}"})
    url = PODS_URL.format(namespace=(ACCOUNT / "namespace").read_text().strip(), query=query)
    headers = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text().strip()}"}
    trusted = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - a fixed https address
    with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=trusted) as answer:  # noqa: S310
        pods: list[dict[str, dict[str, object]]] = json.load(answer)["items"]
    return pods


def missing(host: str, port: int, find_pods: Callable[[str], list[dict[str, dict[str, object]]]]) -> str | None:
    """Why the leader cannot be joined yet; None when it can."""
    try:
        address = socket.gethostbyname(host)
    except OSError as error:
        return f"its name does not resolve: {error}"
    try:
        pods = find_pods(address)
    except Exception:  # without the API server, or without the right to ask it, the connection decides alone
        pods = []
    for pod in pods:
        if pod.get("metadata", {}).get("deletionTimestamp"):
            return f"pod {pod['metadata'].get('name')} is being deleted"
    try:
        socket.create_connection((address, port), TIMEOUT_S).close()
    except OSError as error:
        return f"{address}:{port} does not accept connections: {error}"
    return None


def wait(
    host: str,
    port: int,
    find_pods: Callable[[str], list[dict[str, dict[str, object]]]] = pods_at,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Returns once the leader can be joined, and says from time to time what is missing."""
    start = reported = clock()
    print(f"waiting for the leader at {host}:{port}", flush=True)
    while (reason := missing(host, port, find_pods)) is not None:
        if clock() - reported >= REPORT_EVERY_S:
            reported = clock()
            print(f"still waiting after {reported - start:.0f} s: {reason}", flush=True)
        pause(PAUSE_S)
    print(f"the leader answers after {clock() - start:.0f} s", flush=True)


if __name__ == "__main__":
    wait(os.environ["LEADER_HOST"], int(os.environ["LEADER_PORT"]))
