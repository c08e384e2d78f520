"""Multi-model pools: each prompt is answered by k of M policies, its best rated response meets another one.

After UltraFeedback (Cui et al. 2023): 4 of 17 models per prompt, each response rated per attribute; the best
rated against a random other. Unlike there, the draw is balanced: over a round the policies' numbers of
prompts differ by at most one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import polars as pl

from curate.synthesis.pairing import best_against_lower, pairing_discards
from curate.synthesis.selection import Selection, checked, discarded
from schemas.errors import InputError
from schemas.ids import content_id_expr

STAGE, ORIGIN = "pools", "pool"


def draw_pools(prompts: pl.DataFrame, policies: Sequence[str], k: int, seed: int) -> pl.DataFrame:
    """(prompt_id, place 0..k-1, policy): k distinct policies per prompt, sorted by prompt_id, place.

    `prompts` has prompt_id. Prompts are lined up by a hash of (seed, prompt); each block of them is served
    from policies shuffled anew, so that any two policies meet. The draw depends on the round's prompts as a
    set: it is what makes it balanced. k of M <= k policies: all of them. Raises InputError for no policy, one
    named twice, k < 1 or a repeated prompt.
    """
    if k < 1 or not policies or len(set(policies)) < len(policies):
        raise InputError(f"pools of {k} of {list(policies)}", expected="1 or more of policies named once")
    m, k = len(policies), min(k, len(policies))
    per_block = m // math.gcd(m, k)
    lined = checked(prompts, ("prompt_id",), "prompts").select("prompt_id").sort(_draw(seed, "prompt_id"), "prompt_id")
    at = pl.int_range(pl.len())
    placed = lined.with_columns(block=at // per_block, start=at % per_block * k)
    slots = placed.join(pl.DataFrame({"place": range(k)}), how="cross").with_columns(
        card=(pl.col("start") + pl.col("place")) % m)
    decks = _decks(slots.select("block").unique(), policies, seed)
    return slots.join(decks, on=["block", "card"]).select("prompt_id", "place", "policy").sort("prompt_id", "place")


def mean_ratings(ratings: pl.DataFrame, responses: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """((response_id, score in [0, 1]), (row_id, reason, detail) of responses that cannot be compared).

    `ratings` keeps the contract RATINGS (status `cast` counts, and values within their scale), `responses` has
    response_id, prompt_id. A score is the mean over attributes of the mean over voters of the rating as a
    share of its scale. Only a response rated on every attribute that its prompt's responses were rated on is
    compared; the others are `not_rated`, `detail` naming what is missing.
    """
    usable = ratings.filter(pl.col("status") == "cast", pl.col("value").is_between("scale_min", "scale_max"),
                            pl.col("scale_max") > pl.col("scale_min"))
    share = (pl.col("value") - pl.col("scale_min")) / (pl.col("scale_max") - pl.col("scale_min"))
    rated = usable.sort("rating_id").group_by("response_id", "attribute").agg(share.mean().alias("share"))
    owned = responses.select("response_id", "prompt_id")
    wanted = owned.join(owned.join(rated, on="response_id").select("prompt_id", "attribute").unique(), on="prompt_id",
                        how="left")
    each = wanted.join(rated, on=["response_id", "attribute"], how="left").sort("response_id", "attribute")
    missing = pl.col("attribute").filter(pl.col("share").is_null()).drop_nulls().str.join(", ")
    told = each.group_by("response_id", maintain_order=True).agg(
        score=pl.col("share").mean(), has_gap=pl.col("share").is_null().any(), detail=missing)
    left_out = told.filter("has_gap").select(
        row_id="response_id", reason=pl.lit("not_rated"),
        detail=pl.when(pl.col("detail") != "").then("detail").otherwise(pl.lit("every attribute")))
    return told.filter(~pl.col("has_gap")).select("response_id", pl.col("score").round(12)), left_out


def pool_pairs(responses: pl.DataFrame, values: pl.DataFrame, n_pairs: int, seed: int) -> Selection:
    """Up to `n_pairs` pairs per prompt of its best response and a random one of strictly lower value, origin `pool`.

    `responses` has response_id, prompt_id, text_id, perhaps source; `values` is a frame `ratings` (it has an
    attribute) or (response_id, score). Discards, one per response in no pair: `not_rated` as `mean_ratings`,
    `not_scored`, `not_drawn`. Raises InputError as `curate.synthesis.pairing.best_against_lower`.
    """
    unrated = pl.DataFrame(schema={"row_id": pl.String, "reason": pl.String, "detail": pl.String})
    scores = values
    if "attribute" in values.columns:
        scores, unrated = mean_ratings(values, responses)
    rated = responses.join(unrated.select(response_id="row_id"), on="response_id", how="anti")
    pairing = best_against_lower(rated, scores, n_pairs, seed)
    pairs = pairing.pairs.with_columns(origin=pl.lit(ORIGIN))
    others = pairing_discards(pairing, rated, STAGE)
    return Selection(pairs, pl.concat([discarded(unrated, "response", STAGE), others]).sort("discard_id"))


def _decks(blocks: pl.DataFrame, policies: Sequence[str], seed: int) -> pl.DataFrame:
    """(block, card 0..m-1, policy): the policies in an order of each block's own."""
    each = blocks.join(pl.DataFrame({"policy": sorted(policies)}), how="cross")
    shuffled = each.sort("block", _draw(seed, "block", "policy"), "policy")
    return shuffled.with_columns(pl.int_range(pl.len()).over("block").alias("card"))


def _draw(seed: int, *parts: str) -> pl.Expr:
    return content_id_expr([pl.lit(str(seed)), pl.lit(STAGE), *parts])
