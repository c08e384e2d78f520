"""CROWDLAB: voters weighed by their agreement with each other, and a classifier by its own (Goh et al. 2022).

Formulas of "CROWDLAB: Supervised learning to infer consensus labels and quality scores for data with multiple
annotators", as cleanlab's `get_label_quality_multiannotator` computes them, with soft votes and capped families.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from curate.consensus.dawid_skene import Fit, typical_rows
from curate.consensus.opinions import WIN_OF, Consensus, Floats, Opinions, fits_frame, posteriors_frame, read_opinions
from curate.consensus.outcomes import p_b
from schemas.errors import InputError

LEAST_WEIGHT = 1e-6
"""a voter no better than the commonest outcome weighs this, as in cleanlab"""


def crowdlab(evidence: pl.DataFrame, classifier: pl.DataFrame | None = None) -> Consensus:
    """Consensus by agreement-weighted voters and, where there is one, a classifier; see `fit_crowdlab`."""
    return fit_crowdlab(evidence, classifier).consensus


def fit_crowdlab(evidence: pl.DataFrame, classifier: pl.DataFrame | None = None) -> Fit:
    """Truth as a mean of what voters and classifier say, each weighed by 1 − error / error of the commonest outcome.

    `evidence` keeps the contract EVIDENCE and holds one criterion; `classifier` has (pair_id, p_a, p_tie) of every
    pair with an opinion, out of fold (InputError otherwise). Without one its weight is 0, and what remains is the
    paper's voters alone. A vote gives its outcome P, the mean share of voters that name the majority's outcome, and
    (1 − P) / 2 to each other one. A majority between tied outcomes counts by halves or thirds, so that letters and
    row order decide nothing; cleanlab breaks such ties by the classifier and by the voters' quality.

    `skill` is the agreement with the consensus on pairs that others voted on too, mixed with the mean probability of
    the voter's votes by the classifier's share of all weight, as in the paper; Beta with Jeffreys' prior on those
    pairs. The paper gives no uncertainty: `p_sd` is that of a Dirichlet of one vote per family, as in `majority`.
    `predict` is ours: a voter names the truth with its skill and errs evenly.
    """
    opinions = read_opinions(evidence)
    return _Model(opinions, _classifier(opinions, classifier)).fit()


def _classifier(opinions: Opinions, classifier: pl.DataFrame | None) -> Floats | None:
    if classifier is None:
        return None
    rows = opinions.pairs.select("pair_id").join(classifier, on="pair_id", how="left", maintain_order="left")
    if rows.height != opinions.pairs.height or rows["p_a"].null_count():
        raise InputError(
            f"a classifier on {rows['p_a'].count()} of {opinions.pairs.height} pairs", expected="each pair once",
            next="predict every pair out of fold",
        )
    return rows.select("p_a", "p_tie", p_b(pl.col("p_a"), pl.col("p_tie"))).to_numpy()


def _dot(x: Floats, y: Floats) -> Floats:
    return np.asarray((x[:, 0] * y[:, 0] + x[:, 2] * y[:, 2]) + x[:, 1] * y[:, 1], np.float64)


def _tops(p: Floats) -> Floats:
    """(P, 3) the likeliest outcome as shares of 1, even between those that tie."""
    is_top = (p >= p.max(axis=1, keepdims=True) - 1e-9).astype(np.float64)
    return np.asarray(is_top / is_top.sum(axis=1, keepdims=True), np.float64)


@dataclass(frozen=True)
class _Weights:
    voters: Floats
    """(V)"""
    classifier: float
    likelihood: float
    """P: chance that a voter names the consensus"""


class _Model:
    """The votes of one fit. Sums run in the order of `Opinions`."""

    def __init__(self, opinions: Opinions, classifier: Floats | None) -> None:
        o = self.opinions = opinions
        self.classifier = classifier
        self.counts = np.column_stack([o.per_pair(o.say * o.shares[:, k]) for k in range(3)])
        self.n = np.bincount(o.pair_of_cell, minlength=o.pairs.height).astype(np.float64)
        self.majority = _tops(self.counts) if o.pairs.height else np.zeros((0, 3))
        self.is_shared = self.n > 1

    def _agreement(self) -> Floats:
        """(V) agreement with the other families, over their number of votes; the mean for who voted alone."""
        o = self.opinions
        own = np.column_stack([np.bincount(o.cell, o.say * o.shares[:, k]) for k in range(3)])
        others = o.per_voter(o.weight * (self.n[o.pair] - 1))
        agreed = o.per_voter(o.weight * _dot(o.shares, self.counts[o.pair] - own[o.cell]))
        alone = others <= 0
        shares = agreed / np.where(alone, 1.0, others)
        mean = float(shares[~alone].mean()) if (~alone).any() else 0.0
        return np.asarray(np.where(alone, mean, shares), np.float64)

    def weights(self) -> _Weights:
        if not self.is_shared.any():
            return _Weights(np.ones(self.opinions.voters.height), float(self.classifier is not None), 1.0)
        majority, n = self.majority[self.is_shared], self.n[self.is_shared]
        likelihood = float((self.counts[self.is_shared].max(axis=1) / n).mean())
        commonest = max(1 - float(majority.mean(axis=0).max()), LEAST_WEIGHT)
        voters = np.maximum(1 - (1 - self._agreement()) / commonest, LEAST_WEIGHT)
        return _Weights(voters, self._classifier_weight(majority, commonest), likelihood)

    def _classifier_weight(self, majority: Floats, commonest: float) -> float:
        if self.classifier is None:
            return 0.0
        error = 1 - float(_dot(_tops(self.classifier[self.is_shared]), majority).mean())
        return max(1 - error / commonest, LEAST_WEIGHT) * float(np.sqrt(self.n.mean()))

    def posterior(self, weights: _Weights) -> Floats:
        """(P, 3) weighted mean of what voters and classifier say."""
        o, miss = self.opinions, (1 - weights.likelihood) / 2
        said = miss + (weights.likelihood - miss) * o.shares
        weight = o.say * weights.voters[o.voter]
        sums = np.column_stack([o.per_pair(weight * said[:, k]) for k in range(3)])
        own = np.zeros_like(sums) if self.classifier is None else weights.classifier * self.classifier
        return np.asarray((sums + own) / (o.per_pair(weight) + weights.classifier)[:, None], np.float64)

    def _skill(self, q: Floats, weights: _Weights) -> tuple[Floats, Floats]:
        """(V) skill and (V) votes it was measured on."""
        o = self.opinions
        counted = o.weight * self.is_shared[o.pair]
        n, every = o.per_voter(counted), o.per_voter(o.weight)
        agreed = o.per_voter(counted * _dot(o.shares, _tops(q)[o.pair])) + 0.5
        quality = o.per_voter(o.weight * _dot(o.shares, q[o.pair])) / every
        all_voters = float(weights.voters.sum()) * float(self.n.mean()) / o.voters.height
        mix = weights.classifier / (weights.classifier + all_voters)
        return np.asarray(mix * quality + (1 - mix) * agreed / (n + 1), np.float64), n

    def _spread(self, q: Floats) -> Floats:
        mean = (q * self.n[:, None] + 1 / 3) / (self.n + 1)[:, None]
        win = (mean[:, 0] - mean[:, 2]) / 2
        second = (mean[:, 0] + mean[:, 2]) * WIN_OF[0] ** 2
        return np.asarray(np.sqrt(np.maximum(second - win**2, 0.0) / (self.n + 2.0)), np.float64)

    def fit(self) -> Fit:
        o = self.opinions
        if not o.pairs.height:
            return self._done(np.zeros((0, 3)), np.zeros(0), np.zeros(0))
        weights = self.weights()
        q = self.posterior(weights)
        skill, n = self._skill(q, weights)
        return self._done(q, skill, n)

    def _done(self, q: Floats, skill: Floats, n: Floats) -> Fit:
        o = self.opinions
        fits = fits_frame(o, skill * (n + 1), (1 - skill) * (n + 1), skill)
        emission = np.eye(3) * skill[:, None, None] + (1 - np.eye(3)) * (1 - skill)[:, None, None] / 2
        shares = q.mean(axis=0) if len(q) else np.full(3, 1 / 3)
        classes = np.array([(1 - shares[1]) / 2, shares[1], (1 - shares[1]) / 2])
        consensus = Consensus(posteriors_frame(o, q, self._spread(q)), fits)
        return Fit(consensus, q, emission, classes, typical_rows(emission, o))
