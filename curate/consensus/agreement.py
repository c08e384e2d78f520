"""Krippendorff's α over a, tie, b: agreement beyond chance, with an interval by bootstrap.

Krippendorff (2018), "Content Analysis", chapter 12; the bootstrap resamples clusters of pairs (Efron and Tibshirani
1993), not single votes: votes on one pair, and pairs of one group, are not independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from curate.consensus.opinions import Floats, Opinions, read_opinions
from schemas.errors import InputError, RefusedError

Metric = Literal["nominal", "ordinal", "interval"]

LEAST_GROUPS = 10
"""Under this many groups an interval is descriptive."""


@dataclass(frozen=True)
class Agreement:
    """α of the voters that were given, over the pairs that two or more of them voted on."""

    alpha: float
    """1 for full agreement, 0 for chance, below 0 for less than chance"""
    low: float
    high: float
    """central 95 % of the bootstrap"""
    n_pairs: int
    n_votes: int
    n_groups: int

    @property
    def is_descriptive(self) -> bool:
        """Whether there are too few groups for the interval to be one."""
        return self.n_groups < LEAST_GROUPS


def krippendorff_alpha(
    evidence: pl.DataFrame, metric: Metric = "nominal", groups: pl.DataFrame | None = None, *,
    n_resamples: int = 1000, seed: int = 0,
) -> Agreement:  # fmt: skip
    """α over the voters in `evidence` (contract EVIDENCE, one criterion; filter it to people for theirs alone).

    `nominal` asks for equal outcomes; `ordinal` and `interval` order them a < tie < b, so a tie is nearer to a than b
    is: interval with distances 1 and 2, ordinal by the ranks of the votes cast. A soft vote counts by its shares, an
    abstention not at all, a voter once per pair however many ballots. `groups` has pair_id, group_id: the bootstrap
    resamples groups, without it pairs. Raises RefusedError where no pair has two voters or all say the same, since
    chance agreement is then undefined, and InputError for a pair without a group.
    """
    opinions = read_opinions(evidence)
    counts = _coincidences(opinions)
    shared = counts.sum(axis=(1, 2)) > 0
    whole = counts[shared].sum(axis=0)
    if np.count_nonzero(whole.sum(axis=1)) < 2:
        raise RefusedError(
            f"{int(shared.sum())} pairs with two votes or more, all alike", expected="two outcomes among such pairs",
            next="collect second votes",
        )
    of_group = _group_rows(opinions.pairs.filter(pl.Series(shared)), groups)
    flat = counts[shared].reshape(-1, 9)
    sums = np.stack([np.bincount(of_group, flat[:, j]).astype(np.float64) for j in range(9)], axis=1).reshape(-1, 3, 3)
    low, high = _bootstrap(sums, metric, n_resamples, seed)
    n_votes = int(opinions.pairs.filter(pl.Series(shared))["n_votes"].sum())
    return Agreement(float(_alpha(whole[None], metric)[0]), low, high, int(shared.sum()), n_votes, len(sums))


def _coincidences(opinions: Opinions) -> Floats:
    """(P, 3, 3) ordered pairs of different voters naming (c, k), over the number of other voters on the pair."""
    o = opinions
    own = o.weight[:, None] * o.shares
    voter_pair = o.pair * np.int64(o.voters.height) + o.voter
    _, place = np.unique(voter_pair, return_inverse=True)
    pair = np.zeros(int(place.max()) + 1 if place.size else 0, np.int64)
    pair[place] = o.pair
    ballots = np.stack([np.bincount(place, own[:, k], len(pair)) for k in range(3)], axis=1)
    n, height = np.bincount(pair, minlength=o.pairs.height), o.pairs.height
    totals = np.stack([np.bincount(pair, ballots[:, k], height) for k in range(3)], axis=1)
    square = [np.bincount(pair, ballots[:, c] * ballots[:, k], height) for c in range(3) for k in range(3)]
    both = totals[:, :, None] * totals[:, None, :] - np.stack(square, axis=1).reshape(-1, 3, 3)
    return np.asarray(np.where(n[:, None, None] > 1, both, 0.0) / np.maximum(n - 1, 1)[:, None, None], np.float64)


def _group_rows(pairs: pl.DataFrame, groups: pl.DataFrame | None) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    if groups is None:
        return np.arange(pairs.height)
    named = pairs.join(groups.select("pair_id", "group_id"), on="pair_id", how="left", maintain_order="left")
    if named["group_id"].null_count():
        raise InputError(
            f"{named['group_id'].null_count()} pairs without a group", expected="a row in `groups` for each",
            next="read pairs and votes at the same moment",
        )
    return named["group_id"].rank("dense").cast(pl.Int64).to_numpy() - 1


def _bootstrap(sums: Floats, metric: Metric, n_resamples: int, seed: int) -> tuple[float, float]:
    times = np.random.default_rng(seed).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), n_resamples)
    drawn = (times @ sums.reshape(-1, 9)).reshape(-1, 3, 3)
    alphas = _alpha(drawn, metric)
    low, high = np.quantile(alphas[np.isfinite(alphas)], [0.025, 0.975])
    return float(low), float(high)


def _alpha(coincidences: Floats, metric: Metric) -> Floats:
    """(R) 1 − observed over expected disagreement; no number where a resample holds one outcome alone."""
    marginal = coincidences.sum(axis=2)
    n = marginal.sum(axis=1)
    distance = _squared_distance(marginal, metric)
    observed = (coincidences * distance).sum(axis=(1, 2))
    expected = (marginal[:, :, None] * marginal[:, None, :] * distance).sum(axis=(1, 2)) / np.maximum(n - 1, 1e-300)
    return np.asarray(1 - np.divide(observed, expected, out=np.full_like(n, np.nan), where=expected > 0), np.float64)


def _squared_distance(marginal: Floats, metric: Metric) -> Floats:
    """(R, 3, 3) squared differences between outcomes a, tie, b."""
    steps = np.arange(3.0)
    if metric == "nominal":
        return np.broadcast_to(1 - np.eye(3), (len(marginal), 3, 3))
    if metric == "interval":
        return np.broadcast_to((steps[:, None] - steps) ** 2, (len(marginal), 3, 3))
    # Ranks of the outcomes: half of one's own count and all of those below.
    rank = np.cumsum(marginal, axis=1) - marginal / 2
    return np.asarray((rank[:, :, None] - rank[:, None, :]) ** 2, np.float64)
