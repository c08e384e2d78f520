"""What one more human vote is worth: the expected drop of a label's error."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.consensus.outcomes import DECIMALS, p_b
from schemas.errors import InputError

Floats = NDArray[np.float64]

GRID = 1e9
"""gains are compared on a grid of 1e-9, so that rounding never decides who is asked"""
LOOK_AHEAD = 1
"""votes beyond this round's that a gain counts on: a label that two votes turn may get the second one later"""
BELIEVED = ("believed_a", "believed_tie")
"""columns beside CANDIDATES: what is believed of the truth, apart from the consensus (`wrongness.calibrated`)"""


def expected_certainty(n_votes: int, skill: float) -> pl.Expr:
    """E[max posterior] after `n_votes` more human votes on a row with p_a and p_tie.

    One-coin voters over a, tie, b: right with probability `skill`, else one of the other two with
    equal chance; votes are independent given the truth and join the posterior by Bayes. For each
    count of votes the probability of the outcome and its posterior share a factor, so the
    expectation is Σ_counts multinomial · max_k p_k · likelihood_k. Raises InputError for a skill
    outside 0..1.
    """
    classes = (pl.col("p_a"), pl.col("p_tie"), p_b(pl.col("p_a"), pl.col("p_tie")))
    return pl.sum_horizontal(
        pl.max_horizontal(p * w for p, w in zip(classes, likelihoods, strict=True))
        for _, likelihoods in _outcomes(n_votes, skill)
    )


def _outcomes(n_votes: int, skill: float) -> Iterator[tuple[tuple[int, int, int], list[float]]]:
    """Each count of votes for a, tie, b, and its probability under each truth, multinomial coefficient included."""
    if not 0 <= skill <= 1:
        raise InputError(f"human skill {skill}", expected="a probability of being right, 0..1")
    miss = (1 - skill) / 2
    for i in range(n_votes + 1):
        for j in range(n_votes + 1 - i):
            counts = (i, j, n_votes - i - j)
            ways = math.factorial(n_votes) / math.prod(math.factorial(c) for c in counts)
            yield counts, [ways * skill**c * miss ** (n_votes - c) for c in counts]


def with_gains(candidates: pl.DataFrame, skill: float, n_ordinals: int) -> pl.DataFrame:
    """One row per candidate and ordinal 0..n_ordinals−1, with `expected_gain` of that next vote.

    The gain is in label error. Without `p_wrong` or BELIEVED it is the drop of 1 − max posterior; with one, what
    is believed and what the consensus will make of the votes are two things (`believed_curves`), and the next
    vote is worth its rate where a second one is asked for only if the first calls for it (`stopping_rates`). A first
    vote may be too weak to turn a label that two votes can turn; so that buying greedily stays right,
    gains are the slopes of the least concave majorant of the curve over votes, and never grow with
    the ordinal.
    """
    is_believed = any(c in candidates.columns and candidates[c].is_not_null().any() for c in ("p_wrong", *BELIEVED))
    if is_believed:
        reached, _ = believed_curves(candidates, skill, n_ordinals + LOOK_AHEAD)
        rates = slopes(reached)[:, :n_ordinals]
        rates[:, 0] = np.maximum(rates[:, 0], stopping_rates(candidates, skill))
        gains = candidates.with_columns(pl.Series("expected_gain", rates))
    else:
        gains = _by_posterior(candidates, skill, n_ordinals)
    ordinals = pl.lit(list(range(n_ordinals)), dtype=pl.List(pl.Int64)).alias("ordinal")
    return gains.with_columns(pl.col("expected_gain").cast(pl.List(pl.Float64)), ordinals).explode(
        "expected_gain", "ordinal"
    )


def with_changes(candidates: pl.DataFrame, skill: float, n_ordinals: int) -> pl.DataFrame:
    """(pair_id, ordinal, expected_change): labels that the next votes are expected to change, per vote."""
    _, changed = believed_curves(candidates, skill, n_ordinals)
    ordinals = pl.lit(list(range(n_ordinals)), dtype=pl.List(pl.Int64)).alias("ordinal")
    each = pl.Series("expected_change", slopes(changed)).cast(pl.List(pl.Float64))
    return candidates.select("pair_id", each, ordinals).explode("expected_change", "ordinal")


def _by_posterior(candidates: pl.DataFrame, skill: float, n_ordinals: int) -> pl.DataFrame:
    reached = [f"certainty_{k}" for k in range(n_ordinals + 1)]
    curve = candidates.with_columns(expected_certainty(k, skill).alias(c) for k, c in enumerate(reached))
    each = pl.concat_list(_slope(j, reached) for j in range(1, n_ordinals + 1)).alias("expected_gain")
    return curve.with_columns(each).drop(reached)


def _slope(j: int, reached: list[str]) -> pl.Expr:
    """Slope of the majorant between j−1 and j votes: min over starts of max over ends."""
    def slope(start: int, end: int) -> pl.Expr:
        return (pl.col(reached[end]) - pl.col(reached[start])) / (end - start)

    steepest = [pl.max_horizontal(slope(start, end) for end in range(j, len(reached))) for start in range(j)]
    return (pl.min_horizontal(steepest) * GRID).round().clip(0) / GRID + 0.0


def slopes(curve: Floats) -> Floats:
    """(n, k) never negative, never growing slopes of the least concave majorant of curves (n, k + 1) over votes."""
    k = curve.shape[1] - 1
    gains = [
        np.min([
            np.max([(curve[:, end] - curve[:, start]) / (end - start) for end in range(j, k + 1)], axis=0)
            for start in range(j)
        ], axis=0) for j in range(1, k + 1)
    ]
    return np.asarray(np.round(np.maximum(np.column_stack(gains), 0.0) * GRID) / GRID, np.float64)


def believed_curves(candidates: pl.DataFrame, skill: float, n_most: int) -> tuple[Floats, Floats]:
    """(n, n_most + 1) chance that the label is right, and that it is another one, after 0..n_most more votes [ours].

    The consensus decides which label follows from the votes: by Bayes from p_a and p_tie, or, where the column
    `n_heard` has so many voices, as the majority of those and the new ones. What is believed of the truth is
    another thing (`belief`). A pair whose label is believed wrong and which the consensus is sure of needs
    several votes to be turned, and a vote that the consensus will not heed is worth nothing. Votes beyond
    `n_buyable` cannot be had and add nothing.
    """
    p, believed, heard = shares(candidates), belief(candidates), _heard(candidates)
    now, curves = named(p), np.zeros((2, len(p), n_most + 1))
    for n_votes in range(n_most + 1):
        for said, weights in _outcomes(n_votes, skill):
            then, mass = named(_joined(p, heard, said, weights)), believed * weights
            is_same = (then == now).all(axis=1)
            curves[0, :, n_votes] += (then * mass).sum(axis=1)
            curves[1, :, n_votes] += np.where(is_same, 0.0, mass.sum(axis=1))
    left = np.full(len(p), n_most)
    if "n_buyable" in candidates.columns:
        left = candidates["n_buyable"].fill_null(n_most).to_numpy()
    reached = np.minimum(np.arange(n_most + 1), left[:, None])
    right, changed = (np.take_along_axis(curve, reached, axis=1) for curve in curves)
    return right, changed


def stopping_rates(candidates: pl.DataFrame, skill: float) -> Floats:
    """(n) drop of error per vote of the best plan of one or two votes on each pair, never negative [ours].

    A plan says after which first votes a second one is asked for; its rate is the expected drop over the expected
    number of votes, the best of eight (the index of Gittins 1979 with a horizon of two). A first vote that settles
    the pair saves the second, so a doubtful pair that needs two votes is worth more than half of what both bring.
    """
    p, believed, heard = shares(candidates), belief(candidates), _heard(candidates)
    one = np.eye(3, dtype=np.int64)

    def after(said: NDArray[np.int64]) -> tuple[Floats, Floats]:
        weights = [skill**c * ((1 - skill) / 2) ** (int(said.sum()) - c) for c in said.tolist()]
        mass = believed * weights
        return (named(_joined(p, heard, said, weights)) * mass).sum(axis=1), mass.sum(axis=1)

    firsts, now = [after(one[k]) for k in range(3)], after(np.zeros(3, dtype=np.int64))[0]
    gain = np.sum([right for right, _ in firsts], axis=0) - now
    more = [np.sum([after(one[k] + one[j])[0] for j in range(3)], axis=0) - firsts[k][0] for k in range(3)]
    can_come_back = np.ones(len(p))
    if "n_buyable" in candidates.columns:
        can_come_back = (candidates["n_buyable"].fill_null(2) > 1).to_numpy().astype(np.float64)
    rates = [
        (gain + can_come_back * np.sum([more[k] for k in plan], axis=0))
        / (1 + can_come_back * np.sum([firsts[k][1] for k in plan], axis=0))
        for n in range(4) for plan in combinations(range(3), n)
    ]
    return np.asarray(np.round(np.maximum(np.max(rates, axis=0), 0.0) * GRID) / GRID, np.float64)


def _heard(candidates: pl.DataFrame) -> Floats:
    """(n, 1) voices of a majority; NaN where the consensus is none."""
    if "n_heard" not in candidates.columns:
        return np.full((candidates.height, 1), np.nan)
    return candidates["n_heard"].cast(pl.Float64).fill_null(np.nan).to_numpy()[:, None]


def _joined(
    p: Floats, heard: Floats, said: Sequence[int] | NDArray[np.int64], weights: Sequence[float]
) -> Floats:
    """(n, 3) what the consensus makes of so many more votes for a, tie, b."""
    counted = (p * heard + np.array(said)) / np.maximum(heard + sum(said), 1.0)
    return np.where(np.isnan(heard), p * weights, counted)


def belief(candidates: pl.DataFrame) -> Floats:
    """(n, 3) what is believed of the outcomes a, tie, b.

    The columns BELIEVED where they are; else the label's share is 1 − p_wrong and the others share the rest as the
    consensus has them; without p_wrong it is the consensus.
    """
    p = shares(candidates)
    if set(BELIEVED) <= set(candidates.columns):
        return shares(candidates, BELIEVED)
    if "p_wrong" not in candidates.columns:
        return p
    is_label = named(p)
    others = np.where(is_label, 0.0, p + 1e-9)
    wrong = candidates["p_wrong"].to_numpy()[:, None]
    learned = np.where(is_label, 1 - wrong, wrong * others / others.sum(axis=1, keepdims=True))
    return np.asarray(np.where(np.isnan(wrong), p, learned), np.float64)


def shares(candidates: pl.DataFrame, of: tuple[str, str] = ("p_a", "p_tie")) -> Floats:
    """(n, 3) chances of a, tie, b from the two columns `of` that hold those of a and tie."""
    p_a, p_tie = (pl.col(c) for c in of)
    return candidates.select(p_a.alias("a"), p_tie.alias("tie"), p_b(p_a, p_tie).alias("b")).to_numpy()


def named(p: Floats) -> NDArray[np.bool_]:
    """(n, 3) which outcome a label names: as `verdict`, a tie when no side is strictly likeliest."""
    a, tie, b = np.round(p, DECIMALS).T
    is_a, is_b = (a > b) & (a > tie), (b > a) & (b > tie)
    return np.column_stack([is_a, ~(is_a | is_b), is_b])


def information(skill: float, of: tuple[str, str] = ("p_a", "p_tie")) -> pl.Expr:
    """Expected drop of entropy by one human vote, in nats: breaks ties between equal gains.

    Where no single vote can turn the label, the vote that says most comes first. Mutual information
    of truth and vote is H(vote) − H(vote | truth), and the last is the same for every pair. `of`: the columns
    with the chances of a and tie.
    """
    p_a, p_tie = (pl.col(c) for c in of)
    classes = (p_a, p_tie, p_b(p_a, p_tie))
    said = [(p * skill + (1 - p) * (1 - skill) / 2).clip(1e-12) for p in classes]
    given = -sum(q * math.log(q) for q in (skill, (1 - skill) / 2, (1 - skill) / 2) if q > 0)
    return ((pl.sum_horizontal(-v * v.log() for v in said) - given) * GRID).round() / GRID
