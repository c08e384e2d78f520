"""Calibration of judges: what a judge's probability is worth, learned on gold, applied at settling; votes stay raw.

A fit is made for the mean over a pair's answers, because that is what a settling reads: both orders agreeing say
more than one of them, and an order-symmetric rule leaves answers that contradict each other at one half. Each question
(`votes.instrument`) of a voter has a fit of its own: a verdict on a pair and a comparison of two ratings are worth
different things from the same judge.

temperature   p of a, tie and b ∝ p^(1/T), p_tie times exp(tie bias) on top (Guo et al. 2017, temperature scaling; the
              bias is vector scaling that treats a and b alike). Where gold holds no ties nothing is known about
              them: p_tie stays as said and T divides the rest between a and b.
isotonic      the expected win e becomes 1/2 ± g(|e - 1/2|), g increasing and at least 0 (Zadrozny & Elkan 2002).
              p_tie stays as said unless the new e leaves less room.

Recorded verdicts are often hard (probability 0 or 1). Votes come in steps of 1/200, so half a step is added to each
outcome before logs are taken; for a judge that only says hard verdicts, T then says how often it is right. Targets
are smoothed as Platt's (Platt 1999): right on all n pairs where it takes a side, a judge is worth n + 1 of n + 2.
T is positive and g not negative: an adversarial judge becomes one without an opinion, never an inverted one.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression

from curate.consensus.outcomes import STEPS, expected_win, p_b, quantised
from curate.judging.order_effects import true_side
from curate.rewards.evaluation import brier, calibration_error
from curate.rewards.features import FloatArray
from schemas.errors import InputError
from schemas.ids import fold_of_expr

METHODS = ("none", "temperature", "isotonic")
MIN_PAIRS = 30
"""fewer decided gold pairs fit nothing: the voter keeps its own probabilities"""
FITS = {
    "voter": pl.String(), "instrument": pl.String(), "method": pl.String(), "n_pairs": pl.Int64(),
    "temperature": pl.Float64(), "tie_bias": pl.Float64(), "distance": pl.List(pl.Float64()),
    "calibrated": pl.List(pl.Float64()), "reason": pl.String(),
}

_QUESTION = ("voter", "instrument")
_EPSILON = 0.5 / STEPS
_MAX_SHARPNESS, _MAX_TIE_BIAS = 20.0, 6.0
_MIN_SHARPNESS = 1e-3  # T = 1000: no opinion left
_RIDGE = 0.01
_STEP_PAIRS = 10  # pairs behind each step of the isotonic rule, at least
_EDGE = 1e-6  # log odds of hard probabilities must be finite to be measured


def votes_on_gold(votes: pl.DataFrame, voters: pl.DataFrame, gold: pl.DataFrame) -> pl.DataFrame:
    """Judges' opinions beside the truth: voter, instrument, pair_id, group_id, p_a, p_tie, true_a, true_tie, sorted.

    `votes` keeps VOTES (abstentions and whatever is not `cast` are left out), `voters` keeps VOTERS: only judges are
    calibrated, people never. `gold` has pair_id, group_id, p_a, p_tie.
    """
    judges = voters.filter(pl.col("kind") == "judge")
    said = votes.filter(pl.col("status") == "cast", ~pl.col("is_abstention")).join(judges, on="voter", how="semi")
    truth = gold.select("pair_id", "group_id", pl.col("p_a").alias("true_a"), pl.col("p_tie").alias("true_tie"))
    beside = said.select(*_QUESTION, "pair_id", "p_a", "p_tie").join(truth, on="pair_id")
    return beside.select(*_QUESTION, "pair_id", "group_id", "p_a", "p_tie", "true_a", "true_tie").sort(pl.all())


def fit_calibration(votes_on_gold: pl.DataFrame, method: str) -> pl.DataFrame:
    """One row per voter and instrument (columns FITS), sorted: how its probabilities become calibrated ones.

    `votes_on_gold` has the columns of the function of that name; `method` is one of METHODS. `temperature` is T and
    `tie_bias` its bias, null where ties stay as said. `distance` and `calibrated` are the knots of g: expected win
    less one half, before and after. Under MIN_PAIRS decided pairs, and for `none`, all are null and `reason` says why.
    Raises InputError for an unknown method.
    """
    if method not in METHODS:
        raise InputError(f"calibration {method!r}", expected=f"one of {METHODS}", next="mend judging.calibration")
    each = votes_on_gold.sort(pl.all()).partition_by(_QUESTION, maintain_order=True)
    rows = [{**mine.select(_QUESTION).row(0, named=True), **_fit(_by_pair(mine), mine, method)} for mine in each]
    return pl.DataFrame(rows, schema=FITS).sort(_QUESTION)


def apply_calibration(votes: pl.DataFrame, fits: pl.DataFrame) -> pl.DataFrame:
    """`votes` with calibrated p_a and p_tie: same rows, same order, everything else as it was.

    Abstentions, and voters without a fit for the question asked (people among them), are untouched. p in steps of
    1/200, so the rule is the same for a pair and its mirror image to the last bit, and never turns a verdict for a into
    one for b.
    """
    rules = {(row["voter"], row["instrument"]): row for row in fits.iter_rows(named=True) if not row["reason"]}
    rows = votes.with_row_index("_at")
    parts = [
        _calibrated(mine, rules[question]) if question in rules else mine
        for question, mine in rows.group_by(_QUESTION, maintain_order=True)
    ]
    return pl.concat(parts).sort("_at").drop("_at") if parts else votes


def cross_fitted(votes_on_gold: pl.DataFrame, method: str, n_folds: int = 5) -> pl.DataFrame:
    """`votes_on_gold` with each group's probabilities calibrated by a fit that has not seen its fold."""
    folded = votes_on_gold.with_columns(fold_of_expr("group_id", n_folds), is_abstention=pl.lit(False))
    parts = []
    for fold in range(n_folds):
        inside, outside = folded.filter(pl.col("fold") == fold), folded.filter(pl.col("fold") != fold)
        parts.append(apply_calibration(inside, fit_calibration(outside.select(votes_on_gold.columns), method)))
    return pl.concat(parts).select(votes_on_gold.columns).sort(pl.all())


def calibration_quality(votes_on_gold: pl.DataFrame) -> pl.DataFrame:
    """One row per voter: voter, n_pairs, ece, brier; on the pairs' mean expected win against decided truth.

    Expected calibration error with ten bins and two-way Brier score, as in `curate.rewards.evaluation`.
    """
    rows = []
    for mine in votes_on_gold.sort(pl.all()).partition_by("voter", maintain_order=True):
        win = expected_win(pl.col("p_a"), pl.col("p_tie")).clip(_EDGE, 1 - _EDGE)
        scored = _by_pair(mine).select(
            "pair_id", "group_id", p_a="true_a", p_tie="true_tie", margin=(win / (1 - win)).log().round(9)
        )
        n = scored.select(true_side(pl.col("p_a"), pl.col("p_tie")).count()).item()
        rows.append({"voter": mine["voter"][0], "n_pairs": n, "ece": calibration_error(scored), "brier": brier(scored)})
    schema = {"voter": pl.String(), "n_pairs": pl.Int64(), "ece": pl.Float64(), "brier": pl.Float64()}
    return pl.DataFrame(rows, schema=schema)


def _by_pair(mine: pl.DataFrame) -> pl.DataFrame:
    return mine.group_by("pair_id", maintain_order=True).agg(
        pl.col("group_id", "true_a", "true_tie").first(), pl.col("p_a", "p_tie").mean().round(12)
    )


def _fit(pairs: pl.DataFrame, votes: pl.DataFrame, method: str) -> dict[str, object]:
    is_decided = true_side(pl.col("true_a"), pl.col("true_tie")).is_not_null()
    n = int(pairs.select(is_decided.sum()).item())
    found: dict[str, object] = {"method": method, "n_pairs": n, "reason": ""}
    if method == "none":
        return {**found, "reason": "the recipe asks for none"}
    if n < MIN_PAIRS:
        return {**found, "method": "none", "reason": f"{n} decided gold pairs, {MIN_PAIRS} are needed"}
    if method == "temperature":
        return {**found, **_fit_temperature(pairs, votes)}
    return {**found, **_fit_isotonic(pairs)}


def _fit_temperature(pairs: pl.DataFrame, votes: pl.DataFrame) -> dict[str, object]:
    """Maximum likelihood of smoothed truth under the pair's mean; a little ridge keeps the tie bias finite."""
    said, n = _outcomes(votes, "p_a", "p_tie"), pairs.height
    # Pairs on which the judge has no side teach nothing about its sharpness, so they do not count in the smoothing.
    sided = float(np.abs(_outcomes(pairs, "p_a", "p_tie") @ np.array([1.0, 0.0, -1.0])).sum())
    truth = _smoothed(_outcomes(pairs, "true_a", "true_tie"), sided)
    at = votes.select("pair_id").join(pairs.select("pair_id").with_row_index("at"), on="pair_id",
                                      maintain_order="left")["at"].to_numpy()
    has_ties = bool(pairs.select((pl.col("true_tie") > 0).any()).item())
    size = np.bincount(at, minlength=n)[:, None]

    def loss(parameters: FloatArray) -> float:
        sharpness, bias = float(parameters[0]), float(parameters[1]) if has_ties else None
        tempered = _tempered(said, sharpness, bias)
        mean = np.column_stack([np.bincount(at, tempered[:, k], minlength=n) for k in range(3)]) / size
        fits = _cross_entropy(truth, mean) if has_ties else _cross_entropy(_two_way(truth), _two_way(mean))
        return fits + _RIDGE * (bias or 0.0) ** 2 / n

    bounds = [(_MIN_SHARPNESS, _MAX_SHARPNESS), (-_MAX_TIE_BIAS, _MAX_TIE_BIAS)]
    start = np.array([0.5, 0.0])
    best = minimize(loss, start[: 1 + has_ties], method="L-BFGS-B", bounds=bounds[: 1 + has_ties]).x
    return {"temperature": 1.0 / float(best[0]), "tie_bias": float(best[1]) if has_ties else None}


def _fit_isotonic(pairs: pl.DataFrame) -> dict[str, object]:
    """Steps of at least ten pairs, each smoothed like a target, then pooled where they would decrease."""
    edge = expected_win(pl.col("p_a"), pl.col("p_tie")) - 0.5
    truth = expected_win(pl.col("true_a"), pl.col("true_tie"))
    sided = pairs.select(
        edge.abs().round(9).alias("distance"), pl.when(edge > 0).then(truth).otherwise(1 - truth).alias("right")
    ).filter(pl.col("distance") > 0)
    if sided.is_empty():
        return {"distance": [0.0, 0.5], "calibrated": [0.0, 0.0]}
    steps = _steps(sided)
    share = (steps["right"].to_numpy() + 1) / (steps["n"].to_numpy() + 2)
    rule = IsotonicRegression(y_min=0.5, y_max=1.0)
    level = rule.fit_transform(steps["distance"].to_numpy(), share, sample_weight=steps["n"].to_numpy()) - 0.5
    return {"distance": [0.0, *steps["distance"].to_list()], "calibrated": [0.0, *level.tolist()]}


def _steps(sided: pl.DataFrame) -> pl.DataFrame:
    """(distance, right, n) per step; equal distances are never parted, a last step too small joins the one before."""
    levels = sided.sort("distance", "right").group_by("distance", maintain_order=True).agg(
        pl.col("right").sum(), pl.len().cast(pl.Int64).alias("n")
    )
    step, filled, found = 0, 0, []
    for n in levels["n"].to_list():
        found.append(step)
        filled += n
        if filled >= _STEP_PAIRS:
            step, filled = step + 1, 0
    last = step if filled == 0 else max(step - 1, 0)
    at = pl.Series("step", found, dtype=pl.Int64).clip(upper_bound=last)
    weighted = (pl.col("distance") * pl.col("n")).sum() / pl.col("n").sum()
    return levels.with_columns(at).group_by("step", maintain_order=True).agg(
        weighted.alias("distance"), pl.col("right").sum(), pl.col("n").sum()
    )


def _calibrated(mine: pl.DataFrame, rule: dict[str, object]) -> pl.DataFrame:
    said = _outcomes(mine.with_columns(pl.col("p_a", "p_tie").fill_null(0.0)), "p_a", "p_tie")
    new = _tempered_by(said, rule) if rule["method"] == "temperature" else _isotonic_by(said, rule)
    wins = mine.with_columns(pl.Series("_a", new[:, 0]), pl.Series("_b", new[:, 2]))
    p = quantised(pl.col("_a"), pl.col("_b"))
    given = [pl.when(~pl.col("is_abstention")).then(x).alias(c) for c, x in zip(("p_a", "p_tie"), p, strict=True)]
    return wins.with_columns(given).drop("_a", "_b")


def _tempered_by(said: FloatArray, rule: dict[str, object]) -> FloatArray:
    bias = rule["tie_bias"]
    return _tempered(said, 1.0 / float(str(rule["temperature"])), None if bias is None else float(str(bias)))


def _tempered(said: FloatArray, sharpness: float, tie_bias: float | None) -> FloatArray:
    """Outcomes (n, 3) in the order a, tie, b, sharpened or flattened; without a bias the tie stays as said."""
    logs = sharpness * np.log((said + _EPSILON) / (1 + 3 * _EPSILON))
    if tie_bias is None:
        odds = 1 / (1 + np.exp(logs[:, 2] - logs[:, 0]))
        rest = 1 - said[:, 1]
        return np.column_stack([rest * odds, said[:, 1], rest * (1 - odds)])
    logs[:, 1] += tie_bias
    mass = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(mass / mass.sum(axis=1, keepdims=True), dtype=np.float64)


def _isotonic_by(said: FloatArray, rule: dict[str, object]) -> FloatArray:
    edge = (said[:, 0] - said[:, 2]) / 2
    win = 0.5 + np.sign(edge) * np.interp(np.abs(edge), np.array(rule["distance"]), np.array(rule["calibrated"]))
    tie = np.minimum(said[:, 1], 2 * np.minimum(win, 1 - win))
    return np.column_stack([win - tie / 2, tie, 1 - win - tie / 2])


def _outcomes(frame: pl.DataFrame, p_a: str, p_tie: str) -> FloatArray:
    """(n, 3): a, tie, b."""
    a, tie = pl.col(p_a), pl.col(p_tie)
    return np.asarray(frame.select(a.alias("a"), tie.alias("tie"), p_b(a, tie).alias("b")).to_numpy(), dtype=np.float64)


def _smoothed(truth: FloatArray, n: float) -> FloatArray:
    """n of n becomes n + 1 of n + 2: half of two made-up pairs for either side."""
    return np.asarray((truth * n + np.array([1.0, 0.0, 1.0])) / (n + 2), dtype=np.float64)


def _two_way(outcomes: FloatArray) -> FloatArray:
    win = outcomes[:, 0] + outcomes[:, 1] / 2
    return np.column_stack([win, 1 - win])


def _cross_entropy(truth: FloatArray, p: FloatArray) -> float:
    return -float((truth * np.log(np.maximum(p, 1e-12))).sum()) / len(truth)
