"""The cluster that a command asks: where it is, what it answers, and what a person should do when it does not.

Duty: one small read-only client over lightkube's configuration, credentials and connections. Every failure is a Refused
that says what to do next. It must not print, and never writes to the cluster. Callers: the cluster commands.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import msgspec
from lightkube.config.client_adapter import Client, ConnectionParams
from lightkube.core.exceptions import ConfigError

from dynamo_operator.cli.kubeconfig import resolve
from dynamo_operator.cli.target import Target
from dynamo_operator.kube import Document, Kind
from dynamo_operator.kube.client import collection_path
from dynamo_operator.local.errors import Refused
from dynamo_operator.validate.text_forms import LABEL_FORM, SUBDOMAIN_FORM, is_label, is_subdomain

DEADLINE_S = 15.0
CONNECT_S = 5.0
PAGE_SIZE = 500
AT_ONCE = 16

_LOGIN_FAILURES = (ConfigError, OSError, ValueError, LookupError, TypeError)
"""A login program that is missing, fails, or does not answer with a token."""

T = TypeVar("T")
U = TypeVar("U")


class Absent(Refused):
    """The cluster has no such object."""


class Forbidden(Refused):
    """Our account may not do this."""


class Unknown(Refused):
    """The cluster does not serve such a kind."""


@dataclass(frozen=True, slots=True)
class LogRequest:
    """Which lines of a container; `tail` None: all."""

    container: str
    tail: int | None
    is_previous: bool = False
    is_followed: bool = False


class Cluster:
    """`namespace` is what commands speak of; empty for all of them."""

    def __init__(self, http: httpx2.Client, namespace: str) -> None:
        self.namespace = namespace
        self._http = http

    @property
    def url(self) -> str:
        return str(self._http.base_url).rstrip("/")

    def within(self, namespace: str) -> Cluster:
        """The same cluster, speaking of another namespace."""
        return Cluster(self._http, namespace)

    def get(self, kind: Kind, name: str) -> Document:
        """Raises Absent naming what is there instead."""
        check_name(name)
        response = self._ask(f"{collection_path(kind, self.namespace)}/{name}", about=kind)
        if response.status_code == 404:
            raise self._absent(kind, name)
        return self._document(response)

    def find(self, kind: Kind, labels: str = "", fields: str = "") -> list[Document]:
        """All objects of a kind in the namespace; raises Unknown where the cluster does not serve it."""
        found: list[Document] = []
        position = ""
        while True:
            query = {"limit": str(PAGE_SIZE), "labelSelector": labels, "fieldSelector": fields, "continue": position}
            response = self._ask(collection_path(kind, self.namespace), query, about=kind)
            if response.status_code == 404:
                raise _unknown(kind)
            page = self._document(response)
            found += [{"apiVersion": kind.api_version, "kind": kind.name, **item} for item in page["items"]]
            position = (page.get("metadata") or {}).get("continue") or ""
            if not position:
                return found

    def serves(self, kinds: Iterable[Kind]) -> frozenset[Kind]:
        """Those of the kinds that the cluster knows."""
        groups = {each.api_version: f"/{'apis' if each.group else 'api'}/{each.api_version}" for each in kinds}
        served = set()
        for api_version, path in groups.items():
            response = self._ask(path)
            if response.status_code == 404:
                continue
            resources = self._document(response).get("resources") or ()
            served |= {(api_version, str(each.get("kind"))) for each in resources}
        return frozenset(kind for kind in kinds if (kind.api_version, kind.name) in served)

    def page(self, pod: str, namespace: str, port: int, path: str) -> str:
        """What a pod's own HTTP server answers, asked through the API server; needs the right to `pods/proxy`."""
        response = self._ask(f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy{path}", right="get pods/proxy")
        if response.status_code >= 400:
            raise Refused(f"pod {pod} does not answer {path} on port {port} ({response.status_code})")
        return response.text

    def log_lines(self, pod: str, namespace: str, request: LogRequest) -> Iterator[str]:
        """A container's log, line by line, until it ends; raises Refused where there is none yet."""
        query = {"container": request.container}
        query |= {"tailLines": str(request.tail)} if request.tail is not None else {}
        query |= {"previous": "true"} if request.is_previous else {}
        query |= {"follow": "true"} if request.is_followed else {}
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        # A quiet container may say nothing for hours.
        timeout = httpx2.Timeout(DEADLINE_S, read=None if request.is_followed else DEADLINE_S)
        try:
            with self._http.stream("GET", path, params=query, timeout=timeout) as response:
                if response.status_code >= 400:
                    response.read()
                    raise self._refused(response, "get pods/log")
                yield from response.iter_lines()
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        except _LOGIN_FAILURES as error:
            raise self._without_credentials(error) from error

    def side_by_side(self, ask: Callable[[T], U], about: Iterable[T]) -> list[U]:
        """Several questions at once, answers in their order; the first failure is raised."""
        with ThreadPoolExecutor(AT_ONCE) as threads:
            return list(threads.map(ask, about))

    def close(self) -> None:
        self._http.close()

    def _ask(
        self, path: str, query: Mapping[str, str] | None = None, about: Kind | None = None, right: str = ""
    ) -> httpx2.Response:
        """The answer; of the refusals only 404 and those of pods' own servers are left to the caller."""
        try:
            response = self._http.get(path, params={name: text for name, text in (query or {}).items() if text})
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        except _LOGIN_FAILURES as error:
            raise self._without_credentials(error) from error
        if response.status_code in {401, 403}:
            raise self._refused(response, right or (f"list {about.plural}" if about else ""))
        return response

    def _document(self, response: httpx2.Response) -> Document:
        if response.status_code >= 400:
            raise self._refused(response)
        try:
            document: Document = msgspec.json.decode(response.content)
        except msgspec.DecodeError:
            raise Refused(
                f"{self.url} does not answer as a Kubernetes API server does", "check the kubeconfig"
            ) from None
        return document

    def _absent(self, kind: Kind, name: str) -> Refused:
        """Says what is there; where not even the kind is, raises Unknown."""
        names = [each["metadata"]["name"] for each in self.find(kind)]
        near = difflib.get_close_matches(name, names, n=1)
        if near:
            hint = f"did you mean {near[0]}?"
        else:
            hint = f"there are: {', '.join(names[:10])}" if names else "--namespace chooses another, -A shows all"
        return Absent(f"there is no {kind.name} {name!r} in namespace {self.namespace}", hint)

    def _refused(self, response: httpx2.Response, right: str = "") -> Refused:
        said = _message(response)
        where = f" -n {self.namespace}" if self.namespace else " -A"
        match response.status_code:
            case 401:
                return Refused(f"{self.url} does not accept these credentials", "log in to the cluster again")
            case 403:
                check = f"kubectl auth can-i {right or '--list'}{where}"
                return Forbidden(said, f"ask an administrator for this right; check it with: {check}")
            case code if code >= 500:
                return Refused(f"{self.url} is in trouble: {said}", "try again in a moment")
            case _:
                return Refused(said)

    def _without_credentials(self, error: Exception) -> Refused:
        reason = (
            " ".join(str(error).split())[:300] if isinstance(error, ConfigError | OSError) else "no token in its answer"
        )
        return Refused(f"the login for {self.url} failed: {reason}", "does kubectl get namespaces work?")

    def _unreachable(self, error: httpx2.TransportError) -> Refused:
        reason = str(error) or type(error).__name__
        hint = "is it running, and is this the right one? --context and --kubeconfig choose another"
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            hint = "the certificate-authority in the kubeconfig is not the one of this cluster; was it made anew?"
        return Refused(f"the cluster at {self.url} does not answer: {reason}", hint)


def check_name(name: str) -> None:
    """Raises Refused for what can name nothing; a slash in it would lead elsewhere."""
    if not is_subdomain(name):
        raise Refused(f"no object can be called {name!r}", f"allowed: {SUBDOMAIN_FORM}")


def connect(target: Target, *, everywhere: bool = False) -> Cluster:
    """Raises Refused where nothing says how to reach a cluster. Asks nothing yet."""
    config = resolve(target, os.environ, Path.home())
    namespace = "" if everywhere else target.namespace or config.namespace
    if namespace and not is_label(namespace):
        where = "--namespace" if target.namespace else f"namespace of the context {config.context_name}"
        raise Refused(f"{where}: found {namespace!r}", f"allowed: {LABEL_FORM}")
    parameters = ConnectionParams(timeout=httpx2.Timeout(DEADLINE_S, connect=CONNECT_S))
    try:
        http = Client(config, parameters)
    except httpx2.InvalidURL as error:
        raise Refused(f"the kubeconfig's server {config.cluster.server!r} is no address: {error}") from error
    except (ConfigError, OSError, ValueError) as error:
        raise Refused(f"the credentials for {config.cluster.server} cannot be used: {error}") from error
    http.headers["User-Agent"] = "dynamo-cli"
    return Cluster(http, namespace)


def _unknown(kind: Kind) -> Unknown:
    return Unknown(
        f"the cluster does not know {kind.name}",
        "install the operator: helm install dynamo helm/dynamo-platform -n dynamo-system --create-namespace --wait",
    )


def _message(response: httpx2.Response) -> str:
    try:
        status: Any = msgspec.json.decode(response.content)
        return str(status["message"])[:500]
    except (msgspec.DecodeError, KeyError, TypeError):
        text = " ".join(response.text.split())[:200]
        return f"the API server answered {response.status_code}" + (f": {text}" if text.isprintable() and text else "")
