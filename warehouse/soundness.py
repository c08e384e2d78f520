"""Whether what lies in a workspace can be read: looks that change nothing, for a process that only asks."""

from __future__ import annotations

import json
import os
from pathlib import Path

import duckdb

from schemas.tables import TABLES
from warehouse.lock import try_lock
from warehouse.publish import read_manifest
from warehouse.statements import names
from warehouse.workspace import Workspace

LARGEST_CALLS = 16 * 2**20
"""bytes of a file of calls that are looked at; what is behind them the writer reads"""


def database_fault(workspace: Workspace) -> str | None:
    """Why the database cannot be read; None when it can, when there is none yet, or while a writer has it.

    Opened read-only under the writer's lock, on a descriptor that is closed at once: DuckDB refuses a
    reader beside a writer. A write-ahead log is replayed in memory and stays as it is.
    """
    if not workspace.database.is_file():
        return None
    if not workspace.lock.is_file():
        return _fault(workspace)
    descriptor = os.open(workspace.lock, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _fault(workspace) if try_lock(descriptor) else None
    finally:
        os.close(descriptor)


def published_faults(workspace: Workspace) -> list[str]:
    """Published files that readers need and that are not there, or cut off; manifest and catalog too."""
    try:
        manifest = read_manifest(workspace)
        named = [workspace.root / held["file"] for files in manifest["tables"].values() for held in files]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ["manifest.json cannot be read"]
    is_there = any(workspace.published.glob("*/*.parquet"))
    needed = [workspace.published / name for name in ("manifest.json", "catalog.duckdb")] if is_there else []
    gone = [f"{path.name} is gone" for path in needed if not path.is_file()]
    faults = ((path.relative_to(workspace.root), _parquet_fault(path)) for path in named)
    return gone + [f"{path} {fault}" for path, fault in faults if fault]


def text_faults(workspace: Workspace) -> list[str]:
    """Shards of texts that the manifest names and that are not there, or cut off. Nothing else holds their texts."""
    try:
        paths = [workspace.texts / shard for shard in read_manifest(workspace)["shards"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [f"texts/{path.name} {fault}" for path in paths if (fault := _parquet_fault(path))]


def inbox_faults(workspace: Workspace) -> list[str]:
    """Files of the inbox at which a writer would stop."""
    calls = ((path, _calls_fault(path)) for path in sorted(workspace.inbox.glob("calls-*.jsonl")))
    segments = ((path, _segment_fault(path)) for path in sorted(workspace.inbox.glob("[!.]*.parquet")))
    return [f"inbox/{path.name} {fault}" for path, fault in (*calls, *segments) if fault]


def _fault(workspace: Workspace) -> str | None:
    try:
        connection = duckdb.connect(str(workspace.database), read_only=True)
    except duckdb.Error as error:
        return _first_line(error)
    try:
        applied = {str(row[0]) for row in connection.execute("SELECT name FROM migrations").fetchall()}
        for table in (name for name in TABLES if name != "texts"):
            connection.execute(f"SELECT count(*) FROM {table}")
    except duckdb.Error as error:
        return _first_line(error)
    finally:
        connection.close()
    newer = sorted(applied - set(names("migrations")))
    return f"written by a newer tiebreak ({newer[0]})" if newer else None


def _first_line(error: duckdb.Error) -> str:
    """DuckDB's words, without where the file lies."""
    return str(error).strip().splitlines()[0].split('"')[0][:160]


def _parquet_fault(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(-4, os.SEEK_END)
            return "" if file.read() == b"PAR1" else "is cut off"
    except FileNotFoundError:
        return "is gone"
    except OSError:
        return "cannot be read"


def _segment_fault(path: Path) -> str:
    table = path.name.split("-")[0]
    return _parquet_fault(path) if table in TABLES else f"belongs to no table {table!r}"


def _calls_fault(path: Path) -> str:
    with path.open("rb") as file:
        raw = file.read(LARGEST_CALLS)
    for n, line in enumerate(raw[: raw.rfind(b"\n") + 1].splitlines(), 1):
        try:
            json.loads(line)
        except ValueError:
            return f"line {n} is no JSON"
    return ""
