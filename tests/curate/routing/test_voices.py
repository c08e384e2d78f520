"""People are counted by what they said; a majority's shares become a prior that leaves every outcome a chance."""

from __future__ import annotations

import polars as pl
import pytest

from curate.consensus.majority import majority
from curate.routing.voices import voices
from schemas.tables import EVIDENCE

ONE_HOT = {"a": (1.0, 0.0), "tie": (0.0, 1.0), "b": (0.0, 0.0), "-": (None, None)}


def evidence(*rows: tuple[str, str, str, str, str]) -> pl.DataFrame:
    """Rows of pair, voter, kind, family, what was said; "-" abstains."""
    return EVIDENCE.complete(pl.DataFrame([
        {"pair_id": pair, "voter": voter, "criterion": "overall", "ballot_id": f"{voter}{k}", "kind": kind,
         "family": family, "p_a": ONE_HOT[said][0], "p_tie": ONE_HOT[said][1], "is_abstention": said == "-",
         "is_flipped": False, "weight": 1.0} for k, (pair, voter, kind, family, said) in enumerate(rows)
    ], schema_overrides={"p_a": pl.Float64, "p_tie": pl.Float64}))


def heard(rows: pl.DataFrame, is_majority: bool = True) -> pl.DataFrame:
    return voices(rows, majority(rows.filter(pl.col("kind") != "human")).posteriors, is_majority=is_majority)


TWO_JUDGES = evidence(
    ("p", "j", "judge", "j", "a"), ("p", "k", "judge", "k", "a"), ("p", "ann", "human", "ann", "b"),
    ("p", "bob", "human", "bob", "tie"), ("p", "eve", "human", "eve", "-"),
)


def test_people_are_counted_by_what_they_said_and_abstentions_not_at_all() -> None:
    assert heard(TWO_JUDGES).row(0, named=True) == {
        "pair_id": "p", "n_heard": 4.0, "said_a": 0.0, "said_tie": 1.0, "said_b": 1.0,
        "prior_a": pytest.approx(7 / 9), "prior_tie": pytest.approx(1 / 9),
    }


def test_a_person_with_two_ballots_on_a_pair_counts_once() -> None:
    rows = evidence(("p", "ann", "human", "ann", "a"), ("p", "ann", "human", "ann", "b"))
    assert heard(rows).select("said_a", "said_b").row(0) == (0.5, 0.5)


def test_two_judges_of_one_family_are_one_voice() -> None:
    rows = evidence(("p", "j", "judge", "same", "a"), ("p", "k", "judge", "same", "a"))
    assert heard(rows).select("n_heard", "prior_a").row(0) == (1.0, pytest.approx(2 / 3))


def test_where_no_judge_spoke_every_outcome_is_alike() -> None:
    rows = evidence(("p", "ann", "human", "ann", "a"), ("q", "j", "judge", "j", "a"))
    assert heard(rows).filter(pl.col("pair_id") == "p").select("prior_a", "prior_tie").row(0) == (1 / 3, 1 / 3)


def test_a_consensus_that_is_no_majority_is_the_prior_as_it_is() -> None:
    told = heard(TWO_JUDGES, is_majority=False)
    assert told.select("prior_a", "prior_tie", "n_heard").row(0) == (1.0, 0.0, None)


def test_the_order_of_rows_changes_no_voice() -> None:
    assert heard(TWO_JUDGES).equals(heard(TWO_JUDGES.reverse()))
