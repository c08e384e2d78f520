"""Garbage: what nothing refers to goes, once; what a restore, a verify or a process needs stays."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import polars as pl
import pytest
from command_line import Tiebreak, in_process
from small_rows import NOW, labels
from small_versions import release, released

from flows.exporting import write_training_folder
from flows.sweeping import TORN, collect_garbage
from flows.verifying import verify_version
from schemas.ids import content_id
from schemas.tables import MODELS, ROUNDS
from warehouse.lock import writer_lock
from warehouse.reader import Reader
from warehouse.soundness import published_faults
from warehouse.store import Store

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def once(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of `d`, a training folder and a model of each, the first model recorded."""
    root = tmp_path_factory.mktemp("once") / "ws"
    shutil.copytree(migrated, root)
    store = Store(root)
    frames = released(store)
    row = {"model": "d-1-00000001", "kind": "linear", "family": "f", "dataset": "d", "trained_on": 1, "uri":
           "models/d-1-00000001", "sha256": "0", "config": "{}", "n_pairs": 4, "trained_at": NOW}
    with store.write("test") as writer:
        release(writer, labels(frames["pairs"], p_a=0.8), 2)
        release(writer, labels(frames["pairs"], p_a=0.7), 3)
        writer.append({"models": MODELS.complete(pl.DataFrame([row]))})
        writer.publish()
        members = writer.query("version_members", dataset="d", n=3)
    for n in (0, 1, 2, 3):
        write_training_folder(store.workspace, "d", n, members)
    for name in ("models/d-1-00000001", "models/d-2-00000002", "models/d-3-00000003", "models/mine",
                 "orders/d-2-00000004", "orders/d-3-00000005"):
        (root / name).mkdir(parents=True)
        (root / name / "file").write_bytes(b"x" * 100)
    return root


@pytest.fixture
def used(once: Path, tmp_path: Path) -> Store:
    shutil.copytree(once, tmp_path / "ws")
    return Store(tmp_path / "ws", lock_wait=0.2)


def old(path: Path, seconds: float) -> Path:
    """A file that nobody has touched for so long."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * 7)
    os.utime(path, (time.time() - seconds,) * 2)
    return path


def swept(store: Store) -> dict[object, object]:
    """What went: kind to number."""
    return {row["what"]: row["n"] for row in collect_garbage(store.workspace.root, is_dry_run=False)}


def files(root: Path) -> set[str]:
    return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}


def test_what_was_made_for_past_versions_goes_and_what_is_recorded_or_newest_stays(used: Store) -> None:
    root = used.workspace.root
    before = files(root)
    assert swept(used) == {"training folders of past versions": 2, "models and orders of past versions": 2, "total": 4}
    assert before - files(root) == {"exports/d@0/train/train.parquet", "exports/d@2/train/train.parquet",
                                    "models/d-2-00000002/file", "orders/d-2-00000004/file"}
    assert verify_version(root, "d", 2, is_recomputed=False)["stored"] == "equal"


def test_a_second_time_finds_nothing(used: Store) -> None:
    swept(used)
    before = files(used.workspace.root)
    assert swept(used) == {"total": 0}
    assert files(used.workspace.root) == before


def test_a_dry_run_says_the_same_and_does_nothing(used: Store) -> None:
    before = files(used.workspace.root)
    said = collect_garbage(used.workspace.root, is_dry_run=True)
    assert files(used.workspace.root) == before
    done = collect_garbage(used.workspace.root, is_dry_run=False)
    assert [row["state"] for row in said] == ["would go"] * 3
    assert [(r["what"], r["n"], r["bytes"]) for r in said] == [(r["what"], r["n"], r["bytes"]) for r in done]
    assert {r["what"]: r["bytes"] for r in said}["models and orders of past versions"] == 200


def test_an_order_that_is_being_carried_out_stays(used: Store) -> None:
    with writer_lock(used.workspace.orders / "d-2-00000004" / "trainer.lock", "train"):
        assert swept(used)["models and orders of past versions"] == 1
    assert swept(used)["models and orders of past versions"] == 1


TRL = '{"dataset":"d","training":{"engine":"trl"}}'


def waiting(store: Store, name: str, trained: bool) -> Path:
    """Version 2 as one whose round waits for its language model, and an order of it."""
    with store.write("test") as writer:
        row = {"round_id": content_id("r"), "dataset": "d", "n": 2, "recipe_fingerprint": content_id("f"),
               "recipe": TRL, "as_of": 9, "budget_votes": 0, "opened_at": NOW}
        writer.append({"rounds": ROUNDS.complete(pl.DataFrame([row]))})
        writer._connection.execute("UPDATE versions SET recipe = $r, round_id = $i::UUID WHERE n = 2",
                                   {"r": TRL, "i": row["round_id"]})
    folder = store.workspace.orders / name
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "weights").write_bytes(b"hours of work")
    if trained:
        (folder / "outcome.json").write_text("{}")
    return folder


@pytest.mark.parametrize("trained", [True, False])
def test_what_was_trained_for_a_past_version_and_not_taken_in_yet_stays(used: Store, trained: bool) -> None:
    folder = waiting(used, "d-2-0000000a", trained)
    swept(used)
    assert folder.exists() == trained


def test_weights_of_a_recorded_language_model_stay_where_its_row_says(used: Store) -> None:
    folder = used.workspace.orders / "d-2-0000000b" / "model"
    folder.mkdir(parents=True)
    row = {"model": "d-2-0000000b", "kind": "trl", "family": "f", "base": "b", "dataset": "d", "trained_on": 2, "uri":
           "orders/d-2-0000000b/model", "sha256": "0", "config": "{}", "n_pairs": 4, "trained_at": NOW}
    with used.write("test") as writer:
        writer.append({"models": MODELS.complete(pl.DataFrame([row]))})
    swept(used)
    assert folder.is_dir()


def test_an_export_that_took_the_name_of_a_past_training_folder_stays(used: Store) -> None:
    swept(used)
    split = used.workspace.exports / "d@2" / "train"
    split.mkdir(parents=True)
    (split / "data-00000-of-00001.arrow").write_bytes(b"mine")
    swept(used)
    assert [path.name for path in split.iterdir()] == ["data-00000-of-00001.arrow"]


def tear(store: Store, what: str) -> None:
    (lost,) = (store.workspace.published / "votes").glob("*.parquet")
    if what == "file":
        lost.write_bytes(lost.read_bytes()[:99])
    elif what == "manifest":
        (store.workspace.published / "manifest.json").write_text("{")
    else:
        (store.workspace.published / what).unlink()


@pytest.mark.parametrize("what", ["file", "manifest", "manifest.json", "catalog.duckdb"])
def test_what_is_published_and_torn_is_published_again(used: Store, what: str) -> None:
    tear(used, what)
    said = collect_garbage(used.workspace.root, is_dry_run=True)
    assert (TORN, 1) in [(row["what"], row["n"]) for row in said]
    assert published_faults(used.workspace)
    assert [(r["what"], r["n"]) for r in collect_garbage(used.workspace.root, is_dry_run=False)] == [
        (r["what"], r["n"]) for r in said]
    assert published_faults(used.workspace) == []
    with Reader(used.workspace.root) as reader:
        assert reader.sql("SELECT count(*) AS n FROM votes")["n"].item() == 4
    assert swept(used) == {"total": 0}


def test_what_killed_writers_left_goes_and_what_may_be_at_work_stays(used: Store) -> None:
    root = used.workspace.root
    gone = [
        old(root / "published" / "votes" / "000-x.parquet", 0), old(root / "published" / "votes" / "000-y.tmp", 0),
        old(root / "published" / ".catalog.1.tmp", 0), old(root / "texts" / "orphan.parquet", 0),
        old(root / "texts" / ".x.parquet.tmp", 0), old(root / "inbox" / ".votes-1.parquet.tmp", 7200),
        old(root / ".recipe.toml.1.tmp", 7200), old(root / "models" / ".m.unfinished-1" / "a", 2 * 86400),
        old(root / "exports" / ".out.part" / "a", 2 * 86400),
    ]
    for folder in ("models/.m.unfinished-1", "exports/.out.part"):
        os.utime(root / folder, (time.time() - 2 * 86400,) * 2)
    kept = [old(root / "inbox" / ".votes-2.parquet.tmp", 60), old(root / ".recipe.toml.2.tmp", 60),
            old(root / "models" / ".m.unfinished-2" / "a", 60), old(root / "exports" / "mine" / "train.parquet", 9e9)]
    swept(used)
    assert [path for path in gone if path.exists()] == []
    assert [path for path in kept if not path.exists()] == []
    with Reader(root) as reader:
        assert reader.sql("SELECT count(*) AS n FROM preferences")["n"].item() == 4


def test_files_of_an_earlier_manifest_stay_while_a_reader_may_hold_them(
    used: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warehouse.publish.MAX_FILES", 1)
    with Reader(used.workspace.root) as reader:
        with used.write("test") as writer:
            release(writer, labels(writer.query("scope_pairs", sources=[]), p_a=0.6), 4)
            writer.publish()
        assert "published files that no reader needs" not in swept(used)
        assert reader.sql("SELECT count(*) AS n FROM labels")["n"].item() == 12
    monkeypatch.setattr("warehouse.publish.KEEP_SECONDS", 0.0)
    assert swept(used)["published files that no reader needs"]
    with Reader(used.workspace.root) as reader:
        assert reader.sql("SELECT count(*) AS n FROM labels")["n"].item() == 16


def test_the_command_says_how_much(
    used: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiebreak: Tiebreak = in_process(capsys, monkeypatch)
    said = tiebreak(used, "gc", "--dry-run")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[-1].split()[0] == "total"
    assert [row["what"] for row in tiebreak(used, "gc", "--json").json][-1] == "total"  # type: ignore[attr-defined]
