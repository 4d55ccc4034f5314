"""Admission: is a manifest right, may it change like this, and what should its author know.

Pure decisions over the schemas in `crds/`, the shapes of core Kubernetes types and the rules between fields. The
command line, the laptop runner and the admission webhook call this package and print what it returns.
"""

from dynamo_operator.validate.context import Context, Pathway
from dynamo_operator.validate.crds import Crd, Version, crd_folder, load_crds
from dynamo_operator.validate.deprecations import warnings
from dynamo_operator.validate.manifest import validate
from dynamo_operator.validate.updates import validate_update
from dynamo_operator.validate.violation import Violation

__all__ = [
    "Context",
    "Crd",
    "Pathway",
    "Version",
    "Violation",
    "crd_folder",
    "load_crds",
    "validate",
    "validate_update",
    "warnings",
]
