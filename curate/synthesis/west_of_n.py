"""West-of-N (Pace et al. 2024): of N on-policy samples, the best scored against the worst scored.

After lecture notes on the paper. P(y+ > y-) = sigma(r(y+) - r(y-)); a pair counts when that probability and
the policy's log-likelihood per token of both responses reach their quantiles. Quantiles are taken over this
round's candidates, so they choose shares, not absolute values that another reward model would shift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from curate.synthesis.selection import Selection, checked, discarded, pairs_of, with_scores
from schemas.errors import InputError, RefusedError

STAGE = ORIGIN = "west_of_n"
GRID = (0.0, 0.25, 0.5, 0.75, 0.9)
_Z = 1.6448536269514722  # one-sided 95 %


@dataclass(frozen=True)
class Quantiles:
    """Quantiles chosen on validation, and every cell of the grid they were chosen from."""

    west: float
    likelihood: float
    report: pl.DataFrame
    """west_quantile, likelihood_quantile, n, kept_share, correctness, low (one-sided 95 % Wilson bound)"""


def west_of_n(
    responses: pl.DataFrame, scores: pl.DataFrame, *, west_quantile: float = 0.5, likelihood_quantile: float = 0.0
) -> Selection:
    """At most one pair per prompt: its best and its worst response, origin `west_of_n`.

    `responses` has response_id, prompt_id, text_id, logprob_sum (nats), n_tokens and perhaps source; `scores`
    response_id, score. Discards, one per response in no pair: `not_scored`, `alone` (no other scored response),
    `equal_scores`, `identical_text` (as the best; a scorer that is not deterministic), `between` (neither best
    nor worst), `below_west_quantile`, `no_likelihood` and `below_likelihood_quantile` (either response of the
    pair; `detail` names the other). A likelihood is needed only when its quantile is above 0. Raises InputError
    for a quantile outside [0, 1] and as `candidates`.
    """
    _check_quantiles(west_quantile, likelihood_quantile)
    rows, unscored = with_scores(_checked(responses), scores)
    likelihoods = rows["likelihood"].drop_nulls()
    judged = _judged(_couples(rows), likelihoods, west_quantile, likelihood_quantile)
    kept = judged.filter(pl.col("reason").is_null())
    pairs = pairs_of(kept.select("prompt_id", "source", left="best", right="worst"), ORIGIN)
    return Selection(pairs, discarded(pl.concat([unscored, _left_out(rows, judged)]), "response", STAGE))


def candidates(responses: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """One row per prompt with two distinct scores: what the quantiles choose from, sorted by prompt_id.

    prompt_id, best, worst (response ids; of equal scores the smallest id), margin, p_best, likelihood (the
    lower log-likelihood per token of the two, null when either is unknown). Raises InputError for a missing
    column, a repeated response or a response with two scores.
    """
    rows, _ = with_scores(_checked(responses), scores)
    real = _couples(rows).filter(pl.col("reason").is_null())
    return real.select("prompt_id", "best", "worst", "margin", _p_best(), "likelihood").sort("prompt_id")


def choose_quantiles(
    validation: pl.DataFrame, *, grid: Sequence[float] = GRID, min_pairs: int = 30, has_likelihood: bool = False
) -> Quantiles:
    """The quantiles whose kept pairs are most surely correct on validation candidates.

    `validation` has margin, likelihood and is_correct (whether the best truly is the better one), as
    `candidates` gives the first two. The cell of the highest lower bound of correctness wins; of equal ones
    the one that keeps more. Raises InputError for a quantile outside [0, 1], RefusedError when no cell keeps
    `min_pairs`.
    """
    likelihoods = grid if has_likelihood else (0.0,)
    cells = [_cell(validation, west, low) for west in grid for low in likelihoods]
    report = pl.DataFrame(cells).sort("west_quantile", "likelihood_quantile")
    enough = report.filter(pl.col("n") >= min_pairs).sort("low", "n", descending=True, maintain_order=True)
    if enough.is_empty():
        raise RefusedError(f"{validation.height} validation pairs", expected=f"{min_pairs} kept by some quantile",
                           next="judge more validation pairs")
    return Quantiles(enough["west_quantile"][0], enough["likelihood_quantile"][0], report)


def _checked(responses: pl.DataFrame) -> pl.DataFrame:
    needed = ("response_id", "prompt_id", "text_id", "logprob_sum", "n_tokens")
    rows = checked(responses, needed, "responses").select(*needed, "source")
    per_token = pl.col("logprob_sum").cast(pl.Float64) / pl.col("n_tokens").cast(pl.Float64)
    return rows.with_columns(pl.when(per_token.is_finite()).then(per_token).alias("likelihood"))


def _check_quantiles(*quantiles: float) -> None:
    if any(not 0 <= q <= 1 for q in quantiles):
        raise InputError(f"quantiles {quantiles}", expected="from 0 to 1")


def _couples(rows: pl.DataFrame) -> pl.DataFrame:
    """Best and worst of each prompt, with the reason why they can make no pair."""
    extreme = {"best": pl.col("score").max(), "worst": pl.col("score").min()}
    told = ("response_id", "text_id", "score", "likelihood")
    ends = [pl.col(c).filter(pl.col("score") == value).first().alias(f"{end}_{c}")
            for end, value in extreme.items() for c in told]
    found = rows.sort("response_id").group_by("prompt_id").agg(*ends, pl.col("source").first(), n=pl.len())
    reason = (pl.when(pl.col("n") < 2).then(pl.lit("alone"))
              .when(pl.col("best_score") == pl.col("worst_score")).then(pl.lit("equal_scores"))
              .when(pl.col("best_text_id") == pl.col("worst_text_id")).then(pl.lit("identical_text")))
    both = pl.col("best_likelihood").is_not_null() & pl.col("worst_likelihood").is_not_null()
    return found.select(
        "prompt_id", "source", best="best_response_id", worst="worst_response_id",
        margin=pl.col("best_score") - pl.col("worst_score"), reason=reason,
        likelihood=pl.when(both).then(pl.min_horizontal("best_likelihood", "worst_likelihood")))


def _judged(couples: pl.DataFrame, likelihoods: pl.Series, west: float, low: float) -> pl.DataFrame:
    margins = couples.filter(pl.col("reason").is_null())["margin"]
    # sigma is increasing, so the quantile of the margin is that of the probability, which saturates at 1
    too_close = pl.col("margin") < pl.lit(_at(margins, west), pl.Float64)
    unlikely = pl.col("likelihood") < pl.lit(_at(likelihoods, low), pl.Float64)
    reason = (pl.when(pl.col("reason").is_not_null()).then("reason")
              .when(pl.col("likelihood").is_null() & (low > 0)).then(pl.lit("no_likelihood"))
              .when(unlikely & (low > 0)).then(pl.lit("below_likelihood_quantile"))
              .when(too_close).then(pl.lit("below_west_quantile")))
    return couples.with_columns(reason.alias("reason"))


def _at(values: pl.Series, quantile: float) -> float | None:
    """Value at a quantile, one of the values themselves: no sum of floats decides who is in."""
    return values.quantile(quantile, interpolation="nearest") if len(values) else None


def _left_out(rows: pl.DataFrame, judged: pl.DataFrame) -> pl.DataFrame:
    """(row_id, reason, detail) of scored responses in no pair."""
    told = rows.join(judged.rename({"reason": "why"}), on="prompt_id", how="left")
    me = pl.col("response_id")
    is_end = (me == pl.col("best")) | (me == pl.col("worst"))
    whole = pl.col("why").is_in(["alone", "equal_scores"])
    reason = pl.when(is_end | whole).then("why").otherwise(pl.lit("between"))
    other = pl.when(me == pl.col("best")).then("worst").otherwise("best")
    detail = pl.when(is_end & (pl.col("best") != pl.col("worst"))).then(other)
    return told.select(row_id="response_id", reason=reason, detail=detail).filter(pl.col("reason").is_not_null())


def _p_best() -> pl.Expr:
    return (1 / (1 + (-pl.col("margin")).exp())).alias("p_best")


def _cell(validation: pl.DataFrame, west: float, low: float) -> dict[str, float]:
    _check_quantiles(west, low)
    kept = validation.filter(pl.col("margin") >= pl.lit(_at(validation["margin"], west), pl.Float64))
    if low > 0:
        known = validation["likelihood"].drop_nulls()
        kept = kept.filter(pl.col("likelihood") >= pl.lit(_at(known, low), pl.Float64))
    n, right = kept.height, int(kept["is_correct"].sum())
    return {"west_quantile": west, "likelihood_quantile": low, "n": n, "kept_share": n / max(validation.height, 1),
            "correctness": right / n if n else float("nan"), "low": _wilson_low(right, n)}


def _wilson_low(right: int, n: int) -> float:
    """Lower end of Wilson's interval (1927) for `right` of `n`; 0 without any."""
    if n == 0:
        return 0.0
    share = right / n
    spread = _Z * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return float((share + _Z**2 / (2 * n) - spread) / (1 + _Z**2 / n))
