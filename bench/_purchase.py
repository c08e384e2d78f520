"""The purchase protocol of METHODS.md D over recorded votes: what is on sale, what is truth, what a label is worth."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench._measuring import expect
from curate.adapters.files import read_source
from curate.consensus.folding import fold_orders
from curate.consensus.opinions import Consensus
from curate.consensus.outcomes import expected_win, verdict
from curate.importing.convert import convert
from curate.routing.candidates import FLAT, candidates
from curate.routing.purchase import split_recorded
from schemas.errors import InputError
from schemas.people import Consensus as ConsensusRule

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Rule = Callable[[pl.DataFrame], Consensus]

SHARE, MARGIN = 0.5, 0.1
OUTCOMES = ("a", "tie", "b")
SETS = ("llmfao", "pandalm_test", "llmbar")
CHEAP = ("ChatGPT/Vanilla_NoRules", "LLaMA2/Vanilla_NoRules", "PaLM2/Vanilla_NoRules")
"""llmbar: the judges that are always asked; fixed before the first run"""
BOUGHT = ("GPT-4/Vanilla_NoRules", "GPT-4/Metrics_Reference")
"""llmbar: who stands in for people. Each has a verdict on every pair; that on the order a, b is for sale."""


def rule_of(method: str) -> Rule:
    """The consensus of that name; InputError where there is none that reads EVIDENCE alone."""
    if method not in get_args(ConsensusRule.model_fields["method"].annotation):
        raise InputError(f"consensus {method!r}", expected="a name that a recipe knows")
    found = getattr(importlib.import_module(f"curate.consensus.{method}"), method, None)
    if found is None:
        raise InputError(f"consensus {method!r} needs more than votes", expected="majority or one_coin, for example")
    rule: Rule = found
    return rule


@dataclass(frozen=True)
class World:
    """Recorded votes of one source, folded once: what the judges said, what people said, the texts."""

    name: str
    judged: pl.DataFrame
    """EVIDENCE of judges"""
    said: pl.DataFrame
    """EVIDENCE of people, one row per recorded vote, with `vote_id`"""
    texts: pl.DataFrame
    """pair_id, group_id, prompt, text_a, text_b, sorted by pair_id: P rows"""
    share: float = SHARE
    """of each pair's recorded votes, rounded down, that can be bought"""
    truth: pl.DataFrame | None = None
    """(pair_id, p_a, p_tie) where the truth is known apart from the recorded votes; else the votes not on sale are"""

    @cached_property
    def plain(self) -> pl.DataFrame:
        """CANDIDATES of all pairs before anything is known but texts and judges."""
        nobody = pl.DataFrame(schema={"pair_id": pl.String} | dict.fromkeys(FLAT, pl.Float64))
        return candidates(nobody, self.judged, self.texts)

    @cached_property
    def groups(self) -> Ints:
        """(P) number of each pair's group."""
        return self.texts["group_id"].rank("dense").cast(pl.Int64).to_numpy() - 1


def load(folder: Path) -> World:
    """A set in the common form. Human votes come as `recorded`; llmbar, which has none, sells its best judge."""
    frames = convert(read_source(folder), is_recorded=True).frames
    votes, texts = frames["votes"], _texts(frames)
    if folder.name == "llmbar":
        return _sells_gpt4(votes, frames["voters"], texts, folder)
    cast, recorded = (votes.filter(pl.col("status") == s) for s in ("cast", "recorded"))
    said = _one_by_one(recorded, frames["voters"])
    return World(folder.name, fold_orders(cast, frames["voters"], MARGIN), said, texts)


def _one_by_one(recorded: pl.DataFrame, voters: pl.DataFrame) -> pl.DataFrame:
    """EVIDENCE and vote_id of votes that are cast one by one: a voter has one on a pair, so no vote touches another."""
    folded = fold_orders(recorded.with_columns(status=pl.lit("cast")), voters, MARGIN)
    key = ["pair_id", "voter", "criterion", "ballot_id"]
    expect(folded.select("pair_id", "voter").n_unique(), recorded.height, "votes of one person on one pair")
    return folded.join(recorded.select(*key, "vote_id"), on=key).filter(~pl.col("is_abstention")).sort("vote_id")


def _sells_gpt4(votes: pl.DataFrame, voters: pl.DataFrame, texts: pl.DataFrame, folder: Path) -> World:
    """llmbar has one human label per pair and nothing of it to sell. So the label is the truth, three weak judges are
    always there, and what is bought is a strong judge's verdict: all recorded, nothing simulated, no people.
    """
    by = {group: [f"llmbar/{name}" for name in names] for group, names in (("cheap", CHEAP), ("bought", BOUGHT))}
    judged = fold_orders(votes.filter(pl.col("voter").is_in(by["cheap"])), voters, MARGIN)
    people = voters.with_columns(kind=pl.lit("human"), family=pl.col("voter"))
    said = _one_by_one(votes.filter(pl.col("voter").is_in(by["bought"]), pl.col("shown_first") == "a"), people)
    known = pl.read_parquet(folder / "pairs.parquet").select("pair_id", "response_a", "label")
    refs = votes.select("pair_id", "external_ref").unique().join(known, left_on="external_ref", right_on="pair_id")
    is_a = (pl.col("text_a") == pl.col("response_a")) == (pl.col("label") == "a")
    truth = texts.join(refs, on="pair_id").select("pair_id", is_a.cast(pl.Float64).alias("p_a"), p_tie=pl.lit(0.0))
    expect(truth.height, texts.height, "pairs with a label")
    return World(folder.name, judged, said, texts, 1.0, truth.sort("pair_id"))


def _texts(frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    worded = frames["responses"].join(frames["texts"], on="text_id").select("response_id", "text")
    asked = frames["prompts"].join(frames["texts"], on="text_id").select("prompt_id", "group_id", prompt="text")
    rows = frames["pairs"].join(asked, on="prompt_id")
    for side in ("a", "b"):
        renamed = worded.rename({"response_id": f"response_{side}", "text": f"text_{side}"})
        rows = rows.join(renamed, on=f"response_{side}")
    return rows.select("pair_id", "group_id", "prompt", "text_a", "text_b").sort("pair_id")


@dataclass(frozen=True)
class Market:
    """One seed's halves of a world. A purchase is how many votes of each pair are bought: those of lowest rank."""

    world: World
    rule: Rule
    sold: pl.DataFrame
    """EVIDENCE on sale, with `rank` within its pair and the pair's `place`"""
    n_for_sale: Ints
    """(P)"""
    truth: Floats
    """(P, 3) truth votes for a, tie, b"""

    @cached_property
    def of_judges(self) -> pl.DataFrame:
        """POSTERIORS by the consensus rule before anybody has bought."""
        return self.rule(self.world.judged).posteriors

    def evidence(self, n_bought: Ints) -> pl.DataFrame:
        """EVIDENCE of the judges and of what was bought."""
        bought = self.sold.filter(self.sold["rank"].to_numpy() < n_bought[self.sold["place"].to_numpy()])
        return pl.concat([self.world.judged, bought.drop("rank", "place")])

    def posteriors(self, n_bought: Ints) -> pl.DataFrame:
        """(P) rows of POSTERIORS by the consensus rule, a flat one where nobody has an opinion."""
        return self.filled(self.rule(self.evidence(n_bought)).posteriors)

    def filled(self, posteriors: pl.DataFrame) -> pl.DataFrame:
        """Posteriors of all P pairs in the order of ids, flat where there was none."""
        return self.world.texts.select("pair_id").join(
            posteriors.select("pair_id", *FLAT), on="pair_id", how="left", maintain_order="left"
        ).with_columns(pl.col(c).fill_null(v) for c, v in FLAT.items())

    def pool(self, posteriors: pl.DataFrame, n_bought: Ints) -> pl.DataFrame:
        """CANDIDATES with what is left to buy; judges and texts never change, so only the posterior is new."""
        left = posteriors.with_columns(n_buyable=pl.Series(self.n_for_sale - n_bought))
        return self.world.plain.drop(*FLAT, "n_buyable").join(left, on="pair_id").select(self.world.plain.columns)

    def shuffled(self, seed: int) -> Market:
        """The control: the same truth votes, handed to other pairs."""
        return replace(self, truth=np.random.default_rng(seed).permutation(self.truth))


def market(world: World, rule: Rule, seed: int) -> Market:
    """A seed's market: a share of each pair's recorded votes, rounded down, is on sale, the others are truth."""
    split = split_recorded(world.said.select("vote_id", "pair_id"), world.share, seed)
    rows = world.said.join(split, on=["vote_id", "pair_id"]).join(
        world.plain.select("pair_id", is_candidate=pl.lit(True)), on="pair_id", how="left"
    ).join(world.texts.select("pair_id").with_row_index("place"), on="pair_id").sort("vote_id")
    sold = rows.filter(pl.col("is_for_sale") & pl.col("is_candidate")).drop("is_for_sale", "is_candidate", "vote_id")
    truth = rows.filter(~pl.col("is_for_sale")) if world.truth is None else world.truth
    n = np.bincount(sold["place"].to_numpy(), minlength=world.texts.height)
    return Market(world, rule, sold.with_columns(pl.col("rank", "place").cast(pl.Int64)), n, _counts(world, truth))


def _counts(world: World, truth: pl.DataFrame) -> Floats:
    """(P, 3) how often each outcome is the truth vote's verdict."""
    said = truth.select("pair_id", verdict(pl.col("p_a"), pl.col("p_tie")).alias("said"))
    rows = world.texts.select("pair_id").join(
        said.group_by("pair_id").agg((pl.col("said") == k).sum().cast(pl.Float64).alias(k) for k in OUTCOMES),
        on="pair_id", how="left", maintain_order="left",
    )  # fmt: skip
    return rows.select(pl.col(OUTCOMES).fill_null(0.0)).to_numpy()


@dataclass(frozen=True)
class Labels:
    """What a posterior says of each pair, all a score needs."""

    named: NDArray[np.int8]
    """(P) 0, 1, 2 for a, tie, b"""
    lean: NDArray[np.int8]
    """(P) −1, 0, 1: towards b, neither, a"""


def labels_of(posteriors: pl.DataFrame) -> Labels:
    """Verdict and leaning of posteriors, rows in order."""
    p = pl.col("p_a"), pl.col("p_tie")
    found = posteriors.select(
        verdict(*p).replace_strict({k: i for i, k in enumerate(OUTCOMES)}, return_dtype=pl.Int8).alias("named"),
        (expected_win(*p).round(9) - 0.5).sign().cast(pl.Int8).alias("lean"),
    )
    return Labels(found["named"].to_numpy(), found["lean"].to_numpy())


def agreement(labels: Labels, truth: Floats) -> Floats:
    """(P, 2) three-way and two-way agreement of each label with its pair's truth votes; NaN where there is none.

    Three-way: share of truth votes that name the label. Two-way: share of the decided truth votes on the side
    that the label leans to, ½ if to neither.
    """
    n, decided = truth.sum(axis=1), truth[:, 0] + truth[:, 2]
    named = truth[np.arange(len(truth)), labels.named]
    side = np.select([labels.lean > 0, labels.lean < 0], [truth[:, 0], truth[:, 2]], decided / 2)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.column_stack([named / n, side / decided]), np.float64)
