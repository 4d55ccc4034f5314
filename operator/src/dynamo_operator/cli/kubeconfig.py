"""Which cluster is meant: flags, then KUBECONFIG, then ~/.kube/config, then the service account of the pod we are in.

Unlike the operator, whose place is its cluster, a person's configuration comes first, as with kubectl. Called by
`cluster`; reads files only.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.config.models import User
from lightkube.core.exceptions import ConfigError

from dynamo_operator.cli.credentials import check_cluster, check_names, usable_user
from dynamo_operator.cli.target import Target
from dynamo_operator.local.errors import Refused

_PARTS = {"clusters": "cluster", "users": "user", "contexts": "context"}
_FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


def resolve(target: Target, env: Mapping[str, str], home: Path) -> SingleConfig:
    """Raises Refused saying what was looked for."""
    files = _files(target, env, home)
    merged = _merged(files)
    try:
        config = KubeConfig.from_dict(merged, fname=files[0]) if files else KubeConfig.from_service_account()
        if files:
            check_names(config, target.context, files[0])
        found = config.get(target.context)
    except (ConfigError, msgspec.ValidationError, KeyError, TypeError, AttributeError) as error:
        raise _refusal(target, files, merged, error) from error
    if found is None:
        raise Refused(f"{files[0]} names no current context", "choose one with --context")
    user = found.user or User()
    if files:
        check_cluster(found.cluster, files[0])
        user = usable_user(user, files[0])
    return SingleConfig(
        context_name=found.context_name,
        context=found.context,
        cluster=found.cluster,
        user=user,
        fname=found.fname,
    )


def _files(target: Target, env: Mapping[str, str], home: Path) -> list[Path]:
    if target.kubeconfig is not None:
        return [target.kubeconfig.expanduser()]
    named = [Path(part).expanduser() for part in env.get("KUBECONFIG", "").split(os.pathsep) if part]
    usual = home / ".kube" / "config"
    present = [path for path in named if path.is_file()]
    return present or named[:1] or ([usual] if usual.is_file() else [])


def _merged(files: list[Path]) -> dict[str, Any]:
    """As kubectl merges the files of KUBECONFIG: the first that says something wins."""
    whole: dict[str, Any] = {part: [] for part in _PARTS}
    for file in files:
        document = _read(file)
        if "current-context" not in whole and document.get("current-context"):
            whole["current-context"] = document["current-context"]
        for part, inner in _PARTS.items():
            known = {each["name"] for each in whole[part]}
            fresh = (each for each in _entries(document, part, file) if each["name"] not in known)
            whole[part] += [_anchored(each, inner, file) for each in fresh]
    return whole


def _entries(document: Mapping[str, Any], part: str, file: Path) -> list[dict[str, Any]]:
    entries = document.get(part) or []
    if not isinstance(entries, list) or not all(isinstance(each, dict) and "name" in each for each in entries):
        raise Refused(f"the kubeconfig {file} cannot be used: {part} is no list of named entries")
    return entries


def _read(file: Path) -> Mapping[str, Any]:
    try:
        document = yaml.safe_load(file.read_text())
    except FileNotFoundError:
        raise Refused(f"there is no kubeconfig {file}", "name another with --kubeconfig, or set KUBECONFIG") from None
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise Refused(f"the kubeconfig {file}{line} is not valid YAML: {error.problem or error.context}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise Refused(f"the kubeconfig {file} cannot be read: {reason}") from error
    if not isinstance(document, Mapping):
        raise Refused(f"{file} is no kubeconfig")
    return document


def _anchored(entry: Mapping[str, Any], inner: str, file: Path) -> dict[str, Any]:
    """Relative paths in a kubeconfig start at its own folder."""
    facts = dict(entry.get(inner) or {})
    for key in _FILES:
        if facts.get(key):
            facts[key] = str(file.parent.resolve() / facts[key])
    return {**entry, inner: facts}


def _refusal(target: Target, files: list[Path], merged: Mapping[str, Any], error: Exception) -> Refused:
    if not files:
        return Refused(
            "no cluster is configured here: no --kubeconfig, no KUBECONFIG, no ~/.kube/config, and this is no pod",
            "to run a graph on this machine instead: dynamo up -f FILE",
        )
    contexts = [str(each.get("name")) for each in merged["contexts"]]
    if target.context is not None and target.context not in contexts:
        near = difflib.get_close_matches(target.context, contexts, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(contexts)}"
        return Refused(f"{files[0]} has no context {target.context!r}", hint)
    if target.context is None and "current-context" not in merged:
        return Refused(
            f"the kubeconfig {files[0]} has no current-context", f"--context: {', '.join(contexts) or 'none'}"
        )
    return Refused(f"the kubeconfig {files[0]} cannot be used: {error}")
