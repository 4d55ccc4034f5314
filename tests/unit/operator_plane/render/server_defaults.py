"""What a Kubernetes API server adds to rendered objects, so that both sides compare exactly."""

from __future__ import annotations

import copy
from typing import Any

Document = dict[str, Any]


def as_stored(document: Document) -> Document:
    """The document as the API server would return it: core defaults filled in, empty maps of ours dropped."""
    stored = copy.deepcopy(document)
    match stored["kind"]:
        case "Deployment":
            stored["spec"] = {"progressDeadlineSeconds": 600, "revisionHistoryLimit": 10, **stored["spec"]}
            _pod(stored["spec"]["template"]["spec"])
        case "Service":
            stored["spec"] = {
                "internalTrafficPolicy": "Cluster",
                "ipFamilies": ["IPv4"],
                "ipFamilyPolicy": "SingleStack",
                "sessionAffinity": "None",
                **stored["spec"],
            }
            if stored["spec"].get("clusterIP") == "None":
                stored["spec"]["clusterIPs"] = ["None"]
        case "PersistentVolumeClaim":
            stored["spec"].setdefault("volumeMode", "Filesystem")
            stored["metadata"]["finalizers"] = ["kubernetes.io/pvc-protection"]
        case "ResourceClaimTemplate":
            stored["spec"].setdefault("metadata", {})
        case "DynamoComponentDeployment":
            for container in stored["spec"]["podTemplate"]["spec"]["containers"]:
                _written_container(container)
        case _:
            pass
    return stored


def _pod(pod: Document) -> None:
    defaults = {
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "terminationGracePeriodSeconds": 30,
    }
    for key, value in defaults.items():
        pod.setdefault(key, value)
    if "serviceAccountName" in pod:
        pod["serviceAccount"] = pod["serviceAccountName"]
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        _container(container)
    for volume in pod.get("volumes", []):
        for source in ("configMap", "secret"):
            if source in volume:
                volume[source].setdefault("defaultMode", 420)


def _container(container: Document) -> None:
    image = container.get("image", "").rsplit("/", 1)[-1]
    has_version = ":" in image and not image.endswith(":latest")
    container.setdefault("imagePullPolicy", "IfNotPresent" if has_version else "Always")
    container.setdefault("resources", {})
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    _written_container(container)
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe in container:
            _probe(container[probe])
    for entry in container.get("env", []):
        if "fieldRef" in entry.get("valueFrom", {}):
            entry["valueFrom"]["fieldRef"].setdefault("apiVersion", "v1")


def _written_container(container: Document) -> None:
    """What the embedded pod schema of a custom resource defaults, too; an empty value is the same as none."""
    for port in container.get("ports", []):
        port.setdefault("protocol", "TCP")
    for entry in container.get("env", []):
        if entry.get("value") == "":
            del entry["value"]


def _probe(probe: Document) -> None:
    for key, value in (("failureThreshold", 3), ("periodSeconds", 10), ("successThreshold", 1), ("timeoutSeconds", 1)):
        probe.setdefault(key, value)
    if "httpGet" in probe:
        probe["httpGet"].setdefault("scheme", "HTTP")
    if probe.get("initialDelaySeconds") == 0:
        del probe["initialDelaySeconds"]
