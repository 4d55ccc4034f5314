"""Scales members of a gang, which Grove's controller made and owns, through their scale subresource.

Duty: the writes, and one sentence for each that the API server will not have. It must not decide replicas, nor touch
anything else of a member: Grove's webhook lets others scale members, and nothing more. Caller: the graph's reconciler.
"""

from __future__ import annotations

from collections.abc import Iterable

from dynamo_operator.kube import Blocked, Conflict, Forbidden, Gone, Invalid
from dynamo_operator.plan.gangs import Scaling
from dynamo_operator.reconcile.ports import Kube
from dynamo_operator.reconcile.writing import Done


async def scale(kube: Kube, scalings: Iterable[Scaling], done: Done) -> None:
    """One after the other; a member that is gone comes back with the replicas of its set, and is scaled then."""
    for each in scalings:
        # `add` sets the field whether it is shown or not: an API server may leave it out at 0.
        operation = {"op": "add", "path": "/spec/replicas", "value": each.replicas}
        try:
            await kube.patch(each.ref, [operation], subresource="scale")
        except Gone:
            continue
        except (Invalid, Forbidden) as error:
            sentence = f"{each.ref.kind.name} {each.ref.name} cannot be scaled to {each.replicas}: {error}"
            done.failures[each.ref] = sentence
        except (Blocked, Conflict) as error:
            done.hinder(each.ref, f"cannot be scaled to {each.replicas} now: {error}")
