"""What every `Workers` keeps, fake or real; a class of tests to inherit, with fixtures `workers` and `address`."""

from __future__ import annotations

import pytest

from dynamo_operator.reconcile.models_workers import WorkerFailed, Workers

URI = "hf://org/adapter"
NOWHERE = "http://127.0.0.1:1"


class WorkersContract:
    """`address` is a worker without adapters."""

    async def test_what_was_loaded_is_listed(self, workers: Workers, address: str) -> None:
        assert await workers.loras(address) == frozenset()
        await workers.load(address, "a", URI)
        await workers.load(address, "b", URI)
        assert await workers.loras(address) == {"a", "b"}

    async def test_loading_again_changes_nothing(self, workers: Workers, address: str) -> None:
        for _ in range(2):
            await workers.load(address, "a", URI)
        assert await workers.loras(address) == {"a"}

    async def test_a_name_is_not_moved_to_another_address(self, workers: Workers, address: str) -> None:
        await workers.load(address, "a", URI)
        with pytest.raises(WorkerFailed, match="400"):
            await workers.load(address, "a", "hf://org/another")

    async def test_what_was_unloaded_can_be_loaded_from_elsewhere(self, workers: Workers, address: str) -> None:
        await workers.load(address, "a", URI)
        await workers.unload(address, "a")
        assert await workers.loras(address) == frozenset()
        await workers.load(address, "a", "hf://org/another")
        assert await workers.loras(address) == {"a"}

    async def test_unloading_what_is_not_loaded_is_fine(self, workers: Workers, address: str) -> None:
        await workers.unload(address, "nothing")

    @pytest.mark.parametrize("name", ["org/a b", "ä?#%2e%2e", "../metrics"])
    async def test_names_arrive_as_they_are(self, workers: Workers, address: str, name: str) -> None:
        await workers.load(address, name, URI)
        assert await workers.loras(address) == {name}
        await workers.unload(address, name)
        assert await workers.loras(address) == frozenset()

    async def test_a_worker_that_is_not_there_has_failed(self, workers: Workers) -> None:
        for call in (workers.loras(NOWHERE), workers.load(NOWHERE, "a", URI), workers.unload(NOWHERE, "a")):
            with pytest.raises(WorkerFailed, match="cannot be reached"):
                await call
