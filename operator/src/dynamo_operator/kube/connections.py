"""Connections to the API server: a request goes out, and its whole answer comes back.

Duty: carry requests over a bounded number of connections that are kept open, with the credentials of the moment, and
tell a request that cannot have arrived from one that may have. It must know nothing of Kubernetes' verbs and documents.
Callers: `client.py`; the process's wiring makes and closes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Protocol, Self

import aiohttp
from yarl import URL

from dynamo_operator.kube.access import USER_AGENT, Access, NoAccess, open_socket

AT_ONCE = 24  # more at once only make a busy API server slower
KEPT_S = 60.0
_UNREAD = ""  # no credentials look like this
Fence = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Request:
    """`path` holds the query too, quoted as it is sent."""

    method: str
    path: str
    body: bytes | None = None
    content_type: str = "application/json"
    accept: str = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """Header names are case-insensitive."""

    code: int
    body: bytes
    headers: Mapping[str, str]


class NotSent(Exception):
    """No connection: the request cannot have arrived."""


class Lost(Exception):
    """It may have arrived, and no whole answer came."""


class Way(Protocol):
    """How requests get to the API server."""

    async def send(self, request: Request, fence: Fence) -> Answer:
        """`fence` is called when the connection stands and nothing of the request has left; what it raises comes out.

        Raises NotSent and Lost.
        """
        ...

    async def close(self) -> None: ...


class Connections:
    """`timeout_s` bounds the wait for a connection, and each silence of the server.

    A DELETE whose kept connection ends before its answer is sent anew once, as RFC 9110 allows; ours name a uid.
    """

    def __init__(self, access: Access, *, timeout_s: float) -> None:
        self._access = access
        self._server = access.server.rstrip("/")
        self._authorization: str | None = _UNREAD
        self._renewing = asyncio.Lock()
        fencing = aiohttp.TraceConfig()
        fencing.on_request_headers_sent.append(_heed)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=AT_ONCE,
                keepalive_timeout=KEPT_S,
                ssl=access.ssl_context() or True,
                socket_factory=open_socket,
            ),
            timeout=aiohttp.ClientTimeout(total=None, connect=timeout_s, sock_read=timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": USER_AGENT},
            trace_configs=[fencing],
        )

    async def send(self, request: Request, fence: Fence) -> Answer:
        shown = self._authorization if self._authorization != _UNREAD else await self._renewed(_UNREAD)
        answer = await self._send_as(shown, request, fence)
        if answer.code == 401 and await self._renewed(shown) != shown:
            answer = await self._send_as(self._authorization, request, fence)
        return answer

    async def close(self) -> None:
        await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _send_as(self, authorization: str | None, request: Request, fence: Fence) -> Answer:
        headers = {"Accept": request.accept, "Content-Type": request.content_type}
        if authorization is not None:
            headers["Authorization"] = authorization
        url = URL(self._server + request.path, encoded=True)
        try:
            async with self._session.request(
                request.method,
                url,
                data=request.body,
                headers=headers,
                allow_redirects=False,
                trace_request_ctx=fence,
            ) as answer:
                return Answer(answer.status, await answer.read(), answer.headers)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSent(_words(error)) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Lost(_words(error)) from error

    async def _renewed(self, shown: str | None) -> str | None:
        """The credentials to show instead of those that were refused: tokens in files and of programs expire."""
        async with self._renewing:
            if self._authorization == shown:
                try:
                    self._authorization = await asyncio.to_thread(self._access.authorization)
                except NoAccess as error:
                    raise NotSent(str(error)) from error
            return self._authorization


async def _heed(_: aiohttp.ClientSession, context: SimpleNamespace, __: aiohttp.TraceRequestHeadersSentParams) -> None:
    context.trace_request_ctx()


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
