"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler: their commands (pure), boot and shutdown.

Must not know about nodes or pods. Called by the API-only cluster and by the whole local cluster.
"""

from __future__ import annotations

import base64
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.cluster.commands import plain_environment, wait_until
from tests.cluster.errors import ClusterError
from tests.cluster.local.certificates import Identity, identities, write_certificates
from tests.cluster.local.processes import Processes

SERVICE_RANGE = "10.96.0.0/16"
KUBERNETES_SERVICE = "10.96.0.1"
CONTROLLERS = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
READY_DEADLINE_S = 60.0
# Every call with who, what and answer, without bodies: enough to count and to prove that rest is rest.
# Who reads the log asks for answers, and for the beginnings of watches.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}
# At the default rates the controllers, not an operator under test, would limit hundreds of Deployments.
_FAST_CLIENT = ["--kube-api-qps=1000", "--kube-api-burst=2000"]


@dataclass(frozen=True, slots=True)
class Ports:
    api: int
    etcd: int
    etcd_peer: int


@dataclass(frozen=True, slots=True)
class Site:
    """Where one control plane lives: its state folder, its programs' folder, its addresses."""

    folder: Path
    programs: Path
    ports: Ports
    address: str = "127.0.0.1"  # Where clients reach the API server; a node's address when there is one.
    node: str = ""  # The node's name; empty for a cluster that has none.

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.ports.api}"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        return self.folder / "audit.log"

    def certificate(self, file: str) -> Path:
        return self.folder / "certificates" / file

    def identities(self) -> tuple[Identity, ...]:
        addresses = ("127.0.0.1", KUBERNETES_SERVICE, self.address)
        return identities(tuple(dict.fromkeys(addresses)), self.node or "none", self.address)


def etcd_command(site: Site) -> list[str]:
    client = f"http://127.0.0.1:{site.ports.etcd}"
    peer = f"http://127.0.0.1:{site.ports.etcd_peer}"
    return [
        str(site.programs / "etcd"),
        f"--data-dir={site.folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",  # The data lives as long as the test.
        "--quota-backend-bytes=4294967296",
        "--log-level=warn",
    ]


def apiserver_command(site: Site) -> list[str]:
    file = site.certificate
    # A cluster without nodes has no address that Endpoints may hold, so nobody writes them.
    on_node = [f"--advertise-address={site.address}", "--bind-address=0.0.0.0"]
    alone = ["--advertise-address=127.0.0.1", "--bind-address=127.0.0.1", "--endpoint-reconciler-type=none"]
    return [
        str(site.programs / "kube-apiserver"),
        *(on_node if site.node else alone),
        f"--secure-port={site.ports.api}",
        f"--etcd-servers=http://127.0.0.1:{site.ports.etcd}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged",
        "--profiling=false",
        "--kubelet-preferred-address-types=InternalIP",
        f"--client-ca-file={file('ca.crt')}",
        f"--tls-cert-file={file('apiserver.crt')}",
        f"--tls-private-key-file={file('apiserver.key')}",
        f"--kubelet-certificate-authority={file('ca.crt')}",
        f"--kubelet-client-certificate={file('kubelet-client.crt')}",
        f"--kubelet-client-key={file('kubelet-client.key')}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={file('service-accounts.pub')}",
        f"--service-account-signing-key-file={file('service-accounts.key')}",
        f"--requestheader-client-ca-file={file('ca.crt')}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={file('front-proxy.crt')}",
        f"--proxy-client-key-file={file('front-proxy.key')}",
        f"--audit-policy-file={site.folder / 'audit-policy.yaml'}",
        f"--audit-log-path={site.audit_log}",
        "--audit-log-maxsize=100000",  # Megabytes; a log that turns over loses its marks, and 1,000 graphs fill 100.
        "--audit-log-mode=blocking",  # A count taken after an answer includes its call.
        "--shutdown-delay-duration=0s",
    ]


def controller_manager_command(site: Site) -> list[str]:
    return [
        str(site.programs / "kube-controller-manager"),
        f"--kubeconfig={_kubeconfig_of(site, 'controller-manager')}",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--secure-port=0",
        f"--root-ca-file={site.certificate('ca.crt')}",
        f"--service-account-private-key-file={site.certificate('service-accounts.key')}",
        f"--cluster-signing-cert-file={site.certificate('ca.crt')}",
        f"--cluster-signing-key-file={site.certificate('ca.key')}",
        "--concurrent-deployment-syncs=20",
        "--concurrent-replicaset-syncs=20",
        *_FAST_CLIENT,
    ]


def scheduler_command(site: Site) -> list[str]:
    return [
        str(site.programs / "kube-scheduler"),
        f"--kubeconfig={_kubeconfig_of(site, 'scheduler')}",
        "--leader-elect=false",
        "--secure-port=0",  # Its default port would clash with a second cluster's.
        *_FAST_CLIENT,
    ]


def kubeconfig(site: Site, identity: str) -> dict[str, object]:
    """A kubeconfig that holds its certificates itself, so that it can be copied anywhere."""
    embedded = {
        "certificate-authority-data": _encoded(site.certificate("ca.crt")),
        "client-certificate-data": _encoded(site.certificate(f"{identity}.crt")),
        "client-key-data": _encoded(site.certificate(f"{identity}.key")),
    }
    authority = {"certificate-authority-data": embedded.pop("certificate-authority-data")}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": site.url, **authority}}],
        "users": [{"name": identity, "user": embedded}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": identity, "namespace": "default"}}],
        "current-context": "test",
    }


def start_api_server(site: Site, processes: Processes) -> None:
    """Returns when the API server is ready; starts only what doesn't run yet."""
    _write_configuration(site)
    env = plain_environment()
    processes.start("etcd", etcd_command(site), env)
    processes.start("kube-apiserver", apiserver_command(site), env)
    _wait_for_readiness(site, processes)


def start_controllers(site: Site, processes: Processes) -> None:
    processes.start(CONTROLLERS, controller_manager_command(site), plain_environment())


def start_scheduler(site: Site, processes: Processes) -> None:
    processes.start(SCHEDULER, scheduler_command(site), plain_environment())


def stop_control_plane(processes: Processes) -> None:
    """Stops in order: an API server that outlives etcd lingers on its port and answers the next cluster's probe."""
    for name in (SCHEDULER, CONTROLLERS, "kube-apiserver", "etcd"):
        processes.stop(name)


def is_ready(site: Site) -> bool:
    context = ssl.create_default_context(cafile=str(site.certificate("ca.crt")))
    direct = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )  # Never through the environment's proxy.
    try:
        with direct.open(f"{site.url}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def _write_configuration(site: Site) -> None:
    site.folder.mkdir(parents=True, exist_ok=True)
    write_certificates(site.folder / "certificates", site.identities())
    (site.folder / "audit-policy.yaml").write_text(yaml.safe_dump(AUDIT_POLICY))
    for identity in site.identities():
        _write_private(_kubeconfig_of(site, identity.file), yaml.safe_dump(kubeconfig(site, identity.file)))
    _write_private(site.kubeconfig, yaml.safe_dump(kubeconfig(site, "admin")))


def _wait_for_readiness(site: Site, processes: Processes) -> None:
    needed = ("etcd", "kube-apiserver")

    def ready_or_ended() -> bool:
        return is_ready(site) or not all(processes.is_running(name) for name in needed)

    what = f"the API server at {site.url} is ready"
    wait_until(ready_or_ended, what, deadline_s=READY_DEADLINE_S, explain=lambda: processes.tails(*needed))
    ended = [name for name in needed if not processes.is_running(name)]
    if ended:
        raise ClusterError(f"{' and '.join(ended)} ended at start\n{processes.tails(*ended)}")


def _kubeconfig_of(site: Site, identity: str) -> Path:
    return site.folder / "certificates" / f"{identity}.kubeconfig"


def _write_private(path: Path, content: str) -> None:
    path.touch(mode=0o600)
    path.write_text(content)


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
