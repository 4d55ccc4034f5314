"""A preview as people read it, and as programs do. Pure; called by `planning`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dynamo_operator.cli.terminal import Paint, columns
from dynamo_operator.plan.preview import ComponentChange, ObjectChange, Preview, Step
from dynamo_operator.plan.rehearsal import Moment

_MARKS = {"create": ("+", "green"), "change": ("~", "yellow"), "delete": ("-", "red")}
_FIELDS_SHOWN = 4
_STEPS_SHOWN = 24


def plan_lines(title: str, found: Preview, paint: Paint, *, is_new: bool) -> Iterator[str]:
    """One manifest's plan."""
    if found.is_empty:
        yield f"{title}: nothing would change"
        return
    yield paint(f"{title}: {'would be created' if is_new else 'would change'}", "bold")
    for difference in found.fields:
        yield f"  {paint('~', 'yellow')} {difference}"
    yield from _objects(found.objects, paint)
    yield from _components(found.components, paint)
    if not is_new:
        yield from _steps(found.steps, found.components, paint)
    yield from _losses(found)
    for note in found.notes:
        yield f"note: {note}"


def plan_document(found: Preview) -> dict[str, Any]:
    """The preview as plain values, with the words of the text."""
    return {
        "changes": not found.is_empty,
        "fields": [{"path": each.path, "before": each.before, "after": each.after} for each in found.fields],
        "objects": [_object_document(each) for each in found.objects],
        "components": [
            {
                "name": each.component,
                "isWorker": each.is_worker,
                "replicasBefore": each.before,
                "replicasAfter": each.after,
                "ends": each.ends,
                "starts": each.starts,
                "reasons": list(each.reasons),
            }
            for each in found.components
        ],
        "steps": [_step_document(each) for each in found.steps],
        "kvCachesLost": found.caches_lost,
        "workersBefore": found.workers_before,
        "gpus": {"before": found.gpus_before, "peak": found.gpus_at_peak, "after": found.gpus_after},
        "notes": list(found.notes),
    }


def _objects(objects: Sequence[ObjectChange], paint: Paint) -> Iterator[str]:
    if not objects:
        return
    counts = {action: sum(each.action == action for each in objects) for action in _MARKS}
    words = {"create": "created", "change": "changed", "delete": "deleted"}
    yield paint(
        "Objects: " + ", ".join(f"{count} {words[action]}" for action, count in counts.items() if count), "bold"
    )
    for each in objects:
        mark, style = _MARKS[each.action]
        more = f"  ({_fields(each)})" if each.fields else ""
        yield f"  {paint(mark, style)} {each.ref.kind.name} {each.ref.name}{more}"


def _fields(change: ObjectChange) -> str:
    paths = [each.path for each in change.fields]
    rest = len(paths) - _FIELDS_SHOWN
    return ", ".join(paths[:_FIELDS_SHOWN]) + (f", {rest} more" if rest > 0 else "")


def _components(components: Sequence[ComponentChange], paint: Paint) -> Iterator[str]:
    if not components:
        yield paint("No replica starts or ends.", "bold")
        return
    yield paint("Replicas:", "bold")
    for each in components:
        moves = [f"{each.ends} of {each.before} end"] if each.ends else []
        moves += [f"{each.starts} start"] if each.starts else []
        first, *more = each.reasons
        yield f"  {each.component}: {', '.join(moves)}: {first}"
        yield from (f"      {reason}" for reason in more)


def _steps(steps: Sequence[Step], components: Sequence[ComponentChange], paint: Paint) -> Iterator[str]:
    if len(steps) < 2:
        return
    wanted = {each.component: each.after for each in components}
    names = [moment.component for moment in steps[0].moments]
    has_gpus = any(step.gpus for step in steps)
    headings = ["STEP", *names, *(["GPUS"] if has_gpus else [])]
    rows = [
        [str(at), *(_cell(each, wanted) for each in step.moments), *([str(step.gpus)] if has_gpus else [])]
        for at, step in enumerate(steps)
    ]
    shown = rows if len(rows) <= _STEPS_SHOWN else [*rows[: _STEPS_SHOWN - 1], ["…"] * len(headings), rows[-1]]
    yield paint("Capacity (replicas that serve / wanted, old + new; one step: new replicas become ready):", "bold")
    yield from (f"  {line}" for line in columns(headings, shown))


def _cell(moment: Moment, wanted: dict[str, int]) -> str:
    return f"{moment.serving}/{wanted.get(moment.component, 0)} ({moment.old}+{moment.new})"


def _losses(found: Preview) -> Iterator[str]:
    if found.workers_before:
        lost = f"lost with {found.caches_lost} of {found.workers_before} workers" if found.caches_lost else "kept"
        yield f"KV cache: {lost}"
    if found.gpus_at_peak or found.gpus_before:
        surge = found.gpus_at_peak - max(found.gpus_before, found.gpus_after)
        more = f", {surge} more than before and after" if surge > 0 else ""
        yield f"GPUs: {found.gpus_before} before, {found.gpus_at_peak} at the peak{more}, {found.gpus_after} after"


def _object_document(change: ObjectChange) -> dict[str, Any]:
    fields = [{"path": each.path, "before": each.before, "after": each.after} for each in change.fields]
    return {
        "action": change.action,
        "apiVersion": change.ref.kind.api_version,
        "kind": change.ref.kind.name,
        "name": change.ref.name,
        "namespace": change.ref.namespace,
        **({"fields": fields} if fields else {}),
    }


def _step_document(step: Step) -> dict[str, Any]:
    moments = {each.component: {"serving": each.serving, "old": each.old, "new": each.new} for each in step.moments}
    return {"components": moments, "gpus": step.gpus}
