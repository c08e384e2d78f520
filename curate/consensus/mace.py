"""MACE: voters that know the truth or follow a habit (Hovy et al. 2013, "Learning Whom to Trust with MACE").

On each pair a voter with competence θ copies the truth, else it says what its habit ξ says, whatever the truth.
Fitted by the paper's variational Bayes, with three outcomes, soft votes and families that speak once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import digamma

from curate.consensus.dawid_skene import Fit, named, normalised, spread, typical_rows, votes_told
from curate.consensus.opinions import Consensus, Floats, Opinions, fits_frame, posteriors_frame, read_opinions
from schemas.errors import InputError


@dataclass(frozen=True)
class Prior:
    """Priors of the paper's released program, which crowd-kit keeps: pseudo-votes."""

    knows: float = 0.5
    """of a Beta over the competence"""
    guesses: float = 0.5
    habit: float = 10.0
    """of each outcome that somebody named, in the Dirichlet over the habit"""


def mace(
    evidence: pl.DataFrame, prior: Prior | None = None, *, tolerance: float = 1e-5, max_iterations: int = 1000
) -> Consensus:
    """Consensus under P(vote k | truth c) = θ [k = c] + (1 − θ) ξ_k; see `fit_mace`."""
    return fit_mace(evidence, prior, tolerance=tolerance, max_iterations=max_iterations).consensus


def fit_mace(
    evidence: pl.DataFrame, prior: Prior | None = None, *, tolerance: float = 1e-5, max_iterations: int = 1000
) -> Fit:
    """Truth, competences and habits by variational Bayes.

    `evidence` keeps the contract EVIDENCE and holds one criterion (InputError otherwise). The true outcome is
    uniform over the outcomes that were named, as in the paper. The paper restarts from chance and keeps the best;
    here one start, every voter competent by one half with an even habit, so nothing depends on a seed. `skill` is the
    chance to name the truth of the average pair (an adversary's competence is 0, and no less); its interval and
    `p_sd` are as in `dawid_skene`. Iterates until no posterior moves by `tolerance`; otherwise `is_converged` is False.
    """
    prior = prior or Prior()
    if min(prior.knows, prior.guesses, prior.habit) <= 0:
        raise InputError(f"{prior}", expected="pseudo-votes above 0", next="mend the prior")
    model = _Model(read_opinions(evidence), prior)
    weights = model.start()
    q, n_iterations, moved = model.posterior(weights), 0, np.inf
    while moved > tolerance and n_iterations < max_iterations and q.size:
        weights = model.refit(q, weights)
        update = model.posterior(weights)
        moved, q, n_iterations = float(np.abs(update - q).max()), update, n_iterations + 1
    return model.fit(q, weights, n_iterations, bool(moved <= tolerance or not q.size))


@dataclass(frozen=True)
class _Weights:
    """exp E[log θ] (V) and exp E[log (1 − θ)] · exp E[log ξ] (V, 3): they need not sum to 1."""

    knows: Floats
    habit: Floats

    @property
    def emission(self) -> Floats:
        return np.asarray(self.habit[:, None, :] + np.eye(3) * self.knows[:, None, None], np.float64)


class _Model:
    """The votes of one fit and its steps. Sums run in the order of `Opinions`."""

    def __init__(self, opinions: Opinions, prior: Prior) -> None:
        self.opinions, self.prior = opinions, prior
        self.is_named = np.array([1.0, float(opinions.shares[:, 1].sum() > 0), 1.0])
        self.classes = self.is_named / self.is_named.sum()

    def start(self) -> _Weights:
        n = self.opinions.voters.height
        return _Weights(np.full(n, 0.5), np.tile(self.classes / 2, (n, 1)))

    def posterior(self, weights: _Weights) -> Floats:
        """(P, 3) probabilities of a, tie, b. What the habits explain is the same whatever the truth, and left out."""
        o, habit = self.opinions, np.maximum(weights.habit, 1e-300)
        gain = np.log1p(weights.knows[:, None] / habit)[o.voter]
        return normalised([o.per_pair(o.say * o.shares[:, c] * gain[:, c]) for c in range(3)], self.classes)

    def counts(self, q: Floats, weights: _Weights) -> tuple[Floats, Floats]:
        """(V) votes that knew and (V, 3) votes that followed the habit, expected."""
        o = self.opinions
        said = o.weight[:, None] * o.shares
        habit = weights.habit[o.voter]
        chance = np.divide(weights.knows[o.voter][:, None], weights.knows[o.voter][:, None] + habit)
        knew = said * q[o.pair] * chance
        guessed = np.column_stack([o.per_voter((said - knew)[:, k]) for k in range(3)])
        return o.per_voter((knew[:, 0] + knew[:, 2]) + knew[:, 1]), guessed

    def refit(self, q: Floats, weights: _Weights) -> _Weights:
        knew, guessed = self.counts(q, weights)
        total = (guessed[:, 0] + guessed[:, 2]) + guessed[:, 1]
        n, p = digamma(knew + total + self.prior.knows + self.prior.guesses), self.prior
        n_habits = digamma(total + p.habit * self.is_named.sum())[:, None]
        habit = np.where(self.is_named > 0, np.exp(digamma(guessed + p.habit) - n_habits), 0.0)
        guesses = np.exp(digamma(total + p.guesses) - n)
        return _Weights(np.exp(digamma(knew + p.knows) - n), guesses[:, None] * habit)

    def means(self, q: Floats, weights: _Weights) -> Floats:
        """(V, 3, 3) P(vote k | truth c) at the posterior means."""
        (knew, guessed), p = self.counts(q, weights), self.prior
        total = (guessed[:, 0] + guessed[:, 2]) + guessed[:, 1]
        competence = (knew + p.knows) / (knew + total + p.knows + p.guesses)
        habit = (guessed + p.habit) * self.is_named / (total + p.habit * self.is_named.sum())[:, None]
        return _Weights(competence, (1 - competence)[:, None] * habit).emission

    def fit(self, q: Floats, weights: _Weights, n_iterations: int, is_converged: bool) -> Fit:
        o, emission = self.opinions, self.means(q, weights)
        skill = named(emission, self.classes)
        told = votes_told(o, q, skill, self.prior.knows + self.prior.guesses)
        consensus = Consensus(
            posteriors_frame(o, q, spread(o, q, np.maximum(emission, 1e-12), np.tile(told[:, None], (1, 3)))),
            fits_frame(o, skill * told, (1 - skill) * told, skill), n_iterations, is_converged,
        )
        return Fit(consensus, q, emission, self.classes, typical_rows(emission, o))
