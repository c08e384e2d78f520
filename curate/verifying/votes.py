"""From findings on responses to votes on pairs, and to vetoes of labels.

A verifier votes for the response that passes against one that does not. Where both pass, both fail, or it cannot
tell, it has no opinion: an abstention. What it found of each side stands in `evidence` as JSON, so that vetoes come
from votes alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from curate.consensus.outcomes import DECIMALS, p_b, quantised
from curate.verifying.contract import Check
from schemas.ids import content_id_expr
from schemas.tables import VOTERS, VOTES

VETOED: dict[str, pl.DataType] = {"pair_id": pl.String(), "response": pl.String(), "verifier": pl.String()}
"""a response, "a" or "b", of a pair that fails a hard constraint"""


def verifier_voters(checks: Sequence[Check]) -> pl.DataFrame:
    """Frame `voters` of checks: they cost nothing, and checks by one program are a family."""
    rows = [{"voter": c.voter, "kind": "verifier", "family": c.family, "model": c.instrument, "cost_usd": 0.0}
            for c in checks]
    return VOTERS.complete(pl.DataFrame(rows)) if rows else VOTERS.empty()


def verifier_panel(checks: Sequence[Check]) -> pl.DataFrame:
    """(voter, instrument) of each check: under which name its votes count."""
    rows = [(check.voter, check.instrument) for check in checks]
    return pl.DataFrame(rows, schema={"voter": pl.String, "instrument": pl.String}, orient="row")


def votes_from_findings(
    wanted: pl.DataFrame, findings: pl.DataFrame, *, criterion: str, round_id: str | None = None
) -> pl.DataFrame:
    """One vote per row of `wanted` (pair_id, voter, instrument, response_a, response_b), sorted by `vote_id`.

    `findings` are those of `examine`. One side passes and the other fails: p of the one that passes is
    (1 + c) / 2, with c the lower of the two confidences, p_tie is 0; p in steps of 1/200. Everything else is an
    abstention that says why. `confidence` is c.
    """
    known = findings.select("voter", "response_id", "is_failure", "confidence", said=_said(), is_passed="is_passed")
    rows = wanted
    for side in ("a", "b"):
        named = {name: f"{name}_{side}" for name in ("is_passed", "confidence", "said", "is_failure")}
        rows = rows.join(known.rename(named), left_on=["voter", f"response_{side}"], right_on=["voter", "response_id"],
                         how="left")
    opined = rows.with_columns(_why(), pl.min_horizontal("confidence_a", "confidence_b").alias("confidence"))
    return VOTES.complete(opined.select(_vote_columns(criterion, round_id))).sort("vote_id")


def failures(findings: pl.DataFrame) -> pl.DataFrame:
    """(voter, n_failures) of verifiers that raised or made no sense, sorted by voter: counted, never a label."""
    failed = findings.filter("is_failure").group_by("voter").agg(pl.len().cast(pl.Int64).alias("n_failures"))
    return failed.sort("voter")


def vetoes(votes: pl.DataFrame, checks: Sequence[Check]) -> pl.DataFrame:
    """VETOED: each response that fails a hard one of `checks`, from the evidence of current votes; sorted."""
    hard = verifier_panel([check for check in checks if check.is_hard])
    said = votes.join(hard, on=["voter", "instrument"], how="semi").filter(pl.col("status") == "cast")
    sides = [
        said.filter(pl.col("evidence").str.json_path_match(f"$.{side}.is_passed") == "false").select(
            "pair_id", pl.lit(side).alias("response"), pl.col("instrument").str.replace(r"@.*$", "").alias("verifier"))
        for side in ("a", "b")
    ]
    return pl.concat(sides).select(list(VETOED)).unique().sort(list(VETOED))


def veto(labels: pl.DataFrame, vetoed: pl.DataFrame) -> pl.DataFrame:
    """`labels` (LABELS less label_set) without winners that fail a hard constraint: same rows, same order.

    A label whose winner is in `vetoed` (VETOED) becomes a drop of weight 0 with the reason `vetoed:<verifier>`,
    several sorted and parted by commas, whatever its action and reason were: veto > drop > flip > soften > keep.
    Apply it before the filter, so that no flip saves such a label, and after it, so that no flip makes one. A label
    without a winner teaches no order and is left alone.
    """
    reasons = vetoed.group_by("pair_id", "response").agg(pl.col("verifier").unique().sort().str.join(","))
    lead = (pl.col("p_a") - p_b(pl.col("p_a"), pl.col("p_tie"))).round(DECIMALS)
    winner = pl.when(lead > 0).then(pl.lit("a")).when(lead < 0).then(pl.lit("b"))
    joined = labels.with_columns(winner.alias("response")).join(
        reasons, on=["pair_id", "response"], how="left", maintain_order="left")
    is_vetoed = pl.col("verifier").is_not_null()
    return joined.with_columns(
        pl.when(is_vetoed).then(pl.lit("drop")).otherwise("action").alias("action"),
        pl.when(is_vetoed).then(pl.format("vetoed:{}", "verifier")).otherwise("reason").alias("reason"),
        pl.when(is_vetoed).then(0.0).otherwise("weight").alias("weight"),
    ).select(labels.columns)


def _said() -> pl.Expr:
    return pl.struct("is_passed", "confidence", "evidence").struct.json_encode()


def _why() -> pl.Expr:
    """Why there is no opinion; null where there is one."""
    a, b = pl.col("is_passed_a"), pl.col("is_passed_b")
    return (
        pl.when(pl.col("is_failure_a").fill_null(False) | pl.col("is_failure_b").fill_null(False))
        .then(pl.lit("the verifier failed"))
        .when(a.is_null() | b.is_null()).then(pl.lit("cannot tell"))
        .when(a & b).then(pl.lit("both pass")).when(~a & ~b).then(pl.lit("both fail")).alias("why")
    )


def _evidence() -> pl.Expr:
    null = pl.lit("null")
    why = pl.when(pl.col("why").is_null()).then(null).otherwise(pl.format('"{}"', "why"))
    a, b = (pl.col(f"said_{side}").fill_null(null) for side in ("a", "b"))
    return pl.concat_str(pl.lit('{"a":'), a, pl.lit(',"b":'), b, pl.lit(',"why":'), why, pl.lit("}"))


def _vote_columns(criterion: str, round_id: str | None) -> list[pl.Expr]:
    about: list[str | pl.Expr] = [pl.lit("verifier"), "pair_id", "voter", pl.lit(criterion), "instrument"]
    win = (1 + pl.col("confidence")) / 2
    p_a = pl.when("is_passed_a").then(win).otherwise(1 - win)
    has_opinion = pl.col("why").is_null()
    shares = quantised(p_a, 1 - p_a)
    return [
        content_id_expr([*about, pl.lit(None, pl.String)]).alias("vote_id"), content_id_expr(about).alias("ballot_id"),
        pl.col("pair_id"), pl.col("voter"), *(pl.when(has_opinion).then(s).alias(s.meta.output_name()) for s in shares),
        (~has_opinion).alias("is_abstention"), pl.lit(1).alias("n"), pl.lit(criterion).alias("criterion"),
        pl.col("instrument"), _evidence().alias("evidence"),
        pl.when(has_opinion).then("confidence").alias("confidence"),
        pl.lit(0.0).alias("cost_usd"), pl.lit("cast").alias("status"), pl.lit(round_id, pl.String).alias("round_id"),
    ]
