"""`tiebreak demo --world corpus`: one model accepted, one refused, both explained; a second run pays for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from flows import demo
from flows.demo_rounds import example
from flows.server import running_server, stop_server
from schemas.recipe import parse_recipe
from warehouse.reader import Reader
from warehouse.workspace import Workspace

pytestmark = pytest.mark.service


@dataclass(frozen=True)
class Shown:
    """The demo of one round, run twice in one folder."""

    root: Path
    first: str
    second: str
    spent: tuple[int, int]
    """calls recorded after either run"""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    above = tmp_path_factory.mktemp("demo")
    told, spent = [], []
    for _ in range(2):
        said: list[str] = []
        demo.run(above, [], 1, said.append, world="corpus")
        (root,) = above.glob("demo-corpus-*")
        told.append("\n".join(said))
        spent.append(count(root, "calls"))
    try:
        yield Shown(root, told[0], told[1], (spent[0], spent[1]))
    finally:
        stop_server(Workspace(root))


def count(root: Path, table: str) -> int:
    with Reader(root) as reader:
        return int(reader.sql(f"SELECT count(*) FROM {table}").item())


def decisions(root: Path) -> pl.DataFrame:
    with Reader(root) as reader:
        return reader.sql("SELECT dataset, verdict, incumbent, low, n_pairs, n_groups FROM promotions"
                          " JOIN rounds USING (round_id) ORDER BY dataset")


def test_the_gate_accepts_one_model_above_longer_wins_and_refuses_the_other(shown: Shown) -> None:
    found = decisions(shown.root)
    assert found.select("dataset", "verdict").rows() == [("corpus", "promoted"), ("corpus-refused", "refused")]
    assert found["incumbent"].unique().to_list() == ["longer-wins"]
    assert found.select(accepted_at_least=pl.col("low").first() > 0, refused=pl.col("low").last() > 0).row(0) == (
        True, False)
    assert found["n_pairs"].min() >= 200
    assert found["n_groups"].min() >= 30


def test_both_verdicts_are_told_in_words_and_stand_in_both_reports(shown: Shown) -> None:
    assert "  corpus, round 1: the candidate is right on " in shown.first
    assert "  corpus-refused, round 1: the candidate is right on " in shown.first
    assert shown.first.count("The gate accepts it") == shown.first.count("The gate refuses it") == 1
    page = (shown.root / "report.html").read_text(encoding="utf-8")
    assert "corpus-refused" in page
    assert "longer-wins" in page


def test_it_says_who_is_simulated_and_who_is_not(shown: Shown) -> None:
    assert shown.first.splitlines()[0] == (
        "Who votes: programs check numbers, code, JSON, lengths, words and languages for real. Judges and annotators "
        "are simulated: their opinions are drawn from the author's truth with declared skill, order and length bias.")


def test_what_is_measured_was_never_trained_on_and_the_authors_votes_are_nobodys_opinion(shown: Shown) -> None:
    with Reader(shown.root) as reader:
        trained = set(reader.sql("SELECT DISTINCT group_id FROM preferences")["group_id"])
        held = set(reader.sql("SELECT DISTINCT prompt_id FROM gold JOIN pairs USING (pair_id)")["prompt_id"])
        kept = set(reader.sql("SELECT DISTINCT prompt_id FROM preferences JOIN pairs USING (pair_id)")["prompt_id"])
        author = reader.sql("SELECT DISTINCT status FROM votes WHERE voter = 'corpus/author'")["status"].to_list()
    assert len(trained) >= 60
    assert not held & kept
    assert author == ["recorded"]


def test_labels_agree_with_the_truth_far_more_than_longer_wins_does(shown: Shown) -> None:
    rows = {line.split()[0]: [float(cell) for cell in line.split()[1:4]] for line in shown.first.splitlines()
            if line.startswith(("corpus@1 ", "corpus-refused@1 ")) and line.split()[3] == "0.500"}
    labels, longer_wins, random = rows["corpus@1"]
    assert labels > 0.85
    assert 0.4 <= longer_wins <= 0.6
    assert random == 0.5
    assert rows["corpus-refused@1"][0] < 0.65


def test_programs_people_and_judges_all_voted_for_the_accepted_one(shown: Shown) -> None:
    with Reader(shown.root) as reader:
        kinds = reader.sql("SELECT kind, count(DISTINCT voter) AS n FROM votes JOIN voters USING (voter)"
                           " WHERE status = 'cast' AND NOT is_abstention GROUP BY kind ORDER BY kind").rows()
    assert kinds == [("human", 3), ("judge", 4), ("verifier", 8)]


def test_a_second_run_makes_no_call_and_leaves_no_server(shown: Shown) -> None:
    assert shown.spent[0] == shown.spent[1] > 0
    assert "corpus: 1 round is closed already: nothing to run, nothing to pay" in shown.second
    assert decisions(shown.root).height == 2
    assert running_server(Workspace(shown.root)) is None


def test_the_rounds_were_run_under_the_recipes_that_ship(shown: Shown) -> None:
    with Reader(shown.root) as reader:
        stored = dict(reader.sql("SELECT dataset, recipe FROM rounds").rows())
    for name in ("corpus", "corpus-refused"):
        assert parse_recipe(stored[name]).fingerprint == example(f"{name}.toml").fingerprint
