"""ActiveLab: ask where the label would be least sure, whether or not somebody has already voted.

Goh and Mueller 2023, "ActiveLab: Active Learning with Re-Labeling by Multiple Annotators"; weights as in
CROWDLAB (Goh, Tkachenko and Mueller 2022) and as cleanlab 2.9 computes them. The classifier is the judges together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.consensus.outcomes import p_b

Floats = NDArray[np.float64]
N_OUTCOMES = 3
LEAST = 1e-6
"""no weight is below this, as in cleanlab"""


def scores(pairs: pl.DataFrame, evidence: pl.DataFrame) -> pl.DataFrame:
    """(pair_id, score in 0..1) of `pairs` (pair_id), sorted; the highest score is asked first.

    score = 1 − s with s = (q · (w_M + Σ_j w_j) + w̄ / K) / (w_M + Σ_j w_j + w̄) over the people j who voted
    on the pair; K = 3 outcomes, w̄ the mean weight of people. q is the consensus's quality,
    (w_M · p_M(y) + Σ_j w_j · p_j(y)) / (w_M + Σ_j w_j), where p_j(y) = P if j said y, else (1 − P) / (K − 1), and
    P is how often two people agree. w_j = 1 − (1 − s_j) / (1 − A), s_j the agreement of j with other people;
    w_M = (1 − (1 − A_M) / (1 − A)) · √(people per pair); A is the accuracy of always naming the most
    frequent outcome, A_M that of the judges. Without two people on one pair, people weigh as judges do.
    """
    rows = pairs.select("pair_id").unique().sort("pair_id").with_row_index("row")
    opinions = evidence.filter(~pl.col("is_abstention"))
    model, votes = _judges(rows, opinions), _people(rows, opinions)
    weights = _Weights.of(model, votes)
    total, sums = _tally(votes, weights, len(model))
    label = _label(model, votes)
    at = np.arange(len(model))
    mass = weights.model + total
    quality = (weights.model * model[at, label] + sums[at, label]) / mass
    s = (quality * mass + weights.mean / N_OUTCOMES) / (mass + weights.mean)
    return rows.select("pair_id", score=pl.Series(np.round(1 - s, 9)))


@dataclass(frozen=True)
class _Votes:
    """Votes of people: row of the pair, number of the voter, outcome 0..2, each sorted by (pair, voter)."""

    row: NDArray[np.int64]
    voter: NDArray[np.int64]
    said: NDArray[np.int64]

    def counts(self, n: int) -> Floats:
        """(n, 3) how many people named each outcome."""
        flat = np.bincount(self.row * N_OUTCOMES + self.said, minlength=n * N_OUTCOMES)
        return flat.reshape(n, N_OUTCOMES).astype(np.float64)


def _classes() -> list[pl.Expr]:
    p_a, p_tie = pl.col("p_a"), pl.col("p_tie")
    return [p_a, p_tie, p_b(p_a, p_tie).alias("p_b")]


def _judges(rows: pl.DataFrame, opinions: pl.DataFrame) -> Floats:
    """(n, 3) mean opinion of voters that are not people; uniform where none has one."""
    voiced = opinions.filter(pl.col("kind") != "human").select("pair_id", "voter", *_classes()).sort("pair_id", "voter")
    mean = voiced.group_by("pair_id", maintain_order=True).agg(pl.col("p_a", "p_tie", "p_b").mean())
    joined = rows.join(mean, on="pair_id", how="left", maintain_order="left")
    return joined.select(pl.col("p_a", "p_tie", "p_b").fill_null(1 / N_OUTCOMES)).to_numpy()


def _people(rows: pl.DataFrame, opinions: pl.DataFrame) -> _Votes:
    a, tie, b = _classes()
    said = pl.when((a > b) & (a > tie)).then(0).when((b > a) & (b > tie)).then(2).otherwise(1)
    people = opinions.filter(pl.col("kind") == "human").join(rows, on="pair_id").select(
        "row", "voter", said=said
    ).unique(["row", "voter"]).sort("row", "voter")
    number = pl.col("voter").rank("dense") - 1
    return _Votes(*(people.select(pl.col("row"), number, pl.col("said")).cast(pl.Int64)[c].to_numpy()
                    for c in ("row", "voter", "said")))


def _label(model: Floats, votes: _Votes) -> NDArray[np.int64]:
    """(n) what most people said; where they draw or nobody was asked, the judges decide."""
    return np.asarray((votes.counts(len(model)) + 0.5 * model).argmax(axis=1), np.int64)


@dataclass(frozen=True)
class _Weights:
    model: float
    people: Floats
    """one per voter number"""
    mean: float
    agreement: float

    @classmethod
    def of(cls, model: Floats, votes: _Votes) -> _Weights:
        n_voters = int(votes.voter.max()) + 1 if len(votes.voter) else 0
        counts = votes.counts(len(model))
        n = counts.sum(axis=1)
        others = n[votes.row] - 1
        is_twice = others > 0
        if not is_twice.any():
            return cls(1.0, np.ones(n_voters), 1.0, 1.0)
        share = (counts[votes.row, votes.said] - 1)[is_twice] / others[is_twice]
        own = np.bincount(votes.voter[is_twice], share, n_voters), np.bincount(votes.voter[is_twice], None, n_voters)
        agreement = float(share.mean())
        skill = np.where(own[1] > 0, own[0] / np.maximum(own[1], 1), agreement)
        twice, label = n > 1, _label(model, votes)
        miss = max(1 - np.bincount(label[twice], minlength=N_OUTCOMES).max() / twice.sum(), LEAST)
        right = float((model.argmax(axis=1) == label)[twice].mean())
        people = np.maximum(1 - (1 - skill) / miss, LEAST)
        judges = max(1 - (1 - right) / miss, LEAST) * float(np.sqrt(n[n > 0].mean()))
        return cls(judges, people, float(people.mean()), agreement)


def _tally(votes: _Votes, weights: _Weights, n: int) -> tuple[Floats, Floats]:
    """(n) weight of the people who voted, and (n, 3) what they give to each outcome."""
    w, p = weights.people[votes.voter], weights.agreement
    total = np.bincount(votes.row, w, n).astype(np.float64)
    named = np.bincount(votes.row * N_OUTCOMES + votes.said, w, n * N_OUTCOMES).reshape(n, N_OUTCOMES)
    rest = (1 - p) / (N_OUTCOMES - 1)
    return total, np.asarray(rest * total[:, None] + (p - rest) * named, np.float64)
