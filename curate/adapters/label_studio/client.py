"""HTTP to one Label Studio server: tokens of both kinds, retries where asking twice does no harm, clear errors.

Plain httpx: the project's SDK of this server raises errors that carry headers, retries creations, and pins numpy and
OpenCV. No exception of httpx is passed on, not even as a context: those hold requests, and requests hold tokens.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from schemas.errors import PlatformError

ATTEMPTS = 3
BACKOFF_S = 0.5
"""wait before the second attempt; doubles"""
LONGEST_WAIT_S = 10.0
PASSING = (429, 500, 502, 503, 504)
"""statuses that may be gone a moment later"""
SHOWN = 300
"""characters of a server's message that are passed on"""
_E_MAIL = re.compile(r"[^\s@\"'<>]+@[^\s@\"'<>]+")
Params = Mapping[str, str | int]


@dataclass(frozen=True)
class Answer:
    """What the server said, parsed, and when by its own clock."""

    body: Any
    said_at: datetime | None


@dataclass(frozen=True)
class _Fault:
    """Why an attempt gave no answer."""

    seen: str
    status: int = 0
    is_passing: bool = False
    never_arrived: bool = False
    wait_s: float | None = None


@dataclass
class Server:
    """One server and one token. Its `repr` shows neither token nor address."""

    url: str = field(repr=False)
    token: str = field(repr=False)
    timeout_s: float
    token_name: str = "LABEL_STUDIO_TOKEN"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[!-~]+", self.token):
            raise PlatformError(
                "an empty token, or one with blanks", expected="a legacy or a personal token of Label Studio",
                next=f"put it into the secret {self.token_name}",
            )
        limits = httpx.Timeout(self.timeout_s, connect=min(self.timeout_s, 10.0))
        # Without the environment: a proxy set for other purposes must not see the token.
        self._http = httpx.Client(base_url=self.url + "/", timeout=limits, trust_env=False)
        self._access, self._lock = "", threading.Lock()

    def get(self, path: str, params: Params | None = None, *, body: object = None) -> Answer:
        """JSON behind a path; asked up to three times. Raises PlatformError."""
        return self._call("GET", path, params, body, may_repeat=True)

    def change(self, method: str, path: str, body: object, params: Params | None = None) -> Answer:
        """A request that does the same when it arrives twice (PATCH of given values, deletion by id)."""
        return self._call(method, path, params, body, may_repeat=True)

    def create(self, path: str, body: object, params: Params | None = None) -> Answer:
        """A POST that would make things twice: repeated only if it never arrived. Raises PlatformError."""
        return self._call("POST", path, params, body, may_repeat=False)

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()

    def _call(self, method: str, path: str, params: Params | None, body: object, *, may_repeat: bool) -> Answer:
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        said = self._attempt(method, path, params, content)
        for attempt in range(ATTEMPTS - 1):
            if isinstance(said, Answer) or not (said.never_arrived or (said.is_passing and may_repeat)):
                break
            wait = said.wait_s if said.wait_s is not None else BACKOFF_S * 2**attempt
            time.sleep(min(wait, LONGEST_WAIT_S))
            said = self._attempt(method, path, params, content)
        if isinstance(said, _Fault):
            raise self._error(said, method, path)
        return said

    def _attempt(self, method: str, path: str, params: Params | None, content: bytes | None) -> Answer | _Fault:
        header = self._authorization()
        said = header if isinstance(header, _Fault) else self._send(method, path, params, content, header)
        if isinstance(said, _Fault) and said.status == 401 and self._access:
            self._access = ""  # an access token lives for minutes: one refresh, then it is final
            header = self._authorization()
            said = header if isinstance(header, _Fault) else self._send(method, path, params, content, header)
        return said

    def _authorization(self) -> str | _Fault:
        if not is_personal(self.token):
            return f"Token {self.token}"
        with self._lock:
            if not self._access:
                said = self._send("POST", "api/token/refresh/", None, json.dumps({"refresh": self.token}).encode(), "")
                if isinstance(said, _Fault):
                    return said
                self._access = str(said.body.get("access", "")) if isinstance(said.body, dict) else ""
            return f"Bearer {self._access}" if self._access else _Fault("no access token for a personal token", 401)

    def _send(
        self, method: str, path: str, params: Params | None, content: bytes | None, authorization: str
    ) -> Answer | _Fault:
        headers = {"authorization": authorization} if authorization else {}
        headers |= {"content-type": "application/json"} if content is not None else {}
        try:
            reply = self._http.request(method, path, params=params, content=content, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            return _Fault("nobody takes connections there", is_passing=True, never_arrived=True)
        except httpx.TimeoutException:
            return _Fault(f"no answer in {self.timeout_s:g} s", is_passing=True)
        except httpx.HTTPError:
            return _Fault("the connection broke", is_passing=True)
        return self._read(reply)

    def _read(self, reply: httpx.Response) -> Answer | _Fault:
        if reply.status_code == 204:
            return Answer(None, _date(reply))
        body = _parsed(reply)
        if reply.is_success and body is not None:
            return Answer(body, _date(reply))
        if reply.is_success or reply.is_redirect:
            kind = reply.headers.get("content-type", "").split(";")[0] or "nothing"
            return _Fault(f"status {reply.status_code} with {self._shown(kind)} instead of JSON", reply.status_code)
        wait = reply.headers.get("retry-after", "")
        return _Fault(
            f"status {reply.status_code}: {self._shown(_message(body))}".rstrip(": "), reply.status_code,
            is_passing=reply.status_code in PASSING, wait_s=float(wait) if wait.isdecimal() else None,
        )

    def _shown(self, text: str) -> str:
        """A server's words without token and e-mail addresses, bounded."""
        for secret in filter(None, (self.token, self._access)):
            text = text.replace(secret, "…")
        return " ".join(_E_MAIL.sub("…", text).split())[:SHOWN]

    def _error(self, fault: _Fault, method: str, path: str) -> PlatformError:
        expected, advice = _ADVICE.get(fault.status, ("an answer in JSON", "look at the server's log, then run again"))
        if fault.never_arrived or not fault.status:
            expected, advice = "an answer", "see that the server runs at the `url` of the settings, then run again"
        seen = f"Label Studio, {method} {path.split('?')[0]}: {fault.seen}"
        return PlatformError(seen, expected=expected, next=advice.format(name=self.token_name))


_ADVICE = {
    400: ("a request that it takes", "see what it refused; nothing of this request was stored"),
    401: ("a token that is valid", "make a new one in Label Studio (Account & Settings) and put it into {name}"),
    403: ("a token of somebody who may do this", "use the token of an administrator in {name}"),
    404: ("a project that is there", "run `tiebreak send`: a deleted project is made anew"),
    413: ("a body that it takes", "raise the server's limit on uploads"),
}


def is_personal(token: str) -> bool:
    """Whether a token is a personal one (a JSON Web Token for refreshing) and not a legacy one."""
    parts = token.split(".")
    if len(parts) != 3:
        return False
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return False
    return isinstance(claims, dict) and "exp" in claims


def _parsed(reply: httpx.Response) -> Any:
    try:
        return reply.json()
    except (ValueError, RecursionError):
        return None


def _message(body: object) -> str:
    """The reason in an error of the server: `detail` and what is wrong with which field."""
    if not isinstance(body, dict):
        return ""
    told = body.get("validation_errors") or body.get("detail") or ""
    return told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)


def _date(reply: httpx.Response) -> datetime | None:
    try:
        return parsedate_to_datetime(reply.headers["date"]).astimezone(UTC)
    except (KeyError, ValueError, TypeError):
        return None
