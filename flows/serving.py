"""The workspace's Prefect server and worker, started and stopped by command."""

from __future__ import annotations

from pathlib import Path

from flows.rounds import Say
from flows.server import ensure_server, stop_server
from schemas.errors import NotThereYetError
from warehouse.workspace import Workspace

Facts = dict[str, object]

def serve(root: Path, is_stop: bool) -> Facts:
    """Start or stop the workspace's Prefect server."""
    workspace = Workspace(root).require()
    if is_stop:
        return {"prefect server": "stopped" if stop_server(workspace) else "was not running"}
    return {"prefect server": ensure_server(workspace).api_url}


def work(root: Path, pool: str, say: Say) -> None:
    """Be a worker of `pool` in this process, until it is stopped."""
    raise NotThereYetError("`tiebreak serve --pool` is not there yet", next="tiebreak retrain")
