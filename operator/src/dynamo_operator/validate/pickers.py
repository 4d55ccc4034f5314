"""Rules of endpoint pickers, type epp, and of eppConfig, which is only for them. Pure; called by `component_rules`."""

from __future__ import annotations

from collections.abc import Iterator

from dynamo_operator.validate.context import Context
from dynamo_operator.validate.field import Field
from dynamo_operator.validate.text_forms import check_object_names
from dynamo_operator.validate.view import ComponentView
from dynamo_operator.validate.violation import Violation, listed

EPP_DEFAULT_SINCE = (1, 5, 0)  # endpoint pickers from this version on have a configuration of their own


def check_picker(component: ComponentView, context: Context) -> Iterator[Violation]:
    config = component.field["eppConfig"]
    if component.type != "epp":
        if config.is_present:
            yield config.broken("is only for type epp", "nothing", found=f'type "{component.type}"')
        return
    if not context.has_inference_pools:
        yield component.type_field.broken(
            "an endpoint picker needs the Gateway API Inference Extension, which this cluster lacks",
            "a type other than epp",
        )
    if component.is_multinode:
        yield component.field["multinode"].broken("an endpoint picker runs on one node", "nothing")
    if component.replicas != 1:
        yield component.field["replicas"].broken("an endpoint picker has exactly one replica", "1")
    version = component.runtime_version()
    if not config.is_present and (version is None or version < EPP_DEFAULT_SINCE):
        yield config.broken("is required", "one of config, configMapRef")
    elif config.is_present:
        yield from _check_sources(config, is_alpha=component.is_alpha)


def _check_sources(config: Field, *, is_alpha: bool) -> Iterator[Violation]:
    inline, reference = config["config"], config["configMapRef"]
    sources = [name for name in ("config", "configMapRef") if config[name].is_present]
    if len(sources) != 1:
        found = listed(sources) or "neither"
        yield config.broken("exactly one source is required", "one of config, configMapRef", found=found)
    if reference.is_present and not reference["name"].text:
        yield reference["name"].broken("is required", "the name of a ConfigMap")
    yield from check_object_names((reference["name"],))
    if is_alpha and inline.is_present:  # v1beta1's schema says so itself
        for part in (inline["plugins"], inline["schedulingProfiles"]):
            if not isinstance(part.value, list | tuple):
                yield part.broken("wrong type" if part.is_present else "is required", "a list")
