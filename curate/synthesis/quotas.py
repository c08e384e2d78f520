"""Category quotas: how many of a round's prompts come from each category, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.synthesis.selection import checked, discarded
from schemas.errors import InputError
from schemas.ids import uniform_expr

STAGE, OTHER = "quotas", "other"
REPORT = {"category": pl.String, "wanted": pl.Int64, "available": pl.Int64, "taken": pl.Int64, "share": pl.Float64}

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Quota:
    """This round's prompts, the balance of their categories, and the prompts that wait."""

    prompts: pl.DataFrame
    """the input's columns, sorted by prompt_id"""
    report: pl.DataFrame
    """category, wanted, available, taken, share (taken of all taken), sorted by category"""
    discards: pl.DataFrame
    """contract DISCARDS: `quota_full`, `no_quota` (its category has no share), `not_drawn` (there are no quotas)"""


def draw_prompts(prompts: pl.DataFrame, n: int, shares: Mapping[str, float], seed: int) -> Quota:
    """`n` of the prompts, by category shares; 0: as many as there are (of categories that have a share).

    `prompts` has prompt_id, category (null: none). Quotas are the largest remainders of n times the shares
    (Hamilton; of equal ones the first name). Shares that sum to less than 1 leave the rest to all other
    categories together, `other`. What a category cannot fill goes to those that have prompts left, by the
    same rule. Within a category a hash of (seed, prompt_id) draws. Without shares the draw is over all
    prompts, and `wanted` is what was taken. Raises InputError for n < 0, a share outside [0, 1], shares above
    1 in total, a missing column or a repeated prompt.
    """
    whole = _checked(prompts, n, shares)
    rows = whole.select("prompt_id", "category", _bucket(shares))
    has_quotas = bool(shares)
    wanted = _wanted(rows, n, shares) if has_quotas else _all_of(rows, n, seed)
    draw = uniform_expr(seed, [pl.lit(STAGE), "prompt_id"])
    ranked = rows.sort("_bucket", draw, "prompt_id").join(wanted, on="_bucket", how="left", maintain_order="left")
    is_drawn = pl.int_range(pl.len()).over("_bucket") < pl.col("taken").fill_null(0)
    told = ranked.with_columns(is_drawn.alias("is_drawn"))
    full = pl.lit("quota_full" if has_quotas else "not_drawn")
    reason = pl.when(pl.col("taken").is_null()).then(pl.lit("no_quota")).otherwise(full)
    left_out = told.filter(~pl.col("is_drawn")).select(row_id="prompt_id", reason=reason, detail="_bucket")
    chosen = whole.select(prompts.columns).join(told.filter("is_drawn"), on="prompt_id", how="semi")
    return Quota(chosen.sort("prompt_id"), _report(wanted), discarded(left_out, "prompt", STAGE))


def largest_remainder(weights: NDArray[np.float64], n: int) -> Ints:
    """`n` seats shared by weights (Hamilton's method): whole parts first, then the largest fractions, ties first come.

    All zero without a positive weight.
    """
    total = float(weights.sum())
    if total <= 0:
        return np.zeros(len(weights), dtype=np.int64)
    exact = np.round(weights / total * n, 9)  # a third of 3 is 1, whatever the last bit says
    seats = np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - seats), kind="stable")
    seats[order[: n - int(seats.sum())]] += 1
    return seats


def _checked(prompts: pl.DataFrame, n: int, shares: Mapping[str, float]) -> pl.DataFrame:
    total = sum(shares.values())
    if n < 0 or any(not 0 <= s <= 1 for s in shares.values()) or total > 1 + 1e-9 or (shares and total <= 0):
        raise InputError(f"{n} prompts by quotas {dict(shares)}", expected="shares from 0 to 1, at most 1 in total",
                         next="mend synthesis.quotas")
    return checked(prompts, ("prompt_id", "category"), "prompts")


def _bucket(shares: Mapping[str, float]) -> pl.Expr:
    category = pl.col("category")
    named = category.is_in(list(shares)).fill_null(False)
    return pl.when(named | (not shares)).then(category.fill_null("")).otherwise(pl.lit(OTHER)).alias("_bucket")


def _wanted(rows: pl.DataFrame, n: int, shares: Mapping[str, float]) -> pl.DataFrame:
    """(_bucket, wanted, available, taken) of every category that has a share."""
    rest = round(1 - sum(shares.values()), 9)
    weight = dict(sorted(shares.items()))
    if rest > 0:
        weight[OTHER] = weight.get(OTHER, 0.0) + rest
    there = dict(rows.group_by("_bucket").len().iter_rows())
    available = np.array([there.get(name, 0) for name in weight], dtype=np.int64)
    wanted = largest_remainder(np.array([*weight.values()]), n or int(available.sum()))
    taken = _filled(wanted, available, np.array([*weight.values()]))
    return pl.DataFrame({"_bucket": [*weight], "wanted": wanted, "available": available, "taken": taken})


def _filled(wanted: Ints, available: Ints, weights: NDArray[np.float64]) -> Ints:
    """Seats after what some categories cannot fill went to those that have prompts left."""
    taken = np.minimum(wanted, available)
    missing = int(wanted.sum() - taken.sum())
    while missing and (taken < available).any():
        is_open = taken < available
        # a category of share 0 gets something only when all others are used up
        open_weights = np.where(is_open, weights, 0.0)
        more = largest_remainder(open_weights if open_weights.any() else is_open.astype(np.float64), missing)
        taken = np.minimum(taken + more, available)
        missing = int(wanted.sum() - taken.sum())
    return taken


def _all_of(rows: pl.DataFrame, n: int, seed: int) -> pl.DataFrame:
    """(_bucket, wanted, available, taken) of a draw over all prompts."""
    drawn = rows.sort(uniform_expr(seed, [pl.lit(STAGE), "prompt_id"]), "prompt_id").head(n or rows.height)
    taken = drawn.group_by("_bucket").agg(pl.len().cast(pl.Int64).alias("taken"))
    there = rows.group_by("_bucket").agg(pl.len().cast(pl.Int64).alias("available"))
    both = there.join(taken, on="_bucket", how="left").with_columns(pl.col("taken").fill_null(0))
    return both.select("_bucket", pl.col("taken").alias("wanted"), "available", "taken")


def _report(wanted: pl.DataFrame) -> pl.DataFrame:
    share = (pl.col("taken") / pl.max_horizontal(pl.col("taken").sum(), 1)).round(6)
    named = wanted.rename({"_bucket": "category"}).with_columns(share.alias("share"))
    return named.select(pl.col(c).cast(t) for c, t in REPORT.items()).sort("category")
