"""Recorded votes of a set, which of them are hidden, and every model that foretells them (bench/consensus.py).

Models that read evidence are given it by position (the first shown as a) on pairs that all saw in one recorded order,
so that confusion matrices and habits can learn who prefers the first slot; what they foretell is turned back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from curate.adapters.files import read_source
from curate.consensus.bradley_terry import fit_davidson
from curate.consensus.crowdlab import fit_crowdlab
from curate.consensus.dawid_skene import Fit, fit_dawid_skene, symmetric, typical_rows
from curate.consensus.folding import fold_orders
from curate.consensus.mace import fit_mace
from curate.consensus.one_coin import one_coin
from curate.consensus.opinions import Floats, read_opinions
from curate.consensus.worker_bradley_terry import worker_bradley_terry
from curate.importing.convert import convert
from schemas.ids import uniform_expr

Predict = Callable[[pl.DataFrame], Floats]
"""rows of votes (pair_id, voter, shown_first, is_turned) → (n, 3) probabilities of a, tie, b"""

EXTRA = ("kind", "group_id", "is_turned")
HIDDEN = 0.2
SHRINK = 1.0
"""pseudo-votes of the global frequency in `majority`; 0.3 to 3 are alike on the half where peers were tuned"""
L2 = 0.1
"""of the items' strengths in `Bradley-Terry`"""
OWN_WEIGHT = 5.0
"""pseudo-votes of the global frequency in a voter's own"""


@dataclass(frozen=True)
class World:
    """Votes of one set with all that models may read."""

    name: str
    votes: pl.DataFrame
    """contract VOTES, one hard vote per pair and voter, and EXTRA; is_turned: b was shown first to all"""
    voters: pl.DataFrame
    pairs: pl.DataFrame
    """pair_id, prompt_id, response_a, response_b, group_id"""

    def of(self, votes: pl.DataFrame) -> World:
        """The same set with these votes."""
        return replace(self, votes=votes)

    @cached_property
    def evidence(self) -> pl.DataFrame:
        """EVIDENCE by position: a is the first shown where that is known."""
        turned = by_position(outcomes(self.votes), self.votes)
        by_slot = self.votes.drop(EXTRA).with_columns(
            p_a=pl.Series(turned[:, 0]), shown_first=pl.lit(None, pl.String))
        return fold_orders(by_slot, self.voters, 0.0)


def load(folder: Path) -> World:
    """Votes of a folder in the common form."""
    frames = convert(read_source(folder)).frames
    pairs = frames["pairs"].join(frames["prompts"].select("prompt_id", "group_id"), on="prompt_id")
    voters = frames["voters"]
    votes = frames["votes"].filter(~pl.col("is_abstention")).join(pairs.select("pair_id", "group_id"), on="pair_id")
    votes = with_turns(votes.join(voters.select("voter", "kind"), on="voter")).sort("vote_id")
    return World(folder.name, votes, voters, pairs.select(
        "pair_id", "prompt_id", "response_a", "response_b", "group_id").sort("pair_id"))  # fmt: skip


def with_turns(votes: pl.DataFrame) -> pl.DataFrame:
    """The rows with `is_turned`: b was shown first to all who voted on the pair."""
    return votes.with_columns(is_turned=(pl.col("shown_first") == "b").fill_null(False).all().over("pair_id"))


def hide(votes: pl.DataFrame, seed: int, *, whole_pairs: bool = False) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(seen, hidden): a fifth of the votes of people, each pair keeping one; or all votes of people on a fifth of
    the pairs. The same seed hides the same votes whatever judges are among the seen."""
    is_human = pl.col("kind") == "human"
    if whole_pairs:
        is_hidden = is_human & (uniform_expr(seed, ["pair_id"]) < HIDDEN)
    else:
        draw = pl.when(is_human).then(uniform_expr(seed, ["vote_id"]))
        is_hidden = is_human & (draw < HIDDEN) & (draw < draw.max().over("pair_id"))
    marked = votes.with_columns(is_hidden=is_hidden)
    return marked.filter(~pl.col("is_hidden")).drop("is_hidden"), marked.filter("is_hidden").drop("is_hidden")


def outcomes(votes: pl.DataFrame) -> Floats:
    """(n, 3) shares of a, tie, b, as the rows say."""
    return votes.select("p_a", "p_tie", p_b=(1 - pl.col("p_a") - pl.col("p_tie")).round(12)).to_numpy()


def by_position(p: Floats, votes: pl.DataFrame) -> Floats:
    """(n, 3) with the columns of a and b exchanged where b was shown first; doing it twice undoes it."""
    return np.asarray(np.where(votes["is_turned"].to_numpy()[:, None], p[:, ::-1], p), np.float64)


def frequency(world: World) -> Floats:
    """(3) shares among the votes of people by position, half a vote added to each."""
    people = world.votes.filter(kind="human")
    counts = by_position(outcomes(people), people).sum(axis=0) + 0.5
    return np.asarray(counts / counts.sum(), np.float64)


def own_frequency(world: World) -> Predict:
    """What each voter says whatever the pair, shrunk to what people say."""
    base = frequency(world)
    turned = by_position(outcomes(world.votes), world.votes)
    columns = [pl.Series(f"k{k}", turned[:, k]) for k in range(3)]
    counts = world.votes.select("voter", *columns).sort("voter").group_by("voter", maintain_order=True).sum()

    def predict(rows: pl.DataFrame) -> Floats:
        found = rows.select("voter").join(counts, on="voter", how="left", maintain_order="left").fill_null(0.0)
        n = found.select("k0", "k1", "k2").to_numpy() + OWN_WEIGHT * base
        return by_position(n / n.sum(axis=1, keepdims=True), rows)

    return predict


def _global(world: World) -> Predict:
    base = frequency(world)
    return lambda rows: by_position(np.tile(base, (rows.height, 1)), rows)


def _majority(world: World) -> Predict:
    base = frequency(world)
    turned = by_position(outcomes(world.votes), world.votes)
    columns = [pl.Series(f"k{k}", turned[:, k]) for k in range(3)]
    counts = world.votes.select("pair_id", *columns).sort("pair_id").group_by("pair_id", maintain_order=True).sum()

    def predict(rows: pl.DataFrame) -> Floats:
        found = rows.select("pair_id").join(counts, on="pair_id", how="left", maintain_order="left").fill_null(0.0)
        n = found.select("k0", "k1", "k2").to_numpy() + SHRINK * base
        return by_position(n / n.sum(axis=1, keepdims=True), rows)

    return predict


def _reading(fit: Fit) -> Predict:
    return lambda rows: by_position(fit.predict(rows["pair_id"], rows["voter"]), rows)


def fit_one_coin(evidence: pl.DataFrame) -> Fit:
    """`one_coin` with the emissions that its docstring names."""
    consensus, opinions = one_coin(evidence), read_opinions(evidence)
    truth = outcomes(consensus.posteriors)
    shares = symmetric(float(opinions.weight @ opinions.shares[:, 1]), float(opinions.weight.sum()), 0.01)
    skill = consensus.voter_fits["skill"].to_numpy()[:, None, None]
    errors = (1 - skill) * shares / (1 - shares[:, None])
    emission = np.where(np.eye(3, dtype=bool), skill, errors)
    classes = symmetric(float(truth[:, 1].sum()), len(truth))
    return Fit(consensus, truth, emission, classes, typical_rows(emission, opinions))


def _bradley_terry(world: World) -> Predict:
    """Davidson over the responses, which recur within a prompt in all three sets; voters are not told apart."""
    sides = world.pairs.select("pair_id", "response_a", "response_b")
    rows = world.votes.select("pair_id", "p_a", "p_tie").join(sides, on="pair_id")
    is_a = pl.col("p_a") > 0.5
    wins = rows.select(
        winner=pl.when(is_a).then("response_a").otherwise("response_b"),
        loser=pl.when(is_a).then("response_b").otherwise("response_a"), weight=pl.lit(1.0),
        is_tie=pl.col("p_tie") > 0.5,
    )  # fmt: skip
    fit = fit_davidson(wins, L2)
    strength = fit.strengths.select("item", "strength")

    def predict(rows: pl.DataFrame) -> Floats:
        found = rows.select("pair_id").join(sides, on="pair_id", how="left", maintain_order="left")
        for side in "ab":
            named = strength.rename({"item": f"response_{side}", "strength": side})
            found = found.join(named, on=f"response_{side}", how="left", maintain_order="left")
        half = (found["a"].fill_null(0.0) - found["b"].fill_null(0.0)).to_numpy() / 2
        odds = np.column_stack([np.exp(half), np.full(len(half), fit.nu), np.exp(-half)])
        return np.asarray(odds / odds.sum(axis=1, keepdims=True), np.float64)

    return predict


def _ours(world: World) -> Predict:
    fit = worker_bradley_terry(world.votes.drop(EXTRA), world.voters, pairs=world.pairs)
    return lambda rows: fit.predict(rows["pair_id"], rows["voter"], rows["shown_first"])


OURS = "ours"
READERS: dict[str, Callable[[pl.DataFrame], Fit]] = {
    "Dawid-Skene": fit_dawid_skene, "one-coin": fit_one_coin, "MACE": fit_mace, "CROWDLAB": fit_crowdlab,
}  # fmt: skip
METHODS: dict[str, Callable[[World], Predict]] = {
    "global frequency": _global, "majority": _majority,
    **{name: (lambda world, fit=fit: _reading(fit(world.evidence))) for name, fit in READERS.items()},  # type: ignore[misc]
    "Bradley-Terry": _bradley_terry, OURS: _ours,
}  # fmt: skip
