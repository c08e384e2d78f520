"""Doctor on a workspace whose files are broken one by one: each is found, and what is printed mends it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from flows import doctor_workspace
from flows.ingest import ingest
from flows.sweeping import collect_garbage
from warehouse.inbox import write_parquet
from warehouse.lock import writer_lock
from warehouse.reader import Reader
from warehouse.store import Store
from warehouse.workspace import Workspace

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
Seen = tuple[object, str]


def look(check: str, root: Path | Store) -> dict[str, object]:
    here = root.workspace.root if isinstance(root, Store) else root
    return {str(r["check"]): r for r in rows(here)}[check]


def rows(root: Path) -> list[dict[str, object]]:
    workspace = Workspace(root)
    looks = [*doctor_workspace.workspace_rows(workspace), doctor_workspace.recipe_of(workspace)[1]]
    return [*looks, *doctor_workspace.disks(root)]


def seen(check: str, root: Path | Store) -> Seen:
    found = look(check, root)
    return found["state"], str(found["seen"])


@pytest.fixture(scope="module")
def tour(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with rows: the tour, ingested and published."""
    root = tmp_path_factory.mktemp("tour") / "ws"
    shutil.copytree(migrated, root)
    ingest(Store(root), str(EXAMPLES / "tour"), is_recorded=True)
    return root


@pytest.fixture
def full(tour: Path, tmp_path: Path) -> Workspace:
    """A copy of it, to be broken."""
    return Workspace(Path(shutil.copytree(tour, tmp_path / "full")))


@pytest.mark.slow
@pytest.mark.parametrize("broken", [b"", b"not a database", None])
def test_a_damaged_database_is_a_fault_that_a_backup_mends(full: Workspace, broken: bytes | None) -> None:
    assert seen("database", full.root) == ("ok", "opens")
    raw = full.database.read_bytes()
    full.database.write_bytes(raw[:5000] if broken is None else broken)
    found = look("database", full.root)
    assert found["state"] == "fault"
    assert found["mend"] == f"tiebreak --workspace {full.root}-restored restore BACKUP"


def test_one_flipped_byte_in_the_database_s_header_is_found(full: Workspace) -> None:
    raw = bytearray(full.database.read_bytes())
    raw[4096 + 20] ^= 255
    full.database.write_bytes(raw)
    assert "checksum" in seen("database", full.root)[1]


@pytest.mark.slow
def test_a_database_of_a_newer_tiebreak_is_told_apart(store: Store) -> None:
    with store.write("test") as writer:
        writer._connection.execute("INSERT INTO migrations VALUES ('9999_from_the_future')")
    assert seen("database", store) == ("fault", "written by a newer tiebreak (9999_from_the_future)")


@pytest.mark.slow
def test_rows_in_the_write_ahead_log_are_no_damage_and_stay_there(full: Workspace, tmp_path: Path) -> None:
    copy = Workspace(tmp_path / "copy")
    with Store(full.root).write("test") as writer:  # not checkpointed: a copy of now has a log
        writer._connection.execute("INSERT INTO sources VALUES ('x', NULL, NULL, NULL, NULL)")
        shutil.copytree(full.root, copy.root)
    log = copy.root / "warehouse.duckdb.wal"
    before = log.read_bytes()
    assert seen("database", copy.root) == ("ok", "opens")
    assert log.read_bytes() == before


def test_while_a_writer_has_the_database_it_is_left_alone(full: Workspace) -> None:
    me = f"pid {os.getpid()} on {os.uname()[1]}"
    with Store(full.root).write("a long import"):
        assert seen("database", full.root)[0] == "ok"
        assert seen("writer.lock", full.root) == ("note", f"held by {me} (a long import)")


@pytest.mark.slow
def test_a_published_file_that_is_gone_can_be_published_anew(full: Workspace) -> None:
    (lost,) = (full.published / "votes").glob("*.parquet")
    lost.unlink()
    found = look("published", full.root)
    assert (found["state"], found["seen"]) == ("fault", f"published/votes/{lost.name} is gone")
    assert str(found["mend"]).startswith(f"tiebreak --workspace {full.root} gc")
    collect_garbage(full.root, is_dry_run=False)
    assert seen("published", full.root) == ("ok", "whole")
    with Reader(full.root) as reader:
        assert reader.sql("SELECT count(*) AS n FROM votes")["n"].item() == 384


@pytest.mark.parametrize("text", ["", "{", "[]", '{"tables": 7}'])
def test_a_damaged_manifest_is_a_fault(full: Workspace, text: str) -> None:
    (full.published / "manifest.json").write_text(text)
    assert seen("published", full.root) == ("fault", "manifest.json cannot be read")


def test_a_file_that_was_cut_off_is_found(full: Workspace) -> None:
    (path,) = (full.published / "votes").glob("*.parquet")
    os.truncate(path, path.stat().st_size // 2)
    assert seen("published", full.root) == ("fault", f"published/votes/{path.name} is cut off")


def test_lost_texts_only_a_backup_brings_back(full: Workspace) -> None:
    shards = sorted(full.texts.glob("*.parquet"))
    shards[0].unlink()
    found = look("published", full.root)
    assert (found["state"], found["seen"]) == ("fault", f"texts/{shards[0].name} is gone")
    assert "restore" in str(found["mend"])


@pytest.mark.slow
def test_a_held_lock_is_noted_with_its_holder_and_so_is_a_round_s(store: Store) -> None:
    with writer_lock(store.workspace.root / "round-helpful.lock", "round of helpful"):
        state, told = seen("round-helpful.lock", store)
    assert state == "note"
    assert told.endswith("(round of helpful)")
    assert "round-helpful.lock" not in {r["check"] for r in rows(store.workspace.root)}


@pytest.mark.service
def test_the_note_of_a_killed_holder_is_harmless_and_said_to_be(store: Store) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom warehouse.lock import writer_lock\n"
        "with writer_lock(Path(sys.argv[1]), 'a flow'):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(store.workspace.lock)], stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    assert seen("writer.lock", store) == ("note", f"held by pid {child.pid} on {os.uname()[1]} (a flow)")
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    state, told = seen("writer.lock", store)
    assert (state, told) == (
        "ok", f"free; the note of pid {child.pid} on {os.uname()[1]} (a flow), which was killed, is harmless")


@pytest.mark.slow
def test_an_inbox_that_nobody_absorbed_is_noted_once_it_is_old(store: Store) -> None:
    with store.inbox("worker") as inbox:
        inbox.record({"call_key": "x"})
    (file,) = store.workspace.inbox.iterdir()
    assert seen("inbox", store) == ("ok", "1 files wait for the next writer, the oldest for 0 seconds")
    os.utime(file, (time.time() - 7200, time.time() - 7200))
    assert seen("inbox", store) == ("note", "1 files wait for the next writer, the oldest for 2 hours")


@pytest.mark.slow
def test_a_call_that_is_no_json_would_stop_every_writer_and_moving_it_mends_that(store: Store) -> None:
    bad = store.workspace.inbox / "calls-w-1.jsonl"
    bad.write_text('{"call_key": "x"}\nnonsense\n')
    found = look("inbox", store)
    assert (found["state"], found["seen"]) == ("fault", "inbox/calls-w-1.jsonl line 2 is no JSON")
    subprocess.run(["bash", "-c", str(found["mend"])], check=True)
    assert seen("inbox", store) == ("ok", "empty")
    with store.write("test"):
        assert (store.workspace.root / "calls-w-1.jsonl").is_file()


def test_a_torn_last_line_is_a_call_that_was_never_acknowledged_and_no_fault(store: Store) -> None:
    (store.workspace.inbox / "calls-w-1.jsonl").write_text('{"call_key": "x"}\n{"call_k')
    assert seen("inbox", store)[0] == "ok"


@pytest.mark.parametrize(("name", "fault"), [
    ("votes-1.parquet", "inbox/votes-1.parquet is cut off"),
    ("opinions-1.parquet", "inbox/opinions-1.parquet belongs to no table 'opinions'"),
])
def test_a_segment_that_no_writer_could_take_is_a_fault(store: Store, name: str, fault: str) -> None:
    (store.workspace.inbox / name).write_bytes(b"PAR1 and no more")
    assert seen("inbox", store) == ("fault", fault)


def test_a_whole_segment_is_none(store: Store) -> None:
    write_parquet(pl.DataFrame({"x": [1]}), store.workspace.inbox / "votes-1.parquet")
    assert seen("inbox", store)[0] == "ok"


@pytest.mark.slow
@pytest.mark.parametrize("check", ["disk", "temporary folder"])
def test_a_full_disk_is_a_fault_with_its_numbers(store: Store, monkeypatch: pytest.MonkeyPatch, check: str) -> None:
    state, told = seen(check, store)
    free = shutil.disk_usage(store.workspace.root).free / 2**30
    assert state == "ok"
    assert abs(float(told.split(" ")[0]) - free) < 1
    monkeypatch.setattr(doctor_workspace, "LEAST_FREE_GIB", 1e9)
    assert seen(check, store)[0] == "fault"


def test_a_disk_without_room_for_names_is_full(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    full = SimpleNamespace(f_files=10**6, f_favail=12, f_frsize=2**20, f_blocks=10**6, f_bfree=10**5, f_bavail=10**5)
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    state, told = seen("disk", store)
    assert (state, told.endswith(", room for 12 files")) == ("fault", True)


def test_a_read_only_workspace_is_a_fault_that_names_what_still_works(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode, **how: mode != os.W_OK)  # root may write anywhere
    found = look("workspace", store)
    assert (found["state"], "sql, report and export work" in str(found["seen"])) == ("fault", True)


@pytest.mark.parametrize(("text", "told"), [
    ("dataset = ", "recipe.toml"), ("dataset = 'x'\nsede = 1\n", "sede"), ("dataset = 'x'\nseed = 'one'\n", "seed"),
])
def test_a_recipe_that_does_not_parse_is_a_fault_with_its_field(store: Store, text: str, told: str) -> None:
    store.workspace.recipe.write_text(text)
    found = look("recipe", store)
    assert (found["state"], found["mend"]) == ("fault", f"edit {store.workspace.recipe}")
    assert told in str(found["seen"])


@pytest.mark.slow
def test_every_example_recipe_is_well(store: Store) -> None:
    for recipe in EXAMPLES.glob("*.toml"):
        if recipe.name != "settings.toml":
            shutil.copy(recipe, store.workspace.recipe)
            assert (recipe.name, seen("recipe", store)[0]) == (recipe.name, "ok")


def test_the_marker_s_only_content_is_the_format(store: Store) -> None:
    """What doctor prints to mend it may write no less than what was there."""
    assert json.loads((store.workspace.root / "workspace.json").read_text()) == {"format": 1}
