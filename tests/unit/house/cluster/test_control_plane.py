"""The control plane's commands and certificates, by what must hold between them."""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from tests.cluster.local.certificates import write_certificates
from tests.cluster.local.control_plane import (
    Ports,
    Site,
    apiserver_command,
    controller_manager_command,
    etcd_command,
    kubeconfig,
    scheduler_command,
)

ALONE = Site(Path("/state"), Path("/programs"), Ports(api=1, etcd=2, etcd_peer=3))
WITH_NODE = dataclasses.replace(ALONE, address="10.244.0.1", node="node0")


def test_without_a_node_everything_stays_on_the_loopback() -> None:
    flags = apiserver_command(ALONE)
    assert {"--bind-address=127.0.0.1", "--endpoint-reconciler-type=none"} <= set(flags)
    assert all("http://127.0.0.1:" in flag for flag in etcd_command(ALONE) if "-urls=" in flag)


def test_with_a_node_pods_reach_the_api_server_through_its_address() -> None:
    flags = apiserver_command(WITH_NODE)
    assert "--advertise-address=10.244.0.1" in flags
    assert not any(flag.startswith("--endpoint-reconciler-type") for flag in flags)


def test_the_api_server_talks_to_the_etcd_beside_it() -> None:
    assert "--etcd-servers=http://127.0.0.1:2" in apiserver_command(ALONE)
    assert "--listen-client-urls=http://127.0.0.1:2" in etcd_command(ALONE)


@pytest.mark.parametrize("command", [controller_manager_command, scheduler_command], ids=["controllers", "scheduler"])
def test_clusters_side_by_side_share_no_port(command: Callable[[Site], list[str]]) -> None:
    assert "--secure-port=0" in command(ALONE)


def test_certificates_name_their_owners_and_are_kept(tmp_path: Path) -> None:
    site = dataclasses.replace(WITH_NODE, folder=tmp_path)
    write_certificates(tmp_path / "certificates", site.identities())
    node = x509.load_pem_x509_certificate(site.certificate("node.crt").read_bytes())
    assert node.subject.rfc4514_string() == "CN=system:node:node0,O=system:nodes"
    served = x509.load_pem_x509_certificate(site.certificate("apiserver.crt").read_bytes())
    names = served.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"10.96.0.1", "10.244.0.1", "127.0.0.1"} <= {str(ip) for ip in names.get_values_for_type(x509.IPAddress)}
    before = site.certificate("admin.crt").read_bytes()
    write_certificates(tmp_path / "certificates", site.identities())
    assert site.certificate("admin.crt").read_bytes() == before


def test_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    write_certificates(tmp_path / "certificates", ALONE.identities())
    assert {oct(key.stat().st_mode & 0o777) for key in (tmp_path / "certificates").glob("*.key")} == {"0o600"}


def test_a_kubeconfig_carries_its_own_certificates(tmp_path: Path) -> None:
    site = dataclasses.replace(ALONE, folder=tmp_path)
    write_certificates(tmp_path / "certificates", site.identities())
    config = yaml.safe_load(yaml.safe_dump(kubeconfig(site, "admin")))
    assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:1"
    assert set(config["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}
    ssl.create_default_context(cafile=str(site.certificate("ca.crt")))
