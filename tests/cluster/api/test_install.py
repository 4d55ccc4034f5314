"""`python -m dynamo_operator.install` against a real API server."""

from __future__ import annotations

import base64
import datetime
import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.cluster.local.api_only import ApiCluster, running_api_cluster
from tests.cluster.settings import Settings

GRAPHS = "dynamographdeployments.nvidia.com"


@pytest.fixture(scope="module")
def empty_cluster(cluster_settings: Settings, api_cluster: ApiCluster) -> Iterator[ApiCluster]:
    """An API server that has never heard of us; asking for the other one first skips where neither can run."""
    with running_api_cluster(cluster_settings.cache, controllers=False, with_crds=False) as cluster:
        yield cluster


def install(cluster: ApiCluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dynamo_operator.install", *arguments],
        env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_definitions_are_served_when_the_command_ends(empty_cluster: ApiCluster) -> None:
    done = install(empty_cluster, "crds", "--webhook-namespace=platform")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("applied ") == 5
    assert empty_cluster.kubectl("get", "dgd,dcd,dgdsa,dm,dynamoworkermetadatas", "-A") is not None
    service = empty_cluster.get("crd", GRAPHS)["spec"]["conversion"]["webhook"]["clientConfig"]["service"]
    assert service["namespace"] == "platform"


def test_applying_again_keeps_the_authority_that_somebody_else_wrote(empty_cluster: ApiCluster) -> None:
    install(empty_cluster, "crds")
    path = "/spec/conversion/webhook/clientConfig/caBundle"
    patch = json.dumps([{"op": "add", "path": path, "value": _bundle()}])
    empty_cluster.kubectl("patch", "crd", GRAPHS, "--type=json", f"--patch={patch}")

    again = install(empty_cluster, "crds")

    assert again.returncode == 0
    assert empty_cluster.get("crd", GRAPHS)["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"] == _bundle()


def test_the_check_fails_where_nothing_refuses_bad_graphs(empty_cluster: ApiCluster) -> None:
    install(empty_cluster, "crds")

    with_webhook = install(empty_cluster, "check", "--namespace=default")
    without = install(empty_cluster, "check", "--namespace=default", "--without-webhook")

    assert with_webhook.returncode == 1
    assert "Traceback" not in with_webhook.stderr
    assert "was admitted: the validating webhook was not asked" in with_webhook.stderr
    assert (without.returncode, without.stdout) == (0, "a good graph is admitted\n")


def test_no_cluster_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dynamo_operator.install", "check", "--namespace=default"],
        env={**os.environ, "KUBECONFIG": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def _bundle() -> str:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody")])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start.replace(year=2040))
    certificate = builder.sign(key, None)
    return base64.b64encode(certificate.public_bytes(serialization.Encoding.PEM)).decode()
