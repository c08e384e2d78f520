"""What the router knows of each pair before it decides."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from curate.consensus.outcomes import p_b
from schemas.tables import CANDIDATES

FLAT = {"p_a": 1 / 3, "p_tie": 1 / 3, "p_sd": (1 / 6) ** 0.5, "n_votes": 0, "n_human": 0}
"""a pair on which nobody has voted: every outcome alike; 1/6 is the variance of its expected win"""

EVEN_SURE = 1e-3
"""least chance that a margin is reckoned with"""


def candidates(
    posteriors: pl.DataFrame, evidence: pl.DataFrame, texts: pl.DataFrame, *,
    margins: pl.DataFrame | None = None, buyable: pl.DataFrame | None = None, excluded: Iterable[str] = (),
    known: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Frame CANDIDATES, sorted by pair_id, of the pairs in `texts` that a person could be asked about.

    `texts` has pair_id, group_id, text_a, text_b (a COMPARISONS frame will do); a pair without a
    posterior is a candidate with a flat one. `buyable` is (pair_id, n): absent, people are
    unlimited; a pair missing from it has nothing to buy. Pairs of equal texts and `excluded` ones
    (gate gold) never are candidates. `known` is pair_id and any of source, novelty, cluster.

    judge_spread is the spread of expected win over voters that are not human, flip_share the share
    of their folded ballots whose verdict changed with the order; margin and margin_spread run over
    scorers; lengths are characters; overlap is the Jaccard index of the two word sets; judges_a and
    judges_tie are the mean opinion of voters that are not human.
    """
    rows = texts.filter((pl.col("text_a") != pl.col("text_b")) & ~pl.col("pair_id").is_in(list(excluded)))
    voted = rows.select("pair_id", "group_id", *_text_features()).join(
        posteriors.select("pair_id", *FLAT), on="pair_id", how="left"
    ).with_columns(pl.col(c).fill_null(v) for c, v in FLAT.items())
    judged = voted.join(_opinions_of_judges(evidence), on="pair_id", how="left").with_columns(
        pl.col("judge_spread", "flip_share").fill_null(0.0)
    )
    rated = _with_buyable(_with_margins(judged, margins), buyable)
    return CANDIDATES.complete(
        (rated if known is None else rated.join(known, on="pair_id", how="left")).sort("pair_id")
    )


def margins_of(evidence: pl.DataFrame) -> pl.DataFrame:
    """(pair_id, scorer, margin) of EVIDENCE of reward models: log-odds of a against b, which is a Bradley–Terry margin.

    Its votes are out of fold, as the scores behind them are. Beyond odds of 1,000 to 1 a margin says no more.
    """
    p_a, p_tie = pl.col("p_a"), pl.col("p_tie")
    a, b = p_a.clip(EVEN_SURE), p_b(p_a, p_tie).clip(EVEN_SURE)
    voiced = evidence.filter(pl.col("kind") == "reward_model", ~pl.col("is_abstention"))
    return voiced.sort("pair_id", "voter", "ballot_id").group_by("pair_id", "voter", maintain_order=True).agg(
        margin=(a.log() - b.log()).round(9).mean()).select("pair_id", "margin", scorer="voter")


def _text_features() -> list[pl.Expr]:
    a, b = (pl.col(c).str.to_lowercase().str.extract_all(r"\w+").list.unique() for c in ("text_a", "text_b"))
    union = a.list.set_union(b).list.len()
    shared = a.list.set_intersection(b).list.len()
    return [
        pl.col("text_a").str.len_chars().cast(pl.Int64).alias("length_a"),
        pl.col("text_b").str.len_chars().cast(pl.Int64).alias("length_b"),
        pl.when(union > 0).then(shared / union).otherwise(0.0).alias("overlap"),
    ]


def _opinions_of_judges(evidence: pl.DataFrame) -> pl.DataFrame:
    """(pair_id, flip_share, judge_spread, judges_a, judges_tie); a voter with several ballots on a pair
    counts once, by its mean.
    """
    win = (pl.col("p_a") + pl.col("p_tie") / 2).alias("win")
    voiced = evidence.filter(pl.col("kind") != "human").sort("pair_id", "voter", "criterion", "ballot_id")
    flipped = pl.col("is_flipped").cast(pl.Float64).mean().alias("flip_share")
    flips = voiced.group_by("pair_id", maintain_order=True).agg(flipped)
    wins = voiced.filter(~pl.col("is_abstention")).group_by("pair_id", "voter", maintain_order=True).agg(
        win.mean(), pl.col("p_a", "p_tie").mean()
    )
    spread = wins.group_by("pair_id", maintain_order=True).agg(
        pl.col("win").std(ddof=0).alias("judge_spread"), pl.col("p_a").mean().alias("judges_a"),
        pl.col("p_tie").mean().alias("judges_tie"),
    )
    return flips.join(spread, on="pair_id", how="left")


def _with_margins(rows: pl.DataFrame, margins: pl.DataFrame | None) -> pl.DataFrame:
    if margins is None:
        return rows
    over_scorers = margins.sort("pair_id", "scorer").group_by("pair_id", maintain_order=True).agg(
        pl.col("margin").mean(), pl.col("margin").std(ddof=0).alias("margin_spread")
    )
    return rows.join(over_scorers, on="pair_id", how="left")


def _with_buyable(rows: pl.DataFrame, buyable: pl.DataFrame | None) -> pl.DataFrame:
    if buyable is None:
        return rows
    counts = buyable.select("pair_id", pl.col("n").alias("n_buyable"))
    return rows.join(counts, on="pair_id", how="left").with_columns(pl.col("n_buyable").fill_null(0))
