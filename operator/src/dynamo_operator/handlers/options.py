"""The command line of `python -m dynamo_operator`, and what the pod says of itself."""

from __future__ import annotations

import argparse
import os
import socket
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """config, kubeconfig: files; without a kubeconfig the pod's service account is used."""

    config: Path | None
    kubeconfig: Path | None


@dataclass(frozen=True, slots=True)
class Process:
    """identity: names this process, and no later one, in leases. namespace: of its pod, if the pod says so."""

    identity: str
    namespace: str | None
    version: str


def read_options(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser("dynamo_operator", description="Makes DynamoGraphDeployments run on a cluster.")
    parser.add_argument("--config", type=Path, help="YAML file with the operator's configuration")
    parser.add_argument("--kubeconfig", type=Path, help="kubeconfig to use instead of the pod's service account")
    parsed = parser.parse_args(arguments)
    return Options(config=parsed.config, kubeconfig=parsed.kubeconfig)


def own_process(environment: Mapping[str, str] = os.environ) -> Process:
    pod = environment.get("POD_NAME") or socket.gethostname()
    return Process(
        identity=f"{pod}_{uuid.uuid4().hex[:8]}",
        namespace=environment.get("POD_NAMESPACE") or None,
        version=version("dynamo-inference"),
    )
