"""Where clusters come from, by the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.choice import usable_cluster
from tests.cluster.errors import ClusterUnavailable
from tests.cluster.settings import Settings, read_settings


@pytest.mark.parametrize(
    ("env", "cache"),
    [
        pytest.param({"HOME": "/home/u"}, "/home/u/.cache/dynamo-test-cluster", id="home"),
        pytest.param({"HOME": "/h", "XDG_CACHE_HOME": "/x"}, "/x/dynamo-test-cluster", id="xdg"),
        pytest.param({"HOME": "/h", "DYNAMO_CLUSTER_CACHE": "/mine"}, "/mine", id="named"),
    ],
)
def test_the_cache_is_the_users(env: dict[str, str], cache: str) -> None:
    assert read_settings(env).cache == Path(cache)


@pytest.mark.parametrize(("value", "is_required"), [("1", True), ("0", False), ("", False), ("false", False)])
def test_ci_requires_clusters(value: str, is_required: bool) -> None:
    assert read_settings({"DYNAMO_CLUSTER_REQUIRED": value}).is_required is is_required


def test_a_named_kubeconfig_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    settings = Settings(cache=tmp_path, kubeconfig=tmp_path / "missing", is_required=False)
    with pytest.raises(ClusterUnavailable, match="missing, which does not exist"), usable_cluster(settings):
        raise AssertionError("no cluster was there")


def test_an_existing_cluster_wins_over_making_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "config").write_text("{}")
    settings = Settings(cache=tmp_path, kubeconfig=tmp_path / "config", is_required=False)
    with usable_cluster(settings) as cluster:
        assert cluster.kubeconfig == tmp_path / "config"
