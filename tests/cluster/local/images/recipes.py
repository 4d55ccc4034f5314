"""What each image is called, what it is made of, and when it must be made anew. Pure apart from reading the sources.

Called by the image builder and by the cluster that loads them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

# A host that no registry has: containerd takes these only from what was loaded.
HOST = "dynamo.local"
# What containerd puts before a name without a host; nothing is ever asked there, since images are loaded.
DEFAULT_HOST = ".".join(("docker", "io"))

_HERE = Path(__file__).parent
DOCKERFILE = "images/Dockerfile"
_DOCKERFILE_INPUTS = (DOCKERFILE, "images/requirements.lock", "pyproject.toml", "operator/src", "dataplane/src", "crds")
_IGNORED = frozenset({"__pycache__"})


@dataclass(frozen=True, slots=True)
class Image:
    name: str

    @property
    def reference(self) -> str:
        """What manifests say."""
        return f"{HOST}/{self.name}:test"

    def keyed_reference(self, key: str) -> str:
        """A second name of the loaded image, which tells what it was made of."""
        return f"{HOST}/{self.name}:{key}"


BASE = Image("python-base")
OPERATOR = Image("operator")
RUNTIME = Image("runtime")
PAUSE = Image("pause")
COREDNS = Image("coredns")
LEADERWORKERSET = Image("lws")

BASE_RELEASE = "bookworm"
BASE_PACKAGES = ("ca-certificates", "python3", "python3-venv")


def full_name(image: str) -> str:
    """The name that containerd keeps an image under: with host, path and tag."""
    first, slash, _ = image.partition("/")
    has_host = slash and ("." in first or ":" in first or first == "localhost")
    named = image if has_host else f"{DEFAULT_HOST}/{image if slash else f'library/{image}'}"
    last = named.rpartition("/")[2]
    return named if ":" in last or "@" in last else f"{named}:latest"


def base_key() -> str:
    recipe = {"recipe": repr((BASE_RELEASE, BASE_PACKAGES)).encode()}
    return digest({**recipe, **_contents(_HERE, ["Base.Dockerfile"])})


def dockerfile_key(repository: Path, image: Image, base: str) -> str:
    """Changes with the Dockerfile, the locked dependencies, our sources and the base image; not with where they lie."""
    return digest({"base": base.encode(), "target": image.name.encode(), **_contents(repository, _DOCKERFILE_INPUTS)})


def program_key(program: Path) -> str:
    """Changes with the program; a Go program's folder says what it was built from, so its bytes need no reading."""
    is_source = program.suffix == ".c"
    source = _contents(program.parent, [program.name]) if is_source else {"program": str(program).encode()}
    return digest({**source, **_contents(_HERE, ["Program.Dockerfile"])})


def digest(parts: Mapping[str, bytes]) -> str:
    whole = hashlib.sha256()
    for name in sorted(parts):
        whole.update(name.encode() + b"\0" + hashlib.sha256(parts[name]).digest())
    return whole.hexdigest()[:16]


def _contents(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    """The files with these names, and those in the folders among them, each by its path from `folder`."""
    found: dict[str, bytes] = {}
    for name in names:
        path = folder / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and not _IGNORED & set(file.parts):
                found[str(file.relative_to(folder))] = file.read_bytes()
    return found
