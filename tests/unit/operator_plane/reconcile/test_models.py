"""Models: adapters get onto every worker and off again, whatever workers do, and the status tells how far."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dynamo_operator.kube import Document, Gone, Ref
from dynamo_operator.kube.objects import ENDPOINT_SLICE, MODEL
from dynamo_operator.plan.models import Endpoint, Wish
from dynamo_operator.reconcile import ModelController
from dynamo_operator.reconcile.models_sweep import Sweep
from dynamo_operator.render import names
from tests.fakes.kube import Fault
from tests.fakes.workers import FakeWorker, FakeWorkers
from tests.unit.operator_plane.reconcile.operators import NAMESPACE, Operator
from tests.unit.operator_plane.reconcile.world import Crash, World, crash_at

MODEL_REF = Ref(MODEL, NAMESPACE, "m")
SECRET_URI = "s3://key:hunter22@bucket/a?X-Amz-Signature=deadbeef"
FINALIZER = "nvidia.com/finalizer"


def a_model(name: str = "m", *, lora: str = "a", uri: str = "hf://org/a", kind: str = "lora") -> Document:
    spec = {"modelName": lora, "baseModelName": "base", "modelType": kind, "source": {"uri": uri}}
    metadata = {"name": name}
    return {"apiVersion": "nvidia.com/v1alpha1", "kind": "DynamoModel", "metadata": metadata, "spec": spec}


def a_slice(*workers: str, unready: tuple[str, ...] = (), base: str = "base") -> Document:
    """Workers are their own addresses."""
    endpoints = [
        {
            "addresses": [worker],
            "conditions": {"ready": worker not in unready},
            "targetRef": {"kind": "Pod", "name": f"pod-{worker}", "uid": f"uid-{worker}"},
        }
        for worker in workers
    ]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "s",
            "labels": {names.BASE_MODEL_HASH: names.model_hash(base)},
            "annotations": {names.BASE_MODEL: base},
        },
        "addressType": "IPv4",
        "ports": [{"name": "system", "port": 9090}],
        "endpoints": endpoints,
    }


class Stage:
    """A model of adapter `a`, its workers, and a controller over them."""

    def __init__(self, *workers: str, model: Document | None = None) -> None:
        self.world = World()
        self.workers = FakeWorkers(**{name: FakeWorker() for name in workers})
        self.world.put(model or a_model())
        if workers:
            self.world.put(a_slice(*workers))
        self.restart()

    def restart(self) -> None:
        now_s = self.operator.now_s if hasattr(self, "operator") else 0.0
        self.operator = Operator(self.world, now_s=now_s)
        self.models = ModelController(self.operator.around, self.workers)

    def worker(self, name: str) -> FakeWorker:
        return self.workers.by_address[f"http://{name}:9090"]

    async def pass_(self, ref: Ref = MODEL_REF) -> float | None:
        return (await self.models.reconcile(ref)).again_after_s

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.world.objects[MODEL_REF].document.get("status") or {}
        return found

    @property
    def reason(self) -> str:
        return next(each["reason"] for each in self.status["conditions"] if each["type"] == "EndpointsReady")

    @property
    def finalizers(self) -> list[str]:
        return list(self.world.objects[MODEL_REF].document["metadata"].get("finalizers") or ())

    @property
    def told(self) -> list[str]:
        return [each.reason for each in self.world.happened]

    def edit(self, **spec: Any) -> None:
        self.world.edit(MODEL_REF, lambda document: document["spec"].update(spec))

    def delete(self) -> None:
        stamp = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
        self.world.edit(MODEL_REF, lambda document: document["metadata"].update(stamp))


async def test_an_adapter_is_loaded_on_every_worker_and_counted_once_it_is_listed() -> None:
    stage = Stage("w1", "w2")
    again = await stage.pass_()
    assert [stage.worker(name).adapters for name in ("w1", "w2")] == [{"a": "hf://org/a"}] * 2
    assert (stage.status["readyEndpoints"], stage.status["totalEndpoints"]) == (2, 2)
    assert stage.reason == "AllEndpointsReady"
    assert stage.told == ["EndpointsReady"]
    assert again == 300
    assert stage.worker("w1").calls == ["list", "load a", "list"]


async def test_at_rest_workers_are_only_looked_at_and_nothing_is_written() -> None:
    stage = Stage("w1")
    await stage.pass_()
    stage.world.calls.clear()
    stage.worker("w1").calls.clear()
    await stage.pass_()
    assert stage.world.calls == []
    assert stage.worker("w1").calls == ["list"]


async def test_an_accepted_load_is_not_ready_before_the_worker_lists_it() -> None:
    stage = Stage("w1")
    stage.worker("w1").is_slow_to_load = True
    assert await stage.pass_() == 5
    assert (stage.reason, stage.status["endpoints"][0]["ready"]) == ("NotReady", False)
    stage.operator.now_s = 6
    await stage.pass_()
    assert stage.worker("w1").calls.count("load a") == 1
    stage.worker("w1").finish()
    stage.operator.now_s = 12
    await stage.pass_()
    assert stage.reason == "AllEndpointsReady"


async def test_a_load_that_never_shows_is_asked_for_again() -> None:
    """The worker said yes, and its download failed unheard."""
    stage = Stage("w1")
    stage.worker("w1").is_slow_to_load = True
    await stage.pass_()
    stage.worker("w1").loading = {}
    stage.operator.now_s = 31
    await stage.pass_()
    assert stage.worker("w1").calls.count("load a") == 2


async def test_a_new_pod_gets_the_adapter_at_once() -> None:
    stage = Stage("w1")
    await stage.pass_()
    stage.workers.by_address["http://w2:9090"] = FakeWorker()
    stage.world.put(a_slice("w2"))
    await stage.pass_()
    assert stage.worker("w2").adapters == {"a": "hf://org/a"}
    assert [each["podName"] for each in stage.status["endpoints"]] == ["pod-w2"]


async def test_an_engine_that_lost_the_adapter_gets_it_again() -> None:
    stage = Stage("w1")
    await stage.pass_()
    stage.worker("w1").adapters.clear()
    stage.operator.now_s = 300
    await stage.pass_()
    assert stage.worker("w1").adapters == {"a": "hf://org/a"}


async def test_pods_that_are_not_ready_are_listed_and_not_asked() -> None:
    stage = Stage("w1", "w2")
    stage.world.put(a_slice("w1", "w2", unready=("w2",)))
    assert await stage.pass_() == 300
    assert stage.worker("w2").calls == []
    assert (stage.status["readyEndpoints"], stage.status["totalEndpoints"]) == (1, 2)
    assert stage.told == ["PartialEndpointFailure"]


async def test_one_failing_worker_costs_the_others_nothing_and_is_tried_again() -> None:
    stage = Stage("w1", "w2")
    stage.worker("w1").trouble = "answers POST with 500"
    assert await stage.pass_() == 30
    assert stage.worker("w2").adapters == {"a": "hf://org/a"}
    assert "pod-w1 answers POST with 500" in str(stage.status)
    stage.worker("w1").trouble = ""
    stage.operator.now_s = 30
    assert await stage.pass_() == 300
    assert stage.told == ["PartialEndpointFailure", "EndpointsReady"]


async def test_a_failure_does_not_forget_where_an_adapter_came_from() -> None:
    """Moved while the worker does not answer: it must be replaced when the worker is back."""
    stage = Stage("w1")
    await stage.pass_()
    stage.edit(source={"uri": "hf://org/moved"})
    stage.worker("w1").trouble = "hangs"
    await stage.pass_()
    stage.worker("w1").trouble = ""
    stage.operator.now_s = 30
    await stage.pass_()
    assert stage.worker("w1").adapters == {"a": "hf://org/moved"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"source": {"uri": "hf://org/b"}}, {"a": "hf://org/b"}, id="moved"),
        pytest.param({"modelName": "z"}, {"z": "hf://org/a"}, id="renamed"),
        pytest.param({"modelName": "z", "source": {"uri": "hf://org/b"}}, {"z": "hf://org/b"}, id="both"),
    ],
)
async def test_a_changed_adapter_replaces_the_one_before(change: dict[str, Any], expected: dict[str, str]) -> None:
    stage = Stage("w1")
    await stage.pass_()
    stage.edit(**change)
    stage.restart()
    await stage.pass_()
    assert stage.worker("w1").adapters == expected
    assert stage.reason == "AllEndpointsReady"


async def test_a_rename_leaves_an_adapter_that_another_model_wants() -> None:
    stage = Stage("w1")
    await stage.pass_()
    stage.world.put(a_model("other"))
    stage.edit(modelName="z")
    await stage.pass_()
    assert stage.worker("w1").adapters.keys() == {"a", "z"}


@pytest.mark.parametrize("kind", ["base", "adapter"])
async def test_for_base_models_nobody_is_asked(kind: str) -> None:
    stage = Stage("w1", model=a_model(kind=kind))
    assert await stage.pass_() is None
    assert stage.worker("w1").calls == []
    assert (stage.reason, stage.status["readyEndpoints"], stage.status["totalEndpoints"]) == (
        "EndpointsDiscovered",
        0,
        1,
    )
    assert stage.finalizers == []


async def test_workers_of_another_model_with_the_same_hash_are_left_alone() -> None:
    stage = Stage("w1")
    slice_, service = a_slice("w1"), {"name": "dynamo-model-x", "annotations": {names.BASE_MODEL: "another"}}
    slice_["metadata"]["labels"]["kubernetes.io/service-name"] = "dynamo-model-x"
    del slice_["metadata"]["annotations"]
    stage.world.put(slice_)
    stage.world.put({"apiVersion": "v1", "kind": "Service", "metadata": service})
    await stage.pass_()
    assert stage.worker("w1").calls == []
    assert stage.reason == "NoEndpoints"


async def test_without_workers_the_model_waits_for_news() -> None:
    stage = Stage()
    assert await stage.pass_() is None
    assert stage.reason == "NoEndpoints"
    assert stage.told == ["NoEndpointsFound"]


async def test_secrets_of_an_address_are_shown_nowhere() -> None:
    stage = Stage("w1", "w2", model=a_model(uri=SECRET_URI))
    stage.worker("w1").trouble = f"answers POST with 400: cannot read {SECRET_URI}; hunter22 is wrong"
    await stage.pass_()
    stage.delete()
    await stage.pass_()
    shown = str(stage.status) + str(stage.world.happened)
    assert "cannot read s3://bucket/a" in shown
    assert "hunter22" not in shown
    assert "deadbeef" not in shown
    assert stage.worker("w2").calls[1] == "load a"


async def test_a_deleted_model_is_unloaded_and_goes() -> None:
    stage = Stage("w1", "w2")
    await stage.pass_()
    assert stage.finalizers == [FINALIZER]
    stage.delete()
    await stage.pass_()
    assert [stage.worker(name).adapters for name in ("w1", "w2")] == [{}, {}]
    assert stage.finalizers == []
    assert stage.told[-1] == "LoRAUnloaded"


async def test_a_finalizer_of_somebody_else_stays() -> None:
    stage = Stage("w1")
    stage.world.edit(MODEL_REF, lambda document: document["metadata"].update(finalizers=["theirs"]))
    await stage.pass_()
    stage.delete()
    await stage.pass_()
    assert stage.finalizers == ["theirs"]
    stage.world.calls.clear()
    await stage.pass_()
    assert stage.world.calls == []


async def test_a_model_deleted_while_no_operator_ran_is_unloaded_by_the_next() -> None:
    stage = Stage("w1")
    await stage.pass_()
    stage.edit(modelName="z")
    stage.delete()
    stage.restart()
    await stage.pass_()
    assert stage.worker("w1").adapters == {}
    assert stage.finalizers == []


@pytest.mark.parametrize("trouble", ["gone", "failing", "no-endpoints"])
async def test_workers_that_cannot_be_reached_do_not_keep_a_model(trouble: str) -> None:
    stage = Stage("w1")
    await stage.pass_()
    if trouble == "gone":
        stage.workers.by_address.clear()
    elif trouble == "failing":
        stage.worker("w1").trouble = "answers DELETE with 500"
    else:
        stage.world.drop(Ref(ENDPOINT_SLICE, NAMESPACE, "s"))
    stage.delete()
    await stage.pass_()
    assert stage.finalizers == []
    assert stage.told[-1] == ("EndpointsReady" if trouble == "no-endpoints" else "LoRAUnloadFailed")


async def test_an_adapter_that_another_model_wants_is_not_unloaded() -> None:
    stage = Stage("w1")
    await stage.pass_()
    stage.world.put(a_model("other"))
    stage.delete()
    await stage.pass_()
    assert stage.worker("w1").adapters == {"a": "hf://org/a"}
    assert stage.finalizers == []


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("point", [1, 2])
async def test_an_operator_that_ends_at_any_write_leaves_nothing_undone(point: int, moment: str) -> None:
    stage = Stage("w1")
    for act in (lambda: None, stage.delete):
        act()
        stage.world.sent, stage.world.crashing = 0, crash_at(point, moment)
        try:
            await stage.pass_()
        except Crash:
            stage.restart()
        stage.world.crashing = lambda *_: None
        await stage.pass_()
    assert stage.worker("w1").adapters == {}
    assert stage.finalizers == []


async def test_a_model_that_went_meanwhile_is_no_error() -> None:
    stage = Stage("w1")
    await stage.pass_()
    stage.delete()
    stage.world.faults.append(Fault(Gone("no such model")))
    await stage.pass_()
    stage.world.drop(MODEL_REF)
    assert await stage.pass_() is None


async def test_news_of_workers_concern_the_models_of_their_base() -> None:
    stage = Stage("w1")
    view = stage.operator.view
    (live,) = stage.world.seen(ENDPOINT_SLICE)
    assert stage.models.roots_of(live, view) == (MODEL_REF,)
    assert stage.models.roots_of(stage.world.objects[MODEL_REF], view) == (MODEL_REF,)
    other = stage.world.put(a_slice("w1", base="other"), namespace="elsewhere")
    assert stage.models.roots_of(other, view) == ()
    unlabelled = stage.world.edit(live.ref, lambda document: document["metadata"].update(labels={}))
    assert stage.models.roots_of(unlabelled, view) == ()


# The round over the workers.

WISH = Wish("a", "hf://org/a")


def endpoints(workers: FakeWorkers) -> dict[Endpoint, str]:
    return {Endpoint(f"pod-{address}", address, True): "" for address in workers.by_address}


async def test_at_most_ten_workers_are_asked_at_once() -> None:
    workers = FakeWorkers(**{f"w{each}": FakeWorker() for each in range(40)})
    found = await Sweep(workers, lambda: 0.0).load("uid", WISH, endpoints(workers), frozenset())
    assert all(each.is_ready for each in found)
    assert workers.most_at_once == 10


async def test_a_round_ends_by_its_deadline_and_hanging_workers_keep_no_others_from_their_turn() -> None:
    workers = FakeWorkers(**{f"w{each:02}": FakeWorker(is_hanging=each < 4) for each in range(8)})
    clock = iter(range(1000))
    sweep = Sweep(workers, lambda: float(next(clock)), round_s=0.05, concurrency=2)

    first = await sweep.load("uid", WISH, endpoints(workers), frozenset())
    second = await sweep.load("uid", WISH, endpoints(workers), frozenset())
    third = await sweep.load("uid", WISH, endpoints(workers), frozenset())

    assert [each.failure for each in first[:3]] == ["does not answer within 0.05 s"] * 2 + [
        "was not asked within 0.05 s"
    ]
    assert [each.is_ready for each in second] == [False] * 8
    assert [each.is_ready for each in third] == [False] * 4 + [True] * 4


async def test_a_worker_that_hangs_keeps_its_mark() -> None:
    workers = FakeWorkers(w1=FakeWorker(is_hanging=True))
    marks = dict.fromkeys(endpoints(workers), "a@before")
    (found,) = await Sweep(workers, lambda: 0.0, round_s=0.05).load("uid", WISH, marks, frozenset())
    assert found.mark == "a@before"


async def test_what_was_unloaded_is_loaded_again_although_it_was_just_asked_for() -> None:
    """The status that remembered the first load was lost."""
    workers = FakeWorkers(w1=FakeWorker(adapters={"a": "hf://org/before"}))
    marks = dict.fromkeys(endpoints(workers), Wish("a", "hf://org/before").mark)
    sweep = Sweep(workers, lambda: 0.0)
    for _ in range(2):
        (found,) = await sweep.load("uid", WISH, marks, frozenset())
        assert found.is_ready


async def test_unloading_ends_by_its_deadline() -> None:
    workers = FakeWorkers(w1=FakeWorker(is_hanging=True), w2=FakeWorker(adapters={"a": "x", "b": "x"}))
    sweep = Sweep(workers, lambda: 0.0, round_s=0.05)
    failures = await sweep.unload("uid", WISH, endpoints(workers), frozenset({"a", "b"}))
    assert failures == ["pod-http://w1:9090 does not answer within 0.05 s"]
    assert workers.by_address["http://w2:9090"].adapters == {}


async def test_a_cancelled_round_is_cancelled() -> None:
    workers = FakeWorkers(w1=FakeWorker(is_hanging=True))
    task = asyncio.create_task(Sweep(workers, lambda: 0.0).load("uid", WISH, endpoints(workers), frozenset()))
    await asyncio.wait_for(workers.by_address["http://w1:9090"].hung.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_a_worker_says_is_cut_after_its_secrets_are_out() -> None:
    long = "x" * 190 + SECRET_URI
    workers = FakeWorkers(w1=FakeWorker(trouble=long))
    (found,) = await Sweep(workers, lambda: 0.0).load("uid", Wish("a", SECRET_URI), endpoints(workers), frozenset())
    assert found.failure == ("x" * 190 + "s3://bucket/a")[:200]


async def test_nothing_is_remembered_of_models_and_workers_that_are_gone() -> None:
    workers = FakeWorkers(w1=FakeWorker(), w2=FakeWorker())
    sweep = Sweep(workers, lambda: 0.0)
    await sweep.load("uid", WISH, endpoints(workers), frozenset())
    await sweep.load("other", WISH, endpoints(workers), frozenset())
    del workers.by_address["http://w2:9090"]
    await sweep.load("uid", WISH, endpoints(workers), frozenset())
    sweep.forget("other")
    assert sweep.remembered == 1
