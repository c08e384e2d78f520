"""What is wrong with somebody's work, said only when chance would hardly say it of anybody.

A test is one question about one annotator that there are enough answers to put. With m of them, each is made at
level / m (Bonferroni), and beside being beyond chance a finding must be large enough to matter. So the chance that
anybody honest of the whole group is accused of anything is below `level`, each time the question is put.
"""

from __future__ import annotations

import polars as pl

from curate.annotating.doubtful import accuracy_on_gold
from curate.annotating.intervals import difference_bounds, quantile_of, wilson_bounds

LEVEL = 0.05
"""chance of any false accusation in the group, each time the question is put"""
KINDS = (
    "like_chance", "against_others", "prefers_slot", "copies_pre_annotation", "too_fast", "drifts", "gives_up",
)
TESTED = (
    "gold_accuracy", "agreement", "first_share", "prefilled_agreement", "fast_share", "drift_p", "skip_share",
)
"""columns of profiles that are tested; to be against others is to be like chance, and more so: one test each"""
FOUND: dict[str, pl.DataType] = {
    "voter": pl.String(), "finding": pl.String(), "value": pl.Float64(), "low": pl.Float64(), "high": pl.Float64(),
    "expected": pl.Float64(), "n": pl.Int64(), "since": pl.Datetime("us", "UTC"),
}
SLOT, ANCHOR, FAST, DRIFT, GIVES_UP = 0.05, 0.1, 0.1, 0.1, 0.2
"""how far a share may be from what is expected of it before it matters"""


def findings(profiles: pl.DataFrame, *, level: float = LEVEL) -> pl.DataFrame:
    """Columns FOUND: what stands out in PROFILES, sorted by voter and in the order of KINDS.

    like_chance             right on gold, or agreeing with others, less than half as far above chance as the others
    against_others          right on gold, or agreeing with others, less often than by chance
    prefers_slot            picks the first (or the second) of two shown, beyond 50 ± 5 %
    copies_pre_annotation   more than 10 points more votes for the pre-filled outcome than blind votes have; where
                            nobody votes blind, than the others have who see it too
    too_fast                more than 10 % of answers faster than the recipe's least number of seconds
    drifts                  got worse by 10 points or more at some time; `since` is when
    gives_up                skips, or cannot judge, 20 points more often than the others do

    `low` and `high` stand at the level of one test, one-sided but for `prefers_slot`; `expected` is what the value is
    held against. Nothing is found of what is null in the profile: too few answers.
    """
    n_tests = sum(profiles[name].count() for name in TESTED)
    z, both, alpha = quantile_of(level, n_tests, sides=1), quantile_of(level, n_tests), level / max(n_tests, 1)
    told = profiles.with_columns(*_quality("gold", "gold_accuracy"), *_quality("agreement", "agreement"))
    parts = [
        _below("like_chance", told, z, "least"), _below("against_others", told, z, "chance"),
        _beyond(told, "prefers_slot", "first_share", "n_ordered", both, pl.lit(0.5), SLOT),
        _copies(told, z),
        _beyond(told, "too_fast", "fast_share", "n_limited", z, pl.lit(FAST), 0.0, is_upwards=True),
        _drifts(told, alpha), _gives_up(told, z),
    ]
    order = pl.Enum(KINDS)
    found = pl.concat(parts).sort("voter", pl.col("finding").cast(order))
    is_worse = pl.col("finding") == "like_chance"
    doubled = (pl.col("finding") == "against_others").any().over("voter")
    return found.filter(~(is_worse & doubled))


def failing_gold(answers: pl.DataFrame, least: float) -> pl.DataFrame:
    """(voter, n, accuracy, upper) of those whom the recipe's `min_gold_accuracy` leaves out of the consensus.

    The same bound as `doubtful.left_out`, over `answers` with the columns ANSWERED.
    """
    known = answers.filter(pl.col("gold_p_a").is_not_null(), pl.col("outcome") == "voted")
    gold = known.select("pair_id", p_a="gold_p_a", p_tie="gold_p_tie").unique("pair_id")
    cards = accuracy_on_gold(known.with_columns(is_abstention=pl.lit(False)), gold)
    return cards.filter(pl.col("upper") < least).select("voter", "n", "accuracy", "upper")


def _quality(name: str, mark: str) -> list[pl.Expr]:
    """Of one measure: what chance reaches, and half-way from there to what the others reach."""
    share, chance = pl.col(mark), pl.col(f"{name}_chance")
    above = (share - chance).median().clip(0)
    if name == "agreement":
        above = (pl.col("peer_agreement") - chance).clip(0).fill_null(above)
    return [chance.alias(f"{name}_at_chance"), (chance + above / 2).alias(f"{name}_at_least")]


def _below(finding: str, told: pl.DataFrame, z: float, bar: str) -> pl.DataFrame:
    """Below the bar on gold, or else in agreement: gold is the better witness, and one witness is enough."""
    measures = {"gold": ("gold_accuracy", "n_gold"), "agreement": ("agreement", "agreement_coins")}
    return pl.concat([
        _beyond(told, finding, mark, n, z, pl.col(f"{name}_at_{bar}"), 0.0, is_upwards=False)
        for name, (mark, n) in measures.items()
    ]).unique("voter", keep="first", maintain_order=True)


def _beyond(
    told: pl.DataFrame, finding: str, mark: str, n: str, z: float, expected: pl.Expr, margin: float, *,
    is_upwards: bool | None = None,
) -> pl.DataFrame:
    """Rows whose interval lies beyond `expected` ± `margin`: above, below, or either when `is_upwards` is None."""
    low, high = wilson_bounds(pl.col(mark), pl.col(n), z)
    above, below = low > expected + margin, high < expected - margin
    is_found = above | below if is_upwards is None else (above if is_upwards else below)
    return told.filter(is_found).select(
        "voter", pl.lit(finding).alias("finding"), pl.col(mark).alias("value"), low.alias("low"), high.alias("high"),
        expected.alias("expected"), pl.col(n).cast(pl.Int64).alias("n"), pl.lit(None, FOUND["since"]).alias("since"),
    )


def _copies(told: pl.DataFrame, z: float) -> pl.DataFrame:
    shown, n = pl.col("prefilled_agreement"), pl.when(pl.col("prefilled_agreement").is_not_null()).then("n_prefilled")
    n_rest = n.sum() - n.fill_null(0)
    rest = ((shown * n).sum() - (shown * n).fill_null(0)) / n_rest
    told = told.with_columns(
        pl.coalesce("blind_agreement", pl.when(n_rest > 0).then(rest)).alias("expected_agreement"),
        pl.when(pl.col("blind_agreement").is_null()).then(n_rest).otherwise("n_blind").alias("n_expected"),
    )
    blind = pl.col("expected_agreement")
    low, high = difference_bounds(shown, pl.col("n_prefilled"), blind, pl.col("n_expected"), z)
    return told.filter(low > ANCHOR).select(
        "voter", pl.lit("copies_pre_annotation").alias("finding"), shown.alias("value"), (blind + low).alias("low"),
        (blind + high).alias("high"), blind.alias("expected"), pl.col("n_prefilled").alias("n"),
        pl.lit(None, FOUND["since"]).alias("since"),
    )


def _drifts(told: pl.DataFrame, alpha: float) -> pl.DataFrame:
    is_found = (pl.col("drift_p") < alpha) & (pl.col("drift") <= -DRIFT)
    return told.filter(is_found).select(
        "voter", pl.lit("drifts").alias("finding"), pl.col("drift").alias("value"), pl.col("drift_low").alias("low"),
        pl.col("drift_high").alias("high"), pl.lit(0.0).alias("expected"), pl.col("n_in_time").alias("n"),
        pl.col("drift_at").alias("since"),
    )


def _gives_up(told: pl.DataFrame, z: float) -> pl.DataFrame:
    share = pl.col("skip_share") + pl.col("cannot_judge_share")
    n = pl.when(share.is_not_null()).then("n_asked").otherwise(0)
    n_up = (share * n).fill_null(0)
    others = ((n_up.sum() - n_up) / (n.sum() - n)).fill_nan(None)
    whole = told.with_columns(share.alias("given_up"), others.alias("others"))
    return _beyond(whole, "gives_up", "given_up", "n_asked", z, pl.col("others"), GIVES_UP, is_upwards=True)
