"""Doctor: every look is taken, what is well needs no mending, a fault exits 2, and it is quick."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest
from command_line import Tiebreak, in_process

from flows import doctor_installation
from flows.doctor import examine
from warehouse.store import Store
from warehouse.workspace import Workspace

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def tiebreak(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tiebreak:
    return in_process(capsys, monkeypatch)


@pytest.fixture(autouse=True)
def in_a_folder_without_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM's and Label Studio's environments are looked for where the command stands."""
    monkeypatch.chdir(tmp_path)


def rows(root: Path) -> dict[str, dict[str, object]]:
    return {str(r["check"]): r for r in examine(root)}


def test_the_environment_of_these_tests_has_no_fault(store: Store) -> None:
    found = rows(store.workspace.root)
    assert [r for r in found.values() if r["state"] == "fault"] == []
    assert {
        "python", "workspace", "disk", "temporary folder", "writer.lock", "prefect server", "database", "published",
        "inbox", "recipe", *doctor_installation.PINS,
    } <= set(found)


@pytest.mark.slow
@pytest.mark.parametrize("text", ["", "[[endpoints]]\nmodel = 'm'\nurl = 'http://127.0.0.1:9/v1'\nkey = 'NOWHERE'\n"])
def test_what_is_well_needs_no_mending_and_what_is_not_says_how(store: Store, text: str) -> None:
    store.workspace.settings.write_text(text)
    found = examine(store.workspace.root)
    assert [r for r in found if (r["state"] == "ok") == bool(r["mend"])] == []
    assert [r for r in found if not r["seen"]] == []


def test_looking_changes_nothing(store: Store) -> None:
    with store.inbox("worker") as inbox:
        inbox.record({"call_key": "x"})
    before = {p: p.stat().st_mtime_ns for p in sorted(store.workspace.root.rglob("*"))}
    examine(store.workspace.root)
    assert {p: p.stat().st_mtime_ns for p in sorted(store.workspace.root.rglob("*"))} == before


@pytest.mark.slow
def test_without_servers_it_takes_less_than_two_seconds(store: Store) -> None:
    shutil.copy(EXAMPLES / "tour.toml", store.workspace.recipe)
    examine(store.workspace.root)  # imports
    began = time.thread_time(), time.monotonic()
    examine(store.workspace.root)
    assert time.thread_time() - began[0] < 2
    assert time.monotonic() - began[1] < 10  # on a machine that is busy with other things


def test_no_workspace_is_noted_with_the_command_that_makes_one(tmp_path: Path) -> None:
    found = rows(tmp_path / "none")["workspace"]
    assert (found["state"], found["mend"]) == ("note", f"tiebreak --workspace {tmp_path / 'none'} init")


@pytest.mark.slow
@pytest.mark.parametrize("marker", ["", "not json", "[]", '{"format": "new"}'])
def test_a_damaged_marker_is_a_fault_and_the_command_that_is_printed_mends_it(
    store: Store, marker: str, tiebreak: Tiebreak
) -> None:
    root = store.workspace.root
    (root / "workspace.json").write_text(marker)
    found = rows(root)["workspace"]
    assert found["state"] == "fault"
    subprocess.run(["bash", "-c", str(found["mend"])], check=True)
    assert Workspace(root).require() == Workspace(root)
    assert rows(root)["workspace"]["state"] == "ok"


def test_a_newer_workspace_is_a_fault_that_an_upgrade_mends(store: Store) -> None:
    (store.workspace.root / "workspace.json").write_text('{"format": 99}')
    assert rows(store.workspace.root)["workspace"]["mend"] == "upgrade tiebreak"


@pytest.mark.slow
def test_the_command_exits_2_on_a_fault_and_0_on_notes(store: Store, tiebreak: Tiebreak) -> None:
    done = tiebreak(store, "doctor")
    assert done.code == 0
    assert "recipe: next: write" in done.out  # none is a note
    store.workspace.recipe.write_text("dataset = 7")
    broken = tiebreak(store, "doctor")
    assert broken.code == 2
    assert f"recipe: next: edit {store.workspace.recipe}" in broken.out


@pytest.mark.slow
def test_machines_get_the_same_rows(store: Store, tiebreak: Tiebreak) -> None:
    said = tiebreak(store, "doctor", "--json").json
    assert said == examine(store.workspace.root)
    assert all(set(row) == {"check", "state", "seen", "mend"} for row in examine(store.workspace.root))
