"""What the command line says when something is wrong: yours in one line and exit 2, ours with a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
from command_line import Tiebreak, in_process
from small_rounds import simulated_recipe

from flows import cli, commands
from schemas.errors import CheckError
from warehouse.store import Store

ROOT = Path(__file__).resolve().parents[2]
ONE_PAIR = '{"prompt": "p", "response_a": "x", "response_b": "y", "label": "a"}\n'
NOBODY = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def tiebreak(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tiebreak:
    return in_process(capsys, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [
    ("status",), ("run", "--direct"), ("run", "--dry-run"), ("judge",), ("route",), ("versions",), ("report",),
    ("tag", "d@1", "prod"), ("diff", "d@1", "d@2"), ("verify", "d@1"), ("export", "d@1", "--out", "x"),
    ("sql", "SELECT 1"), ("cycles", "d@1"),
    ("card", "d@1"), ("why", NOBODY), ("judges",), ("annotators",), ("models",), ("serve",), ("serve", "--stop"),
    ("route", "--explain", NOBODY), ("run", "--abandon"), ("gc",), ("backup", "--out", "x"),
    ("redact", "--voter", "ann", "--reason", "r"),
])
def test_without_a_workspace_every_command_says_how_to_make_one(
    tiebreak: Tiebreak, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    said = tiebreak(tmp_path / "none", *arguments)
    assert said.is_one_line_of_yours()
    assert f"no workspace in {tmp_path / 'none'}" in said.err
    assert f"next: tiebreak --workspace {tmp_path / 'none'} init" in said.err
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_a_source_is_not_taken_into_no_workspace(tiebreak: Tiebreak, tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text(ONE_PAIR)
    said = tiebreak(tmp_path / "none", "ingest", str(tmp_path / "s.jsonl"))
    assert said.is_one_line_of_yours()
    assert f"no workspace in {tmp_path / 'none'}" in said.err


@pytest.mark.parametrize(("toml", "seen"), [
    ('dataset = "d"\ncolour = "red"', "colour"), ('dataset = "d"\n[gate]\nconfidence = 7', "gate.confidence"),
    ('dataset = "Not A Name"', "dataset"), ("seed = 1", "dataset"), ("dataset = ", "TOML"),
    ('dataset = "d"\n[judging]\njudges = ["nobody"]', "nobody"), ('dataset = "d"\nseed = "a\\nb"', "seed"),
])
def test_a_recipe_that_cannot_be_meant_is_refused_by_its_field(
    tiebreak: Tiebreak, store: Store, tmp_path: Path, toml: str, seen: str
) -> None:
    (tmp_path / "recipe.toml").write_text(toml)
    said = tiebreak(store, "run", str(tmp_path / "recipe.toml"), "--direct")
    assert said.is_one_line_of_yours()
    assert seen in said.err


@pytest.mark.slow
@pytest.mark.parametrize("query", [
    "SELEC 1", "FROM nowhere", *(
        pytest.param(query, marks=pytest.mark.service) for query in (
            "SELECT nothing FROM pairs", "SELECT 1 +", "SELECT 'a'::INTEGER", "SELECT $x", "SELECT INTERVAL 1 MONTH",
            "SELECT * FROM read_csv('/etc/hosts')", "", "SELECT 1; SELECT 2", "ATTACH 'o.db'", "DROP VIEW pairs",
            "COPY pairs TO 'x.csv'",
        )
    ),
])
def test_sql_that_cannot_be_answered_is_one_line(tiebreak: Tiebreak, store: Store, query: str) -> None:
    said = tiebreak(store, "sql", query)
    assert said.is_one_line_of_yours()
    assert "SQL" in said.err


@pytest.mark.service
@pytest.mark.parametrize("pair", ["xyz", NOBODY, "0" * 36, NOBODY.upper().replace("0", "G"), "'; DROP TABLE pairs; --"])
@pytest.mark.parametrize("command", [("why",), ("route", "--explain")])
def test_an_unknown_or_malformed_pair_is_one_line(
    tiebreak: Tiebreak, store: Store, command: tuple[str, ...], pair: str
) -> None:
    assert tiebreak(store, *command, pair).is_one_line_of_yours()


@pytest.mark.service
@pytest.mark.parametrize("name", ["d", "d@", "@1", "d@one", "d@1", "d@-1", "d@99999999999999999999", "a@b@1", ""])
def test_an_unknown_or_malformed_version_is_one_line(tiebreak: Tiebreak, store: Store, name: str) -> None:
    assert tiebreak(store, "verify", name).is_one_line_of_yours()


@pytest.mark.parametrize("source", ["not/there", "two\nlines", "red\x1b[31m", "hf:", "hf:a b:c/d"])
def test_a_source_that_is_not_there_is_one_line_of_printable_text(
    tiebreak: Tiebreak, store: Store, source: str
) -> None:
    said = tiebreak(store, "ingest", source)
    assert said.is_one_line_of_yours()
    assert said.err[:-1].isprintable()


def test_a_file_in_the_place_of_the_workspace_is_one_line(tiebreak: Tiebreak, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert tiebreak(tmp_path / "file", "init").is_one_line_of_yours()
    assert (tmp_path / "file").read_text() == "mine"


def test_a_setting_that_is_no_number_is_one_line(
    tiebreak: Tiebreak, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.workspace.recipe.write_text(simulated_recipe().canonical())
    monkeypatch.setenv("TIEBREAK_WORKERS", "many")
    said = tiebreak(store, "run", "--direct")
    assert said.is_one_line_of_yours()
    assert "TIEBREAK_WORKERS = 'many'" in said.err


def test_a_fault_of_ours_is_not_dressed_up_as_one_of_yours(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(root: Path) -> NoReturn:
        raise CheckError("check x: 1 rows")

    monkeypatch.setattr(commands, "status", fail)
    monkeypatch.setattr(sys, "argv", ["tiebreak", "--workspace", str(store.workspace.root), "status"])
    with pytest.raises(CheckError):
        cli.main()


@pytest.mark.service
def test_a_fault_of_ours_ends_with_1_and_a_traceback(store: Store) -> None:
    program = (
        "import sys\nfrom flows import cli, commands\nfrom schemas.errors import CheckError\n"
        "def fail(root): raise CheckError('check x: 1 rows')\n"
        f"commands.status = fail\nsys.argv = ['tiebreak', '--workspace', {str(store.workspace.root)!r}, 'status']\n"
        "cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert "check x: 1 rows" in done.stderr


def test_a_command_that_doctor_names_is_shown_whole(tiebreak: Tiebreak, tmp_path: Path) -> None:
    root = tmp_path / ("a-long-name-" * 6) / "ws"
    assert f"tiebreak --workspace {root} init" in tiebreak(root, "doctor").out
