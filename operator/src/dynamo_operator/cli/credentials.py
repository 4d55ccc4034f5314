"""What a kubeconfig names for reaching its cluster, looked at before a connection fails over it.

Must not send anything. Called by `kubeconfig`.
"""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

from lightkube.config.kubeconfig import KubeConfig
from lightkube.config.models import Cluster, NameValue, User, UserExec

from dynamo_operator.local.errors import Refused

_GROUP = "client.authentication.k8s.io"
_EXEC_VERSIONS = (f"{_GROUP}/v1", f"{_GROUP}/v1beta1")
_TAKEN = f"{_GROUP}/v1beta1"


def check_names(config: KubeConfig, context: str | None, file: Path) -> None:
    """Raises Refused where the chosen context leads to a cluster or a user that the kubeconfig does not have."""
    chosen = config.contexts.get(context or config.current_context or "")
    if chosen is None:
        return
    for noun, name, known in (("cluster", chosen.cluster, config.clusters), ("user", chosen.user, config.users)):
        if name and name not in known:
            allowed = ", ".join(known) or "none"
            raise Refused(
                f"the kubeconfig {file} has no {noun} {name!r}, which its context names", f"it has: {allowed}"
            )


def check_cluster(cluster: Cluster, file: Path) -> None:
    """Raises Refused for a server that is no address, and for an authority that is not there."""
    if not _is_address(cluster.server):
        raise Refused(
            f"the kubeconfig {file} names a server that is no address: found {cluster.server!r}",
            "allowed: https://HOST:PORT",
        )
    _check_present("certificate-authority", cluster.certificate_auth, file)


def usable_user(user: User, file: Path) -> User:
    """The same user, with a login program that lightkube can start; raises Refused for files that are not there."""
    for what, path in (
        ("client-certificate", user.client_cert),
        ("client-key", user.client_key),
        ("tokenFile", user.token_file),
    ):
        _check_present(what, path, file)
    if user.exec is not None:
        user.exec = _startable(user.exec, file)
    return user


def _startable(login: UserExec, file: Path) -> UserExec:
    """`v1` and `v1beta1` ask for the same and answer the same; lightkube starts only the older.

    Programs read the version that they shall answer in from KUBERNETES_EXEC_INFO.
    """
    if login.apiVersion not in _EXEC_VERSIONS:
        raise Refused(
            f"the kubeconfig {file} wants a login program of {login.apiVersion}",
            f"allowed: {', '.join(_EXEC_VERSIONS)}",
        )
    wish = {"apiVersion": login.apiVersion, "kind": "ExecCredential", "spec": {"interactive": False}}
    told = NameValue(name="KUBERNETES_EXEC_INFO", value=json.dumps(wish))
    return UserExec(
        apiVersion=_TAKEN,
        command=login.command,
        args=login.args,
        env=[told, *(login.env or ())],
        installHint=login.installHint,
    )


def _is_address(server: str) -> bool:
    try:
        parts = urlsplit(server)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def _check_present(what: str, path: str | None, file: Path) -> None:
    if path and not Path(path).is_file():
        raise Refused(f"the kubeconfig {file} names a {what} that is not there: {path}")
