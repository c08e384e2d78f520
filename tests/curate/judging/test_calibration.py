"""Calibration: what a judge's p is worth, learned on gold, the same for a pair and its mirror image."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from curate.consensus.outcomes import expected_win
from curate.judging.calibration import (
    FITS,
    MIN_PAIRS,
    apply_calibration,
    calibration_quality,
    cross_fitted,
    fit_calibration,
    votes_on_gold,
)
from schemas.errors import InputError
from schemas.tables import VOTERS, VOTES

BOTH = pytest.mark.parametrize("method", ["temperature", "isotonic"])


def seen(
    p_a: list[float], is_a: list[bool], p_tie: float = 0.0, voter: str = "j", instrument: str | None = None
) -> pl.DataFrame:
    """A judge's p beside the truth, one vote per pair, each pair a group."""
    n = len(p_a)
    return pl.DataFrame({
        "voter": [voter] * n, "instrument": pl.Series([instrument] * n, dtype=pl.String),
        "pair_id": [f"{i:04}" for i in range(n)], "group_id": [f"g{i}" for i in range(n)],
        "p_a": p_a, "p_tie": [p_tie] * n, "true_a": [float(a) for a in is_a], "true_tie": [0.0] * n,
    })


def hard(n: int, n_right: int, instrument: str | None = None) -> pl.DataFrame:
    """A judge that is always sure, for a on even pairs and for b on odd ones, and right `n_right` times."""
    said = [i % 2 == 0 for i in range(n)]
    return seen([float(s) for s in said], [s == (i < n_right) for i, s in enumerate(said)], instrument=instrument)


def votes(p: list[tuple[float | None, float | None]], voter: str = "j") -> pl.DataFrame:
    rows = [{"vote_id": f"{voter}{i}", "ballot_id": f"{i}", "pair_id": f"{i}", "voter": voter, "p_a": a, "p_tie": tie,
             "is_abstention": a is None, "n": 1, "criterion": "overall", "cost_usd": 0.0, "status": "cast"}
            for i, (a, tie) in enumerate(p)]
    return VOTES.complete(pl.DataFrame(rows, infer_schema_length=None))


def wins(frame: pl.DataFrame) -> list[float]:
    return frame.select(expected_win(pl.col("p_a"), pl.col("p_tie"))).to_series().to_list()


@BOTH
def test_a_sure_judge_is_believed_as_often_as_it_is_right(method: str) -> None:
    fits = fit_calibration(hard(100, 75), method)
    assert wins(apply_calibration(votes([(1.0, 0.0), (0.0, 0.0)]), fits)) == pytest.approx([0.745, 0.255], abs=0.011)


@BOTH
def test_each_question_of_a_judge_is_calibrated_by_its_own_answers(method: str) -> None:
    fits = fit_calibration(pl.concat([hard(100, 75, "pairwise@1"), hard(100, 55, "rating@1")]), method)
    asked = ("pairwise@1", "rating@1", "new")
    sure = pl.concat([votes([(1.0, 0.0)]).with_columns(instrument=pl.lit(question)) for question in asked])
    assert wins(apply_calibration(sure, fits)) == pytest.approx([0.745, 0.55, 1.0], abs=0.011)


@BOTH
def test_right_on_all_of_a_few_pairs_is_not_certain(method: str) -> None:
    fits = fit_calibration(hard(40, 40), method)
    sure = wins(apply_calibration(votes([(1.0, 0.0)]), fits))[0]
    assert 0.95 < sure <= 41 / 42 + 0.005


@BOTH
def test_a_judge_that_is_always_wrong_loses_its_opinion_and_is_never_inverted(method: str) -> None:
    fits = fit_calibration(hard(100, 0), method)
    assert wins(apply_calibration(votes([(1.0, 0.0)]), fits))[0] == pytest.approx(0.5, abs=0.005)


@pytest.mark.slow
@BOTH
def test_shuffled_labels_make_no_judge_confident(method: str) -> None:
    told = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        p = rng.integers(0, 201, 120) / 200
        shuffled = seen(p.tolist(), (rng.random(120) < 0.5).tolist())
        calibrated = np.array(wins(apply_calibration(_as_votes(shuffled), fit_calibration(shuffled, method))))
        told.append(np.abs(calibrated - 0.5).mean() / np.abs(p - 0.5).mean())
    assert np.mean(told) < 0.25  # of its confidence is left; a single draw of 120 labels may leave half
    assert max(told) < 0.7


@pytest.mark.slow
@BOTH
@given(seed=st.integers(0, 10_000), skill=st.floats(0, 6), tie=st.sampled_from([0.0, 0.2]))
def test_calibrated_p_rises_with_raw_p_and_mirrors_under_a_swap(
    method: str, seed: int, skill: float, tie: float
) -> None:
    rng = np.random.default_rng(seed)
    p = np.round((1 - tie) * rng.random(80) * 200) / 200
    is_a = rng.random(80) < 1 / (1 + np.exp(-skill * (p + tie / 2 - 0.5)))
    fits = fit_calibration(seen(p.tolist(), is_a.tolist(), tie), method)
    grid = [round(k * (1 - tie) / 40 * 200) / 200 for k in range(41)]
    straight = apply_calibration(votes([(x, tie) for x in grid]), fits)
    turned = apply_calibration(votes([(round(1 - tie - x, 3), tie) for x in grid]), fits)
    rising = wins(straight)
    assert all(later >= earlier - 1e-12 for earlier, later in pairwise(rising))
    assert [round(1 - w, 9) for w in wins(turned)] == [round(w, 9) for w in rising]
    assert straight["p_tie"].to_list() == turned["p_tie"].to_list()


def test_temperature_learns_how_often_ties_are_true_where_gold_has_some() -> None:
    gold = hard(100, 80).with_columns(true_tie=pl.when(pl.col("pair_id") < "0040").then(1.0).otherwise(0.0))
    gold = gold.with_columns(true_a=pl.when(pl.col("true_tie") == 1).then(0.0).otherwise("true_a"))
    with_ties, without = fit_calibration(gold, "temperature"), fit_calibration(hard(100, 80), "temperature")
    assert with_ties["tie_bias"].item() is not None
    assert without["tie_bias"].item() is None
    sure = votes([(1.0, 0.0)])
    assert apply_calibration(sure, with_ties)["p_tie"].item() == pytest.approx(0.4, abs=0.03)
    assert apply_calibration(sure, without)["p_tie"].item() == 0.0, "nothing known about ties: they stay as said"


@BOTH
def test_few_gold_pairs_change_nothing_and_say_so(method: str) -> None:
    few = hard(MIN_PAIRS - 1, 20)
    fits = fit_calibration(few, method)
    assert fits["reason"].item() == f"{MIN_PAIRS - 1} decided gold pairs, {MIN_PAIRS} are needed"
    assert_frame_equal(apply_calibration(votes([(0.9, 0.05)]), fits), votes([(0.9, 0.05)]))


def test_gold_that_is_a_tie_does_not_count_as_decided() -> None:
    ties = hard(40, 30).with_columns(true_a=0.0, true_tie=1.0)
    assert fit_calibration(ties, "temperature")["n_pairs"].item() == 0


@BOTH
def test_only_p_of_opinions_of_fitted_judges_changes(method: str) -> None:
    cast = pl.concat([votes([(0.9, 0.0), (None, None)]), votes([(1.0, 0.0)], "ann")])
    after = apply_calibration(cast, fit_calibration(hard(60, 40), method))
    assert_frame_equal(after.drop("p_a", "p_tie"), cast.drop("p_a", "p_tie"))
    assert after["p_a"][0] != 0.9
    assert after["p_a"].to_list()[1:] == [None, 1.0]


def test_people_and_retracted_votes_are_no_evidence_about_judges() -> None:
    cast = pl.concat([votes([(0.9, 0.0), (0.2, 0.0)]), votes([(1.0, 0.0)], "ann")])
    cast = cast.with_columns(status=pl.when(pl.col("vote_id") == "j1").then(pl.lit("retracted")).otherwise("status"))
    voters = VOTERS.complete(pl.DataFrame([
        {"voter": "j", "kind": "judge", "family": "j", "cost_usd": 0.0},
        {"voter": "ann", "kind": "human", "family": "ann", "cost_usd": 0.0},
    ]))
    gold = pl.DataFrame({"pair_id": ["0", "1"], "group_id": ["g", "h"], "p_a": [1.0, 0.0], "p_tie": [0.0, 0.0]})
    beside = votes_on_gold(cast, voters, gold)
    assert beside.select("voter", "pair_id", "true_a").rows() == [("j", "0", 1.0)]


@BOTH
def test_both_orders_of_a_pair_are_one_piece_of_evidence(method: str) -> None:
    twice = pl.concat([hard(60, 40), hard(60, 40)])
    assert_frame_equal(fit_calibration(twice, method), fit_calibration(hard(60, 40), method))


@BOTH
def test_rows_may_come_in_any_order(method: str) -> None:
    rng = np.random.default_rng(1)
    gold = seen(rng.random(50).round(2).tolist(), (rng.random(50) < 0.6).tolist())
    assert_frame_equal(fit_calibration(gold, method), fit_calibration(gold.reverse(), method), check_exact=True)


def test_none_fits_nothing_and_another_word_is_refused() -> None:
    fits = fit_calibration(hard(60, 40), "none")
    assert fits.schema == pl.Schema(FITS)
    assert_frame_equal(apply_calibration(votes([(0.9, 0.0)]), fits), votes([(0.9, 0.0)]))
    with pytest.raises(InputError, match="calibration 'platt'"):
        fit_calibration(hard(60, 40), "platt")


def test_no_votes_make_no_fit_and_no_votes() -> None:
    fits = fit_calibration(hard(60, 40).head(0), "temperature")
    assert fits.height == 0
    assert apply_calibration(VOTES.empty(), fits).height == 0


@BOTH
def test_an_overconfident_judge_gains_where_its_fit_has_not_looked(method: str) -> None:
    gold = hard(200, 130)
    before, after = calibration_quality(gold), calibration_quality(cross_fitted(gold, method))
    assert before["ece"].item() == pytest.approx(0.35, abs=0.001)
    assert before["brier"].item() == pytest.approx(0.35, abs=0.001)
    assert after["ece"].item() < 0.1
    assert after["brier"].item() < 0.24
    assert after["n_pairs"].item() == 200


def test_a_group_is_calibrated_without_its_own_labels() -> None:
    gold = hard(100, 75).with_columns(group_id=pl.lit("one group"))
    untouched = cross_fitted(gold, "temperature")
    assert_frame_equal(untouched.select("p_a", "p_tie"), gold.sort(pl.all()).select("p_a", "p_tie"))


def _as_votes(gold: pl.DataFrame) -> pl.DataFrame:
    return votes(list(gold.select("p_a", "p_tie").iter_rows()))
