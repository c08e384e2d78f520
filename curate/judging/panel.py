"""A panel of judges: folded within each judge first, then across judges; and what it is worth at equal coverage.

Within a judge, both orders are folded (`curate/consensus/folding.py`), so a verdict that follows the slot is an
abstention. Across judges, the mean over families of the mean over a family's judges (Verga et al. 2024, panel of
judges; families, so that a copy of a judge adds nothing). An abstention counts as one half and not as absence: a
judge that contradicts itself says that the pair is hard, and the panel is less sure of it.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from curate.consensus.outcomes import DECIMALS, expected_win, verdict
from curate.judging.order_effects import true_side
from curate.rewards.features import FloatArray
from schemas.errors import InputError

PANEL = {
    "pair_id": pl.String(), "p_a": pl.Float64(), "p_tie": pl.Float64(), "is_abstention": pl.Boolean(),
    "n_judges": pl.Int64(), "n_abstentions": pl.Int64(),
}


def panel_of_judges(evidence: pl.DataFrame, margin: float) -> pl.DataFrame:
    """One row per pair (columns PANEL), sorted: the panel's opinion, with how many judges it heard.

    `evidence` keeps EVIDENCE, rows of judges only, calibrated or not. The panel abstains where all its judges do and
    where its expected win is within `margin` of one half; p_a and p_tie are there all the same, 1/2 and 0 where all
    abstain, because a rule of another margin reads them.
    """
    said = _with_halves(evidence).group_by("pair_id", "family", "voter").agg(
        _mean("p_a"), _mean("p_tie"), pl.col("is_abstention").all()
    )
    families = said.sort("voter").group_by("pair_id", "family", maintain_order=True).agg(
        _mean("p_a"), _mean("p_tie"), pl.len().alias("n"), pl.col("is_abstention").sum().alias("n_silent")
    )
    pairs = families.sort("family").group_by("pair_id", maintain_order=True).agg(
        _mean("p_a"), _mean("p_tie"), pl.col("n").sum().cast(pl.Int64).alias("n_judges"),
        pl.col("n_silent").sum().cast(pl.Int64).alias("n_abstentions"),
    )
    return pairs.with_columns(_abstains(margin)).select(*PANEL).sort("pair_id")


def majority_of_judges(evidence: pl.DataFrame) -> pl.DataFrame:
    """The baseline, same columns: each judge's folded verdict is one hard vote, families or not; p is their share."""
    hard = _with_halves(evidence).with_columns(verdict(pl.col("p_a"), pl.col("p_tie")).alias("said"))
    tie = ((pl.col("said") == "tie") & ~pl.col("is_abstention")).mean()
    silent = pl.col("is_abstention").mean()
    counted = hard.sort("voter").group_by("pair_id", maintain_order=True).agg(
        ((pl.col("said") == "a").mean() + silent / 2).round(12).alias("p_a"), tie.round(12).alias("p_tie"),
        pl.col("voter").n_unique().cast(pl.Int64).alias("n_judges"),
        pl.col("is_abstention").sum().cast(pl.Int64).alias("n_abstentions"),
    )
    return counted.with_columns(_abstains(0.0)).select(*PANEL).sort("pair_id")


def judged(opinions: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """Opinions beside decided truth: pair_id, group_id, correct (1, 0, or 1/2 without a side), confidence in 0..1/2.

    `opinions` has pair_id, p_a, p_tie (null: an abstention); `truth` has pair_id, group_id, p_a, p_tie. One row per
    pair of `truth` that is decided, sorted, pairs without an opinion among them. Raises InputError for a repeated pair.
    """
    if opinions["pair_id"].is_duplicated().any():
        raise InputError("a pair twice", expected="one opinion per pair", next="fold the votes first")
    decided = truth.select("pair_id", "group_id", true_side(pl.col("p_a"), pl.col("p_tie")).alias("side"))
    edge = (expected_win(pl.col("p_a"), pl.col("p_tie")).fill_null(0.5) - 0.5).round(DECIMALS)
    is_right = ((edge > 0) == (pl.col("side") == "a")).cast(pl.Float64)
    rows = decided.drop_nulls("side").join(opinions.select("pair_id", "p_a", "p_tie"), on="pair_id", how="left")
    return rows.select(
        "pair_id", "group_id", pl.when(edge == 0).then(0.5).otherwise(is_right).alias("correct"),
        edge.abs().alias("confidence"),
    ).sort("pair_id")


def coverage_curve(scored: pl.DataFrame) -> pl.DataFrame:
    """(coverage, accuracy), one row per distinct confidence from the surest down: what answering so much is worth.

    `scored` is of `judged`. The last row is coverage 1, where pairs without a side count one half.
    """
    levels = scored.group_by("confidence").agg(pl.col("correct").sum(), pl.len().cast(pl.Float64).alias("n"))
    running = levels.sort("confidence", descending=True).with_columns(pl.col("correct", "n").cum_sum())
    return running.select(
        (pl.col("n") / scored.height).alias("coverage"), (pl.col("correct") / pl.col("n")).alias("accuracy")
    )


def coverage_of(scored: pl.DataFrame) -> float:
    """Share of pairs on which there is a side."""
    return float(scored.select((pl.col("confidence") > 0).mean()).item() or 0.0)


def accuracy_at(scored: pl.DataFrame, coverage: FloatArray, weights: FloatArray) -> FloatArray:
    """(r,) accuracies on the surest share `coverage` (r,) of the pairs, each pair weighing `weights` (r, pairs).

    Pairs of equal confidence are taken in equal parts: no order among them is made up. Coverage 0 gives NaN.
    `weights` of one are the data as they are; counts of resampled pairs are a bootstrap.
    """
    ordered = scored.with_row_index("at").sort("confidence", descending=True, maintain_order=True)
    right, at = ordered["correct"].to_numpy(), ordered["at"].to_numpy()
    block = ordered["confidence"].rle_id().to_numpy()
    starts = np.flatnonzero(np.diff(block, prepend=-1))
    drawn = weights[:, at]
    size = np.add.reduceat(drawn, starts, axis=1)
    gain = np.add.reduceat(drawn * right, starts, axis=1)
    wanted = (coverage * drawn.sum(axis=1))[:, None]
    taken = np.clip(wanted - (np.cumsum(size, axis=1) - size), 0.0, size)
    share = np.divide(taken, size, out=np.zeros_like(taken), where=size > 0)
    return np.asarray((share * gain).sum(axis=1) / np.where(wanted[:, 0] > 0, wanted[:, 0], np.nan), dtype=np.float64)


def _with_halves(evidence: pl.DataFrame) -> pl.DataFrame:
    return evidence.with_columns(pl.col("p_a").fill_null(0.5), pl.col("p_tie").fill_null(0.0)).sort(
        "pair_id", "voter", "criterion", "ballot_id"
    )


def _mean(column: str) -> pl.Expr:
    return pl.col(column).mean().round(12)


def _abstains(margin: float) -> pl.Expr:
    edge = (expected_win(pl.col("p_a"), pl.col("p_tie")) - 0.5).abs().round(DECIMALS)
    return ((edge == 0) | (edge < margin) | (pl.col("n_judges") == pl.col("n_abstentions"))).alias("is_abstention")
