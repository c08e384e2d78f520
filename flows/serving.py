"""The workspace's Prefect server and worker, started and stopped by command, and found again by their notes."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from flows.deploying import host_pool
from flows.rounds import Say
from flows.server import (
    QUIET,
    Worker,
    point_prefect_at,
    running_server,
    running_worker,
    start_detached,
    stop_group,
    stop_server,
    without_user,
    worker_note,
)
from schemas.errors import RefusedError
from warehouse.lock import writer_lock
from warehouse.workspace import Workspace, replace_text

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

Facts = dict[str, object]
PATHS = ("TIEBREAK_SETTINGS", "TIEBREAK_SECRETS", "TIEBREAK_METER")
"""settings that name files: a run stands in a folder of its own, so they must not be relative"""


def serve(root: Path, is_stop: bool) -> Facts:
    """Start the workspace's Prefect server and its worker, each where it is not running, or stop both.

    With PREFECT_API_URL that server is asked and none is started.
    """
    workspace = Workspace(root).require()
    if is_stop:
        # The worker first: without its server it would try to reach one for minutes.
        stopped = {"worker": stop_worker(workspace), "prefect server": stop_server(workspace)}
        return {what: "stopped" if was_running else "was not running" for what, was_running in stopped.items()}
    url = point_prefect_at(workspace)
    worker = ensure_worker(workspace, url)
    return {"prefect server": without_user(url), "worker": f"pid {worker.pid}, pool {worker.pool}"}


def work(root: Path, pool: str, say: Say) -> None:
    """Be a worker of `pool` in this process, until it is stopped. It starts no server.

    Raises RefusedError where neither PREFECT_API_URL nor a server of the workspace on this machine says whom to ask.
    """
    workspace = Workspace(root).require()
    server = running_server(workspace)
    url = os.environ.get("PREFECT_API_URL") or (server.api_url if server else None)
    if url is None:
        raise RefusedError("no Prefect server on this machine", expected="the server that runs were deployed to",
                           next="export PREFECT_API_URL=http://HOST:PORT/api (`tiebreak status` says it over there)")
    say(f"worker of pool {pool}, for {without_user(url)}; Ctrl-C ends it")
    sys.stdout.flush()
    os.execve(sys.executable, _command(pool), _environment(workspace, url))


def ensure_worker(workspace: Workspace, api_url: str) -> Worker:
    """The workspace's worker; started when none is there, or one that asks another server. Two callers start one."""
    workspace.server.mkdir(parents=True, exist_ok=True)
    with writer_lock(workspace.server / "worker.lock", "worker start"):
        worker, wanted = running_worker(workspace), (host_pool(workspace), without_user(api_url))
        if worker is not None and (worker.pool, worker.api_url) == wanted:
            return worker
        stop_worker(workspace)
        give_up_the_dead(wanted[0])
        environment = {"PREFECT_HOME": str(workspace.server.resolve())} | _environment(workspace, api_url)
        worker = Worker(start_detached(_command(wanted[0]), environment, workspace.server / "worker.log"), *wanted)
        replace_text(worker_note(workspace), json.dumps(asdict(worker)) + "\n")
        return worker


def stop_worker(workspace: Workspace) -> bool:
    """Stop the worker and what it runs; a round that is cut off goes on in the next. False when none was running."""
    worker = running_worker(workspace)
    if worker is None:
        return False
    stop_group(worker.pid)
    return True


def give_up_the_dead(pool: str) -> None:
    """Mark runs of `pool` as crashed whose process is gone: a killed worker cannot, and they would hold their slot.

    Only where no worker of the pool is running, and all of them ran on this machine. A run that outlived its worker
    stays as it is.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
    from prefect.states import Crashed

    under_way = FlowRunFilter.model_validate({"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}})
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(
            flow_run_filter=under_way, work_pool_filter=WorkPoolFilter.model_validate({"name": {"any_": [pool]}}),
        )
        alive = _runs_with_a_process()
        for run in found:
            if run.id not in alive:
                client.set_flow_run_state(run.id, Crashed(message="its process was killed"), force=True)
                _give_up_tasks(client, run.id)


def _give_up_tasks(client: SyncPrefectClient, flow_run_id: UUID) -> None:
    """Its tasks too: else they show as running for good."""
    from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter
    from prefect.states import Crashed

    tasks = client.read_task_runs(
        flow_run_filter=FlowRunFilter.model_validate({"id": {"any_": [flow_run_id]}}),
        task_run_filter=TaskRunFilter.model_validate({"state": {"type": {"any_": ["PENDING", "RUNNING"]}}}),
    )
    for task in tasks:
        client.set_task_run_state(task.id, Crashed(message="its process was killed"), force=True)


def _runs_with_a_process() -> set[UUID]:
    """Flow runs that a process of this machine carries out: Prefect puts the run's id into its environment."""
    found: set[UUID] = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            said = re.findall(rb"PREFECT__FLOW_RUN_ID=([0-9a-f-]{36})", path.read_bytes())
        except OSError:  # another user's, or gone meanwhile
            continue
        found.update(UUID(one.decode()) for one in said)
    return found


def _command(pool: str) -> list[str]:
    named = ["--pool", pool, "--type", "process", "--name", f"tiebreak on {socket.gethostname()}"]
    return [sys.executable, "-m", "prefect", "worker", "start", *named, "--install-policy", "never"]


def _environment(workspace: Workspace, api_url: str) -> dict[str, str]:
    """What a worker and its runs are given: our Python first, files by whole paths, this machine's workspace."""
    here = {name: str(Path(os.environ[name]).resolve()) for name in PATHS if os.environ.get(name)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {
        **os.environ, **QUIET, **here, "PATH": path, "PREFECT_API_URL": api_url,
        "TIEBREAK_WORKSPACE": str(workspace.root.resolve()), "TIEBREAK_FROM": os.getcwd(),
    }

