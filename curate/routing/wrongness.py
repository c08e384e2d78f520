"""What is believed of each pair's truth, and so how likely its label is wrong: judges, signs of doubt, people's votes.

A model of the three outcomes before people speak, learned from what people said, cross-fitted by group; people's own
votes on a pair join it by Bayes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, ndtri, softmax
from scipy.stats import rankdata

from curate.consensus.outcomes import DECIMALS, expected_win
from curate.routing.value import BELIEVED, named, shares
from curate.routing.voices import SAID
from schemas.ids import fold_of_expr

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MIN_ANSWERS = 20
"""pairs with a person's vote that teach; under so many the prior is believed"""
CHANCE = 1 / 3
N_FOLDS = 5
TRUST, TIE, SHIFT = 0.3, 0.5, 1.0
"""standard deviations of normal priors: of the prior's own weight around 1; in log-odds, of ties being more or less
frequent, and of the judges being more or less often wrong, than the prior has it"""
SHAPE, RATE = 0.5, 0.005
"""of the Gamma prior of the precision of a sign's weight: how far a weight may reach is learned for each"""
STEPS = 8
"""of learning how far weights reach"""
LEAST = 1e-3
"""no outcome has a smaller prior"""
ROUNDED = 6
"""the last digits of an optimiser decide nothing"""


def calibrated(candidates: pl.DataFrame, voices: pl.DataFrame, human_skill: float) -> pl.DataFrame:
    """Candidates with `p_wrong`, the chance that their label is wrong, and what it comes from [ours].

    `voices` is the frame of `curate.routing.voices`. Beside the contract's columns the result has believed_a and
    believed_tie, what is believed of the truth, and n_heard; p_a and p_tie stay the consensus's, which decide the
    label. Before people, the log-odds of the outcomes are

        trust · log prior + tie · [outcome is a tie] − (shift + weights · signs) · [outcome is the judges' label]

    at the maximum of likelihood times normal priors around 1 and 0: few answers leave the prior as it is. The
    likelihood of people's votes on a pair sums over the truth, given which people of `human_skill` err as one coin,
    so that their errors need no correction after. Each sign has a reach of its own, learned from the same answers
    (automatic relevance determination: MacKay 1992, Tipping 2001), and all of it counts only as far as the answers
    bear it out (`_borne_out`). A group is never scored by a model that saw its answers; the votes on the pair itself
    then join by Bayes. Under 20 answered pairs in other groups nothing is learned, and people no better than chance
    (skill ≤ 1/3) neither teach nor count.

    All votes teach, however the pair was chosen: a router chooses by what candidates hold and by earlier votes, all
    of which the model has, and given those the answer does not depend on the choice (missing at random, Little and
    Rubin 2002). What that cannot cure is a wrong shape of the model where the router never looks.
    """
    bare = candidates.drop("p_wrong", *BELIEVED, "n_heard", strict=False)
    rows = bare.sort("pair_id").join(voices, on="pair_id", how="left", maintain_order="left")
    belief = _believed(rows, human_skill)
    wrong = 1 - (belief * named(shares(rows))).sum(axis=1)
    told = rows.select(
        "pair_id", pl.Series("p_wrong", np.clip(np.round(wrong, ROUNDED), 0, 1)),
        *(pl.Series(c, np.round(belief[:, k], ROUNDED)) for k, c in enumerate(BELIEVED)),
        # A majority of nobody is one too: where some pairs have voices, the others have none of them.
        n_heard=pl.col("n_heard").fill_null(0.0) if rows["n_heard"].is_not_null().any() else pl.col("n_heard"),
    )
    return bare.join(told, on="pair_id", how="left", maintain_order="left")


def _believed(rows: pl.DataFrame, skill: float) -> Floats:
    """(n, 3) chances of a, tie, b."""
    votes = rows.select(pl.col(SAID).fill_null(0.0)).to_numpy()
    model, fold = _Model.of(rows, votes.sum(axis=1) > 0), rows.select(fold_of_expr("group_id", N_FOLDS)).to_series()
    belief, likelihood = softmax(model.log_prior, axis=1), _likelihood(votes, skill)
    for k in range(N_FOLDS):
        others, mine = (votes.sum(axis=1) > 0) & (fold != k).to_numpy(), (fold == k).to_numpy()
        if skill > CHANCE and mine.any() and others.sum() >= MIN_ANSWERS:
            belief[mine] = model.at(mine).belief(_fit(model.at(others), likelihood[others]))
    return _normalised(belief * likelihood)


def _likelihood(votes: Floats, skill: float) -> Floats:
    """(n, 3) of what people said, under each truth, up to a factor per row."""
    if skill <= CHANCE:
        return np.ones_like(votes)
    certain = min(skill, 1 - LEAST)
    log_odds = votes * (np.log(certain) - np.log((1 - certain) / 2))
    return np.asarray(np.exp(log_odds - log_odds.max(axis=1, keepdims=True)), np.float64)


def _normalised(p: Floats) -> Floats:
    return np.asarray(p / p.sum(axis=1, keepdims=True), np.float64)


@dataclass(frozen=True)
class _Model:
    """Rows as numbers; weights are trust, tie, shift, and one per sign."""

    log_prior: Floats
    """(n, 3)"""
    label: Floats
    """(n, 3) 1 at the outcome that the judges name"""
    signs: Floats
    """(n, 1 + k) a one, and signs of doubt"""

    @classmethod
    def of(cls, rows: pl.DataFrame, is_answered: Bools) -> _Model:
        p_a, p_tie = pl.col("prior_a").fill_null(1 / 3), pl.col("prior_tie").fill_null(1 / 3)
        prior = rows.select(p_a.alias("a"), p_tie.alias("tie"), (1 - p_a - p_tie).alias("b")).to_numpy()
        label = named(prior).astype(np.float64)
        signs = np.column_stack([np.ones(rows.height), _scores(_signs(rows)), *_sources(rows, is_answered)])
        return cls(np.log(_normalised(np.maximum(prior, LEAST))), label, signs)

    def at(self, where: Bools) -> _Model:
        return _Model(self.log_prior[where], self.label[where], self.signs[where])

    def belief(self, w: Floats) -> Floats:
        """(n, 3) before anybody is asked."""
        u = w[0] * self.log_prior - self.label * (self.signs @ w[2:])[:, None]
        u[:, 1] += w[1]
        return np.asarray(softmax(u, axis=1), np.float64)

    def slopes(self) -> Floats:
        """(n, 3, d) of log-odds in the weights."""
        tie = np.zeros_like(self.label)
        tie[:, 1] = 1
        return np.concatenate([
            self.log_prior[:, :, None], tie[:, :, None], -self.label[:, :, None] * self.signs[:, None, :]], axis=2)


def _fit(model: _Model, likelihood: Floats) -> Floats:
    """Weights at the maximum of the posterior, each sign's reach by the variational update of its precision.

    What was learned is then drawn back to the prior as far as the answers do not bear it out (`_borne_out`).
    """
    n_signs = model.signs.shape[1] - 1
    slopes, w = model.slopes(), np.array([1.0, *np.zeros(2 + n_signs)])
    centre, own = w, np.full(n_signs, (1 + 2 * SHAPE) / (2 * RATE + LEAST))
    for _ in range(STEPS):
        precision = np.concatenate([np.array([TRUST, TIE, SHIFT]) ** -2, own])
        w = _mode(model, likelihood, slopes, precision, centre, w)
        variance = np.linalg.inv(_curvature(model, likelihood, slopes, w) + np.diag(precision)).diagonal()
        own = (1 + 2 * SHAPE) / (2 * RATE + w[3:] ** 2 + np.maximum(variance[3:], 0.0))
    n_free = float(np.clip(1 - precision * variance, 0, 1).sum())
    return np.asarray(centre + _borne_out(model, likelihood, w, n_free) * (w - centre), np.float64)


def _borne_out(model: _Model, likelihood: Floats, w: Floats, n_free: float) -> float:
    """Akaike weight of what was learned against the prior as it is, 0..1 (Burnham and Anderson 2002).

    Each weight that its prior leaves free (Moody 1992 counts them: 1 − precision · variance) must gain 1 of log
    likelihood to be as good as none: where signs tell nothing, what they seem to tell would be noise in every route.
    """
    before = _normalised(np.exp(model.log_prior))
    gain = np.log((model.belief(w) * likelihood).sum(axis=1) / (before * likelihood).sum(axis=1)).sum()
    return float(expit(gain - n_free))


def _mode(
    model: _Model, likelihood: Floats, slopes: Floats, precision: Floats, centre: Floats, start: Floats
) -> Floats:
    """By L-BFGS with exact gradients: that of log Σ belief · likelihood is (posterior − belief) · slopes."""
    def loss(w: Floats) -> tuple[float, Floats]:
        before, gap = model.belief(w), w - centre
        mass = before * likelihood
        whole = mass.sum(axis=1, keepdims=True)
        pull = np.tensordot(mass / whole - before, slopes, axes=([0, 1], [0, 1]))
        return float(precision @ gap**2 / 2 - np.log(whole).sum()), precision * gap - pull

    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B").x, np.float64)


def _curvature(model: _Model, likelihood: Floats, slopes: Floats, w: Floats) -> Floats:
    """(d, d) of minus the log likelihood: covariance of the slopes under the belief less that under the posterior."""
    before = model.belief(w)
    return _covariance(before, slopes) - _covariance(_normalised(before * likelihood), slopes)


def _covariance(p: Floats, slopes: Floats) -> Floats:
    mean = np.einsum("nk,nkd->nd", p, slopes)
    weighted = (np.sqrt(p)[:, :, None] * slopes).reshape(-1, slopes.shape[2])
    return np.asarray(weighted.T @ weighted - mean.T @ mean, np.float64)


def _scores(signs: Floats) -> Floats:
    """(n, k) normal scores by rank (van der Waerden), so that neither a sign's scale nor its tails matter; mean 0.

    Equal numbers share their mean rank; numbers are compared after rounding, lest a last digit decide a rank.
    A sign that is the same everywhere is 0.
    """
    scores = ndtri((rankdata(signs.round(DECIMALS), axis=0) - 0.5) / max(len(signs), 1))
    spread = scores.std(axis=0)
    return np.where(spread > LEAST, (scores - scores.mean(axis=0)) / np.maximum(spread, LEAST), 0.0)


def _sources(rows: pl.DataFrame, is_answered: Bools) -> list[Floats]:
    """One column per source with an answer, where there are several."""
    named_ = rows.filter(is_answered)["source"].drop_nulls().unique().sort()
    return [(rows["source"] == s).fill_null(False).to_numpy().astype(np.float64) for s in named_] * (len(named_) > 1)


def _signs(rows: pl.DataFrame) -> Floats:
    """Doubt of judges and of scorers; lengths and margin in the direction of the judges' label."""
    judges_a, judges_tie = pl.coalesce("judges_a", "p_a"), pl.coalesce("judges_tie", "p_tie")
    side = (2 * expected_win(judges_a, judges_tie) - 1).round(DECIMALS).sign()
    longer = ((pl.col("length_a") + 1) / (pl.col("length_b") + 1)).log()
    margin, spread = pl.col("margin").fill_null(0.0), pl.col("margin_spread").fill_null(0.0)
    return rows.select(
        judges_tie.alias("tie"), (2 * judges_a + judges_tie - 1).abs().alias("decided"),
        pl.col("judge_spread"), pl.col("flip_share"), (pl.col("n_votes") - pl.col("n_human")).log1p().alias("n_judges"),
        (side * margin).alias("agreed_margin"), margin.abs().alias("margin_size"), spread.alias("margin_spread"),
        (side * longer).alias("longer_wins"), longer.abs().alias("unequal"), pl.col("overlap"),
        pl.col("novelty").fill_null(0.0).alias("novelty"),
    ).to_numpy()
