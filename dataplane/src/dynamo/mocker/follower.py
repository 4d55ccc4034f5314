"""A node of a group that is not its first: it would lend the leader its GPUs, so it announces and serves nothing.

It answers probes on the system port, as the group's pods are made of one template, until it is told to stop. Called by
`__main__`.
"""

from __future__ import annotations

from dynamo.process.logs import EventLog
from dynamo.process.signals import stop_on_signals
from dynamo.worker.config import WorkerConfig
from dynamo.worker.responder import Handler, Request, Responder, Response


async def follow(config: WorkerConfig, rank: int, log: EventLog) -> int:
    """Returns the process's exit code."""
    with stop_on_signals() as stop:
        responder = Responder(_answer_of(config))
        try:
            port = await responder.start(config.system_host, config.system_port)
        except OSError as error:
            log.error("follower_cannot_start", worker=config.name, reason=str(error))
            return 1
        log.info("follower_waiting", worker=config.name, rank=rank, system_port=port)
        await stop.wait()
        await responder.close()
    log.info("follower_stopped", worker=config.name)
    return 0


def _answer_of(config: WorkerConfig) -> Handler:
    probes = (config.health_path, config.live_path)

    async def answer(request: Request) -> Response:
        if request.path in probes:
            return Response(200, b'{"status":"ready"}')
        return Response(404, b'{"status":"error","error":"Route not found"}')

    return answer
