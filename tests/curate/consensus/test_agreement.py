"""α agrees with another implementation on every metric, chance is 0, and the interval resamples groups."""

from __future__ import annotations

from collections.abc import Sequence

import evalica
import numpy as np
import pandas as pd
import polars as pl
import pytest

from curate.consensus.agreement import Metric, krippendorff_alpha
from schemas.errors import InputError, RefusedError
from schemas.tables import EVIDENCE

Row = tuple[str, str, float, float]
METRICS: list[Metric] = ["nominal", "ordinal", "interval"]


def evidence(rows: Sequence[Row]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=["pair_id", "voter", "p_a", "p_tie"], orient="row")
    return EVIDENCE.complete(frame.with_columns(
        pl.col("p_a", "p_tie").cast(pl.Float64), criterion=pl.lit("overall"),
        ballot_id=pl.concat_str("pair_id", "voter"), kind=pl.lit("human"), family=pl.col("voter"),
        is_abstention=pl.lit(False), is_flipped=None, weight=pl.lit(1.0)))


def votes(n_pairs: int, skill: float, seed: int) -> pl.DataFrame:
    """Two to four votes per pair, right with `skill` and else anything."""
    chance = np.random.default_rng(seed)
    truth = chance.integers(0, 3, n_pairs)
    rows = []
    for i, n in enumerate(chance.integers(2, 5, n_pairs)):
        said = np.where(chance.random(n) < skill, truth[i], chance.integers(0, 3, n))
        rows += [(f"p{i:03}", f"v{j}", float(k == 0), float(k == 1)) for j, k in enumerate(said)]
    return evidence(rows)


@pytest.mark.parametrize("metric", METRICS)
def test_alpha_is_that_of_evalica(metric: Metric) -> None:
    rows = votes(60, 0.5, 1)
    said = rows.with_columns(x=pl.when(pl.col("p_a") == 1).then(1).when(pl.col("p_tie") == 1).then(2).otherwise(3))
    table = pd.DataFrame(said.select("pair_id", "voter", "x").to_dicts()).pivot(
        index="voter", columns="pair_id", values="x")
    assert krippendorff_alpha(rows, metric).alpha == pytest.approx(evalica.alpha(table, metric).alpha, abs=1e-9)


def test_four_votes_worked_by_hand() -> None:
    """Pairs (a, a) and (a, b): 2 of 4 coincidences differ; 3 votes for a, 1 for b make 2 · 3 · 1 / 3 = 2 by chance."""
    fit = krippendorff_alpha(evidence([("p", "v", 1, 0), ("p", "w", 1, 0), ("q", "v", 1, 0), ("q", "w", 0, 0)]))
    assert (fit.alpha, fit.n_pairs, fit.n_votes) == (0.0, 2, 4)


def test_full_agreement_is_one_and_a_lone_vote_says_nothing() -> None:
    rows = [("p", "v", 1, 0), ("p", "w", 1, 0), ("q", "v", 0, 0), ("q", "w", 0, 0), ("r", "v", 0, 1)]
    fit = krippendorff_alpha(evidence(rows))
    assert (fit.alpha, fit.low, fit.high, fit.n_pairs) == (1.0, 1.0, 1.0, 2)


@pytest.mark.parametrize("metric", METRICS)
def test_chance_lies_in_the_interval_around_zero(metric: Metric) -> None:
    fit = krippendorff_alpha(votes(200, 0.0, 2), metric)
    assert fit.low < 0 < fit.high
    assert fit.high - fit.low < 0.25


def test_a_tie_beside_a_win_is_less_disagreement_than_the_opposite_where_outcomes_are_ordered() -> None:
    base = [(f"p{i}", v, float(i % 2), 0.0) for i in range(6) for v in ("v", "w")]
    near, far = [*base, ("q", "v", 1, 0), ("q", "w", 0, 1)], [*base, ("q", "v", 1, 0), ("q", "w", 0, 0)]
    for metric in ("ordinal", "interval"):
        assert krippendorff_alpha(evidence(near), metric).alpha > krippendorff_alpha(evidence(far), metric).alpha


@pytest.mark.parametrize("metric", METRICS)
def test_swapped_letters_and_shuffled_rows_change_nothing(metric: Metric) -> None:
    rows = votes(40, 0.6, 3)
    mirrored = rows.with_columns(p_a=1 - pl.col("p_a") - pl.col("p_tie"))
    straight, swapped = krippendorff_alpha(rows, metric), krippendorff_alpha(mirrored, metric)
    assert krippendorff_alpha(rows[::-1], metric) == straight
    assert (swapped.alpha, swapped.low, swapped.high) == pytest.approx((straight.alpha, straight.low, straight.high))


def test_pairs_that_share_a_group_are_resampled_together() -> None:
    rows = votes(120, 0.6, 4)
    names = rows["pair_id"].unique().sort()
    grouped = pl.DataFrame({"pair_id": names, "group_id": [f"g{i // 20}" for i in range(120)]})
    fit = krippendorff_alpha(rows, groups=grouped)
    assert (fit.n_groups, fit.is_descriptive) == (6, True)
    assert not krippendorff_alpha(rows).is_descriptive
    with pytest.raises(InputError, match="without a group"):
        krippendorff_alpha(rows, groups=grouped.head(100))


def test_votes_that_are_all_alike_have_no_alpha() -> None:
    with pytest.raises(RefusedError, match="all alike"):
        krippendorff_alpha(evidence([("p", "v", 1, 0), ("p", "w", 1, 0)]))
