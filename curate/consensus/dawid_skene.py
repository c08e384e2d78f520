"""Dawid–Skene: a confusion matrix per voter, found with the truth by expectation-maximisation.

Dawid and Skene (1979), with three outcomes, soft votes, families that speak once, and the smoothing of its
hierarchical form (Paun et al. 2018, "Comparing Bayesian Models of Annotation"): rows of a voter's matrix shrink to
the mean of its kind. Where a vote's letters follow the slot, matrices learn order bias; the truth stays symmetric.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.consensus.opinions import WIN_OF, Consensus, Floats, Opinions, fits_frame, posteriors_frame, read_opinions
from schemas.errors import InputError

Ints = NDArray[np.int64]

_CLASS_WEIGHT = 0.1
"""Pseudo-pairs of each outcome in the class prior, as in `one_coin`."""

_LEAST = 1e-300
"""Keeps the logarithm of an outcome nobody names finite."""


@dataclass(frozen=True)
class Prior:
    """Beliefs before the votes, in pseudo-votes."""

    skill: float = 0.7
    """diagonal of a kind's matrix before any vote; errors fall on outcomes as votes do"""
    kind_weight: float = 10.0
    """pseudo-votes that hold each row of a kind's matrix at `skill`"""
    voter_weight: float = 16.0
    """pseudo-votes that hold each row of a voter's matrix at its kind's; 0 is Dawid and Skene's own estimate. Of 1 to
    32 near the best log-loss of hidden votes on six UKPConvArg1 topics (0.9270; 4: 0.9400; 32: 0.9260)"""


@dataclass(frozen=True)
class Fit:
    """A fitted model that says how each voter reads each truth: V voters, P pairs, outcomes in the order a, tie, b."""

    consensus: Consensus
    truth: Floats
    """(P, 3) probabilities of the true outcome, in the order of `consensus.posteriors`"""
    emission: Floats
    """(V, 3, 3) P(vote k | truth c) at [voter, c, k], in the order of `consensus.voter_fits`"""
    classes: Floats
    """(3) truth of a pair without an opinion"""
    typical: Floats
    """(3, 3) how a voter without a vote reads the truth: people's mean, or that of all where there are no people"""

    def predict(self, pair_id: pl.Series, voter: pl.Series) -> Floats:
        """(n, 3) probabilities that `voter` says a, tie, b on `pair_id`; pairs and voters may be unknown."""
        truth = np.vstack([self.truth, self.classes])[_places(pair_id, self.consensus.posteriors["pair_id"])]
        known = np.concatenate([self.emission, self.typical[None]])
        read = known[_places(voter, self.consensus.voter_fits["voter"])]
        p = np.asarray((truth[:, :1] * read[:, 0] + truth[:, 2:] * read[:, 2]) + truth[:, 1:2] * read[:, 1])
        return np.asarray(p / ((p[:, :1] + p[:, 2:]) + p[:, 1:2]), np.float64)


def dawid_skene(
    evidence: pl.DataFrame, prior: Prior | None = None, *, tolerance: float = 1e-5, max_iterations: int = 1000
) -> Consensus:
    """Consensus under P(vote k | truth c) = a matrix per voter; see `fit_dawid_skene`."""
    return fit_dawid_skene(evidence, prior, tolerance=tolerance, max_iterations=max_iterations).consensus


def fit_dawid_skene(
    evidence: pl.DataFrame, prior: Prior | None = None, *, tolerance: float = 1e-5, max_iterations: int = 1000
) -> Fit:
    """Truth and confusion matrices by expectation-maximisation.

    `evidence` keeps the contract EVIDENCE and holds one criterion (InputError otherwise). The class prior is
    symmetric in a and b, estimated, without a tie class where nobody said tie. A soft vote counts by its expected
    log-likelihood, an abstention not at all. `skill` is the chance to name the truth of the average pair; its
    interval and `p_sd` are as in `one_coin`, `p_sd` by the delta method over the rows of the matrices. Iterates
    until no posterior moves by `tolerance`; otherwise `is_converged` is False.
    """
    prior = prior or Prior()
    if not (0 < prior.skill < 1 and prior.kind_weight > 0 and prior.voter_weight >= 0):
        raise InputError(f"{prior}", expected="skill in (0, 1), weights above 0", next="mend the prior")
    model = _Model(read_opinions(evidence), prior)
    rows, classes = model.start()
    q, n_iterations, moved = posterior(model.opinions, np.log(rows), classes), 0, np.inf
    while moved > tolerance and n_iterations < max_iterations and q.size:
        rows, classes = model.refit(q)
        update = posterior(model.opinions, np.log(rows), classes)
        moved, q, n_iterations = float(np.abs(update - q).max()), update, n_iterations + 1
    return model.fit(q, rows, n_iterations, bool(moved <= tolerance or not q.size))


def posterior(opinions: Opinions, log_emission: Floats, classes: Floats) -> Floats:
    """(P, 3) probabilities of a, tie, b from log P(vote k | truth c) (V, 3, 3), each family speaking once."""
    o = opinions
    return normalised([o.per_pair(o.say * _dot(o.shares, log_emission[o.voter, c])) for c in range(3)], classes)


def normalised(evidence: list[Floats], classes: Floats) -> Floats:
    """(P, 3) probabilities of a, tie, b from the log-likelihood of the votes under each, (P) each."""
    logs = np.log(np.maximum(classes, _LEAST))
    sums = [votes + log for votes, log in zip(evidence, logs, strict=True)]
    top = np.maximum(np.maximum(sums[0], sums[2]), sums[1])
    a, tie, b = (np.exp(s - top) for s in sums)
    whole = (a + b) + tie
    return np.column_stack([a / whole, tie / whole, b / whole])


def symmetric(n_ties: float, n: float, pseudo: float = _CLASS_WEIGHT) -> Floats:
    """(3) outcome shares, a and b alike; no tie where nothing was one."""
    tie = (n_ties + pseudo) / (n + 3 * pseudo) if n_ties > 0 else 0.0
    return np.array([(1 - tie) / 2, tie, (1 - tie) / 2])


def named(emission: Floats, classes: Floats) -> Floats:
    """(V) chance that each voter names the truth of the average pair."""
    hit = np.diagonal(emission, axis1=1, axis2=2)
    return np.asarray((classes[0] * hit[:, 0] + classes[2] * hit[:, 2]) + classes[1] * hit[:, 1], np.float64)


def votes_told(opinions: Opinions, q: Floats, skill: Floats, least: float) -> Floats:
    """(V) pseudo-votes known of each skill: `least`, and the data's less what the unseen truth hides (Louis 1982)."""
    o, truth, at = opinions, q[opinions.pair], skill[opinions.voter]
    hit, square = _dot(truth, o.shares), _dot(truth, o.shares**2)
    complete = hit / at**2 + (1 - hit) / (1 - at) ** 2
    missing = (square - hit**2) / (at * (1 - at)) ** 2
    told = o.per_voter(o.weight * (complete - missing)) * skill * (1 - skill)
    return np.asarray(least + np.maximum(told, 0.0), np.float64)


def spread(opinions: Opinions, q: Floats, emission: Floats, held: Floats) -> Floats:
    """(P) standard deviation of the expected win from not knowing the emissions.

    Delta method: rows of the matrices are Dirichlets that hold `held` (V, 3) votes, independent of each other;
    members of a family move together.
    """
    o, truth = opinions, q[opinions.pair]
    win = (truth[:, 0] - truth[:, 2]) / 2
    variances = []
    for c in range(3):
        log_variance = (_dot(o.shares**2, 1 / emission[o.voter, c]) - 1) / (held[o.voter, c] + 1)
        pull = o.say * truth[:, c] * (WIN_OF[c] - win) * np.sqrt(np.maximum(log_variance, 0.0))
        of_cell = np.bincount(o.cell, pull, len(o.pair_of_cell))
        variances.append(np.bincount(o.pair_of_cell, of_cell**2, o.pairs.height))
    return np.asarray(np.sqrt((variances[0] + variances[2]) + variances[1]), np.float64)


def typical_rows(emission: Floats, opinions: Opinions) -> Floats:
    """(3, 3) mean emission of people, weighed by their votes; of all voters where there are no people."""
    is_human = (opinions.voters["kind"] == "human").to_numpy()
    n = opinions.per_voter(opinions.weight) * (is_human if is_human.any() else 1.0)
    if not n.size:
        return np.full((3, 3), 1 / 3)
    return np.asarray(np.einsum("v,vck->ck", n / n.sum(), emission), np.float64)


def _dot(x: Floats, y: Floats) -> Floats:
    """(n) sums over the outcomes of x · y, a and b first: swapping the letters changes no bit."""
    return np.asarray((x[:, 0] * y[:, 0] + x[:, 2] * y[:, 2]) + x[:, 1] * y[:, 1], np.float64)


def _places(names: pl.Series, known: pl.Series) -> Ints:
    """(n) place of each name among the known, −1 for an unknown one."""
    rows = pl.DataFrame({"name": known, "place": np.arange(len(known))})
    found = pl.DataFrame({"name": names}).join(rows, on="name", how="left", maintain_order="left")
    return found["place"].fill_null(-1).to_numpy()


class _Model:
    """The votes of one fit and the M-step over them. Sums run in the order of `Opinions`."""

    def __init__(self, opinions: Opinions, prior: Prior) -> None:
        self.opinions, self.prior = opinions, prior
        self.n_ties = float(np.dot(opinions.weight, opinions.shares[:, 1]))
        self.kind: Ints = (opinions.voters["kind"].rank("dense").cast(pl.Int64) - 1).to_numpy()
        self.base = self._base()

    def _base(self) -> Floats:
        """(3, 3) `skill` on the diagonal; errors fall on the other outcomes as votes do."""
        n = float(self.opinions.weight.sum())
        tie = (self.n_ties + 0.01) / (n + 0.03)
        shares = np.array([(1 - tie) / 2, tie, (1 - tie) / 2])
        errors = (1 - self.prior.skill) * shares / (1 - shares[:, None])
        return np.asarray(np.where(np.eye(3, dtype=bool), self.prior.skill, errors), np.float64)

    def start(self) -> tuple[Floats, Floats]:
        rows = np.broadcast_to(self.base, (self.opinions.voters.height, 3, 3)).copy()
        return rows, self._classes(self.n_ties, float(self.opinions.weight.sum()))

    def _classes(self, n_ties: float, n: float) -> Floats:
        return symmetric(n_ties if self.n_ties > 0 else 0.0, n)

    def refit(self, q: Floats) -> tuple[Floats, Floats]:
        """Matrices and class prior that maximise the expected posterior, kinds first, then voters around them."""
        counts = self.counts(q)
        n, weight = _row_sums(counts), self.prior.voter_weight
        rows = (counts + weight * self._kind_rows(counts, n)) / np.maximum(n + weight, _LEAST)
        unread = np.where(n + weight > 0, rows, self.base)
        floored = np.maximum(unread, 1e-10)
        return floored / _row_sums(floored), self._classes(float(q[:, 1].sum()), len(q))

    def counts(self, q: Floats) -> Floats:
        """(V, 3, 3) expected votes k under truth c."""
        o = self.opinions
        weighed = o.weight[:, None] * q[o.pair]
        cells = [o.per_voter(weighed[:, c] * o.shares[:, k]) for c in range(3) for k in range(3)]
        return np.stack(cells, axis=1).reshape(-1, 3, 3)

    def _kind_rows(self, counts: Floats, n: Floats) -> Floats:
        """(V, 3, 3) mean matrix of each voter's kind; a voter tells at most `voter_weight` votes per row."""
        told = self.prior.voter_weight / np.maximum(n + self.prior.voter_weight, _LEAST) * counts
        flat = told.reshape(-1, 9)
        sums = np.stack([np.bincount(self.kind, flat[:, j]) for j in range(9)], axis=1).reshape(-1, 3, 3)
        means = sums + self.prior.kind_weight * self.base
        return np.asarray((means / _row_sums(means))[self.kind], np.float64)

    def fit(self, q: Floats, rows: Floats, n_iterations: int, is_converged: bool) -> Fit:
        o = self.opinions
        classes = self._classes(float(q[:, 1].sum()), len(q))
        skill, least = named(rows, classes), self.prior.voter_weight + 1.0
        told = votes_told(o, q, skill, least)
        held = (_row_sums(self.counts(q))[:, :, 0] + least) * (told / (o.per_voter(o.weight) + least))[:, None]
        consensus = Consensus(
            posteriors_frame(o, q, spread(o, q, rows, held)),
            fits_frame(o, skill * told, (1 - skill) * told, skill), n_iterations, is_converged,
        )
        return Fit(consensus, q, rows, classes, typical_rows(rows, o))


def _row_sums(matrices: Floats) -> Floats:
    """(…, 3, 1) sums of rows, a and b first."""
    return np.asarray((matrices[..., :1] + matrices[..., 2:]) + matrices[..., 1:2], np.float64)
