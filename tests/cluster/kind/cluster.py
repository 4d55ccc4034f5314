"""Makes, uses and removes a kind cluster: its commands (pure), and their running.

Needs Docker and kind, says plainly when one is missing, and installs neither. Called by `make kind-up` and the fixture.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.access import Access
from tests.cluster.commands import run, step, succeeds
from tests.cluster.errors import ClusterUnavailable
from tests.cluster.local.images import recipes
from tests.cluster.local.images.build import write_wheels
from tests.cluster.local.images.recipes import DOCKERFILE, Image
from tests.cluster.settings import REPOSITORY

NAME = "dynamo-test"
CONFIG = Path(__file__).parent / "config.yaml"
_IMAGES = (recipes.OPERATOR, recipes.RUNTIME)
_DEADLINE_S = 900


@dataclass(frozen=True)
class KindCluster(Access):
    node: str = f"{NAME}-control-plane"

    def load_image(self, image: Image, *names: str) -> None:
        for name in names:
            run(["docker", "tag", image.reference, name])
            run(load_command(name), timeout_s=_DEADLINE_S)


def up_command(kubeconfig: Path) -> list[str]:
    return ["kind", "create", "cluster", "--config", str(CONFIG), "--kubeconfig", str(kubeconfig), "--wait", "120s"]


def down_command(kubeconfig: Path) -> list[str]:
    return ["kind", "delete", "cluster", "--name", NAME, "--kubeconfig", str(kubeconfig)]


def build_command(repository: Path, image: Image) -> list[str]:
    source = ["--file", str(repository / DOCKERFILE), "--target", image.name]
    return ["docker", "build", *source, "--tag", image.reference, str(repository)]


def load_command(reference: str) -> list[str]:
    return ["kind", "load", "docker-image", reference, "--name", NAME]


def kind_kubeconfig(cache: Path) -> Path:
    return cache / "kind" / "kubeconfig"


def kind_up(cache: Path) -> KindCluster:
    """Makes the cluster unless it is there, builds the images and loads them."""
    _check_possible()
    kubeconfig = kind_kubeconfig(cache)
    kubeconfig.parent.mkdir(parents=True, exist_ok=True)
    if NAME not in run(["kind", "get", "clusters"]).split():
        with step("creating the kind cluster"):
            run(up_command(kubeconfig), timeout_s=_DEADLINE_S)
    write_wheels(REPOSITORY)
    for image in _IMAGES:
        with step(f"building and loading {image.reference}"):
            run(build_command(REPOSITORY, image), timeout_s=_DEADLINE_S)
            run(load_command(image.reference), timeout_s=_DEADLINE_S)
    return running_kind(cache)


def kind_down(cache: Path) -> None:
    _check_possible()
    run(down_command(kind_kubeconfig(cache)))
    shutil.rmtree(kind_kubeconfig(cache).parent, ignore_errors=True)


def running_kind(cache: Path) -> KindCluster:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise ClusterUnavailable("kubectl is needed on PATH to use a kind cluster")
    return KindCluster(kind_kubeconfig(cache), kubectl)


def _check_possible() -> None:
    if shutil.which("docker") is None or not succeeds(["docker", "version"]):
        raise ClusterUnavailable("kind needs a running Docker, and none answers; `make cluster-up` needs none")
    if shutil.which("kind") is None:
        raise ClusterUnavailable("kind is not installed: go install sigs.k8s.io/kind@v0.33.0")
