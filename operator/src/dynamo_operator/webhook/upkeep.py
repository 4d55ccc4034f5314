"""Keeps certificates fresh and trusted: asks the custody, hands the pair to the server, injects the authorities.

Level-triggered: every round looks at everything, so nothing is remembered but what was last handed on. Called by
`server`, which owns the task.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from dynamo_operator.kube import KubeError
from dynamo_operator.webhook.certificates import Material, Pair
from dynamo_operator.webhook.custody import Custody
from dynamo_operator.webhook.errors import BadCertificates
from dynamo_operator.webhook.injection import inject
from dynamo_operator.webhook.ports import Kube
from dynamo_operator.webhook.settings import WebhookSettings

log = logging.getLogger(__name__)

RETRY_S = (1.0, 2.0, 5.0, 15.0, 60.0)


class Upkeep:
    """`use` takes each new pair into service; it raises BadCertificates for one that cannot be."""

    def __init__(self, custody: Custody, kube: Kube, settings: WebhookSettings, use: Callable[[Pair], None]) -> None:
        self._custody = custody
        self._kube = kube
        self._settings = settings
        self._use = use
        self._serving: Pair | None = None
        self._injected = ""
        self.material: Material | None = None
        self.served = asyncio.Event()

    @property
    def is_trusted(self) -> bool:
        """Whether API servers have been told to trust what is served."""
        return self.material is not None and self._injected == self.material.trusted

    async def run(self) -> None:
        """Rounds until cancelled; a failed one is logged and tried again."""
        failures = 0
        while True:
            try:
                await self.round()
                failures, pause_s = 0, self._interval_s
            except (KubeError, BadCertificates) as error:
                pause_s = RETRY_S[min(failures, len(RETRY_S) - 1)]
                failures += 1
                log.warning("webhook certificates: %s", error, extra={"again_after_s": pause_s})
            await asyncio.sleep(pause_s)

    async def round(self) -> None:
        """One look at everything. Raises KubeErrors and BadCertificates."""
        material = await self._custody.current(self._injected)
        if material.serving != self._serving:
            self._use(material.serving)
            self._serving = material.serving
            self.served.set()
        self.material = material
        if material.trusted:
            await inject(self._kube, self._settings, material.trusted)
        self._injected = material.trusted

    @property
    def _interval_s(self) -> float:
        is_folder = self._settings.certificates_folder is not None
        return self._settings.folder_interval_s if is_folder else self._settings.check_interval_s
