"""Publishing: readers get Parquet, a manifest and a catalog of views, and never meet the writer.

Each publish adds one Parquet file per table that grew and replaces the manifest; a table whose
files became many is rewritten as one. Files that were replaced stay for ten minutes, so a reader
that opened an earlier manifest still finds them.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from functools import cache
from pathlib import Path
from typing import TypedDict

import duckdb

from schemas.tables import TABLES
from warehouse.shards import shard_names
from warehouse.statements import names, statement
from warehouse.workspace import Workspace, replace_text, sync

MAX_FILES = 16
KEEP_SECONDS = 600.0
"""how long a replaced file stays for readers that opened an earlier manifest"""


class PublishedFile(TypedDict):
    """One Parquet file of a table."""

    file: str
    rows: int


class Manifest(TypedDict):
    """What is published, with file names relative to the workspace."""

    tables: dict[str, list[PublishedFile]]
    shards: list[str]
    retired: dict[str, float]
    """files of earlier manifests and when they left; kept a while for readers that opened them"""
    last_seq: int
    published_at: float


def publish(connection: duckdb.DuckDBPyConnection, workspace: Workspace, *, is_anew: bool = False) -> None:
    """Write what is new, replace the manifest and the catalog, drop files nobody can be reading.

    With `is_anew` all is new and nothing that was published before stays, also for those who read it now.
    """
    before = _nothing() if is_anew else read_manifest(workspace)
    tables = {name: _files(connection, workspace, name, before["tables"].get(name, [])) for name in _stored()}
    seq = connection.execute("SELECT coalesce(max(seq), 0) FROM votes").fetchone()
    manifest = Manifest(
        tables=tables, shards=shard_names(connection), retired=_retired(before, tables),
        last_seq=int(seq[0]) if seq else 0, published_at=time.time(),
    )
    replace_text(workspace.published / "manifest.json", json.dumps(manifest, indent=1) + "\n")
    _replace_catalog(workspace, manifest)
    for path in unknown_files(workspace, manifest):
        path.unlink(missing_ok=True)


def read_manifest(workspace: Workspace) -> Manifest:
    """The newest manifest; an empty one before the first publish."""
    path = workspace.published / "manifest.json"
    if not path.is_file():
        return _nothing()
    manifest: Manifest = json.loads(path.read_text(encoding="utf-8"))
    return manifest


def create_views(connection: duckdb.DuckDBPyConnection, workspace: Workspace, manifest: Manifest) -> None:
    """Every stored table as a view over its Parquet, then the public views of sql/views."""
    for name in _stored():
        connection.execute(f"CREATE VIEW {name} AS {_select(workspace, name, manifest['tables'].get(name, []))}")
    connection.execute(f"CREATE VIEW texts AS {_texts(workspace, manifest['shards'])}")
    for name in names("macros"):
        connection.execute(statement("macros", name).replace("TEMP MACRO", "MACRO"))
    for name in names("views"):
        connection.execute(f"CREATE VIEW {name[3:]} AS {statement('views', name)}")


def _nothing() -> Manifest:
    return Manifest(tables={}, shards=[], retired={}, last_seq=0, published_at=0.0)


def _stored() -> list[str]:
    return [name for name in TABLES if name != "texts"]


def _files(
    connection: duckdb.DuckDBPyConnection, workspace: Workspace, name: str, held: list[PublishedFile]
) -> list[PublishedFile]:
    row = connection.execute(f"SELECT count(*) FROM {name}").fetchone()
    total = int(row[0]) if row else 0
    start = sum(f["rows"] for f in held)
    if total == start:
        return held
    if len(held) >= MAX_FILES:
        held, start = [], 0
    return [*held, _copy(connection, workspace, name, start, total)]


def _copy(
    connection: duckdb.DuckDBPyConnection, workspace: Workspace, name: str, start: int, total: int
) -> PublishedFile:
    """Rows from `start` on, in insertion order. Insert-only tables keep it, so an offset is enough."""
    folder = workspace.published / name
    folder.mkdir(exist_ok=True)
    path = folder / f"{start:012d}-{uuid.uuid4().hex[:8]}.parquet"
    temporary = str(path.with_suffix(".tmp")).replace("'", "''")
    connection.execute(
        f"COPY (SELECT * FROM {name} LIMIT {total - start} OFFSET {start}) TO '{temporary}' "
        "(FORMAT parquet, COMPRESSION zstd, PARQUET_VERSION v2)"
    )
    sync(path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)
    return PublishedFile(file=f"published/{name}/{path.name}", rows=total - start)


def _select(workspace: Workspace, name: str, held: list[PublishedFile]) -> str:
    if not held:
        return _empty_select(name)
    files = ", ".join("'" + str(workspace.root.resolve() / f["file"]).replace("'", "''") + "'" for f in held)
    return f"SELECT * FROM read_parquet([{files}])"


def _empty_select(name: str) -> str:
    """SELECT of no rows with the columns that the migrations give `name`."""
    typed = ", ".join(f'NULL::{kind} AS "{column}"' for column, kind in _stored_columns()[name])
    return f"SELECT {typed} WHERE false"


@cache
def _stored_columns() -> dict[str, list[tuple[str, str]]]:
    connection = duckdb.connect()
    try:
        for migration in names("migrations"):
            connection.execute(statement("migrations", migration))
        described = {name: connection.execute(f"DESCRIBE {name}").fetchall() for name in _stored()}
    finally:
        connection.close()
    return {name: [(str(row[0]), str(row[1])) for row in rows] for name, rows in described.items()}


def _texts(workspace: Workspace, shards: list[str]) -> str:
    if not shards:
        return "SELECT NULL::UUID AS text_id, NULL::VARCHAR AS text WHERE false"
    files = ", ".join("'" + str(workspace.texts.resolve() / s).replace("'", "''") + "'" for s in shards)
    return f"SELECT text_id::UUID AS text_id, text FROM read_parquet([{files}])"


def _replace_catalog(workspace: Workspace, manifest: Manifest) -> None:
    temporary = workspace.published / f".catalog.{os.getpid()}.tmp"
    temporary.unlink(missing_ok=True)
    connection = duckdb.connect(str(temporary))
    try:
        create_views(connection, workspace, manifest)
    finally:
        connection.close()
    sync(temporary)
    temporary.replace(workspace.published / "catalog.duckdb")


def _retired(before: Manifest, tables: dict[str, list[PublishedFile]]) -> dict[str, float]:
    """Files that no manifest names any more, with the moment they left, as long as readers may hold them."""
    now, named = time.time(), {f["file"] for files in tables.values() for f in files}
    left = {f["file"]: now for files in before["tables"].values() for f in files if f["file"] not in named}
    return {file: at for file, at in {**left, **before["retired"]}.items() if now - at < KEEP_SECONDS}


def unknown_files(workspace: Workspace, manifest: Manifest) -> list[Path]:
    """Published files that neither the manifest names nor a reader of an earlier one can be reading."""
    held = {f["file"] for files in manifest["tables"].values() for f in files}
    keep = held | {file for file, at in manifest["retired"].items() if time.time() - at < KEEP_SECONDS}
    written = (p for p in workspace.published.glob("*/*") if p.suffix in (".parquet", ".tmp"))
    return sorted(path for path in written if _relative(workspace, path) not in keep)


def _relative(workspace: Workspace, path: Path) -> str:
    return str(path.relative_to(workspace.root))
