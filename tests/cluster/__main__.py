"""Test clusters from a shell: `python -m tests.cluster VERB`; the Makefile's cluster targets call this.

Parses and calls, nothing else. Progress goes to standard error, what a script wants to read to standard output.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster.commands import say
from tests.cluster.errors import ClusterError
from tests.cluster.kind.cluster import kind_down, kind_up
from tests.cluster.local.api_only import start_api_cluster, stop_api_cluster
from tests.cluster.local.binaries import PROGRAMS, ensure
from tests.cluster.local.cluster import down, up
from tests.cluster.local.images.build import Builder, write_wheels
from tests.cluster.settings import REPOSITORY, Settings, read_settings

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description="Clusters to test against.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    _verb(verbs, "binaries", _binaries, "build the programs of the clusters that are not built yet")
    _verb(verbs, "images", _images, "build the images whose sources changed")
    _verb(verbs, "wheels", _wheels, "fill dist/ with the wheels that images/Dockerfile installs")
    _verb(verbs, "up", _up, "start the local cluster, or bring the running one up to date")
    _verb(verbs, "down", _down, "stop the local cluster and remove what it left")
    _verb(verbs, "kind-up", _kind_up, "make a kind cluster with our images; needs Docker")
    _verb(verbs, "kind-down", _kind_down, "remove the kind cluster")
    for name, verb, help_text in (
        ("api-up", _api_up, "start an API server without nodes in FOLDER and print its kubeconfig's path"),
        ("api-down", _api_down, "stop the API server in FOLDER and remove the folder"),
    ):
        _verb(verbs, name, verb, help_text).add_argument("folder", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    try:
        arguments.verb(read_settings(os.environ), arguments)
    except ClusterError as error:
        say(f"error: {error}")
        return 1
    return 0


def _verb(verbs: Verbs, name: str, run: Callable[..., None], help_text: str) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=help_text)
    parser.set_defaults(verb=run)
    return parser


def _binaries(settings: Settings, arguments: argparse.Namespace) -> None:
    for program in PROGRAMS:
        print(ensure(settings.cache, program))


def _images(settings: Settings, arguments: argparse.Namespace) -> None:
    for built in Builder(settings.cache).all():
        print(built.archive)


def _wheels(settings: Settings, arguments: argparse.Namespace) -> None:
    write_wheels(REPOSITORY)


def _up(settings: Settings, arguments: argparse.Namespace) -> None:
    print(up(settings.cache).kubeconfig)


def _down(settings: Settings, arguments: argparse.Namespace) -> None:
    down(settings.cache)


def _kind_up(settings: Settings, arguments: argparse.Namespace) -> None:
    print(kind_up(settings.cache).kubeconfig)


def _kind_down(settings: Settings, arguments: argparse.Namespace) -> None:
    kind_down(settings.cache)


def _api_up(settings: Settings, arguments: argparse.Namespace) -> None:
    print(start_api_cluster(settings.cache, arguments.folder.resolve()).kubeconfig)


def _api_down(settings: Settings, arguments: argparse.Namespace) -> None:
    stop_api_cluster(arguments.folder.resolve())


if __name__ == "__main__":
    sys.exit(main())
