"""The store: the one place that opens the warehouse's DuckDB file, for one short transaction at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import polars as pl

from schemas.errors import CheckError
from schemas.tables import TABLES
from warehouse.erasure import Erasure, erase_rows, rebuild, renamed
from warehouse.inbox import Inbox, Waiting
from warehouse.lock import WAIT_SECONDS, writer_lock
from warehouse.publish import publish
from warehouse.shards import attach_texts, shard_names, store_texts
from warehouse.statements import names, statement
from warehouse.workspace import Workspace

# The file stays readable by DuckDB 1.5.
STORAGE_VERSION = "v1.5.0"


class Store:
    """A workspace's warehouse, seen by a process that may write."""

    def __init__(self, root: Path | str, *, lock_wait: float = WAIT_SECONDS) -> None:
        self.workspace = Workspace(Path(root))
        self._lock_wait = lock_wait

    @contextmanager
    def write(self, flow: str) -> Iterator[Writer]:
        """Hold writer.lock, open the database, absorb the inbox; closed on leaving.

        Raises LockHeldError when another process keeps the lock, WorkspaceError without a workspace.
        """
        with self.hold(flow), self.opened() as writer:
            yield writer

    @contextmanager
    def hold(self, flow: str) -> Iterator[None]:
        """Hold writer.lock with the database closed: what lies there stays as it is, and may be copied.

        Raises LockHeldError when another process keeps the lock, WorkspaceError without a workspace.
        """
        self.workspace.require()
        with writer_lock(self.workspace.lock, flow, wait=self._lock_wait):
            yield

    @contextmanager
    def opened(self) -> Iterator[Writer]:
        """The database, in a process that holds the lock; the inbox is absorbed."""
        connection = _open(self.workspace)
        try:
            writer = Writer(self.workspace, connection)
            writer.absorb()
            yield writer
        finally:
            connection.close()

    def rebuild(self) -> None:
        """Write the database anew, without what was erased from its rows; the lock is held and the database closed."""
        rebuild(self.workspace, STORAGE_VERSION)

    def inbox(self, worker: str) -> Inbox:
        """Where a worker acknowledges calls and leaves frames; needs no lock."""
        return Inbox(self.workspace.inbox, worker)


class Writer:
    """The open database, in the hands of the holder of writer.lock."""

    def __init__(self, workspace: Workspace, connection: duckdb.DuckDBPyConnection) -> None:
        self.workspace = workspace
        self._connection = connection

    def query(self, name: str, frames: Mapping[str, pl.DataFrame] | None = None, **params: object) -> pl.DataFrame:
        """Rows of `sql/queries/<name>.sql`; `frames` are visible to it as tables of those names."""
        return self._rows(statement("queries", name), frames or {}, params)

    def append(self, frames: Mapping[str, pl.DataFrame]) -> dict[str, int]:
        """Append frames in one transaction, only rows whose key is not there; returns rows new per table.

        Which source holds a prompt or pair is noted beside it, so order of arrival decides nothing. An erased voter
        who is named again keeps the name that stands for them.
        Raises ContractError before anything is written when a frame breaks its contract.
        """
        gone = self._rows("SELECT row_id, salt FROM tombstones WHERE what = 'voter'", {}, {})
        whole = {name: renamed(frame, name, gone) for name, frame in {**frames, **_memberships(frames)}.items()}
        checked = {name: TABLES[name].complete(frame) for name, frame in whole.items() if frame.height}
        self._connection.execute("BEGIN")
        try:
            added = {name: self._insert(name, checked[name]) for name in TABLES if name in checked}
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        if added.get("texts"):
            attach_texts(self._connection, self.workspace.texts)
        return added

    def absorb(self) -> dict[str, int]:
        """Take in what workers left in the inbox: commit first, delete after."""
        waiting = Waiting(self.workspace.inbox)
        if waiting.is_empty:
            return {}
        added = self.append(waiting.frames())
        waiting.delete()
        return added

    def publish(self, *, is_anew: bool = False) -> None:
        """Write what is new as Parquet and replace the catalog; then checkpoint. Readers see all of it or none.

        With `is_anew` every file is written again and none of the old ones stays.
        """
        publish(self._connection, self.workspace, is_anew=is_anew)
        self.checkpoint()

    def checkpoint(self) -> None:
        """Put everything into the database file itself: without its write-ahead log a copy lacks the last commits."""
        self._connection.execute("CHECKPOINT")

    def erase(self, erasure: Erasure) -> int:
        """Erase a text or a voter from shards and tables, and leave a tombstone; returns rows and texts changed."""
        n_rows = erase_rows(self._connection, self.workspace, erasure)
        attach_texts(self._connection, self.workspace.texts)
        return n_rows

    def shards(self) -> list[str]:
        """Names of the shards that hold the texts."""
        return shard_names(self._connection)

    def check(self) -> None:
        """Run every check of sql/checks. Raises CheckError naming the first with offending rows."""
        for name in names("checks"):
            offenders = self._rows(statement("checks", name), {}, {})
            if offenders.height:
                raise CheckError(f"check {name}: {offenders.height} rows, first {offenders.row(0)}", expected="none")

    def _insert(self, name: str, frame: pl.DataFrame) -> int:
        if name == "texts":
            return store_texts(self._connection, self.workspace.texts, frame)
        own = f"insert_{name}"
        sql = statement("queries", own) if own in names("queries") else _insert_statement(name)
        self._connection.register("incoming", frame.to_arrow())
        try:
            row = self._connection.execute(sql).fetchone()
        finally:
            with suppress(duckdb.Error):  # an aborted transaction refuses this too, and would hide why it aborted
                self._connection.unregister("incoming")
        return int(row[0]) if row else 0

    def _rows(self, sql: str, frames: Mapping[str, pl.DataFrame], params: Mapping[str, object]) -> pl.DataFrame:
        for name, frame in frames.items():
            self._connection.register(name, frame.to_arrow())
        try:
            rows: pl.DataFrame = self._connection.sql(sql, params=dict(params)).pl()
            return rows
        finally:
            for name in frames:
                self._connection.unregister(name)


def _open(workspace: Workspace) -> duckdb.DuckDBPyConnection:
    """A connection whose default database is the warehouse, migrated, with macros and texts. The lock is held."""
    connection = duckdb.connect()
    connection.execute("SET autoinstall_known_extensions = false; SET TimeZone = 'UTC'")
    path = str(workspace.database).replace("'", "''")
    connection.execute(f"ATTACH '{path}' AS warehouse (STORAGE_VERSION '{STORAGE_VERSION}')")
    connection.execute("USE warehouse")
    _migrate(connection)
    attach_texts(connection, workspace.texts)
    connection.execute("\n".join(statement("macros", name) for name in names("macros")))
    return connection


def _migrate(connection: duckdb.DuckDBPyConnection) -> None:
    has_any = connection.execute(statement("queries", "has_migrations")).fetchone()
    done = connection.execute("SELECT name FROM migrations").fetchall() if has_any and has_any[0] else []
    for name in names("migrations"):
        if (name,) in done:
            continue
        connection.execute("BEGIN")
        connection.execute(statement("migrations", name))
        connection.execute("INSERT INTO migrations VALUES ($name)", {"name": name})
        connection.execute("COMMIT")


def _memberships(frames: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Who holds a prompt or pair: kept for every source, also where the row itself is there already."""
    of = {"prompts": ("prompt_groups", ["prompt_id", "group_id", "near_id"]),
          "pairs": ("pair_sources", ["pair_id", "source"])}
    return {table: frames[name].select(columns).unique() for name, (table, columns) in of.items() if name in frames}


def _insert_statement(name: str) -> str:
    """INSERT of `incoming` rows whose key is new; names come from the contract, never from data."""
    table = TABLES[name]
    columns = ", ".join(f'"{c}"' for c in table.schema)
    same = " AND ".join(f'held."{k}" = incoming."{k}"' for k in table.key)
    return (
        f"INSERT INTO {name} ({columns}) SELECT {columns} FROM incoming "
        f"WHERE NOT EXISTS (SELECT 1 FROM {name} AS held WHERE {same})"
    )
