"""Runs other programs: quietly when they work, with the end of their output when they don't.

Also the two primitives that every step needs: wait for a condition with a deadline, and one holder of a lock at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.cluster.errors import ClusterError

_POLL_S = 0.05
_TAIL_CHARACTERS = 3000


def run(
    command: Sequence[str | Path],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float = 120,
) -> str:
    """The program's standard output; ClusterError with the end of its standard error otherwise."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, input=stdin, env=env and dict(env), cwd=cwd, timeout=timeout_s, capture_output=True, text=True
        )
    except FileNotFoundError as error:
        raise ClusterError(f"{words[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"{' '.join(words)}: not done within {timeout_s:g} s") from error
    if done.returncode != 0:
        output = (done.stderr or done.stdout)[-_TAIL_CHARACTERS:].strip()
        raise ClusterError(f"{' '.join(words)}: exit code {done.returncode}\n{output}")
    return done.stdout


def succeeds(command: Sequence[str | Path], timeout_s: float = 30) -> bool:
    with contextlib.suppress(ClusterError):
        run(command, timeout_s=timeout_s)
        return True
    return False


def say(line: str) -> None:
    """One line of progress, for people; on standard error so that output can be piped."""
    print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    """Says what begins and how long it took."""
    began_s = time.monotonic()
    say(f"  {title} ...")
    yield
    say(f"  {title}: {time.monotonic() - began_s:.1f} s")


def wait_until(claim: Callable[[], bool], what: str, *, deadline_s: float, explain: Callable[[], str] = str) -> float:
    """Returns after how many seconds `claim` held; ClusterError with `explain()` when it never did."""
    began_s = time.monotonic()
    while not claim():
        if time.monotonic() - began_s > deadline_s:
            raise ClusterError(f"{what}: not within {deadline_s:g} s\n{explain()}")
        time.sleep(_POLL_S)
    return time.monotonic() - began_s


@contextlib.contextmanager
def held(lock: Path, *, shows: str) -> Iterator[None]:
    """Holds a file lock, waiting for its holder with a line that says so; the kernel frees it when we die."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"  waiting: {shows}")
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)


def plain_environment(**more: str) -> dict[str, str]:
    """This process's environment without proxies, which would catch a cluster's own addresses."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, **more}
