"""Reconciling: observe, decide, apply, report; level-triggered, one root at a time.

Duty: carry out what `plan` decides. Each reconciler is a `Controller`: it says which kinds it watches and which roots
an object's change concerns, and brings one root one pass nearer to what is wanted. It must not know kopf, and keeps
nothing that cannot be rebuilt from live objects. Callers: the handlers' queue, and tests on a fake or real API server.
"""

from __future__ import annotations

from dynamo_operator.reconcile.adapters import ScalingAdapterController
from dynamo_operator.reconcile.admission import Admission, FrontendAdmission
from dynamo_operator.reconcile.component_deployments import ComponentDeploymentController
from dynamo_operator.reconcile.graphs import GraphController
from dynamo_operator.reconcile.models import ModelController
from dynamo_operator.reconcile.models_workers import HttpWorkers
from dynamo_operator.reconcile.ports import Controller, Happening, Kube, Outcome, Priority, Store
from dynamo_operator.reconcile.surroundings import Surroundings

__all__ = [
    "Admission",
    "ComponentDeploymentController",
    "Controller",
    "FrontendAdmission",
    "GraphController",
    "Happening",
    "HttpWorkers",
    "Kube",
    "ModelController",
    "Outcome",
    "Priority",
    "ScalingAdapterController",
    "Store",
    "Surroundings",
]
