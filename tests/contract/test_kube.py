"""The in-memory Kube keeps the contract."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dynamo_operator.kube import Live
from tests.contract.kube import KubeContract
from tests.fakes.kube import FakeKube


class TestFakeKube(KubeContract):
    @pytest.fixture
    def kube(self) -> FakeKube:
        return FakeKube()

    @pytest.fixture
    def namespace(self) -> str:
        return "shop"

    @pytest.fixture
    def place(self, kube: FakeKube) -> Callable[[dict[str, Any]], Awaitable[Live]]:
        async def place(document: dict[str, Any]) -> Live:
            return kube.place(document)

        return place
