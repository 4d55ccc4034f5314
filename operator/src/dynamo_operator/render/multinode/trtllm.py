"""TensorRT-LLM on several nodes: the leader starts one MPI rank per GPU on all nodes, workers are SSH servers. Pure.

Both sides log in with one key pair, which the pods mount from a Secret. The scripts write only below $HOME, so that
they also run in containers that are not root.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Any

from dynamo_operator.api import ComponentDeployment
from dynamo_operator.render.multinode.command import Container, as_script, launched_by
from dynamo_operator.render.multinode.hosts import Node
from dynamo_operator.render.multinode.sizes import gpus_per_pod

SSH_PORT = 2222
KEY_PATH = "/ssh-pk"
NAMES_WAIT_S = 300
LAUNCHER = "trtllm-llmapi-launch"
READINESS = {
    "tcpSocket": {"port": SSH_PORT},
    "initialDelaySeconds": 20,
    "periodSeconds": 20,
    "timeoutSeconds": 5,
    "failureThreshold": 10,
}
# Host names of the group are long; without this, MPI compares their first labels only.
FULL_NAMES = {"name": "OMPI_MCA_orte_keep_fqdn_hostnames", "value": "1"}
# What an engine may read and an image or an envFrom may set, forwarded beside the container's own environment.
FORWARDED = (
    "CPATH",
    "CUDA_VISIBLE_DEVICES",
    "HF_DATASETS_CACHE",
    "HF_ENDPOINT",
    "HF_HOME",
    "HF_TOKEN",
    "HOME",
    "HUGGING_FACE_HUB_TOKEN",
    "LD_LIBRARY_PATH",
    "MODEL_PATH",
    "NCCL_DEBUG",
    "NCCL_IB_DISABLE",
    "NCCL_P2P_DISABLE",
    "PATH",
    "PYTHONPATH",
    "TENSORRT_LLM_CACHE_DIR",
    "TOKENIZERS_PARALLELISM",
    "TRANSFORMERS_CACHE",
    "TRITON_PTXAS_PATH",
    "TRTLLM_USE_UCX_KVCACHE",
    "USER",
)

_KEYS = f"""\
set -e
umask 077
keys="$HOME/.ssh"
mkdir -p "$keys"
cp {KEY_PATH}/private.key "$keys/id_rsa"
cp {KEY_PATH}/private.key.pub "$keys/id_rsa.pub"
cp {KEY_PATH}/private.key.pub "$keys/authorized_keys"
chmod 600 "$keys/id_rsa" "$keys/authorized_keys"
"""
_SERVER = f"""\
for kind in rsa ecdsa ed25519; do
  rm -f "$keys/host_$kind" "$keys/host_$kind.pub"
  ssh-keygen -q -t "$kind" -N '' -f "$keys/host_$kind"
done
{{
  echo "Port {SSH_PORT}"
  for kind in rsa ecdsa ed25519; do echo "HostKey $keys/host_$kind"; done
  echo "AuthorizedKeysFile $keys/authorized_keys"
  echo "PidFile $keys/sshd.pid"
  echo "PubkeyAuthentication yes"
  echo "PasswordAuthentication no"
  echo "PermitRootLogin prohibit-password"
  echo "StrictModes no"
}} > "$keys/sshd_config"
exec /usr/sbin/sshd -D -f "$keys/sshd_config"
"""
_CLIENT = f"""\
{{
  echo "Host *"
  echo "  IdentityFile $keys/id_rsa"
  echo "  StrictHostKeyChecking no"
  echo "  UserKnownHostsFile /dev/null"
  echo "  Port {SSH_PORT}"
}} > "$keys/config"
"""


def trtllm_container(container: Container, deployment: ComponentDeployment, node: Node, secret: str) -> Container:
    """The main container as this node runs it, with the key pair of the Secret."""
    equipped = {
        **container,
        "env": [*(each for each in container.get("env") or () if each["name"] != FULL_NAMES["name"]), FULL_NAMES],
        "volumeMounts": _with_key_mount(container.get("volumeMounts") or [], secret),
    }
    if not node.is_leader:
        return as_script(equipped, _KEYS + _SERVER)
    ranks = node.count * gpus_per_pod(deployment.component)
    return as_script(equipped, _KEYS + _CLIENT + _waiting_for_workers(node) + _mpi_run(equipped, node, ranks))


def key_volume(secret: str) -> dict[str, Any]:
    """The volume with the key pair; group-readable, since containers need not be root."""
    return {"name": secret, "secret": {"secretName": secret, "defaultMode": 0o644}}


def _with_key_mount(mounts: list[dict[str, Any]], secret: str) -> list[dict[str, Any]]:
    """The key pair's mount after the user's and before the operator's own /dev/shm."""
    own = [each for each in mounts if each.get("name") == "shared-memory"]
    others = [each for each in mounts if each.get("name") != "shared-memory"]
    return [*others, {"name": secret, "mountPath": KEY_PATH, "readOnly": True}, *own]


def _waiting_for_workers(node: Node) -> str:
    """Nothing orders the pods' starts there, and a launch that finds a worker missing fails the whole group."""
    if not node.hosts.may_start_first:
        return ""
    hosts = " ".join(f'"{host}"' for host in node.hosts.workers)
    connect = f"import socket, sys; socket.create_connection((sys.argv[1], {SSH_PORT}), 2)"
    return (
        f"end=$(($(date +%s) + {NAMES_WAIT_S}))\nfor host in {hosts}; do\n"
        f"""  until python3 -c '{connect}' "$host" 2>/dev/null; do\n"""
        f'    if [ "$(date +%s)" -ge "$end" ]; then echo "no answer from $host:{SSH_PORT}" >&2; exit 1; fi\n'
        "    sleep 2\n  done\ndone\n"
    )


def _mpi_run(container: Container, node: Node, ranks: int) -> str:
    hosts = ",".join([node.hosts.leader, *node.hosts.workers])
    forwarded = " ".join(f"-x {name}" for name in _forwarded(each["name"] for each in container["env"]))
    engine = launched_by(container, "trtllm", LAUNCHER)
    return (
        'root=""\nif [ "$(id -u)" = 0 ]; then root=--allow-run-as-root; fi\n'
        f"exec mpirun $root --oversubscribe -n {ranks} -H {hosts} --mca pml ob1 "
        f'--mca plm_rsh_args "-p {SSH_PORT} -o StrictHostKeyChecking=no -i $keys/id_rsa" '
        f"{forwarded} bash -c {shlex.quote(engine)}\n"
    )


def _forwarded(own: Iterable[str]) -> list[str]:
    return sorted({*FORWARDED, *own})
