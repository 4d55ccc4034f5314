from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from lightkube.config.client_adapter import user_auth

from dynamo_operator.cli.kubeconfig import resolve
from dynamo_operator.cli.target import Target
from dynamo_operator.local.errors import Refused


def a_kubeconfig(path: Path, name: str, *, current: bool = True, **cluster: Any) -> Path:
    document = {
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}", **cluster}}],
        "users": [{"name": name, "user": {"token": name}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": f"{name}-ns"}}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({**document, **({"current-context": name} if current else {})}))
    return path


def server(target: Target, env: dict[str, str], home: Path) -> str:
    return str(resolve(target, env, home).cluster.server)


def test_a_flag_wins_over_the_environment_and_that_over_the_home_folder(tmp_path: Path) -> None:
    flag, env = a_kubeconfig(tmp_path / "flag", "flag"), a_kubeconfig(tmp_path / "env", "env")
    a_kubeconfig(tmp_path / ".kube" / "config", "home")

    assert server(Target(flag), {"KUBECONFIG": str(env)}, tmp_path) == "https://flag"
    assert server(Target(), {"KUBECONFIG": str(env)}, tmp_path) == "https://env"
    assert server(Target(), {}, tmp_path) == "https://home"


def test_several_files_are_merged_and_relative_paths_start_at_their_own(tmp_path: Path) -> None:
    first = a_kubeconfig(tmp_path / "a" / "config", "one")
    second = a_kubeconfig(tmp_path / "b" / "config", "two", **{"certificate-authority": "ca.crt"})
    (tmp_path / "b" / "ca.crt").touch()
    env = {"KUBECONFIG": f"{first}:{second}"}

    assert server(Target(), env, tmp_path) == "https://one"
    found = resolve(Target(context="two"), env, tmp_path)
    assert (found.cluster.server, found.namespace) == ("https://two", "two-ns")
    assert found.cluster.certificate_auth == str(tmp_path / "b" / "ca.crt")


@pytest.mark.parametrize(
    ("target", "words", "hint"),
    [
        pytest.param(Target(context="tow"), "has no context 'tow'", "did you mean two?", id="context"),
        pytest.param(Target(kubeconfig=Path("/nowhere")), "there is no kubeconfig", "--kubeconfig", id="file"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, target: Target, words: str, hint: str) -> None:
    env = {"KUBECONFIG": str(a_kubeconfig(tmp_path / "config", "two"))}

    with pytest.raises(Refused, match=words) as refused:
        resolve(target, env, tmp_path)

    assert hint in refused.value.hint


@pytest.mark.parametrize(
    "text", ["- a\n", "a: [\n", "clusters: 3\n", "clusters: [{name: x, cluster: {server: 3}}]\ncontexts: []\n"]
)
def test_a_spoilt_kubeconfig_is_an_error_of_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)

    with pytest.raises(Refused) as refused:
        resolve(Target(path), {}, tmp_path)

    assert "\n" not in refused.value.message


def test_a_kubeconfig_without_a_context_says_so(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="context"):
        resolve(Target(a_kubeconfig(tmp_path / "c", "one", current=False)), {}, tmp_path)


def test_without_any_configuration_the_laptop_is_offered(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no cluster is configured") as refused:
        resolve(Target(), {}, tmp_path)

    assert "dynamo up" in refused.value.hint


def spoilt(tmp_path: Path, **parts: Any) -> Target:
    """A kubeconfig with `cluster`, `user` or `context` replaced."""
    document = {
        "current-context": "shop",
        "clusters": [{"name": "shop", "cluster": parts.get("cluster", {"server": "https://shop"})}],
        "users": [{"name": "me", "user": parts.get("user", {"token": "t"})}],
        "contexts": [{"name": "shop", "context": parts.get("context", {"cluster": "shop", "user": "me"})}],
    }
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(document))
    return Target(path)


@pytest.mark.parametrize(
    ("parts", "words", "hint"),
    [
        pytest.param(
            {"cluster": {"server": "shop.example"}}, "found 'shop.example'", "https://HOST:PORT", id="address"
        ),
        pytest.param({"cluster": {"server": "https://[::1"}}, r"found 'https://\[::1'", "https://HOST", id="brackets"),
        pytest.param(
            {"cluster": {"server": "https://s", "certificate-authority": "ca"}},
            "names a certificate-authority that is not there: .*/ca",
            "",
            id="authority",
        ),
        pytest.param(
            {"user": {"client-certificate": "/no.crt"}}, "a client-certificate that is not there", "", id="file"
        ),
        pytest.param({"user": {"tokenFile": "/no"}}, "names a tokenFile that is not there: /no", "", id="token-file"),
        pytest.param({"context": {"cluster": "shop", "user": "you"}}, "has no user 'you'", "it has: me", id="user"),
        pytest.param({"context": {"cluster": "x", "user": "me"}}, "has no cluster 'x'", "it has: shop", id="cluster"),
        pytest.param(
            {"user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1alpha1", "command": "x"}}},
            "wants a login program of client.authentication.k8s.io/v1alpha1",
            "client.authentication.k8s.io/v1beta1",
            id="old-login-program",
        ),
    ],
)
def test_what_a_kubeconfig_names_and_is_not_there_is_told(
    tmp_path: Path, parts: dict[str, Any], words: str, hint: str
) -> None:
    with pytest.raises(Refused, match=words) as refused:
        resolve(spoilt(tmp_path, **parts), {}, tmp_path)

    assert hint in refused.value.hint


def test_a_line_of_a_kubeconfig_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("a: 1\nb: [1\n")

    with pytest.raises(Refused, match="config:3 is not valid YAML: "):
        resolve(Target(tmp_path / "config"), {}, tmp_path)


@pytest.mark.parametrize("version", ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"])
def test_a_login_program_of_either_version_gives_the_token(tmp_path: Path, version: str) -> None:
    program = tmp_path / "login"
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, os\n"
        "asked = json.loads(os.environ['KUBERNETES_EXEC_INFO'])['apiVersion']\n"
        "print(json.dumps({'apiVersion': asked, 'kind': 'ExecCredential', 'status': {'token': f'for {asked}'}}))\n"
    )
    program.chmod(0o755)
    user = resolve(spoilt(tmp_path, user={"exec": {"apiVersion": version, "command": str(program)}}), {}, tmp_path).user

    authentication = user_auth(user)
    assert authentication is not None
    request = next(authentication.sync_auth_flow(httpx2.Request("GET", "https://shop")))

    assert request.headers["Authorization"] == f"Bearer for {version}"
