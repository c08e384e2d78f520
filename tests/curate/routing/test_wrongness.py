"""What people said teaches where labels are wrong; few answers, and a group's own, teach nothing about it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from curate.routing.wrongness import calibrated
from schemas.tables import CANDIDATES

SKILL = 0.8


def pool(n: int = 400) -> pl.DataFrame:
    """The judges say a with 0.95; where they spread (every second forty), half of their labels are wrong."""
    return CANDIDATES.complete(pl.DataFrame({
        "pair_id": [f"p{i:04}" for i in range(n)], "group_id": [f"g{i % 40}" for i in range(n)], "p_a": 0.95,
        "p_tie": 0.03, "p_sd": 0.1, "n_votes": 2, "n_human": 0, "judges_a": 0.95, "judges_tie": 0.03,
        "judge_spread": [0.5 * (i // 40 % 2) for i in range(n)],
        "flip_share": 0.0, "length_a": [10 + i % 7 for i in range(n)], "length_b": 12, "overlap": 0.1,
    }))


def said(n: int, asked: int, seed: int = 0) -> pl.DataFrame:
    """Voices on `n` pairs of `pool`, a person's on the first `asked`: the truth is a, or b where the label is wrong."""
    rng = np.random.default_rng(seed)
    is_wrong = (pool(n)["judge_spread"].to_numpy() > 0) & (rng.random(n) < 0.5)
    truth = np.where(is_wrong, 2, 0)
    vote = np.where(rng.random(n) < SKILL, truth, (truth + rng.integers(1, 3, n)) % 3)
    votes = np.eye(3)[vote] * (np.arange(n) < asked)[:, None]
    return pl.DataFrame({
        "pair_id": pool(n)["pair_id"], "said_a": votes[:, 0], "said_tie": votes[:, 1], "said_b": votes[:, 2],
        "prior_a": 0.95, "prior_tie": 0.03, "n_heard": None,
    }, schema_overrides={"n_heard": pl.Float64})


def by_spread(rows: pl.DataFrame) -> dict[float, float]:
    return dict(rows.group_by("judge_spread").agg(pl.col("p_wrong").mean()).iter_rows())


def test_without_answers_the_prior_is_believed() -> None:
    told = calibrated(pool(80), said(80, 0), SKILL)
    assert told["p_wrong"].to_list() == [pytest.approx(0.05, abs=1e-6)] * 80
    assert told["believed_tie"].to_list() == [pytest.approx(0.03, abs=1e-6)] * 80


def test_nineteen_answers_teach_nothing_about_other_pairs() -> None:
    told = calibrated(pool(80), said(80, 19), SKILL)
    assert told["p_wrong"].tail(61).to_list() == [pytest.approx(0.05, abs=1e-6)] * 61


def test_a_vote_counts_on_its_own_pair_by_bayes() -> None:
    """0.95, 0.03, 0.02 before; a vote for b of skill 0.8, misses 0.1: b has 0.016 of 0.114."""
    one = said(3, 0).with_columns(said_b=pl.when(pl.col("pair_id") == "p0001").then(1.0).otherwise(0.0))
    told = calibrated(pool(3), one, SKILL)
    assert told["believed_a"].to_list() == [pytest.approx(x, abs=1e-6) for x in (0.95, 0.095 / 0.114, 0.95)]
    assert told["p_wrong"][1] == pytest.approx(0.019 / 0.114, abs=1e-6)


def test_people_no_better_than_chance_neither_teach_nor_count() -> None:
    told = calibrated(pool(), said(400, 400), 1 / 3)
    assert told["p_wrong"].to_list() == [pytest.approx(0.05, abs=1e-6)] * 400


@pytest.mark.slow
def test_p_wrong_finds_the_pairs_that_are_wrong_and_takes_out_human_error() -> None:
    found = by_spread(calibrated(pool(4000), said(4000, 2000), SKILL).tail(2000))
    assert found[0.5] == pytest.approx(0.5, abs=0.06)
    assert found[0.0] == pytest.approx(0.0, abs=0.06)


@pytest.mark.slow
def test_signs_that_tell_nothing_move_a_right_prior_little() -> None:
    assert np.mean([_moved_by_noise(seed) for seed in range(8)]) < 0.015


def _moved_by_noise(seed: int) -> float:
    """Mean distance of P(wrong) from the prior, right at 5 %, on 80 pairs beside 320 answered ones."""
    rng, n = np.random.default_rng(seed), 400
    noise = {"judge_spread": rng.random(n) / 2, "overlap": rng.random(n), "margin": rng.normal(size=n),
             "margin_spread": rng.random(n), "flip_share": rng.random(n), "novelty": rng.random(n)}
    truth = np.where(rng.random(n) < 0.05, 1 + rng.integers(0, 2, n), 0)
    vote = np.where(rng.random(n) < SKILL, truth, (truth + rng.integers(1, 3, n)) % 3)
    votes = np.eye(3)[vote] * (np.arange(n) < 320)[:, None]
    voices = said(n, 0).with_columns(said_a=votes[:, 0], said_tie=votes[:, 1], said_b=votes[:, 2])
    told = calibrated(pool(n).with_columns(**{c: pl.Series(v) for c, v in noise.items()}), voices, SKILL)
    return float((told["p_wrong"].tail(80) - 0.05).abs().to_numpy().mean())


@pytest.mark.slow
def test_the_other_outcomes_share_what_is_wrong_as_people_have_them() -> None:
    """Wrong labels are b, never a tie, though the prior gives the tie more."""
    unasked = calibrated(pool(4000), said(4000, 2000), SKILL).tail(2000).filter(pl.col("judge_spread") > 0)
    assert unasked["believed_tie"].mean() < 0.1


@pytest.mark.slow
def test_a_groups_own_answers_do_not_reach_its_other_pairs() -> None:
    before, after = (
        calibrated(pool(), voices, SKILL).filter(pl.col("group_id") == "g3").tail(5)["p_wrong"]
        for voices in (said(400, 200), said(400, 200).with_columns(
            said_a=pl.when(pl.int_range(pl.len()) == 3).then("said_b").otherwise("said_a"),
            said_b=pl.when(pl.int_range(pl.len()) == 3).then("said_a").otherwise("said_b")))
    )
    assert before.equals(after)


@pytest.mark.slow
def test_answers_chosen_where_judges_doubt_do_not_bias_what_is_learned() -> None:
    """Asked only where judges spread, people contradict more often; elsewhere labels are no worse for that."""
    rows, told = pool(4000), said(4000, 4000)
    is_asked = (pl.int_range(pl.len()) < 200) | pl.Series(rows["judge_spread"] > 0)
    unasked = calibrated(rows, told.with_columns(
        pl.when(is_asked).then(pl.col(c)).otherwise(0.0) for c in ("said_a", "said_tie", "said_b")), SKILL)
    assert by_spread(unasked.tail(3800))[0.0] == pytest.approx(0.0, abs=0.08)


def test_a_turned_label_is_believed_as_far_as_judges_and_people_go() -> None:
    """The same votes for b, the same pair: where the consensus has turned to b, b is the label, and rather right."""
    told = said(3, 0).with_columns(said_b=pl.lit(2.0))
    kept = calibrated(pool(3), told, SKILL)["p_wrong"]
    turned = calibrated(pool(3).with_columns(p_a=pl.lit(0.1)), told, SKILL)["p_wrong"]
    assert (kept + turned > 1).all()
    assert (turned < 0.5).all()


@pytest.mark.slow
def test_the_consensus_keeps_its_posterior_whatever_is_learned() -> None:
    told = calibrated(pool(), said(400, 400), SKILL)
    assert told.select(pool().columns).drop("p_wrong").equals(pool().drop("p_wrong"))


@pytest.mark.slow
def test_sources_with_answers_are_told_apart() -> None:
    """Signs apart, labels of one source are wrong half of the time, and people say so."""
    spread = pl.col("judge_spread") > 0
    rows = pool(2000).with_columns(source=pl.when(spread).then(pl.lit("x")).otherwise(pl.lit("y")), judge_spread=0.0)
    told = calibrated(rows, said(2000, 1000), SKILL).tail(1000)
    found = dict(told.group_by("source").agg(pl.col("p_wrong").mean()).iter_rows())
    assert found["x"] > 0.35
    assert found["y"] < 0.15


@pytest.mark.slow
def test_swapping_a_and_b_changes_no_chance_of_being_wrong() -> None:
    p_b = (1 - pl.col("p_a") - pl.col("p_tie")).round(12)
    rows, told = pool(), said(400, 300)
    other = rows.with_columns(p_a=p_b, judges_a=p_b, length_a="length_b", length_b="length_a")
    prior_b = (1 - pl.col("prior_a") - pl.col("prior_tie")).round(12)
    mirrored = told.with_columns(said_a="said_b", said_b="said_a", prior_a=prior_b)
    one, two = calibrated(rows, told, SKILL), calibrated(other, mirrored, SKILL)
    assert two["p_wrong"].to_list() == pytest.approx(one["p_wrong"].to_list(), abs=1e-4)
    assert two["believed_tie"].to_list() == pytest.approx(one["believed_tie"].to_list(), abs=1e-4)


@pytest.mark.slow
def test_the_order_of_rows_changes_nothing() -> None:
    once = calibrated(pool(), said(400, 300), SKILL)
    assert once.equals(calibrated(pool().reverse(), said(400, 300).reverse(), SKILL).sort("pair_id"))


def test_nobody_has_spoken_on_a_pair_without_voices() -> None:
    majority = said(2, 0).with_columns(n_heard=pl.Series([2.0, 3.0]))
    assert calibrated(pool(3), majority, SKILL)["n_heard"].to_list() == [2, 3, 0]
    assert calibrated(pool(3), said(2, 0), SKILL)["n_heard"].to_list() == [None] * 3
