"""Candidates say what the router knows, and leave out what nobody may be asked about."""

from __future__ import annotations

import polars as pl
import pytest

from curate.routing.candidates import candidates, margins_of
from schemas.tables import EVIDENCE, MARGINS, POSTERIORS

TEXTS = pl.DataFrame(
    {
        "pair_id": ["p1", "p2", "same"],
        "group_id": ["g1", "g2", "g2"],
        "text_a": ["Red apples.", "x", "equal"],
        "text_b": ["red pears and apples", "y z", "equal"],
    }
)
POSTERIOR = POSTERIORS.complete(
    pl.DataFrame({"pair_id": ["p1"], "p_a": [0.7], "p_tie": [0.1], "p_sd": [0.05], "n_votes": [3], "n_human": [1]})
)


def evidence(*rows: tuple[str, str, str, float | None, bool | None]) -> pl.DataFrame:
    """Rows of pair, voter, kind, p_a (null: abstention), is_flipped."""
    names = ["pair_id", "voter", "kind", "p_a", "is_flipped"]
    schema = dict(zip(names, [pl.String, pl.String, pl.String, pl.Float64, pl.Boolean], strict=True))
    return EVIDENCE.complete(pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        criterion=pl.lit("overall"), ballot_id="voter", family="voter", weight=pl.lit(1.0),
        p_tie=pl.when(pl.col("p_a").is_not_null()).then(0.0), is_abstention=pl.col("p_a").is_null(),
    ))


JUDGED = evidence(
    ("p1", "j1", "judge", 1.0, False), ("p1", "j2", "judge", 0.0, True), ("p1", "h", "human", 1.0, None),
    ("p1", "j3", "judge", None, True),
)


def test_judges_that_contradict_each_other_spread_and_people_do_not_count() -> None:
    row = candidates(POSTERIOR, JUDGED, TEXTS).row(0, named=True)
    assert row["judge_spread"] == 0.5
    assert row["flip_share"] == pytest.approx(2 / 3)


def test_lengths_are_characters_and_overlap_is_jaccard_of_words() -> None:
    row = candidates(POSTERIOR, JUDGED, TEXTS).row(0, named=True)
    assert (row["length_a"], row["length_b"], row["overlap"]) == (11, 20, 0.5)


def test_a_pair_without_votes_is_a_candidate_with_a_flat_posterior() -> None:
    row = candidates(POSTERIOR, JUDGED, TEXTS).row(1, named=True)
    assert row["p_a"] == row["p_tie"] == 1 / 3
    assert (row["n_votes"], row["judge_spread"], row["flip_share"], row["margin"]) == (0, 0.0, 0.0, None)


def test_equal_texts_and_excluded_pairs_never_are_candidates() -> None:
    assert candidates(POSTERIOR, JUDGED, TEXTS)["pair_id"].to_list() == ["p1", "p2"]
    assert candidates(POSTERIOR, JUDGED, TEXTS, excluded=["p1"])["pair_id"].to_list() == ["p2"]


def test_margins_are_averaged_over_scorers() -> None:
    scored = {"pair_id": ["p1", "p1"], "scorer": ["s", "t"], "margin": [1.0, 3.0], "is_out_of_fold": [True, True]}
    margins = MARGINS.complete(pl.DataFrame(scored))
    row = candidates(POSTERIOR, JUDGED, TEXTS, margins=margins).row(0, named=True)
    assert (row["margin"], row["margin_spread"]) == (2.0, 1.0)


def test_a_reward_model_s_vote_is_a_margin_in_log_odds_and_nobody_else_s_is() -> None:
    told = margins_of(pl.concat([JUDGED, evidence(
        ("p1", "rm", "reward_model", 0.8, None), ("p2", "rm", "reward_model", 0.2, None),
        ("p2", "other", "reward_model", 1.0, None), ("p1", "other", "reward_model", None, None))]))
    assert told.columns == ["pair_id", "margin", "scorer"]
    assert told["margin"].to_list() == [pytest.approx(x) for x in (1.386294361, 6.907755279, -1.386294361)]
    assert told["scorer"].to_list() == ["rm", "other", "rm"]


def test_what_is_not_for_sale_cannot_be_bought_and_without_a_list_all_is_unlimited() -> None:
    stock = pl.DataFrame({"pair_id": ["p1"], "n": [2]})
    assert candidates(POSTERIOR, JUDGED, TEXTS, buyable=stock)["n_buyable"].to_list() == [2, 0]
    assert candidates(POSTERIOR, JUDGED, TEXTS)["n_buyable"].to_list() == [None, None]


def test_the_order_of_rows_changes_nothing() -> None:
    forward = candidates(POSTERIOR, JUDGED, TEXTS)
    assert forward.equals(candidates(POSTERIOR, JUDGED.reverse(), TEXTS.reverse()))
