"""HyPER learns which pairs a person is worth, and shuffled gains show when it has learned nothing."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from curate.routing.hyper import (
    SIZE,
    draw_mixes,
    fit_performance,
    measured_mixes,
    permuted,
    route_by_hyper,
    scores,
    simulated_mixes,
)
from curate.routing.hyper_features import hyper_features
from schemas.errors import InputError, RefusedError
from schemas.ids import fold_of_expr
from schemas.people import HyPER

N = 120
RULE = HyPER(n_mixes=40)


def rows(n: int = N) -> pl.DataFrame:
    """Short answers (a better) on even places, where the AI is right, and code on odd ones, where it is wrong.

    People prefer the longer answer on both kinds; the AI prefers the shorter one on code.
    """
    i = pl.int_range(n)
    is_code, is_a_long = i % 2 == 1, (i // 2) % 2 == 0
    long, short = pl.lit("word " * 40), pl.lit("word " * 4)
    return pl.select(
        pl.format("p{}", i.cast(pl.String).str.zfill(3)).alias("pair_id"), pl.format("g{}", i // 4).alias("group_id"),
        pl.when(is_code).then(pl.lit("python code")).otherwise(pl.lit("hello")).alias("prompt"),
        pl.when(is_a_long).then(long).otherwise(short).alias("text_a"),
        pl.when(is_a_long).then(short).otherwise(long).alias("text_b"),
        is_a_long.cast(pl.Float64).alias("p_human"), (is_a_long ^ is_code).cast(pl.Float64).alias("p_ai"),
    )


def mixes(**performance: list[float]) -> pl.DataFrame:
    """Twelve mixes in two folds: share of x from 0 to 1, share of y what is left."""
    share = np.tile(np.linspace(0, 1, 6), 2)
    return pl.DataFrame({
        "mix": np.arange(12), "fold": np.repeat([0, 1], 6), "performance": performance["of"],
        SIZE: np.tile([0.1, 0.9, 0.5, 0.2, 0.7, 0.4], 2), "x": share, "y": 1 - share,
    })


def features(**has: list[bool]) -> pl.DataFrame:
    return pl.DataFrame({"pair_id": [f"p{i}" for i in range(len(has["x"]))]} | has)


def test_a_mix_fills_up_feature_by_feature() -> None:
    """Of two features that no row shares, a mix of at most half the rows holds rows of one only."""
    halves = features(x=[True] * 10 + [False] * 10, y=[False] * 10 + [True] * 10)
    drawn = draw_mixes(halves, 200, 1)
    small = drawn[drawn.sum(axis=1) <= 10]
    assert ((small[:, :10].sum(axis=1) == 0) | (small[:, 10:].sum(axis=1) == 0)).all()
    assert set(drawn.sum(axis=1)) >= {1, 20}, "every budget from one pair to all"


def test_performance_falls_to_the_feature_that_brings_it() -> None:
    found = fit_performance(mixes(of=np.tile(np.linspace(0, 1, 6), 2).tolist()), 0.01)
    assert dict(found.weights.iter_rows())["x"] == pytest.approx(0.5, abs=0.02)
    assert dict(found.weights.iter_rows())["y"] == pytest.approx(-0.5, abs=0.02)
    assert found.rank_correlation == pytest.approx(1)


def test_what_the_budget_or_the_fold_explains_is_no_merit_of_a_feature() -> None:
    size, fold = mixes(of=[0.0] * 12)[SIZE].to_list(), [0.0] * 6 + [5.0] * 6
    found = fit_performance(mixes(of=[s + s * s + f for s, f in zip(size, fold, strict=True)]), 0.01)
    assert found.weights["weight"].to_list() == pytest.approx([0, 0], abs=1e-9)


def test_a_stronger_penalty_shrinks_the_weights() -> None:
    of = np.tile(np.linspace(0, 1, 6), 2).tolist()
    weak, strong = (fit_performance(mixes(of=of), l2).weights["weight"].abs().sum() for l2 in (0.1, 10.0))
    assert strong < weak / 2


def test_the_pairs_of_highest_gain_are_the_best_mix_of_their_number() -> None:
    found = fit_performance(mixes(of=np.tile(np.linspace(0, 1, 6), 2).tolist()), 0.1)
    own = features(x=[True, False, True, False, False, False], y=[False, True, True, False, True, True])
    gains = scores(own, found).sort("score", descending=True)
    simulated = simulated_mixes(own, found, 2, 50, 1)
    best = gains["score"].to_numpy()[:2].mean() - gains["score"].to_numpy().mean()
    assert simulated["predicted"].max() == pytest.approx(best)
    assert simulated["predicted"].is_sorted(descending=True)


def test_features_no_mix_had_count_nothing() -> None:
    found = fit_performance(mixes(of=np.tile(np.linspace(0, 1, 6), 2).tolist()), 0.1)
    own = features(x=[True, True], new=[True, False])
    assert scores(own, found)["score"].n_unique() == 1


@pytest.mark.slow
def test_people_go_where_the_ai_is_wrong() -> None:
    said = rows()
    found = route_by_hyper(said, said, RULE, 1).join(said, on="pair_id")
    mean = dict(found.group_by("prompt").agg(pl.col("score").mean()).iter_rows())
    assert mean["python code"] > mean["hello"]
    assert found.sort("score", descending=True)["prompt"].head(N // 2).to_list() == ["python code"] * (N // 2)


@pytest.mark.slow
def test_with_equal_labels_nothing_is_learned() -> None:
    said = rows().with_columns(p_ai=pl.col("p_human"))
    assert route_by_hyper(said, said, RULE, 1)["score"].abs().max() == 0


@pytest.mark.slow
def test_rows_and_letters_in_another_order_change_nothing() -> None:
    said = rows()
    whole = route_by_hyper(said, said, RULE, 1)
    shuffled = said.sample(N, shuffle=True, seed=5)
    assert route_by_hyper(shuffled, shuffled, RULE, 1).equals(whole)
    mirrored = said.with_columns(
        text_a="text_b", text_b="text_a", p_ai=1 - pl.col("p_ai"), p_human=1 - pl.col("p_human"))
    again = route_by_hyper(mirrored, mirrored, RULE, 1)["score"].to_list()
    assert again == pytest.approx(whole["score"].to_list(), abs=1e-6)


@pytest.mark.slow
def test_a_mix_is_never_measured_on_a_group_it_was_trained_on() -> None:
    """With every label turned round in one half of the groups, what is learned on either half fails on the other."""
    is_turned = fold_of_expr("group_id", 2) == 0
    turned = pl.when(is_turned).then(1 - pl.col("p_human")).otherwise("p_human")
    said = rows().with_columns(p_human=turned, p_ai=turned)
    found = measured_mixes(said, hyper_features(said), RULE, 1)
    assert found.group_by("fold").len().sort("fold")["len"].to_list() == [20, 20]
    assert found["performance"].to_numpy().max() < np.log(0.5)


def test_shuffled_gains_are_the_same_gains_on_other_pairs() -> None:
    gains = pl.DataFrame({"pair_id": [f"p{i:02}" for i in range(40)], "score": [float(i) for i in range(40)]})
    control = permuted(gains, 1)
    assert sorted(control["score"]) == sorted(gains["score"])
    assert abs(np.corrcoef(control["score"], gains["score"])[0, 1]) < 0.5
    assert permuted(gains.reverse(), 1).equals(control)


@pytest.mark.slow
def test_too_few_pairs_with_both_labels_are_refused() -> None:
    with pytest.raises(RefusedError, match="both labels"):
        route_by_hyper(rows(), rows(30), RULE, 1)


def test_unregularised_fits_and_single_mixes_are_refused() -> None:
    with pytest.raises(InputError, match="l2"):
        fit_performance(mixes(of=[0.0] * 12), 0.0)
    with pytest.raises(RefusedError, match="mixes"):
        fit_performance(mixes(of=[0.0] * 12).head(7), 1.0)


def test_more_pairs_than_there_are_cannot_be_simulated() -> None:
    found = fit_performance(mixes(of=[0.0] * 12), 1.0)
    with pytest.raises(InputError, match="pairs of 2"):
        simulated_mixes(features(x=[True, False]), found, 3, 5, 1)
