"""`python -m tests.cluster.api.mortal POINT MOMENT …`: the operator's process, killed at its POINT-th API write.

MOMENT is `before` the write leaves or `after` the API server has done it, its answer unread; POINT 0 lives on. Leases
do not count. What follows is the operator's own command line. Called by the tests of crashes.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from dynamo_operator.__main__ import main
from dynamo_operator.kube import Client, Request
from dynamo_operator.reconcile import rolling


def end_at(point: int, moment: str) -> None:
    send, sent = Client._send, 0

    async def counted(self: Client, request: Request) -> Any:
        nonlocal sent
        if request.method == "GET" or request.path.partition("?")[0].split("/")[-2] == "leases":
            return await send(self, request)
        sent += 1
        is_last = sent == point
        if is_last and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = await send(self, request)
        if is_last:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    Client._send = counted  # type: ignore[method-assign]


if __name__ == "__main__":
    # No frontend runs here that could be asked whom it routes to.
    rolling.UNANSWERED_S = 0.0
    end_at(int(sys.argv[1]), sys.argv[2])
    sys.exit(main(sys.argv[3:]))
