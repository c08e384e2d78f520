"""How often one person is right, from people alone."""

from __future__ import annotations

import polars as pl

from curate.consensus.outcomes import verdict
from curate.routing.audit import skill_behind
from schemas.errors import InputError


def human_skill(evidence: pl.DataFrame, prior: float = 0.7, prior_weight: float = 20.0) -> float:
    """One-coin skill of people over three outcomes, in 1/3..1, from how often two of them agree.

    Two voters of skill s agree with probability a = s² + (1 − s)² / 2, so s = (1 + √(6a − 2)) / 3.
    Agreement is counted over the pairs of people on each pair of EVIDENCE, each pair of responses
    weighing n − 1 for its n people, and shrunk towards the prior's with `prior_weight` such votes.
    A fit that judges dominate calls agreement with judges skill; this number knows no judge. It is
    that of the pairs people were asked about, which may be the harder ones. Raises InputError for
    a prior outside 1/3..1 or a weight that is not positive.
    """
    if not (1 / 3 <= prior <= 1 and prior_weight > 0):
        raise InputError(f"prior {prior}, weight {prior_weight}", expected="a skill in 1/3..1 and a weight above 0")
    people = evidence.filter((pl.col("kind") == "human") & ~pl.col("is_abstention"))
    counts = people.select("pair_id", verdict(pl.col("p_a"), pl.col("p_tie")).alias("said")).group_by(
        "pair_id", "said"
    ).agg(pl.len().cast(pl.Int64).alias("k"))
    shared = counts.sort("pair_id", "said").group_by("pair_id", maintain_order=True).agg(
        n=pl.col("k").sum(), same=(pl.col("k") * (pl.col("k") - 1)).sum()
    ).filter(pl.col("n") > 1)
    weight = float((shared["n"] - 1).sum())
    agreed = float((shared["same"] / shared["n"]).sum())
    expected = prior**2 + (1 - prior) ** 2 / 2
    agreement = (agreed + prior_weight * expected) / (weight + prior_weight)
    return skill_behind(agreement)
