from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

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
