"""`dynamo logs`: prints the log files of a graph's processes on this machine, or hands over to the cluster's.

Edge: files. Called by `main`.
"""

from __future__ import annotations

import collections
import contextlib
import difflib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from dynamo_operator.cli.log_wish import LogWish
from dynamo_operator.cli.running import choose
from dynamo_operator.cli.target import Target
from dynamo_operator.local.errors import Refused
from dynamo_operator.local.state import StateFolder, folders, state_root

_LOOK_EVERY_S = 0.2


def show_logs(wish: LogWish, target: Target, *, is_cluster_meant: bool = False) -> None:
    """Of this machine's graph where one of that name is known, unless something says that a cluster is meant."""
    if is_cluster_meant or target.is_named or not _is_known_here(wish.name):
        from dynamo_operator.cli.cluster_logs import has_cluster, show_cluster_logs

        if is_cluster_meant or target.is_named or (wish.name is not None and has_cluster(target)):
            show_cluster_logs(wish, target)
            return
    show_local_logs(wish.name, wish.component, follow=wish.is_followed, tail=wish.tail)


def _is_known_here(name: str | None) -> bool:
    """A lone word may also name a component of the only graph."""
    known = folders(state_root(os.environ))
    if name is None or name in [folder.graph for folder in known]:
        return bool(known)
    running = [folder for folder in known if folder.is_up()]
    likely = running if len(running) == 1 else known
    return len(likely) == 1 and bool(_matching(sorted(likely[0].logs.glob("*.log")), name))


def show_local_logs(name: str | None, component: str | None, *, follow: bool, tail: int) -> None:
    """`dynamo logs worker` also works: a lone word that names no graph is taken for a component of the only one."""
    folder, component = _find(name, component)
    paths = _choose_logs(folder, component)
    width = max(len(path.stem) for path in paths) if len(paths) > 1 else 0
    readers = [_Reader(path, width, tail, whole_lines=follow) for path in paths]
    for reader in readers:
        reader.print_new()
    while follow:
        is_up = folder.is_up()
        for reader in readers:
            reader.print_new()
        if not is_up:
            return
        time.sleep(_LOOK_EVERY_S)


def _find(name: str | None, component: str | None) -> tuple[StateFolder, str | None]:
    known = folders(state_root(os.environ))
    running = [folder for folder in known if folder.is_up()]
    likely = running if len(running) == 1 else known
    if name is not None and component is None and len(likely) == 1 and name not in [each.graph for each in known]:
        name, component = None, name
    return choose(name, known if name is not None else likely, what="known"), component


def _choose_logs(folder: StateFolder, component: str | None) -> Sequence[Path]:
    paths = sorted(folder.logs.glob("*.log"))
    if not paths:
        raise Refused(f"{folder.graph} has written no logs yet")
    if component is None:
        return [path for path in paths if path.stem != "supervisor"] or paths
    wanted = component.lower()
    chosen = _matching(paths, wanted)
    if not chosen:
        names = sorted({path.stem.rpartition("-")[0] or path.stem for path in paths} | {path.stem for path in paths})
        near = difflib.get_close_matches(wanted, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it has: {', '.join(names)}"
        raise Refused(f"{folder.graph} has no component {component!r}", hint)
    return chosen


def _matching(paths: Sequence[Path], component: str) -> list[Path]:
    wanted = component.lower()
    return [path for path in paths if wanted in {path.stem, path.stem.rpartition("-")[0]}]


class _Reader:
    """Owns the place up to which one log was printed."""

    def __init__(self, path: Path, width: int, tail: int, *, whole_lines: bool) -> None:
        self._path = path
        self._prefix = f"{path.stem:<{width}} | ".encode() if width else b""
        self._tail: int | None = tail
        self._whole_lines = whole_lines
        self._offset = 0

    def print_new(self) -> None:
        with contextlib.suppress(FileNotFoundError), self._path.open("rb") as file:
            for line in self._new_lines(file):
                sys.stdout.buffer.write(self._prefix + line)
            sys.stdout.buffer.flush()

    def _new_lines(self, file: BinaryIO) -> list[bytes]:
        if self._offset > os.fstat(file.fileno()).st_size:  # emptied, or replaced by a new run
            self._offset = 0
        file.seek(self._offset)
        limit, self._tail = self._tail, None
        lines: collections.deque[bytes] = collections.deque(maxlen=limit)
        for line in file:
            if not line.endswith(b"\n") and self._whole_lines:
                break
            self._offset += len(line)
            lines.append(line if line.endswith(b"\n") else line + b"\n")
        return list(lines)
