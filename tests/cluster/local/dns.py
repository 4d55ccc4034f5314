"""CoreDNS as the cluster's name service: the documents to apply. Pure."""

from __future__ import annotations

from typing import Any

from tests.cluster.local.images.recipes import COREDNS
from tests.cluster.local.node_config import DNS_ADDRESS

NAME = "coredns"
NAMESPACE = "kube-system"
_PORT = 5353  # Above 1024: the program runs without privileges.
_LABELS = {"k8s-app": "kube-dns"}
_COREFILE = f"""
.:{_PORT} {{
    errors
    ready :8181
    kubernetes cluster.local in-addr.arpa {{
        ttl 1
    }}
}}
"""


def dns_documents() -> list[dict[str, Any]]:
    resources = ["endpoints", "services", "pods", "namespaces"]
    rules = [
        {"apiGroups": [""], "resources": resources, "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": f"system:{NAME}"}
    subject = {"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}
    ports = [{"name": f"dns-{p.lower()}", "port": 53, "targetPort": _PORT, "protocol": p} for p in ("UDP", "TCP")]
    return [
        _document("v1", "ServiceAccount", {}),
        _document("rbac.authorization.k8s.io/v1", "ClusterRole", {"rules": rules}, namespaced=False),
        _document(
            "rbac.authorization.k8s.io/v1",
            "ClusterRoleBinding",
            {"roleRef": role, "subjects": [subject]},
            namespaced=False,
        ),
        _document("v1", "ConfigMap", {"data": {"Corefile": _COREFILE}}),
        _document("v1", "Service", {"spec": {"clusterIP": DNS_ADDRESS, "selector": _LABELS, "ports": ports}}),
        _document("apps/v1", "Deployment", {"spec": _deployment()}),
    ]


def _deployment() -> dict[str, Any]:
    container = {
        "name": NAME,
        "image": COREDNS.reference,
        "imagePullPolicy": "IfNotPresent",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
    }
    pod = {
        "serviceAccountName": NAME,
        "dnsPolicy": "Default",
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": NAME}}],
    }
    template = {"metadata": {"labels": _LABELS}, "spec": pod}
    return {"replicas": 1, "selector": {"matchLabels": _LABELS}, "template": template}


def _document(api_version: str, kind: str, body: dict[str, Any], *, namespaced: bool = True) -> dict[str, Any]:
    name = NAME if namespaced else f"system:{NAME}"
    where = {"namespace": NAMESPACE} if namespaced else {}
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **where}, **body}
