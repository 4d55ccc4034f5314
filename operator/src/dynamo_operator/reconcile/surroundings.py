"""What reconcilers of graphs and component deployments work with, built once by the process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from dynamo_operator.api import JsonObject, SpecError
from dynamo_operator.kube import Ref
from dynamo_operator.reconcile.diagnosis import Diagnostician
from dynamo_operator.reconcile.endings import Endings
from dynamo_operator.reconcile.ports import Clocks, Kube, Store
from dynamo_operator.reconcile.pull_secrets import PullSecrets
from dynamo_operator.reconcile.reporting import Reporter
from dynamo_operator.render import LacksKind, RenderContext, RenderError, names

FAILED_AGAIN_S = 30.0  # somebody else's object sends no event to this graph when it goes
HINDERED_AGAIN_S = 5.0  # webhooks come back without an event to us
UNREADY_AGAIN_S = 60.0  # an image-pull secret made later sends none either


class Surroundings:
    """`context` holds the operator's configuration; its namespace is replaced by each graph's.

    `on_lack` hears of kinds that a root needs and `context` says the cluster lacks. `is_pressed` tells a root's pass
    whether others would have to wait for what it could leave for later, `slack_s` how much longer than usual what
    nobody waits for may take.
    """

    def __init__(
        self,
        kube: Kube,
        store: Store,
        context: RenderContext,
        *,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        on_lack: Callable[[str], None] = lambda _: None,
        is_pressed: Callable[[Ref], bool] = lambda _: False,
        slack_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.kube = kube
        self.store = store
        self.monotonic = monotonic
        clocks = Clocks(wall, monotonic, slack_s)
        self.reporter = Reporter(kube, clocks)
        self.diagnostician = Diagnostician(kube, clocks)
        self.endings = Endings(monotonic)
        self.is_pressed = is_pressed
        self._on_lack = on_lack
        self._context = context
        self._pull_secrets = PullSecrets(kube, monotonic)

    def refused_again_after_s(self, error: SpecError | RenderError) -> float | None:
        """A root that cannot be understood waits for its author; what the cluster lacks comes without an event."""
        if not isinstance(error, LacksKind):
            return None
        self._on_lack(str(error))
        return FAILED_AGAIN_S

    def forget(self, root: Ref) -> None:
        """The root is gone."""
        self.reporter.forget(root)
        self.diagnostician.forget(root)
        self.endings.forget(root)

    async def context_of(self, document: Mapping[str, object], namespace: str) -> RenderContext:
        """The context in which an object of a namespace is rendered."""
        metadata = document["metadata"]
        assert isinstance(metadata, Mapping), "every object has metadata"
        known = {} if _has_own_secrets(metadata) else await self._pull_secrets.of(namespace)
        return replace(self._context, namespace=namespace, pull_secret_names=known)


def _has_own_secrets(metadata: JsonObject) -> bool:
    return (metadata.get("annotations") or {}).get(names.OWN_PULL_SECRETS_ONLY) == "true"
