"""Reconciling: observe, decide, apply, report; level-triggered, one root at a time.

Duty: carry out what `plan` decides. Each reconciler is a `Controller`: it says which kinds it watches and which roots
an object's change concerns, and brings one root one pass nearer to what is wanted. It must not know kopf, and keeps
nothing that cannot be rebuilt from live objects. Callers: the handlers' queue, and tests on a fake or real API server.
"""

from __future__ import annotations

from dynamo_operator.reconcile.ports import Controller, Happening, Kube, Outcome, Store

__all__ = ["Controller", "Happening", "Kube", "Outcome", "Store"]
