"""What core Kubernetes types ask of their fields, as tables by type name: required fields, values, ranges, forms.

Pure data and the forms' predicates; `core_rules` applies them. Taken from the API server's own validation.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping

from dynamo_operator.validate.text_forms import (
    LABEL_FORM,
    LABEL_VALUE_FORM,
    QUALIFIED_FORM,
    SUBDOMAIN_FORM,
    is_label,
    is_label_value,
    is_qualified_name,
    is_subdomain,
)

INT32_LAST, INT64_LAST = 2**31 - 1, 2**63 - 1
INT64_FIELDS = frozenset(
    {
        "activeDeadlineSeconds",
        "deletionGracePeriodSeconds",
        "expirationSeconds",
        "fsGroup",
        "generation",
        "runAsGroup",
        "runAsUser",
        "seconds",
        "supplementalGroups",
        "terminationGracePeriodSeconds",
        "tolerationSeconds",
    }
)

# Required beyond what the client's model says: without them the API server refuses the pod.
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "ConfigMapEnvSource": ("name",),
    "ConfigMapKeySelector": ("name",),
    "ConfigMapProjection": ("name",),
    "ConfigMapVolumeSource": ("name",),
    "EphemeralVolumeSource": ("volumeClaimTemplate",),
    "LocalObjectReference": ("name",),
    "PersistentVolumeClaimSpec": ("accessModes", "resources"),
    "PodDNSConfigOption": ("name",),
    "SecretEnvSource": ("name",),
    "SecretKeySelector": ("name",),
    "SecretProjection": ("name",),
    "SecretVolumeSource": ("secretName",),
}

_PROFILES = ("RuntimeDefault", "Unconfined", "Localhost")
NO_VALUES = ("Exists", "DoesNotExist")
_LABEL_OPERATORS = ("In", "NotIn", *NO_VALUES)
ENUMS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "AppArmorProfile": {"type": _PROFILES},
    "Container": {
        "restartPolicy": ("Always", "OnFailure", "Never"),
        "terminationMessagePolicy": ("File", "FallbackToLogsOnError", ""),
    },
    "ContainerResizePolicy": {
        "resourceName": ("cpu", "memory"),
        "restartPolicy": ("NotRequired", "RestartContainer"),
    },
    "HTTPGetAction": {"scheme": ("HTTP", "HTTPS", "")},
    "HostPathVolumeSource": {
        "type": ("DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice", "")
    },
    "LabelSelectorRequirement": {"operator": _LABEL_OPERATORS},
    "NodeSelectorRequirement": {"operator": (*_LABEL_OPERATORS, "Gt", "Lt")},
    "PersistentVolumeClaimSpec": {"volumeMode": ("Filesystem", "Block")},
    "PodOS": {"name": ("linux", "windows")},
    "PodSecurityContext": {"fsGroupChangePolicy": ("Always", "OnRootMismatch")},
    "PodSpec": {"preemptionPolicy": ("PreemptLowerPriority", "Never")},
    "SeccompProfile": {"type": _PROFILES},
    "SecurityContext": {"procMount": ("Default", "Unmasked")},
    "TopologySpreadConstraint": {
        "nodeAffinityPolicy": ("Honor", "Ignore"),
        "nodeTaintsPolicy": ("Honor", "Ignore"),
        "whenUnsatisfiable": ("DoNotSchedule", "ScheduleAnyway"),
    },
    "VolumeMount": {
        "mountPropagation": ("None", "HostToContainer", "Bidirectional"),
        "recursiveReadOnly": ("Disabled", "IfPossible", "Enabled"),
    },
}

# Lists whose elements an API server tells apart by one field. Names of containers, volumes, ports, variables and
# claims, and paths of mounts, have rules of their own in `pods`, `containers` and `resources`.
KEYED: Mapping[str, Mapping[str, str]] = {
    "Container": {"volumeDevices": "devicePath"},
    "PodSpec": {"hostAliases": "ip", "imagePullSecrets": "name", "schedulingGates": "name"},
}

_USER, _MODE, _WEIGHT = (0, INT32_LAST), (0, 0o777), (1, 100)
RANGES: Mapping[str, Mapping[str, tuple[int, int]]] = {
    "ConfigMapVolumeSource": {"defaultMode": _MODE},
    "DownwardAPIVolumeSource": {"defaultMode": _MODE},
    "GRPCAction": {"port": (1, 65535)},
    "KeyToPath": {"mode": _MODE},
    "PodSecurityContext": {"runAsUser": _USER, "runAsGroup": _USER, "fsGroup": _USER},
    "PreferredSchedulingTerm": {"weight": _WEIGHT},
    "Probe": {"terminationGracePeriodSeconds": (1, INT64_LAST)},
    "ProjectedVolumeSource": {"defaultMode": _MODE},
    "SecretVolumeSource": {"defaultMode": _MODE},
    "SecurityContext": {"runAsUser": _USER, "runAsGroup": _USER},
    "ServiceAccountTokenProjection": {"expirationSeconds": (600, 2**32)},
    "SleepAction": {"seconds": (0, INT32_LAST)},
    "TopologySpreadConstraint": {"maxSkew": (1, INT32_LAST), "minDomains": (1, INT32_LAST)},
    "WeightedPodAffinityTerm": {"weight": _WEIGHT},
}


def _is_config_key(text: str) -> bool:
    return re.fullmatch(r"(?!\.\.)[-._a-zA-Z0-9]{1,253}", text, re.ASCII) is not None


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_header(text: str) -> bool:
    return re.fullmatch(r"[-A-Za-z0-9]+", text, re.ASCII) is not None


_Form = tuple[Callable[[str], bool], str]
_SUBDOMAIN: _Form = (is_subdomain, SUBDOMAIN_FORM)
_LABEL: _Form = (is_label, LABEL_FORM)
_KEY: _Form = (is_qualified_name, QUALIFIED_FORM)
_CONFIG_KEY: _Form = (_is_config_key, "1 to 253 of letters, digits, '-', '_' and '.'")

# Forms of names. Names of other objects are held to them although a pod alone may be created without: no object of
# another name can exist, so the pod would never start.
FORMS: Mapping[str, Mapping[str, _Form]] = {
    "CSIVolumeSource": {"driver": _SUBDOMAIN},
    "ConfigMapEnvSource": {"name": _SUBDOMAIN},
    "ConfigMapKeySelector": {"name": _SUBDOMAIN, "key": _CONFIG_KEY},
    "ConfigMapProjection": {"name": _SUBDOMAIN},
    "ConfigMapVolumeSource": {"name": _SUBDOMAIN},
    "CoreV1ResourceClaim": {"request": _LABEL},
    "HTTPHeader": {"name": (_is_header, "letters, digits and '-'")},
    "HostAlias": {"ip": (is_address, "an IP address")},
    "LabelSelectorRequirement": {"key": _KEY},
    "LocalObjectReference": {"name": _SUBDOMAIN},
    "NodeSelectorRequirement": {"key": _KEY},
    "PersistentVolumeClaimSpec": {"storageClassName": _SUBDOMAIN},
    "PersistentVolumeClaimVolumeSource": {"claimName": _SUBDOMAIN},
    "PodAffinityTerm": {"topologyKey": _KEY},
    "PodReadinessGate": {"conditionType": _KEY},
    "PodSchedulingGate": {"name": _KEY},
    "PodResourceClaim": {"name": _LABEL, "resourceClaimName": _SUBDOMAIN, "resourceClaimTemplateName": _SUBDOMAIN},
    "PodSpec": {
        "hostname": _LABEL,
        "nodeName": _SUBDOMAIN,
        "priorityClassName": _SUBDOMAIN,
        "runtimeClassName": _SUBDOMAIN,
        "serviceAccountName": _SUBDOMAIN,
        "subdomain": _LABEL,
    },
    "SecretEnvSource": {"name": _SUBDOMAIN},
    "SecretKeySelector": {"name": _SUBDOMAIN, "key": _CONFIG_KEY},
    "SecretProjection": {"name": _SUBDOMAIN},
    "SecretVolumeSource": {"secretName": _SUBDOMAIN},
    "Toleration": {"key": _KEY, "value": (is_label_value, LABEL_VALUE_FORM)},
    "TopologySpreadConstraint": {"topologyKey": _KEY},
}
