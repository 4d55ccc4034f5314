"""Service accounts, roles and bindings that a graph's pods run with. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from dynamo_operator.api import ComponentType
from dynamo_operator.render import names
from dynamo_operator.render.context import RenderContext

RBAC = "rbac.authorization.k8s.io"
_READ = ["get", "list", "watch"]
DISCOVERY_RULES = (
    {"apiGroups": [""], "resources": ["endpoints", "pods"], "verbs": _READ},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": _READ},
    {
        "apiGroups": ["nvidia.com"],
        "resources": ["dynamoworkermetadatas"],
        "verbs": ["create", "get", "list", "watch", "update", "patch", "delete"],
    },
)


def render_discovery_access(parent: str, context: RenderContext) -> list[dict[str, Any]]:
    """Account, Role and RoleBinding with which the pods of a graph discover each other; owned by the graph."""
    account = names.discovery_account_name(parent)
    labels = _labels(account)
    role = f"{account}-role"
    return [
        _account(account, labels),
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "Role",
            "metadata": {"name": role, "labels": labels},
            "rules": [{key: list(value) for key, value in rule.items()} for rule in DISCOVERY_RULES],
        },
        _binding(f"{account}-binding", labels, "Role", role, account, context),
    ]


def render_shared_access(types: Collection[ComponentType | None], context: RenderContext) -> list[dict[str, Any]]:
    """Accounts of the planners and endpoint pickers among `types`; shared by a namespace's graphs, so owned by none."""
    accounts = {
        ComponentType.PLANNER: (names.PLANNER_ACCOUNT, context.planner_cluster_role),
        ComponentType.EPP: (names.EPP_ACCOUNT, context.epp_cluster_role),
    }
    wanted = [account for component_type, account in accounts.items() if component_type in types]
    return [
        document
        for account, role in wanted
        for document in (
            _account(account, _labels(account)),
            _binding(f"{account}-binding", _labels(account), context.shared_role_kind, role, account, context),
        )
    ]


def _labels(account: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/component": "rbac",
        "app.kubernetes.io/managed-by": names.OPERATOR,
        # Informative only, so cut where the account's name, which may be longer than a label value, does not fit.
        "app.kubernetes.io/name": account[: names.LONGEST_NAME].rstrip("-."),
    }


def _account(name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "labels": dict(labels)}}


def _binding(
    name: str, labels: dict[str, str], role_kind: str, role: str, account: str, context: RenderContext
) -> dict[str, Any]:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "labels": dict(labels)},
        "roleRef": {"apiGroup": RBAC, "kind": role_kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": context.namespace}],
    }
