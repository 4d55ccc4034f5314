"""Builds images as archives in the cache, without a registry and without Docker; what is unchanged is kept.

Must not load them anywhere. Called by `make images` and by the local cluster's boot.
"""

from __future__ import annotations

import functools
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.commands import held, run, step
from tests.cluster.local import binaries
from tests.cluster.local.images import recipes
from tests.cluster.local.images.recipes import Image
from tests.cluster.settings import REPOSITORY

_HERE = Path(__file__).parent
_BUILD_DEADLINE_S = 900


@dataclass(frozen=True, slots=True)
class Built:
    """An image's archive, and the key of what it was made of."""

    image: Image
    key: str
    archive: Path


class Builder:
    """Builds into one cache; its container storage lies there too."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._folder = cache / "images"

    def all(self) -> list[Built]:
        """Every image that the cluster runs, built where something changed."""
        with held(self._folder / "lock", shows="another process builds images"):
            return [
                self.program(recipes.PAUSE, _HERE / "pause.c"),
                self.program(recipes.COREDNS, self._binary(binaries.COREDNS)),
                self.program(recipes.LEADERWORKERSET, self._binary(binaries.LEADERWORKERSET)),
                *self._ours(),
            ]

    def _ours(self) -> list[Built]:
        base_key = recipes.base_key()
        wheels = functools.cache(write_wheels)  # Once for both images, and only if one is made.
        built = []
        for image in (recipes.OPERATOR, recipes.RUNTIME):

            def make(image: Image = image) -> None:
                wheels(REPOSITORY)
                source = ["--file", str(REPOSITORY / recipes.DOCKERFILE), "--build-arg", f"BASE={self._base(base_key)}"]
                # Under a name of its own, this stage outlives the pruning.
                self._build(f"{recipes.HOST}/dependencies:test", [*source, "--target", "dependencies"], REPOSITORY)
                self._build(image.reference, [*source, "--target", image.name], REPOSITORY)

            built.append(self._kept_or_made(image, recipes.dockerfile_key(REPOSITORY, image, base_key), make))
        return built

    def _base(self, key: str) -> str:
        """The base image's name in the builder's storage; made when it isn't there."""
        reference = recipes.BASE.keyed_reference(key)
        if not self.buildah("images", "--quiet", "--filter", f"reference={reference}").strip():
            with (
                step(f"building image {reference} with debootstrap"),
                tempfile.TemporaryDirectory(prefix="dynamo-base-", dir=self._cache) as work,
            ):
                _write_root_filesystem(Path(work))
                self._build(reference, ["--file", str(_HERE / "Base.Dockerfile")], Path(work))
        return reference

    def program(self, image: Image, program: Path) -> Built:
        """An image with one static program, or one made of the C source of it."""

        def make() -> None:
            with tempfile.TemporaryDirectory(prefix="dynamo-image-", dir=self._cache) as work:
                target = Path(work) / "program"
                if program.suffix == ".c":
                    run(["gcc", "-static", "-Os", "-o", target, program])
                else:
                    shutil.copy2(program, target)
                self._build(image.reference, ["--file", str(_HERE / "Program.Dockerfile")], Path(work))

        return self._kept_or_made(image, recipes.program_key(program), make)

    def _binary(self, program: binaries.Program) -> Path:
        return binaries.ensure(self._cache, program) / program.name

    def _kept_or_made(self, image: Image, key: str, make: Callable[[], None]) -> Built:
        archive = self._folder / f"{image.name}-{key}.tar"
        if not archive.exists():
            unfinished = self._folder / f".{image.name}.tar"
            unfinished.unlink(missing_ok=True)
            with step(f"building image {image.reference}"):
                make()
                self.buildah("push", image.reference, f"docker-archive:{unfinished}:{image.reference}")
            for old in self._folder.glob(f"{image.name}-*.tar"):
                old.unlink()
            unfinished.rename(archive)
        return Built(image, key, archive)

    def _build(self, reference: str, arguments: list[str], context: Path) -> None:
        # Only chroot isolation works where the builder itself is confined; no build step needs the network.
        build = ["bud", "--isolation", "chroot", "--layers", "--pull-never", "--tag", reference]
        self.buildah("rm", "--all")  # A build that was killed leaves its container, whose image then can't be pruned.
        self.buildah(*build, *arguments, str(context))
        self.buildah("rmi", "--prune")  # What the tag named before; layers that later builds start from stay.

    def buildah(self, *arguments: str) -> str:
        """What buildah answers about this builder's own storage; ClusterError when it refuses."""
        storage = self._cache / "buildah"
        places = ["--root", str(storage / "root"), "--runroot", str(storage / "run"), "--storage-driver", "overlay"]
        return run(["buildah", *places, *arguments], timeout_s=_BUILD_DEADLINE_S)


def write_wheels(repository: Path) -> None:
    """Fills `dist/` with our wheel and the locked dependencies', checked against their hashes."""
    dist = repository / "dist"
    wheels = dist / "wheels"
    lock = repository / "images" / "requirements.lock"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    stamp = wheels / f".{recipes.digest({'lock': lock.read_bytes()})}"
    if not stamp.exists():
        shutil.rmtree(wheels, ignore_errors=True)
        download = ["download", "--no-deps", "--require-hashes", "--only-binary=:all:", "--dest", str(wheels)]
        run([*pip, *download, "--requirement", str(lock)], timeout_s=_BUILD_DEADLINE_S)
        stamp.touch()
    for old in dist.glob("*.whl"):
        old.unlink()
    run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(dist), str(repository)], timeout_s=300)


def _write_root_filesystem(work: Path) -> None:
    root = work / "root"
    packages = ",".join(recipes.BASE_PACKAGES)
    command = ["debootstrap", "--variant=minbase", f"--include={packages}", recipes.BASE_RELEASE, str(root)]
    run(command, timeout_s=_BUILD_DEADLINE_S)
    for leftover in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(root / leftover, ignore_errors=True)
    run(["tar", "--create", "--file", str(work / "base.tar"), "--exclude=./dev/*", "--directory", str(root), "."])
    shutil.rmtree(root)
