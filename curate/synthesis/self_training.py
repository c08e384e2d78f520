"""Self-training: a reward model labels what nobody labelled, keeps what it is sure of, and is fitted again.

In the manner of SSRM (semi-supervised reward modelling; only its abstract was read): pseudo-labels of
certainty >= tau, retrain, repeat. Assumed here: labels are the likeliest outcome, all of them are made anew
each time, and the loop ends by itself. It has to: what it keeps grows while its purity falls (measured on one
set from 94.6 to 85.9 %), and a model that learns its own mistakes is ever surer of them. Whether it still
helps can only be seen on gold of use `steer`; gate gold is never read here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import polars as pl

from curate.consensus.outcomes import DECIMALS, expected_win, p_b, verdict
from curate.synthesis.selection import checked, discarded
from schemas.errors import InputError, RefusedError

STAGE = "self_training"
HISTORY = {"step": pl.Int64, "n_pseudo": pl.Int64, "kept_share": pl.Float64, "gold_accuracy": pl.Float64}

Model = TypeVar("Model")


@dataclass(frozen=True)
class PseudoLabels:
    """Labels that a model is sure of, and the pairs on which it is not."""

    labels: pl.DataFrame
    """pair_id, p_a, p_tie (0 or 1 each), certainty, sorted by pair_id"""
    discards: pl.DataFrame
    """contract DISCARDS of pairs: `uncertain`, `no_prediction`"""


@dataclass(frozen=True)
class SelfTrained(Generic[Model]):
    """The model of the best step, the pseudo-labels it was fitted on, and the way there."""

    model: Model
    labels: PseudoLabels
    history: pl.DataFrame
    """one row per fit: step (0: labelled pairs only), n_pseudo, kept_share of the unlabelled, gold_accuracy"""
    step: int
    """the step whose model this is: the first of the highest gold accuracy"""


def pseudo_labels(predictions: pl.DataFrame, tau: float) -> PseudoLabels:
    """Labels where the likeliest of the three outcomes has p >= `tau`; predictions have pair_id, p_a, p_tie.

    Raises InputError for a tau outside (0.5, 1], a missing column or a repeated pair.
    """
    if not 0.5 < tau <= 1:
        raise InputError(f"tau = {tau}", expected="above 0.5, at most 1")
    rows = checked(predictions, ("pair_id", "p_a", "p_tie"), "predictions")
    a, tie = pl.col("p_a"), pl.col("p_tie")
    certainty = pl.max_horizontal(a, tie, p_b(a, tie)).round(DECIMALS)
    is_there = (a.is_finite() & tie.is_finite()).fill_null(False)
    told = rows.with_columns(certainty.alias("certainty"), verdict(a, tie).alias("verdict"), is_there.alias("there"))
    sure = told.filter(pl.col("there") & (pl.col("certainty") >= tau))
    rest = told.filter(~(pl.col("there") & (pl.col("certainty") >= tau)).fill_null(False))
    reason = pl.when("there").then(pl.lit("uncertain")).otherwise(pl.lit("no_prediction"))
    labels = sure.select("pair_id", "certainty", **{
        name: (pl.col("verdict") == said).cast(pl.Float64) for name, said in (("p_a", "a"), ("p_tie", "tie"))})
    return PseudoLabels(labels.select("pair_id", "p_a", "p_tie", "certainty"), discarded(
        rest.select(row_id="pair_id", reason=reason), "pair", STAGE))


def should_stop(gold_accuracies: Sequence[float], *, patience: int = 1, min_gain: float = 0.0) -> bool:
    """Whether the last `patience` accuracies did not rise above the best before them by more than `min_gain`.

    False while there are `patience` values or fewer. Raises InputError for patience < 1.
    """
    if patience < 1:
        raise InputError(f"patience = {patience}", expected="1 or more")
    before, last = gold_accuracies[:-patience], gold_accuracies[-patience:]
    return bool(before) and max(last) <= max(before) + min_gain


def self_train(
    labelled: pl.DataFrame, unlabelled: pl.DataFrame, gold: pl.DataFrame, fit: Callable[[pl.DataFrame], Model],
    score: Callable[[Model, pl.DataFrame], pl.DataFrame], *, tau: float = 0.9, max_steps: int = 5, patience: int = 1,
) -> SelfTrained[Model]:
    """Fit, pseudo-label, fit again, until accuracy on `gold` stops rising; at most `max_steps` times.

    All three frames have the columns that `fit` reads, with pair_id, p_a, p_tie (those of `unlabelled` are
    not read); `score` gives (pair_id, p_a, p_tie). The model handed back is that of the best step, so the step
    that made it stop costs time, not quality. Raises InputError as `pseudo_labels`, RefusedError for a gold
    group or pair among the training pairs, or gold without a winner.
    """
    _refuse_leaks(labelled, unlabelled, gold)
    unsaid = pl.lit(None, pl.Float64)
    none = pseudo_labels(unlabelled.select("pair_id", p_a=unsaid, p_tie=unsaid), tau)
    steps = [(fit(labelled.sort("pair_id")), none)]
    accuracies = [_accuracy(score(steps[0][0], gold), gold)]
    while len(steps) <= max_steps and not should_stop(accuracies, patience=patience):
        found = pseudo_labels(score(steps[-1][0], unlabelled), tau)
        joined = unlabelled.drop("p_a", "p_tie", strict=False).join(found.labels.drop("certainty"), on="pair_id")
        model = fit(pl.concat([labelled, joined.select(labelled.columns)]).sort("pair_id"))
        steps.append((model, found))
        accuracies.append(_accuracy(score(model, gold), gold))
    best = accuracies.index(max(accuracies))
    return SelfTrained(*steps[best], _history([s[1] for s in steps], accuracies, unlabelled.height), best)


def _refuse_leaks(labelled: pl.DataFrame, unlabelled: pl.DataFrame, gold: pl.DataFrame) -> None:
    for key in ("pair_id", "group_id"):
        if not all(key in frame.columns for frame in (labelled, unlabelled, gold)):
            continue
        seen = pl.concat([labelled[key], unlabelled[key]]).unique()
        shared = gold.filter(pl.col(key).is_in(seen.to_list()))
        if shared.height:
            raise RefusedError(f"{shared.height} gold pairs whose {key} is trained on", expected="none",
                               next="leave these out of training")


def _accuracy(predictions: pl.DataFrame, gold: pl.DataFrame) -> float:
    """Share of decided gold whose winner has the larger expected win, an even one counting half."""
    truth = gold.select("pair_id", (expected_win(pl.col("p_a"), pl.col("p_tie")) - 0.5).sign().alias("truth"))
    said = predictions.select("pair_id", (expected_win(pl.col("p_a"), pl.col("p_tie")) - 0.5).sign().alias("said"))
    both = truth.filter(pl.col("truth") != 0).join(said, on="pair_id", how="left").with_columns(
        pl.col("said").fill_null(0.0))
    if both.is_empty():
        raise RefusedError("no gold pair with a winner", expected="one or more", next="mark gold of use steer")
    return float(both.select((1 + pl.col("truth") * pl.col("said")).mean() / 2).item())


def _history(steps: Sequence[PseudoLabels], accuracies: Sequence[float], n_unlabelled: int) -> pl.DataFrame:
    kept = [s.labels.height for s in steps]
    shares = [n / max(n_unlabelled, 1) for n in kept]
    columns = {"step": range(len(steps)), "n_pseudo": kept, "kept_share": shares, "gold_accuracy": accuracies}
    return pl.DataFrame(columns, schema=HISTORY)
