"""A cluster as the commands ask it, with the API server's answers made up here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
import yaml

from dynamo_operator.cli.cluster import Cluster, LogRequest, connect
from dynamo_operator.cli.cluster_logs import show_cluster_logs
from dynamo_operator.cli.log_wish import LogWish
from dynamo_operator.cli.target import Target
from dynamo_operator.kube.objects import GRAPH
from dynamo_operator.local.errors import Refused

Answer = Callable[[httpx2.Request], httpx2.Response]


def a_cluster(answer: Answer) -> Cluster:
    return Cluster(httpx2.Client(transport=httpx2.MockTransport(answer), base_url="https://cluster"), "shop")


def a_kubeconfig(folder: Path, server: str = "https://cluster", user: object = None) -> Path:
    path = folder / "config"
    document = {
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "me"}}],
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "me", "user": user or {}}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.parametrize("name", ["", "../secrets/x", "a b", "Agg"])
def test_a_name_that_nothing_can_have_is_not_asked_for(name: str) -> None:
    asked: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return httpx2.Response(200, json={"items": []})

    with pytest.raises(Refused, match="no object can be called") as refusal:
        a_cluster(answer).get(GRAPH, name)

    assert "allowed: " in refusal.value.hint
    assert not asked


def test_a_namespace_that_none_can_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="--namespace: found 'My_Shop'"):
        connect(Target(a_kubeconfig(tmp_path), None, "My_Shop"))


def test_a_server_that_is_no_address_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="server 'https://shop:port' is no address"):
        connect(Target(a_kubeconfig(tmp_path, "https://shop:port"), None, None))


def test_logs_without_credentials_are_refused_as_other_questions_are() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        raise FileNotFoundError(2, "No such file or directory", "get-token")

    request = LogRequest("main", None)
    with pytest.raises(Refused, match="the login for https://cluster failed"):
        list(a_cluster(answer).log_lines("w-0", "shop", request))


class _ClosedPipe:
    def write(self, text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


@pytest.mark.timeout(20)
def test_followed_logs_end_when_nobody_reads_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pod = {
        "metadata": {"name": "w-0", "namespace": "shop", "labels": {"nvidia.com/dynamo-component": "w"}},
        "status": {"phase": "Running"},
    }

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/log"):
            return httpx2.Response(200, text="one\ntwo\n")
        return httpx2.Response(200, json={"items": [pod]})

    monkeypatch.setattr("dynamo_operator.cli.cluster_logs.connect", lambda _: a_cluster(answer))
    monkeypatch.setattr("sys.stdout", _ClosedPipe())

    with pytest.raises(BrokenPipeError):
        show_cluster_logs(LogWish("graph", None, is_followed=True), Target())


def test_a_pod_that_has_not_started_is_told_of_where_it_has_no_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting = [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]
    pod = {
        "metadata": {"name": "w-0", "namespace": "shop"},
        "status": {"phase": "Pending", "containerStatuses": waiting},
    }

    def answer(request: httpx2.Request) -> httpx2.Response:
        is_log = request.url.path.endswith("/log")
        return httpx2.Response(200, text="") if is_log else httpx2.Response(200, json={"items": [pod]})

    monkeypatch.setattr("dynamo_operator.cli.cluster_logs.connect", lambda _: a_cluster(answer))

    show_cluster_logs(LogWish("graph", None), Target())

    assert capsys.readouterr().err == "note: w-0 has written nothing yet: ImagePullBackOff\n"


def test_what_is_not_installed_is_told_with_the_command_that_does() -> None:
    with pytest.raises(Refused, match="the cluster does not know DynamoGraphDeployment") as refusal:
        a_cluster(lambda _: httpx2.Response(404)).find(GRAPH)

    assert "helm install dynamo helm/dynamo-platform" in refusal.value.hint
