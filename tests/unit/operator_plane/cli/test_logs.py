from __future__ import annotations

from pathlib import Path

import pytest

from dynamo_operator.cli.log_wish import LogWish
from dynamo_operator.cli.logs import show_local_logs, show_logs
from dynamo_operator.cli.target import Target
from dynamo_operator.local.errors import Refused
from dynamo_operator.local.state import StateFolder


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateFolder:
    """A stopped graph with three logs, the only one of its user."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    folder = StateFolder(tmp_path / "dynamo" / "shop")
    folder.create()
    folder.log("frontend-0").write_text("one\ntwo\nthree\n")
    folder.log("worker-0").write_text("four\nno end")
    folder.log("supervisor").write_text("quiet\n")
    return folder


@pytest.mark.parametrize(
    ("name", "component", "tail", "printed"),
    [
        pytest.param(
            "shop",
            None,
            2,
            "frontend-0 | two\nfrontend-0 | three\nworker-0   | four\nworker-0   | no end\n",
            id="all-with-their-names",
        ),
        pytest.param(None, None, 1, "frontend-0 | three\nworker-0   | no end\n", id="the-only-graph-needs-no-name"),
        pytest.param("shop", "Frontend", 100, "one\ntwo\nthree\n", id="a-component-in-any-case"),
        pytest.param("worker-0", None, 1, "no end\n", id="a-lone-process-name"),
        pytest.param("shop", "supervisor", 1, "quiet\n", id="the-supervisor-when-asked-for"),
        pytest.param("shop", "worker", 0, "", id="no-lines"),
    ],
)
def test_the_last_lines_of_what_was_asked_for(
    shop: StateFolder,
    capfdbinary: pytest.CaptureFixture[bytes],
    name: str | None,
    component: str | None,
    tail: int,
    printed: str,
) -> None:
    show_local_logs(name, component, follow=False, tail=tail)

    assert capfdbinary.readouterr().out.decode() == printed


def test_following_a_stopped_graph_ends(shop: StateFolder, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    show_local_logs("shop", "frontend", follow=True, tail=1)

    assert capfdbinary.readouterr().out == b"three\n"


def test_an_unknown_component_is_refused_with_the_nearest(shop: StateFolder) -> None:
    with pytest.raises(Refused, match="shop has no component 'wrker'") as refusal:
        show_local_logs("shop", "wrker", follow=False, tail=1)

    assert refusal.value.hint == "did you mean worker?"


@pytest.mark.parametrize(
    ("name", "target", "is_cluster_meant"),
    [
        pytest.param("shop", Target(namespace="prod"), False, id="a-namespace-is-a-clusters"),
        pytest.param("shop", Target(), True, id="when-asked-for"),
        pytest.param("another", Target(), False, id="a-graph-that-is-unknown-here"),
    ],
)
def test_the_cluster_is_asked_when_it_is_meant(
    shop: StateFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    target: Target,
    is_cluster_meant: bool,
) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(
        "{clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}], current-context: c,"
        " contexts: [{name: c, context: {cluster: c}}]}"
    )
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))

    with pytest.raises(Refused, match=r"the cluster at https://127.0.0.1:1 does not answer"):
        show_logs(LogWish(name, None), target, is_cluster_meant=is_cluster_meant)


@pytest.mark.parametrize("name", ["shop", "worker", None])
def test_what_is_known_here_is_read_here_whatever_cluster_is_configured(
    shop: StateFolder, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], name: str | None
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")

    show_logs(LogWish(name, None), Target())

    assert b"four" in capfdbinary.readouterr().out
