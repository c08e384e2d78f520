"""The writer: appends by key, numbers densely, keeps its contract, holds the lock."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import duckdb
import polars as pl
import pytest
from small_rows import votes, world

from schemas.errors import CheckError, ContractError, LockHeldError, WorkspaceError
from schemas.tables import TABLES
from warehouse.lock import holder, writer_lock
from warehouse.statements import names, statement
from warehouse.store import Store

ASKED = {"criterion": "overall", "sources": []}
NOBODY = {"panel": pl.DataFrame(schema={"voter": pl.String, "instrument": pl.String})}


@pytest.mark.slow
def test_appending_the_same_rows_twice_appends_them_once(store: Store) -> None:
    frames = world()
    with store.write("test") as writer:
        first = writer.append(frames)
        second = writer.append(frames)
    memberships = {"prompt_groups": 3, "pair_sources": 3}
    assert first == {"texts": 9, "prompts": 3, "responses": 6, "pairs": 3, "voters": 2, **memberships}
    assert set(second.values()) == {0}


@pytest.mark.slow
def test_votes_are_numbered_densely_in_the_order_of_their_transactions(store: Store) -> None:
    frames = world()
    with store.write("test") as writer:
        writer.append({**frames, "votes": votes(frames["pairs"], "ann")})
        writer.append({"votes": pl.concat([votes(frames["pairs"], "ann"), votes(frames["pairs"], "judge")])})
        assert writer.query("last_seq").item() == 6
        writer.check()


@pytest.mark.slow
def test_a_frame_that_breaks_its_contract_leaves_nothing_of_its_transaction(store: Store) -> None:
    frames = world()
    with store.write("test") as writer:
        with pytest.raises(ContractError):
            writer.append({**frames, "votes": votes(frames["pairs"], "ann").with_columns(p_a=pl.lit(1.5))})
        assert writer.append(frames)["pairs"] == 3


@pytest.mark.slow
def test_a_write_that_fails_half_way_is_rolled_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = world()
    with store.write("test") as writer:
        monkeypatch.setattr("warehouse.store._insert_statement", lambda name: "INSERT INTO nowhere SELECT 1")
        with pytest.raises(duckdb.Error):
            writer.append({"pairs": frames["pairs"], "voters": frames["voters"]})
        assert writer.query("last_seq").item() == 0
        monkeypatch.undo()
        assert writer.append({"pairs": frames["pairs"]})["pairs"] == 3


@pytest.mark.slow
def test_edits_and_retractions_are_new_rows_and_the_past_stays_readable(store: Store) -> None:
    frames = world(1)
    said = votes(frames["pairs"], "ann")
    edit = votes(frames["pairs"], "ann", p_a=0.0, supersedes=said["vote_id"][0])
    gone = votes(frames["pairs"], "ann", status="retracted", supersedes=edit["vote_id"][0])
    with store.write("test") as writer:
        for frame in (said, edit, gone):
            writer.append({**frames, "votes": frame})
        as_of = {n: writer.query("votes_in_scope", NOBODY, as_of=n, **ASKED)["p_a"].to_list()
                 for n in (1, 2, 3)}
    assert as_of == {1: [1.0], 2: [0.0], 3: []}


@pytest.mark.slow
def test_a_recorded_vote_is_no_opinion_until_it_is_bought(store: Store) -> None:
    frames = world(1)
    recorded = votes(frames["pairs"], "ann", status="recorded")
    bought = votes(frames["pairs"], "ann", supersedes=recorded["vote_id"][0], cost_usd=0.25)
    with store.write("test") as writer:
        writer.append({**frames, "votes": recorded})
        assert writer.query("votes_in_scope", NOBODY, as_of=9, **ASKED).height == 0
        writer.append({"votes": bought})
        assert writer.query("votes_in_scope", NOBODY, as_of=9, **ASKED)["cost_usd"].to_list() == [0.25]
        assert writer.query("sold_votes")["vote_id"].to_list() == recorded["vote_id"].to_list()


@pytest.mark.slow
def test_every_migration_column_is_a_contract_column_and_the_other_way_round(store: Store) -> None:
    with store.write("test"):
        pass
    connection = duckdb.connect(str(store.workspace.database), read_only=True)
    for name, table in TABLES.items():
        if name == "texts":
            continue
        found = {row[0]: row[2] == "YES" for row in connection.execute(f"DESCRIBE {name}").fetchall()}
        renamed = {"pair_id": "pair_seq"} if name in ("labels", "version_bases") else {}
        expected = {renamed.get(c, c): column.is_nullable for c, column in table.columns.items()}
        assert found == expected, name
    connection.close()


@pytest.mark.slow
def test_every_check_of_the_house_finds_its_offender(store: Store) -> None:
    frames = world(1)
    stranger = votes(frames["pairs"], "nobody")
    with store.write("test") as writer:
        writer.append({**frames, "votes": stranger})
        with pytest.raises(CheckError, match="votes_of_nobody"):
            writer.check()


@pytest.mark.service
def test_a_second_writer_is_told_who_holds_the_lock(store: Store) -> None:
    with store.write("first"):
        assert "first" in (holder(store.workspace.lock) or "")
        with pytest.raises(LockHeldError, match=re.escape("(first)")), store.write("second"):
            pass
    assert holder(store.workspace.lock) is None


def test_who_holds_a_lock_can_be_asked_where_nothing_may_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(path: Path, flags: int, *mode: int) -> int:
        if flags & os.O_RDWR:
            raise OSError(errno.EROFS, "read-only file system")
        return opened(path, flags, *mode)

    opened, lock = os.open, tmp_path / "writer.lock"
    with writer_lock(lock, "label"):
        monkeypatch.setattr("warehouse.lock.os.open", read_only)
        assert "(label)" in (holder(lock) or "")
    assert holder(lock) is None


def test_a_lock_file_that_was_left_behind_stops_nobody(tmp_path: Path) -> None:
    left = tmp_path / "writer.lock"
    left.write_text('{"pid": 1, "host": "gone", "flow": "label"}')
    with writer_lock(left, "next", wait=0.1):
        assert "next" in left.read_text()


def test_no_workspace_is_an_error_that_names_the_next_command(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="init"), Store(tmp_path / "none").write("x"):
        pass


def test_a_workspace_of_a_newer_format_is_refused(store: Store) -> None:
    (store.workspace.root / "workspace.json").write_text('{"format": 99}')
    with pytest.raises(WorkspaceError, match="upgrade"), store.write("x"):
        pass


@pytest.mark.parametrize("folder", ["queries", "views", "checks", "macros"])
def test_every_statement_begins_with_its_grain(folder: str) -> None:
    for name in names(folder):
        assert re.match(r"-- one (row|number)", statement(folder, name)), name
