"""Frozen worlds of the router: judges' votes, signs of AI's errors, people; no texts, only their lengths and overlap.

A world is a few numbers in `bench/worlds/*.toml` and a seed. Everything that can show where AI is wrong
comes from three normal signs, shifted on wrong pairs so that the best reader of all three has the
stated AUROC: disagreement of judges, spread of reward-model margins, similarity of the two responses.
`in_judges` is the share of squared distance between right and wrong that the judges carry.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr, ndtri
from scipy.stats import rankdata

from curate.routing.voices import SAID
from schemas.tables import CANDIDATES, EVIDENCE

FOLDER = Path(__file__).parent / "worlds"
LETTERS = ("a", "tie", "b")
MOST_WRONG = 0.6
"""the panel is never less sure of its label than this allows: three outcomes, the label stays the likeliest"""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Terms:
    """The numbers of a world, as its file holds them."""

    name: str
    n_pairs: int
    n_groups: int
    tie_share: float
    """of the judges' labels, right or wrong"""
    ai_error: float
    """share of pairs on which the judges' label is wrong, exact up to one pair"""
    human_error: float
    """chance that one person names another outcome than the truth, misled pairs apart"""
    auroc: float
    """of the best reader of all signs"""
    in_judges: float
    shared_error: float
    """share of AI's errors on which people name AI's label instead of the truth"""

    @property
    def distances(self) -> Floats:
        """(3) shift of each sign on wrong pairs, in standard deviations: AUROC = Φ(distance / √2)."""
        whole = 2 * float(ndtri(self.auroc)) ** 2
        rest = (1 - self.in_judges) / 2
        return np.sqrt(whole * np.array([self.in_judges, rest, rest]))


@dataclass(frozen=True)
class World:
    """One draw of a world. Outcomes are 0 (a), 1 (tie), 2 (b); arrays are in the order of pair_id."""

    terms: Terms
    seed: int
    truth: Ints
    label: Ints
    """what the judges say together"""
    said: Ints
    """(n, stock) what people would say, one after the other"""
    panel: Floats
    """(n, 3) the judges' posterior, calibrated on their own disagreement as gold would do it"""
    signs: Floats
    """(n, 3)"""
    known: pl.DataFrame
    """CANDIDATES before anybody voted"""

    @property
    def is_wrong(self) -> NDArray[np.bool_]:
        """Where the judges' label is not the truth."""
        return np.asarray(self.label != self.truth, np.bool_)

    def detection(self) -> float:
        """Measured AUROC of the best reader of all signs."""
        return auroc(self.signs @ self.terms.distances, self.is_wrong)


def load(path: Path) -> Terms:
    """The terms of one file."""
    return Terms(name=path.stem, **tomllib.loads(path.read_text()))


def all_worlds(names: Iterable[str] = ()) -> list[Terms]:
    """Every frozen world, or those named, by name."""
    wanted = set(names)
    return [load(p) for p in sorted(FOLDER.glob("*.toml")) if not wanted or p.stem in wanted]


def auroc(score: Floats, is_hit: NDArray[np.bool_]) -> float:
    """Area under the ROC curve by ranks, ties by ½ (Mann and Whitney 1947)."""
    n_hits, ranks = int(is_hit.sum()), rankdata(score)
    return float((ranks[is_hit].sum() - n_hits * (n_hits + 1) / 2) / (n_hits * (len(score) - n_hits)))


def draw(terms: Terms, seed: int, stock: int = 4) -> World:
    """A world of `terms`: the same for the same seed, another one for another."""
    rng, n = np.random.default_rng([seed, *terms.name.encode()]), terms.n_pairs
    # Labels first, then the truth: the other way round ties among labels would tell where AI is wrong.
    label = rng.choice(3, n, p=_outcomes(terms.tie_share))
    is_wrong = np.zeros(n, dtype=bool)
    is_wrong[rng.permutation(n)[: round(terms.ai_error * n)]] = True
    truth = np.where(is_wrong, (label + rng.integers(1, 3, n)) % 3, label)
    signs = rng.standard_normal((n, 3)) + np.outer(is_wrong, terms.distances)
    panel = _panel(terms, label, signs[:, 0])
    misled = is_wrong & (rng.random(n) < terms.shared_error)
    said = _said(rng, np.where(misled, label, truth), terms.human_error, stock)
    return World(terms, seed, truth, label, said, panel, signs, _known(rng, terms, label, signs, panel))


def _outcomes(tie: float) -> list[float]:
    return [(1 - tie) / 2, tie, (1 - tie) / 2]


def _panel(terms: Terms, label: Ints, sign: Floats) -> Floats:
    """(n, 3) P(truth | the judges' sign): two normals of equal variance give a logistic in the sign."""
    d = float(terms.distances[0])
    wrong = np.minimum(expit(logit(terms.ai_error) + d * sign - d**2 / 2), MOST_WRONG)
    p = np.repeat(wrong[:, None] / 2, 3, axis=1)
    p[np.arange(len(label)), label] = 1 - wrong
    return p


def _said(rng: np.random.Generator, meant: Ints, error: float, stock: int) -> Ints:
    """(n, stock) votes of people: what they mean, or one of the other two outcomes."""
    shift = np.where(rng.random((len(meant), stock)) < error, rng.integers(1, 3, (len(meant), stock)), 0)
    return np.asarray((meant[:, None] + shift) % 3, np.int64)


def _dissent(sign: Floats) -> Floats:
    """(n) share that the doubting judge leaves to the label: falls strictly with the sign."""
    return 0.05 + 0.9 * np.asarray(ndtr(-(sign - 1) / 1.5), np.float64)


def _known(rng: np.random.Generator, terms: Terms, label: Ints, signs: Floats, panel: Floats) -> pl.DataFrame:
    n, side = terms.n_pairs, 1 - label
    shares = np.column_stack([np.full((n, 2), 0.95), _dissent(signs[:, 0])])
    length_a, length_b = (np.exp(rng.normal(6, 0.7, n)).astype(np.int64) + 1 for _ in range(2))
    return CANDIDATES.complete(pl.DataFrame({
        "pair_id": [f"p{i:06}" for i in range(n)], "group_id": [f"g{g:05}" for g in rng.integers(0, terms.n_groups, n)],
        "p_a": panel[:, 0], "p_tie": panel[:, 1], "p_sd": 0.05, "n_votes": 3, "n_human": 0,
        "judge_spread": shares.std(axis=1) / 2, "flip_share": np.where(signs[:, 0] > 2, 1 / 3, 0.0),
        "margin": side * rng.normal(1, 1, n), "margin_spread": np.exp(0.5 * signs[:, 1]),
        "length_a": length_a, "length_b": length_b, "overlap": ndtr(signs[:, 2] / 1.5),
        "judges_a": panel[:, 0], "judges_tie": panel[:, 1],
    }))


def judges(world: World) -> pl.DataFrame:
    """EVIDENCE of three judges: two sure of the label, a third one in doubt where the sign is high."""
    n, rows = len(world.label), np.arange(len(world.label))
    order = np.random.default_rng(world.seed).permuted(np.tile(np.arange(3), (n, 1)), axis=1)
    left = np.column_stack([np.full((n, 2), 0.95), _dissent(world.signs[:, 0])])
    frames = []
    for j in range(3):
        share = np.take_along_axis(left, order[:, j : j + 1], axis=1)
        p = np.repeat((1 - share) / 2, 3, axis=1)
        p[rows, world.label] = share[:, 0]
        frames.append(world.known.select(
            "pair_id", voter=pl.lit(f"judge {j}"), criterion=pl.lit("overall"), ballot_id=pl.lit(f"judge {j}"),
            kind=pl.lit("judge"), family=pl.lit("judges"), p_a=pl.Series(p[:, 0]), p_tie=pl.Series(p[:, 1]),
            is_abstention=pl.lit(False), is_flipped=pl.lit(False), weight=pl.lit(1.0),
        ))
    return EVIDENCE.complete(pl.concat(frames))


def posterior(world: World, n_bought: Ints) -> Floats:
    """(n, 3) the judges' posterior joined by the first `n_bought` votes of people, by Bayes.

    People are one coin with the skill that gold tasks would have told. The same consensus for every method.
    """
    error, p = world.terms.human_error, np.log(world.panel)
    hit, miss = np.log(1 - error), np.log(error / 2)
    for k in range(world.said.shape[1]):
        told = np.full((len(p), 3), miss)
        np.put_along_axis(told, world.said[:, k : k + 1], hit, axis=1)
        p = p + np.where((n_bought > k)[:, None], told, 0.0)
    e = np.exp(p - p.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True), np.float64)


def voices(world: World, n_bought: Ints) -> pl.DataFrame:
    """Frame of `curate.routing.voices`: the panel, and the first `n_bought` votes of people."""
    told = np.zeros((len(world.truth), 3))
    for k in range(world.said.shape[1]):
        rows = np.flatnonzero(n_bought > k)
        np.add.at(told, (rows, world.said[rows, k]), 1.0)
    return world.known.select(
        "pair_id", *(pl.Series(c, told[:, k]) for k, c in enumerate(SAID)), prior_a=pl.Series(world.panel[:, 0]),
        prior_tie=pl.Series(world.panel[:, 1]), n_heard=pl.lit(None, dtype=pl.Float64),
    )


def truly_wrong(world: World, n_bought: Ints) -> Floats:
    """(n) chance that the label is wrong for someone who knows how the world is made, but not its truth.

    All three signs and the votes so far by Bayes; misled people are not known to be so.
    """
    d = world.terms.distances
    wrong = expit(logit(world.terms.ai_error) + world.signs @ d - d @ d / 2)
    p = np.repeat(wrong[:, None] / 2, 3, axis=1)
    rows = np.arange(len(world.truth))
    p[rows, world.label] = 1 - wrong
    knows = posterior(replace(world, panel=np.clip(p, 1e-12, 1)), n_bought)
    label = posterior(world, n_bought).argmax(axis=1)
    return np.asarray(1 - knows[rows, label], np.float64)
