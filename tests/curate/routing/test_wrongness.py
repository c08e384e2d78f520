"""From a hundred audits on, P(wrong) is learned; below, and within a group, nothing is."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from curate.routing.wrongness import calibrated, p_wrong
from schemas.tables import CANDIDATES

SKILL = 0.8


def pool(n: int) -> pl.DataFrame:
    """Overconfident labels; where the judges spread (every second pair), half of them are wrong."""
    return CANDIDATES.complete(pl.DataFrame({
        "pair_id": [f"p{i:04}" for i in range(n)], "group_id": [f"g{i % 40}" for i in range(n)], "p_a": 0.95,
        "p_tie": 0.03, "p_sd": 0.1, "n_votes": 2, "n_human": 0,
        "judge_spread": [0.5 * (i // 40 % 2) for i in range(n)],
        "flip_share": 0.0, "length_a": 10, "length_b": 12, "overlap": 0.1,
    }))


def audited(n: int, seed: int = 0) -> pl.DataFrame:
    rng, rows = np.random.default_rng(seed), pool(n)
    is_wrong = (rows["judge_spread"].to_numpy() > 0) & (rng.random(n) < 0.5)
    contradicts = rng.random(n) < np.where(is_wrong, 1 - (1 - SKILL) / 2, 1 - SKILL)
    return rows.with_columns(
        pl.Series("is_contradicted", contradicts), route_id="pair_id", round_id=pl.lit("r"), propensity=pl.lit(0.05)
    )


def test_under_a_hundred_audits_the_posterior_is_the_prior() -> None:
    assert calibrated(pool(80), audited(99), SKILL).equals(pool(80))
    assert not calibrated(pool(80), audited(100), SKILL).equals(pool(80))


def test_people_no_better_than_chance_teach_nothing() -> None:
    assert calibrated(pool(80), audited(400), 1 / 3).equals(pool(80))


def test_p_wrong_finds_the_pairs_that_are_wrong_and_takes_out_human_error() -> None:
    scored = pool(80).drop("p_wrong").join(p_wrong(pool(80), audited(2000), SKILL), on="pair_id")
    by_spread = dict(scored.group_by("judge_spread").agg(pl.col("p_wrong").mean()).iter_rows())
    assert by_spread[0.5] == pytest.approx(0.5, abs=0.08)
    assert by_spread[0.0] == pytest.approx(0.0, abs=0.08)


def test_a_groups_own_audits_never_score_it() -> None:
    seen = audited(400)
    flipped = pl.when(pl.col("group_id") == "g3").then(~pl.col("is_contradicted")).otherwise("is_contradicted")
    before, after = (
        p_wrong(pool(80), frame, SKILL).join(pool(80), on="pair_id").filter(pl.col("group_id") == "g3")["p_wrong"]
        for frame in (seen, seen.with_columns(is_contradicted=flipped))
    )
    assert before.equals(after)


def test_audits_that_all_agree_are_hardly_any_error() -> None:
    agreeing = audited(200).with_columns(is_contradicted=pl.lit(False))
    learned = p_wrong(pool(80), agreeing, SKILL)["p_wrong"]
    assert max(learned) < 0.02


def test_without_answers_the_model_is_the_posterior() -> None:
    """The labels are a with 0.95, the judges' own."""
    assert p_wrong(pool(80), audited(80).clear(), SKILL)["p_wrong"].to_list() == [pytest.approx(0.05, abs=1e-6)] * 80


def test_routed_votes_teach_once_five_of_a_hundred_answers_are_random() -> None:
    seen = audited(120)
    few, enough = seen.head(4), seen.head(5)
    assert calibrated(pool(80), few, SKILL, routed=seen.tail(115)).equals(pool(80))
    assert calibrated(pool(80), enough, SKILL, routed=seen.tail(115))["p_wrong"].null_count() == 0
    assert calibrated(pool(80), enough, SKILL, routed=seen.tail(20)).equals(pool(80))


def test_the_consensus_keeps_its_posterior_whatever_is_learned() -> None:
    assert calibrated(pool(80), audited(400), SKILL).drop("p_wrong").equals(pool(80).drop("p_wrong"))


def test_routed_votes_do_not_bias_what_is_learned() -> None:
    """Asked only where judges spread, people contradict more often; elsewhere labels are no worse for that."""
    seen = audited(4000)
    spread = seen.filter(pl.col("judge_spread") > 0)
    learned = p_wrong(pool(80), seen.head(200), SKILL, routed=spread.tail(1500)).join(
        pool(80).drop("p_wrong"), on="pair_id"
    )
    by_spread = dict(learned.group_by("judge_spread").agg(pl.col("p_wrong").mean()).iter_rows())
    assert by_spread[0.5] == pytest.approx(0.5, abs=0.08)
    assert by_spread[0.0] == pytest.approx(0.0, abs=0.08)


def test_once_people_have_turned_a_label_what_shows_the_judges_wrong_shows_it_right() -> None:
    """Two pairs with the same doubtful signs and the same posterior of 0.95: one label is the judges', one is not."""
    rows = pool(80)
    turned = rows.with_columns(judges_a=pl.lit(0.1), judges_tie=pl.lit(0.1))
    learned = [p_wrong(frame, audited(2000), SKILL).filter(rows["judge_spread"] > 0)["p_wrong"].mean()
               for frame in (rows, turned)]
    assert learned[0] == pytest.approx(0.5, abs=0.08)
    assert learned[1] < 0.05


def test_swapping_a_and_b_changes_no_chance_of_being_wrong() -> None:
    def swapped(rows: pl.DataFrame) -> pl.DataFrame:
        p_b = (1 - pl.col("p_a") - pl.col("p_tie")).round(12)
        return rows.with_columns(p_a=p_b, length_a="length_b", length_b="length_a")

    mirrored = p_wrong(swapped(pool(80)), swapped(audited(300)), SKILL)["p_wrong"].to_list()
    assert mirrored == pytest.approx(p_wrong(pool(80), audited(300), SKILL)["p_wrong"].to_list(), abs=1e-4)


def test_the_order_of_rows_changes_nothing() -> None:
    once = p_wrong(pool(80), audited(300), SKILL)
    assert once.equals(p_wrong(pool(80).reverse(), audited(300).reverse(), SKILL))
