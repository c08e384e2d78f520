"""Readers: they see what was published, whole, from anywhere, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest
from small_rows import votes, world

from schemas.errors import InputError
from warehouse.publish import read_manifest
from warehouse.reader import Reader
from warehouse.store import Store


@pytest.mark.service
def test_a_reader_sees_the_last_publish_while_a_writer_goes_on(store: Store) -> None:
    frames = world()
    with store.write("test") as writer:
        writer.append(frames)
        writer.publish()
        writer.append({"votes": votes(frames["pairs"], "ann")})
        with Reader(store.workspace.root) as reader:
            assert reader.sql("SELECT count(*) AS n FROM votes")["n"].item() == 0
            assert reader.sql("SELECT text FROM texts WHERE text = 'good 1'")["text"].to_list() == ["good 1"]
        writer.publish()
    with Reader(store.workspace.root) as reader:
        assert reader.sql("SELECT count(*) AS n FROM votes")["n"].item() == 3


@pytest.mark.service
def test_many_small_publishes_become_one_file_and_lose_no_row(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warehouse.publish.MAX_FILES", 3)
    frames = world(5)
    with store.write("test") as writer:
        writer.append(frames)
        for row in range(5):
            writer.append({"votes": votes(frames["pairs"][row : row + 1], "ann")})
            writer.publish()
    files = read_manifest(store.workspace)["tables"]["votes"]
    assert len(files) <= 3
    with Reader(store.workspace.root) as reader:
        assert reader.sql("SELECT count(DISTINCT vote_id) AS n FROM votes")["n"].item() == 5


@pytest.mark.service
def test_the_catalog_file_answers_any_tool_that_opens_duckdb(store: Store) -> None:
    with store.write("test") as writer:
        writer.append(world())
        writer.publish()
    connection = duckdb.connect(str(store.workspace.published / "catalog.duckdb"), read_only=True)
    assert connection.execute("SELECT count(*) FROM pairs").fetchone() == (3,)
    connection.close()


@pytest.mark.service
def test_a_moved_workspace_answers_as_before(store: Store, tmp_path: Path) -> None:
    with store.write("test") as writer:
        writer.append(world())
        writer.publish()
    moved = tmp_path / "else where" / "it's here"
    moved.parent.mkdir()
    shutil.move(store.workspace.root, moved)
    with Reader(moved) as reader:
        assert reader.sql("SELECT count(*) AS n FROM texts")["n"].item() == 9


@pytest.mark.slow
@pytest.mark.parametrize("query", [
    "SELECT 1; SELECT 2",
    "CREATE TABLE t (x INTEGER)",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO 'out.parquet'",
    "SELECT * FROM read_text('/etc/hostname')",
    "COPY (SELECT 1) TO '/tmp/out.csv'",
    "ATTACH '/tmp/other.duckdb'",
    "SET enable_external_access = true",
    "INSTALL httpfs",
])
def test_sql_from_a_user_reaches_nothing_but_the_published_files(migrated: Path, query: str) -> None:
    with Reader(migrated) as reader, pytest.raises(InputError):
        reader.sql(query)


@pytest.mark.slow
def test_a_wrong_query_is_an_error_with_the_next_step(migrated: Path) -> None:
    with Reader(migrated) as reader, pytest.raises(InputError, match="SHOW TABLES"):
        reader.sql("SELECT nothing FROM nowhere")


@pytest.mark.service
def test_sql_from_a_user_overwrites_no_shard_of_texts(store: Store) -> None:
    with store.write("test") as writer:
        writer.append(world())
        writer.publish()
    shard = next(store.workspace.texts.glob("*.parquet"))
    before = shard.read_bytes()
    with Reader(store.workspace.root) as reader:
        for query in (f"COPY (SELECT 1 AS x) TO '{shard}'", f"EXPLAIN ANALYZE COPY (SELECT 1 AS x) TO '{shard}'"):
            with pytest.raises(InputError):
                reader.sql(query)
        assert reader.sql("SHOW TABLES").height > 30
        assert reader.sql("DESCRIBE votes").height > 10
    assert shard.read_bytes() == before
