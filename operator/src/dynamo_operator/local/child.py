"""One supervised process: start, readiness, restart with backoff, stop. Edge: processes, clock, files.

Called by the supervisor, which decides when to stop. A process is restarted for ever once it was ready; one that ends
`START_ATTEMPTS` times before it ever was is reported as failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import msgspec

from dynamo_operator.local.guarding import Guard
from dynamo_operator.local.probe import is_ready
from dynamo_operator.local.specs import STOP_DEADLINE_S, ProcessSpec
from dynamo_operator.local.state import ProcessState, Status, started

START_ATTEMPTS = 3
_SHIM = Path(__file__).with_name("shim.py")
_FIRST_BACKOFF_S, _LAST_BACKOFF_S = 0.5, 10.0
_STEADY_AFTER_S = 10.0  # a run this long forgets earlier restarts
_ASK_EVERY_S = 0.1
_ASK_AGAIN_EVERY_S = 2.0
_MISSES = 3  # failed probes in a row before a ready process counts as unready
_NEVER_STARTS = frozenset({126, 127})


class Child:
    """Owns one process and its `state`; calls `on_change` after every change of it."""

    def __init__(
        self,
        spec: ProcessSpec,
        log: Path,
        *,
        inherited: Mapping[str, str],
        guard: Guard,
        client: httpx.AsyncClient,
        on_change: Callable[[], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self._spec = spec
        self._log = log
        self._env = {**inherited, **spec.env}
        self._guard = guard
        self._client = client
        self._on_change = on_change
        self._on_failure = on_failure
        self._stopping = asyncio.Event()
        self._was_ready = False
        self.state = ProcessState(
            name=spec.name,
            pod=spec.pod,
            component=spec.component,
            role=spec.role,
            status="starting",
            http_port=spec.http_port,
            system_port=spec.system_port,
        )

    async def run(self) -> None:
        """Returns when the process has ended after `stop` or `kill`, or has failed for good."""
        backoff_s = _FIRST_BACKOFF_S
        while True:
            began_s = time.monotonic()
            code = await self._run_once()
            self._change(status="stopped" if self._stopping.is_set() else "waiting", pid=None, last_exit=_ending(code))
            if self._stopping.is_set() or self._has_failed(code):
                return
            if time.monotonic() - began_s >= _STEADY_AFTER_S:
                backoff_s = _FIRST_BACKOFF_S
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), backoff_s)
                self._change(status="stopped")
                return
            backoff_s = min(2 * backoff_s, _LAST_BACKOFF_S)
            self._change(restarts=self.state.restarts + 1)

    def stop(self) -> None:
        """Asks the process to end; it is killed after `STOP_DEADLINE_S`."""
        self._stopping.set()

    def kill(self) -> None:
        self._stopping.set()
        if self.state.pid is not None:
            _signal_group(self.state.pid, signal.SIGKILL)

    async def _run_once(self) -> int:
        """One life of the process; its exit code, negative for a signal. Nothing of its group is left afterwards."""
        self._log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # somebody may have tidied up
        with self._log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(_SHIM), str(os.getpid())),
                *self._spec.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._env,
                start_new_session=True,
            )
        began = started(process.pid)
        self._guard.announce(process.pid, began or "gone")
        self._change(status="starting", pid=process.pid, started=began)
        tasks = (asyncio.create_task(self._watch()), asyncio.create_task(self._end_when_asked(process)))
        try:
            return await process.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            _signal_group(process.pid, signal.SIGKILL)
            self._guard.forget(process.pid)

    async def _watch(self) -> None:
        """Follows the readiness probe of a living process."""
        misses = 0
        while not self._stopping.is_set():
            probe = self._spec.readiness
            if probe is None or await is_ready(probe, self._spec.host, self._client):
                misses = 0
                self._was_ready = True
                self._change(status="ready")
            elif self.state.status == "ready":
                misses += 1
                if misses >= _MISSES:
                    self._change(status="unready")
            await asyncio.sleep(_ASK_AGAIN_EVERY_S if self.state.status == "ready" else _ASK_EVERY_S)

    async def _end_when_asked(self, process: asyncio.subprocess.Process) -> None:
        await self._stopping.wait()
        self._change(status="stopping")
        if self._spec.has_shell:
            _signal_group(process.pid, signal.SIGTERM)
        else:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        await asyncio.sleep(STOP_DEADLINE_S)
        _signal_group(process.pid, signal.SIGKILL)

    def _has_failed(self, code: int) -> bool:
        if self._was_ready or (self.state.restarts + 1 < START_ATTEMPTS and code not in _NEVER_STARTS):
            return False
        self._on_failure(f"{self._spec.name} ended before it was ready ({_ending(code)})")
        return True

    def _change(self, *, status: Status | None = None, **changes: str | int | None) -> None:
        fresh = msgspec.structs.replace(self.state, status=status or self.state.status, **changes)
        if fresh != self.state:
            self.state = fresh
            self._on_change()


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"
