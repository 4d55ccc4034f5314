"""Numbers that decide how an engine spans nodes: its parallel sizes, and the GPUs of a pod. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from dynamo_operator.api import Component
from dynamo_operator.api.quantity import whole_number
from dynamo_operator.render.errors import RenderError
from dynamo_operator.render.multinode.command import Container, given_flags, resolved

GPU_RESOURCE = "nvidia.com/gpu"


def parallel_size(component: Component, container: Container, names: Sequence[str]) -> int:
    """The value of a size flag under any of its names, 1 where it is not given."""
    flags = given_flags(container)
    name = next((each for each in reversed(list(flags)) if each in names), None)
    if name is None:
        return 1
    text = resolved(flags[name], container)
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise RenderError(
            component.name, f"{name} is {flags[name]!r}", "a component of several nodes needs it as a whole number"
        )
    return int(text)


def gpus_per_pod(component: Component) -> int:
    """GPUs of the main container; raises RenderError where it asks for none, since no size can be split then."""
    resources = component.main.get("resources") or {}
    amounts = {**(resources.get("requests") or {}), **(resources.get("limits") or {})}
    found = amounts.get(GPU_RESOURCE, next((amounts[name] for name in sorted(amounts) if _is_gpu(name)), None))
    count = whole_number(found)
    if count is None or count < 1:
        raise RenderError(
            component.name,
            "spans several nodes and asks for no whole number of GPUs",
            f"set resources.limits, for example {GPU_RESOURCE}: 8",
        )
    return count


def _is_gpu(resource: str) -> bool:
    """Whether an extended resource counts GPUs: nvidia.com/mig-1g.10gb, amd.com/gpu, gpu.intel.com/xe."""
    vendor, slash, device = resource.partition("/")
    return bool(slash) and (device.startswith(("gpu", "mig-")) or vendor.startswith("gpu."))
