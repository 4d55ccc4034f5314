"""Discovery through a watched folder: one JSON file per worker, for one machine without a cluster.

    $DYN_FILE_KV/v1/workers/<namespace>/<component>/<hex id>.json        (names percent-encoded)

The owner keeps an exclusive lock on its file. The kernel releases it when the process dies, however it dies, so a
watcher that gets the lock knows the owner is gone, without heartbeats. An owner that is frozen keeps its lock; its
file's mtime stands still then and it counts as gone until it moves again. The folder must be on a file system of this
machine. Registry is called by the worker shell, Discovery by frontends and routers.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from dynamo.discovery.errors import DiscoveryError
from dynamo.wire.cards import CardError, WorkerCard, decode_card, encode_card

HEARTBEAT_S = 2.0
"""How often an owner publishes again, which touches its file."""
EXPIRY_S = 10.0
"""A file untouched for so long belongs to a frozen owner. Five missed heartbeats."""
POLL_S = 0.2
CARD_BYTES_MAX = 1 << 20

_log = logging.getLogger(__name__)


def card_path(folder: Path, card: WorkerCard) -> Path:
    return _workers(folder) / _file_name(card.namespace) / _file_name(card.component) / f"{card.hex_id}.json"


class FileRegistry:
    """Publishes this process's workers; holds one locked file descriptor per card."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[int, _Held] = {}

    async def check(self) -> None:
        """Raises DiscoveryError when the folder cannot be had."""
        try:
            _make_private(_workers(self._folder))
        except OSError as error:
            raise DiscoveryError(f"DYN_FILE_KV: cannot make {_workers(self._folder)}: {error}") from error

    async def publish(self, card: WorkerCard) -> None:
        """Raises DiscoveryError when the folder cannot be used."""
        held = self._held.get(card.worker_id)
        path = card_path(self._folder, card)
        try:
            if held is not None and held.card == card and held.touch():
                return
            if held is None:
                _sweep(path.parent)
            self._held[card.worker_id] = _write(path, card)
        except OSError as error:
            raise DiscoveryError(f"DYN_FILE_KV: cannot write {path}: {error}") from error
        if held is not None:
            held.release(replaced_at=path)

    async def withdraw(self, worker_id: int) -> None:
        if (held := self._held.pop(worker_id, None)) is not None:
            held.release(replaced_at=None)


class FileDiscovery:
    """Sees every live card below the folder."""

    problems: tuple[str, ...] = ()
    """A folder that is not there is an empty one."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock

    async def watch(self) -> AsyncIterator[tuple[WorkerCard, ...]]:
        """First everyone there now, then everyone anew at each change, seen within POLL_S."""
        view = _View(_workers(self._folder))
        try:
            shown: tuple[WorkerCard, ...] | None = None
            while True:
                cards = view.look(self._clock())
                if cards != shown:
                    shown = cards
                    yield cards
                await asyncio.sleep(POLL_S)
        finally:
            view.close()


@dataclass(slots=True)
class _Held:
    card: WorkerCard
    path: Path
    fd: int

    def touch(self) -> bool:
        """False when the file is no longer ours: somebody removed or replaced it."""
        try:
            if self.path.stat().st_ino != os.fstat(self.fd).st_ino:
                return False
        except FileNotFoundError:
            return False
        os.utime(self.fd)
        return True

    def release(self, *, replaced_at: Path | None) -> None:
        if self.path != replaced_at:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()
        os.close(self.fd)


def _write(path: Path, card: WorkerCard) -> _Held:
    """Writes beside and renames, so that a reader sees a whole card or none; locked before it becomes visible."""
    _make_private(path.parent)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        document = encode_card(card)
        while document:
            document = document[os.write(fd, document) :]
        beside.rename(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
        os.close(fd)
        raise
    return _Held(card, path, fd)


def _make_private(folder: Path) -> None:
    """Creates what is missing of the path, each level for its owner only (`mkdir(parents=True)` would not)."""
    if not folder.exists():
        _make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _sweep(folder: Path) -> None:
    """Deletes what dead workers left, for folders that nobody watches; half-written files once they are old."""
    for entry in _entries(folder):
        half_written = entry.name.startswith(".") and time.time() - entry.stat(follow_symlinks=False).st_mtime > 60
        if half_written or _may_be_card(entry.name):
            seen = _open(entry.path, 0.0)
            if seen is not None:
                if (half_written or seen.card is not None) and _owner_is_dead(seen.fd):
                    _delete(entry.path, seen.inode)
                os.close(seen.fd)


@dataclass(slots=True)
class _Seen:
    fd: int
    inode: int
    mtime_ns: int
    moved_s: float
    card: WorkerCard | None


class _View:
    """What a watcher knows of the folder; keeps files open so that a look costs two system calls per worker."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: dict[str, _Seen] = {}
        self._unreadable: set[tuple[str, int]] = set()

    def look(self, now_s: float) -> tuple[WorkerCard, ...]:
        """Cards of live owners, by worker id. Deletes the files of dead ones."""
        present = dict(_files(self._root))
        for path in [path for path in self._seen if path not in present]:
            self._forget(path)
        self._unreadable = {(path, inode) for path, inode in self._unreadable if path in present}
        for path, (inode, mtime_ns) in present.items():
            self._update(path, inode, mtime_ns, now_s)
        live = (s.card for s in self._seen.values() if s.card is not None and now_s - s.moved_s < EXPIRY_S)
        return tuple(sorted(live, key=lambda card: card.worker_id))

    def close(self) -> None:
        for path in list(self._seen):
            self._forget(path)

    def _update(self, path: str, inode: int, mtime_ns: int, now_s: float) -> None:
        seen = self._seen.get(path)
        if seen is not None and seen.inode != inode:
            self._forget(path)
            seen = None
        if seen is None:
            if (path, inode) in self._unreadable:
                return
            seen = _open(path, now_s)
            if seen is None:
                self._unreadable.add((path, inode))
                return
            self._seen[path] = seen
        elif seen.mtime_ns != mtime_ns:
            seen.mtime_ns, seen.moved_s = mtime_ns, now_s
            if seen.card is None:
                seen.card = _read_card(path, seen.fd)
        if seen.card is not None and _owner_is_dead(seen.fd):
            _delete(path, seen.inode)
            self._forget(path)

    def _forget(self, path: str) -> None:
        os.close(self._seen.pop(path).fd)


def _files(root: Path) -> list[tuple[str, tuple[int, int]]]:
    """(path, (inode, mtime in ns)) of everything that may be a card; a missing folder is an empty one."""
    found = []
    for namespace in _folders(root):
        for component in _folders(namespace):
            for entry in _entries(component):
                if _may_be_card(entry.name) and entry.is_file(follow_symlinks=False):
                    with contextlib.suppress(FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        found.append((entry.path, (status.st_ino, status.st_mtime_ns)))
    return found


def _may_be_card(name: str) -> bool:
    return name.endswith(".json") and not name.startswith(".")


def _folders(path: str | Path) -> list[str]:
    return [entry.path for entry in _entries(path) if entry.is_dir(follow_symlinks=False)]


def _entries(path: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _open(path: str, now_s: float) -> _Seen | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.warning("skipped %s: %s", path, error)
        return None
    status = os.fstat(fd)
    return _Seen(fd, status.st_ino, status.st_mtime_ns, now_s, _read_card(path, fd))


def _read_card(path: str, fd: int) -> WorkerCard | None:
    """None for what is no card: said once per file, since the file stays open and known."""
    try:
        return decode_card(os.pread(fd, CARD_BYTES_MAX, 0))
    except (CardError, OSError) as error:
        _log.warning("skipped %s: %s", path, error)
        return None


def _owner_is_dead(fd: int) -> bool:
    """True when nobody holds the exclusive lock. A file system without locks counts as alive."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _delete(path: str, inode: int) -> None:
    """Only if the path still names this file; its owner is dead, so nobody can replace it in between."""
    with contextlib.suppress(OSError):
        if Path(path).lstat().st_ino == inode:
            Path(path).unlink()
            _log.info("removed the card of a dead worker: %s", path)


def _workers(folder: Path) -> Path:
    return folder / "v1" / "workers"


def _file_name(text: str) -> str:
    """Percent-encoded; `.` and `..` too, which `quote` leaves alone."""
    return quote(text, safe="") if text.strip(".") else "%2E" * len(text) or "%00"
