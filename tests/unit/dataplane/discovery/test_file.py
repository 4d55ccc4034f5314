"""The folder's own promises: locks, permissions, foreign files, frozen owners."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import aclosing
from pathlib import Path

import pytest

from dynamo.discovery import DiscoveryError, open_discovery, open_registry
from dynamo.discovery.file import EXPIRY_S, FileDiscovery, FileRegistry, _View, card_path
from dynamo.discovery.mem import MemFleet
from dynamo.wire.cards import WorkerCard, encode_card
from tests.contract.test_discovery import a_card, until

OWNER = """
import asyncio, sys
from pathlib import Path
from dynamo.discovery.file import FileRegistry
from tests.contract.test_discovery import a_card
registry = FileRegistry(Path(sys.argv[1]))
asyncio.run(registry.publish(a_card(7)))
print("published", flush=True)
sys.stdin.read()
"""


def an_owner(folder: Path) -> subprocess.Popen[str]:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "published\n"
    return owner


def end(owner: subprocess.Popen[str]) -> None:
    owner.kill()
    owner.wait()
    assert owner.stdin is not None
    assert owner.stdout is not None
    owner.stdin.close()
    owner.stdout.close()


def view(folder: Path) -> _View:
    return _View(folder / "v1" / "workers")


async def test_killed_owner_vanishes_within_two_seconds_and_its_file_is_removed(tmp_path: Path) -> None:
    owner = an_owner(tmp_path)
    async with aclosing(FileDiscovery(tmp_path).watch()) as watch:
        assert [card.worker_id for card in await anext(watch)] == [7]
        killed_s = time.monotonic()
        owner.send_signal(signal.SIGKILL)
        await until(watch, lambda cards: cards == ())
        assert time.monotonic() - killed_s < 2
    end(owner)
    assert not card_path(tmp_path, a_card(7)).exists()


async def test_next_registrar_removes_what_a_dead_one_left(tmp_path: Path) -> None:
    end(an_owner(tmp_path))
    registry = FileRegistry(tmp_path)
    await registry.publish(a_card(8))

    assert not card_path(tmp_path, a_card(7)).exists()
    assert card_path(tmp_path, a_card(8)).exists()
    await registry.withdraw(8)


async def test_frozen_owner_counts_as_gone_until_it_moves(tmp_path: Path) -> None:
    registry = FileRegistry(tmp_path)
    await registry.publish(a_card(1))
    look = view(tmp_path).look
    assert len(look(0.0)) == 1
    assert len(look(EXPIRY_S - 0.1)) == 1
    assert look(EXPIRY_S + 0.1) == ()

    await registry.publish(a_card(1))

    assert len(look(EXPIRY_S + 0.2)) == 1
    await registry.withdraw(1)


async def test_expiry_ignores_the_wall_clock(tmp_path: Path) -> None:
    registry = FileRegistry(tmp_path)
    await registry.publish(a_card(1))
    os.utime(card_path(tmp_path, a_card(1)), (0, 0))

    assert len(view(tmp_path).look(0.0)) == 1
    await registry.withdraw(1)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"worker_id": "x"}', b"\xff\xfe"], ids=repr)
async def test_foreign_file_is_skipped_and_kept_and_said_once(
    tmp_path: Path, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    registry = FileRegistry(tmp_path)
    await registry.publish(a_card(1))
    foreign = card_path(tmp_path, a_card(1)).with_name("notes.json")
    foreign.write_bytes(text)
    watcher = view(tmp_path)

    with caplog.at_level(logging.WARNING):
        assert len(watcher.look(0.0)) == 1
        assert len(watcher.look(0.2)) == 1

    assert [r.getMessage() for r in caplog.records if "notes.json" in r.getMessage()].__len__() == 1
    assert foreign.exists()
    watcher.close()
    await registry.withdraw(1)


async def test_card_without_a_living_owner_is_not_shown(tmp_path: Path) -> None:
    path = card_path(tmp_path, a_card(3))
    path.parent.mkdir(parents=True)
    path.write_bytes(encode_card(a_card(3)))

    assert view(tmp_path).look(0.0) == ()
    assert not path.exists()


async def test_symbolic_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    outside.write_bytes(encode_card(a_card(3)))
    link = card_path(tmp_path, a_card(3))
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)

    assert view(tmp_path).look(0.0) == ()
    assert outside.exists()


async def test_folders_and_files_are_private(tmp_path: Path) -> None:
    registry = FileRegistry(tmp_path / "new")
    await registry.publish(a_card(1))
    path = card_path(tmp_path / "new", a_card(1))

    assert path.stat().st_mode & 0o777 == 0o600
    assert {folder.stat().st_mode & 0o777 for folder in path.relative_to(tmp_path).parents if folder.exists()} <= {
        0o700,
        0o755,
    }
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert path.parent.stat().st_mode & 0o777 == 0o700
    await registry.withdraw(1)


async def test_removed_file_is_written_again_by_the_next_heartbeat(tmp_path: Path) -> None:
    registry = FileRegistry(tmp_path)
    await registry.publish(a_card(1))
    card_path(tmp_path, a_card(1)).unlink()

    await registry.publish(a_card(1))

    assert len(view(tmp_path).look(0.0)) == 1
    await registry.withdraw(1)


async def test_moved_card_leaves_nothing_behind(tmp_path: Path) -> None:
    registry = FileRegistry(tmp_path)
    await registry.publish(a_card(1))
    await registry.publish(a_card(1, component="prefill"))

    assert [card.component for card in view(tmp_path).look(0.0)] == ["prefill"]
    assert not card_path(tmp_path, a_card(1)).exists()
    await registry.withdraw(1)


async def test_restarted_worker_replaces_its_card_while_watched(tmp_path: Path) -> None:
    registry = FileRegistry(tmp_path)
    watcher = view(tmp_path)
    for round_ in range(20):
        await registry.publish(a_card(1, created_s=round_))
        assert [card.created_s for card in watcher.look(0.0)] == [round_]
    watcher.close()
    await registry.withdraw(1)


async def test_unusable_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(DiscoveryError, match=r"DYN_FILE_KV: cannot write .*file/v1"):
        await FileRegistry(tmp_path / "file").publish(a_card(1))


def test_unknown_backend_is_named() -> None:
    with pytest.raises(DiscoveryError, match=r"DYN_DISCOVERY_BACKEND: found 'etcd'; expected one of file, mem"):
        open_discovery("etcd", {})


async def test_backend_and_folder_come_from_the_environment(tmp_path: Path) -> None:
    env = {"DYN_FILE_KV": str(tmp_path)}
    registry, discovery = open_registry("", env), open_discovery("file", env)
    await registry.publish(a_card(1))
    async with aclosing(discovery.watch()) as watch:
        assert await anext(watch) == (a_card(1),)
    await registry.withdraw(1)
    assert isinstance(open_registry("mem", {}), MemFleet)


def test_default_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dynamo_store_kv").mkdir()
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)

    with pytest.raises(DiscoveryError, match="set DYN_FILE_KV"):
        open_registry("file", {"TMPDIR": str(tmp_path)})


async def test_watch_costs_no_thread_and_ends_when_cancelled(tmp_path: Path) -> None:
    async def follow() -> tuple[WorkerCard, ...]:
        async for cards in FileDiscovery(tmp_path).watch():
            last = cards
        return last

    task = asyncio.create_task(follow())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
