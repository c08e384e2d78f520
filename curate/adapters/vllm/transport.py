"""HTTP to one endpoint: connections, time limits, and statuses sorted by what they mean.

httpx does the HTTP. A connection serves one call at a time and is kept by us: httpcore's own pool looks through
all its connections at every request (measured: 0.6 ms of CPU a call at 1 connection, 5.8 ms at 128).
Nothing here logs, and no exception of httpx is passed on: those carry requests, and requests carry keys.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any

import httpx

from curate.adapters.vllm.faults import AttemptFailedError, RejectedError
from curate.adapters.vllm.http1 import OneConnection

KEEP_ALIVE_S = 4.0  # uvicorn, and so vLLM, closes an idle connection after 5: do not send into a closing one
SHOWN = 300  # characters of a server's message that are passed on
REFUSED = {401: "key refused", 402: "payment required", 403: "forbidden"}
WRONG = (400, 413, 422)
NOT_OFFERED = (404, 405, 501)
LATER = (408, 409, 425)


class Connection:
    """One kept connection. `stream` is the open one, as far as it is known."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self.transport = transport
        self.stream: object = None
        self.is_kept = False


class Wire:
    """Connections to one address."""

    def __init__(self, url: str, key: str, key_name: str, connect_timeout_s: float, timeout_s: float) -> None:
        self.base, self.root = httpx.URL(url), httpx.URL(url.removesuffix("/v1"))
        self.host = self.base.netloc.decode()
        self._headers = {"content-type": "application/json", **({"authorization": f"Bearer {key}"} if key else {})}
        self._key, self._key_name = key, key_name
        self._limits = {"timeout": {"connect": connect_timeout_s, "read": None, "write": None, "pool": None}}
        self._timeout_s, self._idle = timeout_s, list[Connection]()
        self.n_lost = 0
        """connections that broke, or that the server closed while we kept them"""

    async def get(self, path: str) -> Any:
        """JSON behind a path of the API. Raises AttemptFailedError."""
        return await self._talk("GET", _below(self.base, path), b"")

    async def get_root(self, path: str) -> Any:
        """JSON behind a path beside the API, where vLLM has its own."""
        return await self._talk("GET", _below(self.root, path), b"")

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """JSON that answers `body`. Raises AttemptFailedError, and RejectedError for 400, 413 and 422."""
        return await self._talk("POST", _below(self.base, path), json.dumps(body).encode())

    async def post_root(self, path: str, body: dict[str, Any]) -> Any:
        """The same for a path beside the API."""
        return await self._talk("POST", _below(self.root, path), json.dumps(body).encode())

    async def close(self) -> None:
        """Close what is idle; what is in flight closes when it ends."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.transport.aclose()

    async def _talk(self, method: str, url: httpx.URL, body: bytes) -> Any:
        connection = self._idle.pop() if self._idle else Connection(new_transport())
        connection.is_kept = False
        try:
            async with asyncio.timeout(self._timeout_s):
                response, content = await self._send(connection, method, url, body)
        except (TimeoutError, httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError) as error:
            self.n_lost += 1
            raise _broken(error, self._timeout_s) from None
        finally:
            # Whatever left in the middle, cancelled or broken, leaves no connection behind that could be reused.
            if not connection.is_kept:
                await connection.transport.aclose()
        return self._content(response, content, url.path)

    async def _send(
        self, connection: Connection, method: str, url: httpx.URL, body: bytes
    ) -> tuple[httpx.Response, bytes]:
        request = httpx.Request(method, url, headers=self._headers, content=body, extensions=self._limits)
        response = await connection.transport.handle_async_request(request)
        try:
            content = await response.aread()
        finally:
            await response.aclose()
        self._keep(connection, response)
        return response, content

    def _keep(self, connection: Connection, response: httpx.Response) -> None:
        """Back to the idle ones. Another stream than before, unannounced, is a lost connection."""
        stream = response.extensions.get("network_stream")
        self.n_lost += connection.stream not in (None, stream)
        is_closing = response.headers.get("connection", "").lower() == "close" or response.http_version == "HTTP/1.0"
        connection.stream, connection.is_kept = None if is_closing else stream, True
        self._idle.append(connection)

    def _content(self, response: httpx.Response, content: bytes, path: str) -> Any:
        """JSON of a 200; every other status raises what it means."""
        status = response.status_code
        if self._key and (key := self._key.encode()) in content:  # some servers repeat it where they refuse it
            content = content.replace(key, b"***")
        if status == 200:
            try:
                return json.loads(content)
            except ValueError:
                raise AttemptFailedError("200 with an unreadable body", "endpoint") from None
        if status in WRONG:
            raise RejectedError(f"{status}: {_message(content)}")
        raise self._failed(status, response.headers, path)

    def _failed(self, status: int, headers: httpx.Headers, path: str) -> AttemptFailedError:
        wait = seconds_of(headers.get("retry-after", ""), datetime.now(UTC))
        if status == 429 or (status == 503 and wait is not None):
            return AttemptFailedError(str(status), "busy", retry_after=wait)
        if status in REFUSED:  # to every call, whatever it asks
            named = f"check the key named {self._key_name!r}" if self._key_name else "name a `key` in settings.toml"
            return AttemptFailedError(f"{status} {REFUSED[status]}", "refused", next=named, is_down=True)
        if status in NOT_OFFERED:
            return AttemptFailedError(f"{status} for {path}", "refused", next=_offer(path))
        return AttemptFailedError(str(status), "endpoint" if status >= 500 or status in LATER else "refused")

@cache
def _certificates() -> ssl.SSLContext:
    return ssl.create_default_context()


def new_transport() -> httpx.AsyncBaseTransport:
    """A transport that holds one connection."""
    return OneConnection(_certificates(), KEEP_ALIVE_S)


@cache
def _below(url: httpx.URL, path: str) -> httpx.URL:
    return url.copy_with(path=url.path.rstrip("/") + path)


def _broken(error: Exception, timeout_s: float) -> AttemptFailedError:
    """What is said of a broken exchange: its kind, nothing that httpx says."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return AttemptFailedError("no connection", "endpoint", is_down=True)
    if isinstance(error, TimeoutError):
        return AttemptFailedError(f"no answer in {timeout_s:g} s", "endpoint")
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError | httpx.WriteError | OSError):
        return AttemptFailedError("connection broke", "endpoint")
    return AttemptFailedError(f"broken exchange ({type(error).__name__})", "endpoint")


def _offer(path: str) -> str:
    convert = {"/classify": "classify", "/embeddings": "embed"}.get("/" + path.rpartition("/")[2])
    if convert:
        return f"serve it with vllm serve MODEL --runner pooling --convert {convert}"
    return "check url in settings.toml: it ends in /v1"


def _message(content: bytes) -> str:
    """The server's own words, shortened: {"error": {"message"}}, {"message"} or {"detail"}, else the start of it."""
    try:
        said = json.loads(content)
        inner = said.get("error", said)
        words = inner if isinstance(inner, str) else inner.get("message") or inner.get("detail") or said
    except (ValueError, AttributeError):
        words = content.decode(errors="replace")
    return " ".join(str(words).split())[:SHOWN]


def seconds_of(retry_after: str, now: datetime) -> float | None:
    """Seconds to wait, of a Retry-After header: a number, or an HTTP date (RFC 9110, 10.2.3). None: nothing said."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        at = parsedate_to_datetime(retry_after)
    except (ValueError, TypeError, IndexError):
        return None
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())
