"""A detached supervisor: `python -m dynamo_operator.local.background <state folder>`.

Started by `dynamo up --detach`, which has left a plan in the folder and watches the state file. Its output goes to the
folder's `supervisor.log`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec

from dynamo_operator.local.bugs import bug_line
from dynamo_operator.local.environment import inherited
from dynamo_operator.local.specs import Plan
from dynamo_operator.local.state import GraphState, StateFolder
from dynamo_operator.local.supervise import Supervisor


def main(argv: list[str]) -> int:
    folder = StateFolder(Path(argv[1]))
    with folder.locked():
        plan = msgspec.json.decode(folder.plan.read_bytes(), type=Plan)
        last = asyncio.run(_supervise(plan, folder))
        if last.failure is None:
            folder.clear()
        return 0 if last.failure is None else 1


async def _supervise(plan: Plan, folder: StateFolder) -> GraphState:
    own = inherited(os.environ, str(Path(sys.executable).parent))
    supervisor = Supervisor(plan, folder, own, on_change=lambda _: None)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, supervisor.request_stop)
    return await supervisor.run()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv))
    except Exception as error:  # its log is shown to the user: one line there, the trace in a file
        print(bug_line(error), file=sys.stderr)
        sys.exit(70)
