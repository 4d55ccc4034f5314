"""Brings the workers of a base model to what DynamoModels ask for, and says how far that is.

Duty: the effects of `plan.models`. A LoRA adapter is loaded on every ready worker and counts once the worker lists it;
when its model is deleted it is unloaded as well as that goes, and the deletion never waits for a worker that is gone.
Caller: the runner's queue.
"""

from __future__ import annotations

from dynamo_operator.kube import Gone, Kind, Live, Ref
from dynamo_operator.kube.objects import ENDPOINT_SLICE, MODEL, SERVICE
from dynamo_operator.plan.conditions import Change
from dynamo_operator.plan.models import (
    Endpoint,
    Finding,
    Wish,
    base_model_of,
    endpoints_of,
    kept_names,
    marks_of,
    model_changes,
    model_status,
    name_in,
    wish_of,
)
from dynamo_operator.reconcile.finalizers import holding, is_held, letting_go
from dynamo_operator.reconcile.models_sweep import Sweep
from dynamo_operator.reconcile.models_workers import Workers
from dynamo_operator.reconcile.ports import Outcome, Store
from dynamo_operator.reconcile.surroundings import Surroundings
from dynamo_operator.render import names

SERVICE_NAME = "kubernetes.io/service-name"
LOADING_AGAIN_S = 5.0
FAILED_AGAIN_S = 30.0
VERIFY_AGAIN_S = 300.0  # an engine may lose an adapter without any event, to make room or by hand


class ModelController:
    """DynamoModels."""

    root_kind: Kind = MODEL
    watched_kinds: tuple[Kind, ...] = (MODEL, ENDPOINT_SLICE, SERVICE)

    def __init__(self, surroundings: Surroundings, workers: Workers) -> None:
        self._kube = surroundings.kube
        self._store = surroundings.store
        self._reporter = surroundings.reporter
        self._sweep = Sweep(workers, surroundings.monotonic)
        self._uids: dict[Ref, str] = {}

    def roots_of(self, live: Live, store: Store) -> tuple[Ref, ...]:
        if live.ref.kind == MODEL:
            return (live.ref,)
        digest, models = live.labels.get(names.BASE_MODEL_HASH), store.find(MODEL, live.ref.namespace)
        return tuple(each.ref for each in models if names.model_hash(base_model_of(each)) == digest)

    async def reconcile(self, root: Ref) -> Outcome:
        model = self._store.get(root)
        if model is None:
            self._sweep.forget(self._uids.pop(root, ""))
            return Outcome()
        self._uids[root] = model.uid
        if model.is_terminating:
            await self._end(model)
            return Outcome()
        wish = wish_of(model)
        if wish is not None and not is_held(model):
            model = await self._kube.patch(root, holding(model))
        slices = self._slices(model)
        marks = _marks(model, slices)
        if wish is None:
            findings = tuple(Finding(each) for each in marks)
        else:
            findings = await self._sweep.load(model.uid, wish, marks, self._kept(model))
        await self._report(model, findings, has_service=bool(slices))
        return Outcome(_again_after_s(wish, findings))

    async def _report(self, model: Live, findings: tuple[Finding, ...], *, has_service: bool) -> None:
        status = model_status(model, findings, has_service=has_service, now=self._reporter.now())
        await self._reporter.write_now(model, status)
        await self._reporter.record(model, model_changes(model.document.get("status") or {}, status))

    async def _end(self, model: Live) -> None:
        """Unload, tell, let go; a worker that cannot be reached has lost the adapter or will be replaced."""
        if not is_held(model):
            return
        wish = wish_of(model)
        if wish is not None:
            await self._unload(model, wish)
        try:
            await self._kube.patch(model.ref, letting_go(model))
        except Gone:
            return

    async def _unload(self, model: Live, wish: Wish) -> None:
        marks = _marks(model, self._slices(model))
        adapters = frozenset({wish.name, *map(name_in, marks.values())} - {""}) - self._kept(model)
        if not marks or not adapters:
            return
        failures = await self._sweep.unload(model.uid, wish, marks, adapters)
        which = ", ".join(sorted(adapters))
        if failures:
            text = f"adapter {which} was not unloaded from {len(failures)} of {len(marks)} endpoints: "
            change = Change("LoRAUnloadFailed", text + "; ".join(failures[:3]), is_warning=True)
        else:
            change = Change("LoRAUnloaded", f"adapter {which} was unloaded from {len(marks)} endpoints")
        await self._reporter.record(model, (change,))

    def _slices(self, model: Live) -> tuple[Live, ...]:
        """Hashes are short: the model's full name stands on its Service, and is not copied to that one's slices."""
        base = base_model_of(model)
        labels = {names.BASE_MODEL_HASH: names.model_hash(base)}
        found = self._store.find(ENDPOINT_SLICE, model.ref.namespace, labels=labels)
        return tuple(each for each in found if self._base_model_beside(each) in ("", base))

    def _base_model_beside(self, live: Live) -> str:
        service = self._store.get(Ref(SERVICE, live.ref.namespace, live.labels.get(SERVICE_NAME, "")))
        return service.annotations.get(names.BASE_MODEL, "") if service else ""

    def _kept(self, model: Live) -> frozenset[str]:
        return kept_names(model, self._store.find(MODEL, model.ref.namespace))


def _marks(model: Live, slices: tuple[Live, ...]) -> dict[Endpoint, str]:
    """Every endpoint with what we loaded there."""
    known = marks_of(model)
    return {each: known.get((each.pod, each.address), "") for each in endpoints_of(slices, base_model_of(model))}


def _again_after_s(wish: Wish | None, findings: tuple[Finding, ...]) -> float | None:
    """Pods that appear or become ready send events; workers send none."""
    asked = [each for each in findings if each.endpoint.is_ready]
    if wish is None or not asked:
        return None
    if any(not each.is_ready and not each.failure for each in asked):
        return LOADING_AGAIN_S
    return FAILED_AGAIN_S if any(each.failure for each in asked) else VERIFY_AGAIN_S
