"""Analysts ask while a round runs: SQL and the report answer from what is published, and never wait for the writer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Tiebreak, in_process
from small_rounds import new_store, run_round, simulated_recipe

from warehouse.store import Store

pytestmark = pytest.mark.service


@pytest.fixture
def tiebreak(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tiebreak:
    return in_process(capsys, monkeypatch)


@pytest.fixture
def begun(tmp_path: Path) -> Store:
    """A workspace with one version, whose recipe makes another."""
    store, recipe = new_store(tmp_path / "ws"), simulated_recipe()
    run_round(store, recipe)
    store.workspace.recipe.write_text(recipe.canonical())
    return store


def test_sql_and_the_report_answer_again_and_again_while_a_round_runs(tiebreak: Tiebreak, begun: Store) -> None:
    command = [sys.executable, "-m", "flows.cli", "--workspace", str(begun.workspace.root), "run", "--direct"]
    seen: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        while process.poll() is None:
            counted = tiebreak(begun, "sql", "SELECT max(n) AS n FROM round_summary", "--json")
            told = tiebreak(begun, "report")
            assert (counted.code, told.code) == (0, 0), counted.err + told.err
            assert "small@1" in told.out
            seen.append(counted.out.strip())
        output = process.stdout.read() if process.stdout else ""
    assert process.returncode == 0, output
    assert len(seen) >= 2, "the round was over before anybody asked twice"
    assert "small@2" in tiebreak(begun, "report").out
