"""`python -m dynamo.frontend`: reads settings, connects discovery, runs until SIGTERM or SIGINT."""

from __future__ import annotations

import gc
import os
import resource
import sys

import uvloop

from dynamo.discovery import DiscoveryError, open_discovery
from dynamo.frontend.server import run_frontend
from dynamo.frontend.settings import FLAGS, Settings, read_settings
from dynamo.process.flags import FlagError, usage
from dynamo.process.logs import EventLog, start_logging
from dynamo.process.signals import stop_on_signals
from dynamo.router import ROUTER_FLAGS

GC_YOUNG_OBJECTS = 100_000
"""Allocations between collections: requests make few cycles, and the default of 700 is one every few requests."""
ABOUT = "An OpenAI-compatible server in front of a fleet of inference workers."


def main() -> int:
    if "--help" in sys.argv[1:] or "-h" in sys.argv[1:]:
        print(usage("python -m dynamo.frontend", ABOUT, [*FLAGS, *ROUTER_FLAGS]))
        return 0
    log = start_logging(os.environ)
    try:
        settings, warnings = read_settings(sys.argv[1:], os.environ)
        for warning in warnings:
            log.warning("flag_ignored", reason=warning)
        _raise_fd_limit(settings.fd_limit)
        uvloop.run(_run(settings, log))
    except (FlagError, DiscoveryError) as error:
        log.error("frontend_cannot_start", message=str(error))
        return 2
    except OSError as error:
        log.error("frontend_cannot_start", message=f"{settings.host}:{settings.port}: {error.strerror or error}")
        return 1
    finally:
        log.flush()
    return 0


async def _run(settings: Settings, log: EventLog) -> None:
    _quieten_garbage_collection()
    with stop_on_signals() as stop:
        await run_frontend(settings, open_discovery(settings.discovery, os.environ), log, stop)


def _quieten_garbage_collection() -> None:
    """What start-up made lives as long as the process: looking at it again and again would cost every request."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_YOUNG_OBJECTS, 20, 50)


def _raise_fd_limit(target: int) -> None:
    """Every stream takes two descriptors; many systems start processes with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = target if hard == resource.RLIM_INFINITY else min(target, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main())
