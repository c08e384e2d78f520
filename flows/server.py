"""One Prefect server and one worker per workspace: started once, kept, shown by `status`, stopped by `serve --stop`.

PREFECT_API_URL, when set, wins: then nothing is started here.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import WorkspaceError
from warehouse.lock import writer_lock
from warehouse.workspace import Workspace, replace_text

START_SECONDS, STOP_SECONDS = 120.0, 10.0
LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"
FIRM = {
    # In memory, the default, leases die with a server: every slot that was taken then stays taken for good.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    # The pages ask 127.0.0.1:4200 otherwise, whatever the port; relative, they also work through a tunnel.
    "PREFECT_SERVER_UI_API_URL": "/api",
}
"""how our servers differ from Prefect's default; the environment may say otherwise"""
QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_CLI_PROMPT": "false",
    # A worker or server started in a folder that has its own `flows/` must not import that one.
    "PYTHONSAFEPATH": "1",
}


@dataclass(frozen=True)
class Server:
    """A running server: its process and where it listens."""

    pid: int
    port: int
    host: str = LOOPBACK

    @property
    def api_url(self) -> str:
        """What PREFECT_API_URL must say on this machine."""
        return f"http://{LOOPBACK if self.host == EVERYWHERE else self.host}:{self.port}/api"


@dataclass(frozen=True)
class Worker:
    """A process worker: its process, the pool whose runs it takes, and the server it asks."""

    pid: int
    pool: str
    api_url: str


def point_prefect_at(workspace: Workspace) -> str:
    """Make this process use the workspace's server, started if need be; returns its address.

    Must run before prefect is imported. Raises WorkspaceError when the server does not come up.
    """
    os.environ.update({**QUIET, **{k: v for k, v in os.environ.items() if k in QUIET}})
    given = os.environ.get("PREFECT_API_URL")
    if given:
        return given
    os.environ.setdefault("PREFECT_HOME", str(workspace.server.resolve()))
    url = ensure_server(workspace).api_url
    os.environ["PREFECT_API_URL"] = url
    return url


def ensure_server(workspace: Workspace) -> Server:
    """The workspace's server, started when none answers. Two callers at once start one."""
    workspace.server.mkdir(parents=True, exist_ok=True)
    with writer_lock(workspace.server / "start.lock", "server start", wait=START_SECONDS):
        server = _noted(workspace)
        if server is None or not _is_ours(server):
            server = _start(workspace)
        _await_health(workspace, server)
        return server


def running_server(workspace: Workspace) -> Server | None:
    """The workspace's server if it answers."""
    server = _noted(workspace)
    return server if server is not None and _is_ours(server) and _is_healthy(server) else None


def noted_server(workspace: Workspace) -> Server | None:
    """The workspace's server if its process is there, whether or not it has time to answer."""
    server = _noted(workspace)
    return server if server is not None and _is_ours(server) else None


def running_worker(workspace: Workspace) -> Worker | None:
    """The workspace's worker, if it is there."""
    try:
        note = json.loads(worker_note(workspace).read_text())
        worker = Worker(int(note["pid"]), str(note["pool"]), str(note["api_url"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return worker if is_running_as(worker.pid, "prefect", "worker", worker.pool) else None


def stop_server(workspace: Workspace) -> bool:
    """Stop the workspace's server, SIGKILL after ten seconds; False when none was running.

    Its note stays: the next server takes the same port, so an address that was given away stays true.
    """
    server = _noted(workspace)
    if server is None or not _is_ours(server):
        return False
    stop_group(server.pid)
    return True


def stop_group(pid: int) -> None:
    """End a process that leads a group, and the group: SIGTERM, SIGKILL after ten seconds to what is left of it."""
    for sign, patience in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS / 2)):
        deadline = time.monotonic() + patience
        with suppress(ProcessLookupError):
            os.killpg(pid, sign)
            # A leader that has ended may have left others behind, a round in the middle of a call for one.
            while not (_is_gone(pid, 0.0) and not _members(pid)) and time.monotonic() < deadline:
                time.sleep(0.1)


def start_detached(command: list[str], environment: dict[str, str], log: Path) -> int:
    """Start a process that outlives this one, as the leader of its group; its pid."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True,
            cwd=log.parent,
        )
    return process.pid


def is_running_as(pid: int, *words: str) -> bool:
    """Whether a process is there under these words, and no stranger who was given its number."""
    try:
        said = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return {word.encode() for word in words} <= set(said)


def without_user(url: str) -> str:
    """The address without a user's name and password."""
    return re.sub(r"//[^/@]*@", "//", url)


def worker_note(workspace: Workspace) -> Path:
    """Where the worker's process is noted."""
    return workspace.server / "worker.json"


def _start(workspace: Workspace) -> Server:
    host, port = os.environ.get("PREFECT_SERVER_API_HOST", LOOPBACK), _port(workspace)
    environment = {**FIRM, **os.environ, **QUIET, "PREFECT_HOME": str(workspace.server.resolve())}
    environment.pop("PREFECT_API_URL", None)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", host, "--port", str(port)]
    pid = start_detached(command, environment, workspace.server / "server.log")
    # Noted before it is up: a caller killed meanwhile leaves a server that the next one finds.
    replace_text(_note(workspace), json.dumps({"pid": pid, "port": port, "host": host}) + "\n")
    return Server(pid, port, host)


def _noted(workspace: Workspace) -> Server | None:
    try:
        note = json.loads(_note(workspace).read_text())
        return Server(int(note["pid"]), int(note["port"]), str(note.get("host", LOOPBACK)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _is_ours(server: Server) -> bool:
    return is_running_as(server.pid, "prefect", "server", str(server.port))


def _await_health(workspace: Workspace, server: Server) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _is_healthy(server):
        if _is_gone(server.pid, 0.0) or time.monotonic() > deadline:
            raise WorkspaceError(
                "Prefect's server did not come up",
                expected=f"an answer on port {server.port} within {START_SECONDS:.0f} s",
                next=f"read {workspace.server / 'server.log'}",
            )
        time.sleep(0.2)


def _is_healthy(server: Server) -> bool:
    try:
        with urllib.request.urlopen(f"{server.api_url}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def _is_gone(pid: int, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while True:
        try:
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                return True
        except ChildProcessError:
            if not Path(f"/proc/{pid}").exists():
                return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.1)


def _members(leader: int) -> list[int]:
    """Processes of a group that run; those that have ended and wait to be reaped do not."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):  # gone meanwhile
            state, _, group = path.read_text(errors="replace").rpartition(")")[2].split()[:3]
            if int(group) == leader and state != "Z":
                found.append(int(path.parent.name))
    return found


def _port(workspace: Workspace) -> int:
    """PREFECT_SERVER_API_PORT, else the last server's where it is free, else a free one."""
    said = os.environ.get("PREFECT_SERVER_API_PORT", "")
    if said.isdigit():
        return int(said)
    last = _noted(workspace)
    for port in (last.port if last else 0, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: a closed connection lingers
            probe.bind((LOOPBACK, port))
            return int(probe.getsockname()[1])
    raise WorkspaceError("no free port", expected="one for Prefect's server", next="set PREFECT_SERVER_API_PORT")


def _note(workspace: Workspace) -> Path:
    return workspace.server / "server.json"
