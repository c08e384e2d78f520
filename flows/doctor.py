"""Doctor: what is wrong with this installation or workspace, and the command that mends it."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

from flows.server import running_server
from flows.settings import secret, serving_settings
from schemas.errors import RecipeError, WorkspaceError
from schemas.settings import Endpoint
from warehouse.lock import holder
from warehouse.workspace import Workspace

Row = dict[str, object]

# Versions outside these were seen to break (docs/design/pins.md).
PINS = {
    "prefect": ("3.8.8", "3.8.8"),
    "fastapi": ("0.139", "0.150.999"),
    "sqlalchemy": ("2.0", "2.0.999"),
    "duckdb": ("2.0.0", "2.0.999"),
    "polars": ("2.1.0", "2.999"),
}
LEAST_FREE_GIB = 1.0


def examine(root: Path) -> list[Row]:
    """One row per check: check, state (ok, note, fault), seen, mend."""
    rows = [_python(), *(_pin(name, low, high) for name, (low, high) in PINS.items()), _threads()]
    return [*rows, *_workspace(root)]


def _row(check: str, is_ok: bool, seen: str, mend: str, *, worst: str = "fault") -> Row:
    return {"check": check, "state": "ok" if is_ok else worst, "seen": seen, "mend": "" if is_ok else mend}


def _python() -> Row:
    seen = ".".join(str(part) for part in sys.version_info[:3])
    return _row("python", sys.version_info >= (3, 11), seen, "install Python 3.11 or newer")


def _pin(name: str, low: str, high: str) -> Row:
    try:
        seen = version(name)
    except PackageNotFoundError:
        return _row(name, False, "not installed", "pip install -c constraints.txt tiebreak")
    is_ok = _numbers(low) <= _numbers(seen) <= _numbers(high)
    return _row(name, is_ok, seen, f"pip install '{name}>={low},<={high}'")


def _threads() -> Row:
    seen = os.environ.get("OMP_NUM_THREADS")
    mend = "export OMP_NUM_THREADS=1 for equal fingerprints everywhere"
    return _row("BLAS threads", seen == "1", seen or "not set", mend, worst="note")


def _workspace(root: Path) -> list[Row]:
    workspace = Workspace(root)
    if not (root / "workspace.json").is_file():
        return [_row("workspace", False, f"none in {root}", f"tiebreak --workspace {root} init", worst="note")]
    try:
        workspace.require()
    except WorkspaceError as error:
        return [_row("workspace", False, error.seen, error.next)]
    free = shutil.disk_usage(root).free / 2**30
    server, held = running_server(workspace), holder(workspace.lock)
    return [
        _row("workspace", os.access(root, os.W_OK), str(root), f"make {root} writable"),
        _row("disk", free >= LEAST_FREE_GIB, f"{free:.1f} GiB free", "free some space"),
        _row("writer.lock", held is None, held or "free", "wait for that process, or stop it", worst="note"),
        _row("prefect server", server is not None, server.api_url if server else "not running",
             "tiebreak serve", worst="note"),
        *_endpoints(workspace),
    ]


def _endpoints(workspace: Workspace) -> list[Row]:
    """One row per endpoint of the settings, asked for its models; one row when the settings cannot be read."""
    try:
        settings = serving_settings(workspace)
    except RecipeError as error:
        return [_row("settings", False, error.seen, error.next)]
    return [_endpoint(endpoint, settings.connect_timeout_s) for endpoint in settings.endpoints]


def _endpoint(endpoint: Endpoint, timeout_s: float) -> Row:
    from curate.adapters.vllm.looking import look_at

    name = f"endpoint {urlsplit(endpoint.url).netloc}"
    try:
        look = look_at(endpoint, secret(endpoint.key) if endpoint.key else "", timeout_s)
    except RecipeError as error:
        return _row(name, False, error.seen, error.next)
    return _row(name, not look.mend, look.seen, look.mend)


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(".") if part.isdigit()]
