"""Status of graphs and components: `services` <-> `components`, `service` <-> `component`, names of what backs them.

Duty: both directions, with what the other version cannot say as a sparse status.
Ban: no specs. Callers: resources.py.
"""

from __future__ import annotations

from dynamo_operator.convert.documents import Document, mapping, pick, readable

_BETA_REPLICAS = ("gpusPerEngine", "gpusPerReplica", "servedModelName", "runtimeComponentName", "gpuPowerLimitWatts")
"""Entries of a replica status that only v1beta1 has."""
_BETA_GRAPH = ("placement",)
_ALPHA_COMPONENT = ("podSelector",)
_NAMES = ("componentName", "componentNames")


def graph_to_beta(status: Document, kept: Document) -> tuple[Document, Document]:
    """(v1beta1 status, what it cannot say) of a v1alpha1 graph status."""
    beta = {key: value for key, value in status.items() if key not in ("services", "rollingUpdate")}
    beta.update(pick(kept, [key for key in _BETA_GRAPH if key not in beta]))
    beta.update(_rolling(status, "updatedServices", "updatedComponents"))
    sparse: Document = {}
    if status.get("services") is not None:
        earlier = readable(kept.get("components"))
        replicas = mapping(status["services"], "status.services")
        beta["components"] = {name: _replicas_to_beta(entry, earlier.get(name)) for name, entry in replicas.items()}
        names = {name: kept_names for name, entry in replicas.items() if (kept_names := _kept_names(entry))}
        sparse = {"services": names} if names else {}
    return beta, sparse


def graph_to_alpha(status: Document, kept: Document) -> tuple[Document, Document]:
    """(v1alpha1 status, what it cannot say) of a v1beta1 graph status."""
    alpha = {key: value for key, value in status.items() if key not in ("components", "rollingUpdate", *_BETA_GRAPH)}
    alpha.update(_rolling(status, "updatedComponents", "updatedServices"))
    sparse: Document = pick(status, _BETA_GRAPH)
    if status.get("components") is not None:
        earlier = readable(kept.get("services"))
        replicas = mapping(status["components"], "status.components")
        alpha["services"] = {name: _replicas_to_alpha(entry, earlier.get(name)) for name, entry in replicas.items()}
        extras = {name: extra for name, entry in replicas.items() if (extra := pick(entry, _BETA_REPLICAS))}
        sparse.update({"components": extras} if extras else {})
    return alpha, sparse


def component_to_beta(status: Document, kept: Document) -> tuple[Document, Document]:
    """(v1beta1 status, what it cannot say) of a v1alpha1 component status."""
    beta = {key: value for key, value in status.items() if key not in ("service", *_ALPHA_COMPONENT)}
    sparse = pick(status, _ALPHA_COMPONENT)
    if status.get("service") is not None:
        beta["component"] = _replicas_to_beta(status["service"], kept.get("component"))
        if names := _kept_names(status["service"]):
            sparse["service"] = names
    return beta, sparse


def component_to_alpha(status: Document, kept: Document) -> tuple[Document, Document]:
    """(v1alpha1 status, what it cannot say) of a v1beta1 component status."""
    alpha = {key: value for key, value in status.items() if key != "component"}
    alpha.update(pick(kept, [key for key in _ALPHA_COMPONENT if key not in alpha]))
    sparse: Document = {}
    if status.get("component") is not None:
        alpha["service"] = _replicas_to_alpha(status["component"], kept.get("service"))
        if extra := pick(status["component"], _BETA_REPLICAS):
            sparse["component"] = extra
    return alpha, sparse


def _replicas_to_beta(entry: object, kept: object) -> Document:
    replicas = mapping(entry, "status.services")
    names = _all_names(replicas)
    rest = {key: value for key, value in replicas.items() if key not in _NAMES}
    extra = pick(readable(kept), [key for key in _BETA_REPLICAS if key not in rest])
    return {**rest, **({"componentNames": names} if names else {}), **extra}


def _replicas_to_alpha(entry: object, kept: object) -> Document:
    replicas = mapping(entry, "status.components")
    names = replicas.get("componentNames") or []
    rest = {key: value for key, value in replicas.items() if key not in (*_NAMES, *_BETA_REPLICAS)}
    earlier = pick(readable(kept), _NAMES)
    if earlier and _all_names(earlier) == names:
        return {**rest, **earlier}
    # v1alpha1 requires the deprecated single name; the newest object is the last one.
    return {**rest, "componentName": names[-1] if names else "", **({"componentNames": names} if names else {})}


def _kept_names(entry: object) -> Document:
    """Both spellings of the name, if the rules would not give them back."""
    replicas = mapping(entry, "status.services")
    names = replicas.get("componentNames") or []
    single = replicas.get("componentName")
    is_natural = single == names[-1] if names else single == ""
    return {} if is_natural else pick(replicas, _NAMES)


def _all_names(replicas: Document) -> list[str]:
    single = replicas.get("componentName")
    return replicas.get("componentNames") or ([single] if single else [])


def _rolling(status: Document, old: str, new: str) -> Document:
    if status.get("rollingUpdate") is None:
        return {}
    rolling = mapping(status["rollingUpdate"], "status.rollingUpdate")
    return {"rollingUpdate": {new if key == old else key: value for key, value in rolling.items()}}
