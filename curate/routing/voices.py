"""Who has spoken on each pair: people, by what they said, and what was believed before; voices of a majority."""

from __future__ import annotations

import polars as pl

from curate.consensus.outcomes import p_b

SAID = ("said_a", "said_tie", "said_b")


def voices(evidence: pl.DataFrame, judged: pl.DataFrame, *, is_majority: bool) -> pl.DataFrame:
    """(pair_id, said_a, said_tie, said_b, prior_a, prior_tie, n_heard), sorted by pair_id, of pairs with an opinion.

    `said_*` count people by what they said, a person with several ballots on a pair once. The prior is `judged`, the
    consensus (POSTERIORS) of all voters that are not people. Shares of votes are no chances: with `is_majority` the
    prior is that of n families with a third of a vote added to each outcome, as `majority` has it for its own spread,
    and `n_heard` is how many families speak on the pair, people among them; else it is null.
    """
    heard = evidence.filter(~pl.col("is_abstention"), pl.col("weight") > 0)
    families = heard.group_by("pair_id").agg(
        n_heard=pl.col("family").n_unique().cast(pl.Float64),
        n_judges=pl.col("family").filter(pl.col("kind") != "human").n_unique().cast(pl.Float64))
    rows = families.join(_people(heard), on="pair_id", how="left").join(
        judged.select("pair_id", prior_a="p_a", prior_tie="p_tie"), on="pair_id", how="left"
    ).with_columns(pl.col(SAID).fill_null(0.0), pl.col("prior_a", "prior_tie").fill_null(1 / 3)).sort("pair_id")
    if is_majority:
        n = pl.col("n_judges")
        return rows.with_columns((pl.col("prior_a", "prior_tie") * n + 1 / 3) / (n + 1)).drop("n_judges")
    return rows.with_columns(n_heard=pl.lit(None, dtype=pl.Float64)).drop("n_judges")


def _people(heard: pl.DataFrame) -> pl.DataFrame:
    """(pair_id, said_a, said_tie, said_b) of people."""
    p_a, p_tie = pl.col("p_a"), pl.col("p_tie")
    each = heard.filter(pl.col("kind") == "human").sort("pair_id", "voter", "ballot_id").group_by(
        "pair_id", "voter", maintain_order=True
    ).agg(said_a=p_a.mean(), said_tie=p_tie.mean(), said_b=p_b(p_a, p_tie).mean())
    return each.group_by("pair_id", maintain_order=True).agg(pl.col(SAID).sum())
