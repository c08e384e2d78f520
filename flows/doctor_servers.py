"""Servers: Prefect's and its workers, served models, Label Studio, and whether their clocks agree with ours.

Each is asked with a bound, all at once; what they answer never brings a secret with it.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlsplit

from flows.doctor_row import Row, judged, row
from flows.server import running_server, running_worker, without_user, worker_note
from flows.settings import secret
from schemas.errors import PlatformError, RecipeError
from schemas.settings import Endpoint, LabelStudio, Settings
from warehouse.workspace import Workspace

ASK_S = 3.0
"""longest wait for one server"""
SKEW_S = 30.0
"""clocks further apart: schedules and short-lived tokens go wrong"""
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
LARGEST = 2**20
"""bytes of an answer that are read"""
# Proxies of the environment were set for other purposes and must not see whom we ask.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Reply:
    """What a server said: status (0: nothing), JSON if it was any, its clock less ours in seconds."""

    status: int
    body: Any = None
    ahead_s: float | None = None
    fault: str = ""


def prefect(workspace: Workspace, training_pool: str) -> list[Row]:
    """The server, and for each work pool with deployments whether a worker is there."""
    given = os.environ.get("PREFECT_API_URL", "")
    server = None if given else running_server(workspace)
    api = given.rstrip("/") or (server.api_url if server else "")
    if given and ask(f"{api}/health").status != 200:
        seen = f"{_host(api)} does not answer (PREFECT_API_URL)"
        return [row("prefect server", "fault", seen, "unset PREFECT_API_URL, or start that server")]
    if not api:
        return [_no_server(workspace), *_own_worker(workspace)]
    answers = row("prefect server", "ok", without_user(api))
    return [answers, *_own_worker(workspace), *_workers(api, workspace, training_pool)]


def endpoint(one: Endpoint, timeout_s: float) -> Row:
    """One endpoint, asked which models it serves."""
    from curate.adapters.vllm.looking import look_at

    name = f"endpoint {_host(one.url)}"
    try:
        look = look_at(one, secret(one.key) if one.key else "", min(timeout_s, ASK_S))
    except RecipeError as error:
        return row(name, "fault", error.seen, error.next)
    return judged(name, not look.mend, look.seen, look.mend)


def label_studio(settings: LabelStudio) -> Row:
    """The annotation platform: does it answer, does it take the token. The token is sent to it and shown to nobody."""
    name, reply = f"Label Studio {_host(settings.url)}", ask(f"{settings.url}/health")
    if not reply.status:
        mend = "make serve-labelstudio, or mend `url` of [label_studio] in settings.toml"
        return row(name, "fault", f"no answer ({reply.fault})", mend)
    from curate.adapters.label_studio.client import Server

    try:
        server = Server(settings.url, secret(settings.token), min(settings.timeout_s, ASK_S), settings.token)
    except (PlatformError, RecipeError) as error:
        return row(name, "fault", error.seen, error.next)
    try:
        said = server.get("api/projects", {"page": 1, "page_size": 1}).body
    except PlatformError as error:
        return row(name, "fault", error.seen, error.next)
    finally:
        server.close()
    is_one = isinstance(said, dict) and isinstance(said.get("count"), int)
    seen = f"takes the token, {said['count']} projects" if is_one else "answers, and is no Label Studio"
    return judged(name, is_one, seen, "see that `url` of [label_studio] is that of a Label Studio")


def clock(addresses: Iterable[str]) -> list[Row]:
    """Our clock against those of servers, by the date that each of them sends (whole seconds)."""
    ahead = {_host(url): ask(url).ahead_s for url in addresses}
    known = {host: seconds for host, seconds in ahead.items() if seconds is not None}
    if not known:
        return []
    host = max(known, key=lambda name: abs(known[name]))
    told = f"{host} is {abs(known[host]):.0f} s {'ahead' if known[host] > 0 else 'behind'}"
    is_ok = abs(known[host]) < SKEW_S
    return [judged("clock", is_ok, f"{len(known)} servers within {max(1.0, abs(known[host])):.0f} s" if is_ok else told,
                   "timedatectl set-ntp true, here or there", worst="note")]


def addresses(settings: Settings) -> list[str]:
    """An address per server of the settings, whatever is served there."""
    urls = [one.url for one in settings.endpoints]
    urls += [settings.label_studio.url] if settings.label_studio else []
    return sorted({f"{parts.scheme}://{parts.netloc}/health" for parts in map(urlsplit, urls)})


def ask(url: str, body: object = None, headers: Mapping[str, str] = NO_HEADERS) -> Reply:
    """One request: status, JSON, clock. Never raises for a server that fails."""
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=content, headers={"content-type": "application/json", **headers})
    try:
        with _DIRECT.open(request, timeout=ASK_S) as answer:
            return Reply(answer.status, _parsed(answer.read(LARGEST)), _ahead(answer.headers.get("date")))
    except urllib.error.HTTPError as error:
        return Reply(error.code, None, _ahead(error.headers.get("date")))
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return Reply(0, fault=type(reason).__name__ if isinstance(reason, Exception) else str(reason)[:80])


def _no_server(workspace: Workspace) -> Row:
    try:
        noted = json.loads((workspace.server / "server.json").read_text())
        seen = f"not running; the last one was pid {noted['pid']}, and its port {noted['port']} is kept"
    except (OSError, ValueError, KeyError, TypeError):
        seen = "not running"
    return row("prefect server", "note", seen, _serve(workspace))


def _own_worker(workspace: Workspace) -> list[Row]:
    """The worker that `serve` started here, where one was ever started: is its process still there."""
    worker, note = running_worker(workspace), worker_note(workspace)
    if worker is not None:
        return [row("worker", "ok", f"pid {worker.pid}, pool {worker.pool}")]
    if not note.is_file():
        return []
    return [row("worker", "note", "not running: scheduled runs wait", _serve(workspace))]


def _serve(workspace: Workspace) -> str:
    return f"tiebreak --workspace {shlex.quote(str(workspace.root))} serve"


def _workers(api: str, workspace: Workspace, training_pool: str) -> list[Row]:
    """A row per pool that has deployments: its workers that said something lately."""
    found = ask(f"{api}/deployments/filter", {}, _password()).body
    deployed = [str(one.get("work_pool_name")) for one in found if one.get("work_pool_name")] if found else []
    where = {training_pool: ", on the machine that trains"}
    return [
        _worker(api, pool, deployed.count(pool), f"{_serve(workspace)} --pool {shlex.quote(pool)}{where.get(pool, '')}")
        for pool in sorted(set(deployed))
    ]


def _worker(api: str, pool: str, n: int, mend: str) -> Row:
    said = ask(f"{api}/work_pools/{quote(pool)}/workers/filter", {}, _password()).body or []
    online = [str(one.get("name")) for one in said if one.get("status") == "ONLINE"]
    seen = ", ".join(online) if online else f"none; deployments that wait for one: {n}"
    return judged(f"worker of pool {pool}", bool(online), seen, mend)


def _password() -> dict[str, str]:
    """What a Prefect server that asks for a password is given: as Prefect's own clients do."""
    said = os.environ.get("PREFECT_API_AUTH_STRING", "")
    return {"authorization": f"Basic {base64.b64encode(said.encode()).decode()}"} if said else {}


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None


def _ahead(date: str | None) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() - time.time() if date else None
    except (ValueError, TypeError):
        return None
