"""Curves of agreement over budget: areas between random and the oracle, differences, intervals, tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SCORES = ("three-way", "two-way")


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % interval."""

    at: float
    low: float
    high: float


def area(shares: Sequence[float], scores: Floats) -> Floats:
    """(...) area under curves (..., B) over budgets as shares 0..1 (trapezoids): the mean over all budgets."""
    x = np.asarray(shares)
    return np.asarray(((scores[..., 1:] + scores[..., :-1]) / 2 * np.diff(x)).sum(axis=-1), np.float64)


def over_seeds(values: Floats) -> Floats:
    """(P) mean of (S, P) over the seeds in which a pair has a truth vote of that kind; NaN where none has."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0), np.float64)


def mean_of(values: Floats, groups: Ints) -> Interval:
    """Mean over pairs (P), with Student's interval clustered by group. NaN rows are left out."""
    return ratio_of(values, np.ones(len(values)), groups)


def ratio_of(over: Floats, under: Floats, groups: Ints) -> Interval:
    """Sum of `over` through sum of `under` (P): linearised, Student over groups. Rows with a NaN are left out."""
    known = ~(np.isnan(over) | np.isnan(under))
    _, place = np.unique(groups[known], return_inverse=True)
    tops, bottoms = np.bincount(place, over[known]), np.bincount(place, under[known])
    n, whole = len(tops), float(bottoms.sum())
    at = float(tops.sum()) / whole
    if n < 2:
        return Interval(at, float("nan"), float("nan"))
    error = float(np.sqrt(n / (n - 1) * ((tops - at * bottoms) ** 2).sum())) / abs(whole)
    reach = float(student.ppf(0.975, n - 1)) * error
    return Interval(at, at - reach, at + reach)


@dataclass(frozen=True)
class Curves:
    """Agreement of every method on one set under one consensus rule."""

    shares: tuple[float, ...]
    """(B) budgets, as shares of the votes on sale"""
    scores: Mapping[str, Floats]
    """method to (S, P, B, 2): seeds, pairs, budgets, three-way and two-way"""
    shuffled: Mapping[str, Floats]
    """the same against truth votes handed to other pairs"""
    groups: Ints
    """(P)"""

    def level(self, method: str, budget: int, score: int) -> float:
        """Mean agreement at the budget of that number."""
        return float(np.nanmean(over_seeds(self.scores[method][:, :, budget, score])))

    def _areas(self, method: str, score: int, *, is_shuffled: bool = False) -> Floats:
        source = self.shuffled if is_shuffled else self.scores
        return over_seeds(area(self.shares, source[method][..., score]))

    def normalised(self, method: str, score: int, *, is_shuffled: bool = False) -> Interval:
        """Area above random as a share of the oracle's: 0 is random, 1 what the greedy oracle of that score reaches.

        NaN where the oracle itself is not clear of random: where one vote moves every label, greed is no oracle.
        """
        over = self._areas(method, score, is_shuffled=is_shuffled) - self._areas(
            "random", score, is_shuffled=is_shuffled)
        under = self._areas(ORACLES[score], score) - self._areas("random", score)
        if mean_of(under, self.groups).low <= 0:
            return Interval(float("nan"), float("nan"), float("nan"))
        return ratio_of(over, under, self.groups)

    def difference(self, method: str, than: str, score: int) -> Interval:
        """Difference of the areas in points of agreement."""
        return mean_of(100 * (self._areas(method, score) - self._areas(than, score)), self.groups)


ORACLES = ("oracle, three-way", "oracle, two-way")


def curve_table(curves: Curves, methods: Sequence[str], score: int) -> list[list[str]]:
    """Rows of method and agreement in per cent at each budget."""
    return [
        [method, *(f"{100 * curves.level(method, b, score):.1f}" for b in range(len(curves.shares)))]
        for method in methods
    ]


def area_table(curves: Curves, methods: Sequence[str], ours: str) -> list[list[str]]:
    """Rows of method, normalised areas of both scores, their shuffled controls, and how far `ours` is ahead."""
    rows = []
    for method in methods:
        areas = [printed(curves.normalised(method, s), 2) for s in range(2)]
        control = [printed(curves.normalised(method, s, is_shuffled=True), 2) for s in range(2)]
        ahead = ["" if method == ours else printed(curves.difference(ours, method, s), 2) for s in range(2)]
        rows.append([method, *areas, *control, *ahead])
    return rows


def printed(found: Interval, decimals: int) -> str:
    """At, with low … high; a dash for NaN."""
    if np.isnan(found.at):
        return "-"
    return f"{found.at:+.{decimals}f} ({found.low:+.{decimals}f} … {found.high:+.{decimals}f})"
