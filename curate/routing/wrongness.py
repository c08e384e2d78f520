"""How likely a label is wrong: a logistic model around the posterior, learned from answers, cross-fitted by group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

from curate.consensus.outcomes import expected_win, p_b, verdict
from schemas.ids import fold_of_expr

Floats = NDArray[np.float64]

MIN_AUDITS = 100
"""under so many audit pairs alone the posterior itself is the best guess (METHODS.md D)"""
MIN_ANSWERS, MIN_RANDOM = 100, 5
"""answers that teach, and those among them that were drawn at random, where routed votes teach too"""
N_FOLDS = 5
REACHES = (0.1, 0.2, 0.4, 0.8)
"""standard deviations of the prior of a feature's weight, per standard deviation of the feature"""
TRUST = 0.3
"""standard deviation of the prior of the posterior's own weight around 1"""
SHIFT = 1.0
"""standard deviation of the prior of a shift in log-odds that all pairs share"""
FLOOR, FAR = 1e-3, 4.0
DECIMALS = 6
"""the last digits of an optimiser decide nothing"""


def calibrated(
    candidates: pl.DataFrame, audits: pl.DataFrame, human_skill: float, *, routed: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Candidates with `p_wrong`, the learned chance that their label is wrong; p_a and p_tie stay the consensus's.

    `audits` is the frame of `curate.routing.audit.audits`; `routed` the same of votes that the router
    asked for (`audit.opinions`). Under 100 audit pairs, unless routed votes make up the hundred and at
    least five are random, or with people no better than chance (skill ≤ 1/3), candidates come back as
    they are: the posterior is the prior.
    """
    if human_skill <= 1 / 3 or not _are_enough(audits, routed):
        return candidates
    learned = p_wrong(candidates, audits, human_skill, routed=routed)
    return candidates.drop("p_wrong", strict=False).join(learned, on="pair_id", how="left", maintain_order="left")


def _are_enough(audits: pl.DataFrame, routed: pl.DataFrame | None) -> bool:
    n_audits = audits["pair_id"].n_unique()
    if routed is None or n_audits >= MIN_AUDITS:
        return n_audits >= MIN_AUDITS
    return n_audits >= MIN_RANDOM and n_audits + routed["pair_id"].n_unique() >= MIN_ANSWERS


def p_wrong(
    candidates: pl.DataFrame, audits: pl.DataFrame, human_skill: float, *, routed: pl.DataFrame | None = None
) -> pl.DataFrame:
    """(pair_id, p_wrong), sorted by pair_id; a group is never scored by a model that saw its answers.

    log-odds of wrong = trust · log-odds of the posterior's own error + side · (shift + weights · features),
    at the maximum of likelihood times normal priors around 1, 0 and 0, so that few answers leave the
    posterior as it is. Features tell where the judges are wrong: side is 1 while the label is theirs, and
    −(their outcome's share of the error) once people have turned it. The likelihood is that of an answer
    contradicting the label when people of `human_skill` err as one coin, 1 − s + wrong · (3s − 1) / 2: their
    errors need no correction after.

    Routed votes teach beside the audit, each answer once: a router chooses by the stored features alone,
    and given those the chance of being contradicted is the same however the pair was chosen (missing at
    random, Little and Rubin 2002); weighting by propensities, which are 0 or 1 for a deterministic
    choice, is neither possible nor needed. What it cannot cure is a wrong shape of the model where the
    router never looks: there the random audits, and the prior, hold it.
    """
    rows, seen = candidates.sort("pair_id"), _answers(audits, routed)
    design = _Design.of(rows, seen)
    x, fold, x_seen, fold_seen = design.features(rows), _fold(rows), design.features(seen), _fold(seen)
    y, wrong = seen["is_contradicted"].to_numpy().astype(np.float64), np.zeros(len(x))
    for k in range(N_FOLDS):
        others, mine = fold_seen != k, fold == k
        wrong[mine] = expit(x[mine] @ _fit(x_seen[others], y[others], human_skill))
    return rows.select("pair_id", pl.Series("p_wrong", np.round(wrong, DECIMALS)))


def _answers(audits: pl.DataFrame, routed: pl.DataFrame | None) -> pl.DataFrame:
    both = audits if routed is None else pl.concat([audits, routed.select(audits.columns)])
    return both.unique("route_id").sort("route_id")


def _fold(rows: pl.DataFrame) -> NDArray[np.int64]:
    return rows.select(fold_of_expr("group_id", N_FOLDS)).to_series().to_numpy()


def _fit(x: Floats, y: Floats, skill: float) -> Floats:
    """Trust, shift and weights at the maximum of the posterior, under the reach that the answers speak for.

    Reach is chosen by the evidence: the likelihood with the weights integrated out (Laplace's approximation;
    MacKay 1992). A hundred answers with nothing to tell leave the posterior alone, strong signs are not held back.
    """
    found = [_at_most(x, y, skill, reach) for reach in REACHES]
    return max(found, key=lambda f: f[0])[1]


def _at_most(x: Floats, y: Floats, skill: float, reach: float) -> tuple[float, Floats]:
    """Log evidence and coefficients under one reach, by L-BFGS with exact gradients."""
    centre = np.zeros(x.shape[1])
    centre[0] = 1.0
    precision = np.array([TRUST, SHIFT, *[reach] * (x.shape[1] - 2)]) ** -2
    base, slope = 1 - skill, (3 * skill - 1) / 2

    def says(w: Floats) -> tuple[Floats, Floats]:
        wrong = expit(x @ w)
        return np.clip(base + slope * wrong, FLOOR, 1 - FLOOR), slope * wrong * (1 - wrong)

    def loss(w: Floats) -> tuple[float, Floats]:
        (p, steepness), gap = says(w), w - centre
        log_likelihood = y @ np.log(p) + (1 - y) @ np.log1p(-p)
        pull = (y / p - (1 - y) / (1 - p)) * steepness
        return float(precision @ gap**2 / 2 - log_likelihood), precision * gap - x.T @ pull

    found = minimize(loss, centre, jac=True, method="L-BFGS-B")
    p, steepness = says(found.x)
    curvature = (x.T * (steepness**2 / (p * (1 - p)))) @ x + np.diag(precision)
    evidence = -float(found.fun) - (np.linalg.slogdet(curvature)[1] - np.log(precision).sum()) / 2
    return evidence, np.asarray(found.x, np.float64)


@dataclass(frozen=True)
class _Design:
    """How candidates become numbers: standardised on the candidates, so that no choice of answers moves them."""

    centre: Floats
    scale: Floats
    sources: tuple[str, ...]

    @classmethod
    def of(cls, rows: pl.DataFrame, seen: pl.DataFrame) -> _Design:
        x, sources = _signs(rows), tuple(seen["source"].drop_nulls().unique().sort())
        return cls(x.mean(axis=0), x.std(axis=0), sources if len(sources) > 1 else ())

    def features(self, rows: pl.DataFrame) -> Floats:
        """(n, 2 + k) log-odds of the posterior's error; the side; signs and one column per source, times the side.

        Signs stay within four standard deviations, and are 0 where a sign is the same everywhere.
        """
        own, side = _own_error(rows)
        x = np.where(self.scale > 1e-9, (_signs(rows) - self.centre) / np.maximum(self.scale, 1e-9), 0.0)
        named = [(rows["source"] == s).fill_null(False).to_numpy().astype(np.float64) for s in self.sources]
        return np.column_stack([own, side, side[:, None] * np.column_stack([np.clip(x, -FAR, FAR), *named])])


def _own_error(rows: pl.DataFrame) -> tuple[Floats, Floats]:
    """(n) log-odds that the posterior itself gives to its label being wrong, and (n) the side."""
    p_a, p_tie = pl.col("p_a"), pl.col("p_tie")
    judges_a, judges_tie = pl.coalesce("judges_a", p_a), pl.coalesce("judges_tie", p_tie)
    said, label = verdict(judges_a, judges_tie), verdict(p_a, p_tie)
    shares = {"a": p_a, "tie": p_tie, "b": p_b(p_a, p_tie)}
    theirs, right = (pl.coalesce(pl.when(x == k).then(p) for k, p in shares.items()) for x in (said, label))
    share = (theirs / (1 - right).clip(1e-9)).clip(0, 1)
    told = rows.select(error=1 - right, side=pl.when(said == label).then(1.0).otherwise(-share))
    error = np.clip(told["error"].to_numpy(), FLOOR, 1 - FLOOR)
    return np.asarray(logit(error), np.float64), told["side"].to_numpy()


def _signs(rows: pl.DataFrame) -> Floats:
    """Doubt of judges and of scorers; lengths and margin in the direction of the judges' label."""
    judges_a, judges_tie = pl.coalesce("judges_a", "p_a"), pl.coalesce("judges_tie", "p_tie")
    side = (2 * expected_win(judges_a, judges_tie) - 1).sign()
    longer = ((pl.col("length_a") + 1) / (pl.col("length_b") + 1)).log()
    margin, spread = pl.col("margin").fill_null(0.0), pl.col("margin_spread").fill_null(0.0)
    return rows.select(
        judges_tie.alias("tie"), (2 * judges_a + judges_tie - 1).abs().alias("decided"), pl.col("p_sd"),
        pl.col("judge_spread"), pl.col("flip_share"), (pl.col("n_votes") - pl.col("n_human")).log1p().alias("n_judges"),
        (side * margin).alias("agreed_margin"), margin.abs().alias("margin_size"), spread.alias("margin_spread"),
        (side * longer).alias("longer_wins"), longer.abs().alias("unequal"), pl.col("overlap"),
        pl.col("novelty").fill_null(0.0).alias("novelty"),
    ).to_numpy()
