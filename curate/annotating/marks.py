"""What one answer of a person says about that person: right on gold, agreeing with others, fast, anchored.

An answer is one submission as it stands, with the vote it made, its task and what is known of its pair. A ballot is
one act of voting: statistics are over ballots, and the marks of several votes of one ballot are averaged first.
"""

from __future__ import annotations

import polars as pl

from curate.auditing.length import MIN_DIFFERENCE
from curate.consensus.outcomes import verdict
from schemas.errors import InputError

ANSWERED: dict[str, pl.DataType] = {
    "voter": pl.String(), "ballot_id": pl.String(), "pair_id": pl.String(), "criterion": pl.String(),
    "dataset": pl.String(), "round": pl.Int64(), "purpose": pl.String(), "outcome": pl.String(),
    "p_a": pl.Float64(), "p_tie": pl.Float64(), "shown_first": pl.String(), "seconds": pl.Float64(),
    "cost_usd": pl.Float64(), "is_prefilled": pl.Boolean(), "is_taken_over": pl.Boolean(),
    "before_p_a": pl.Float64(), "before_p_tie": pl.Float64(), "gold_p_a": pl.Float64(), "gold_p_tie": pl.Float64(),
    "n_chars_a": pl.Int64(), "n_chars_b": pl.Int64(), "said_at": pl.Datetime("us", "UTC"),
}
"""columns of answers: `outcome` as in SUBMISSIONS, `before_…` the label that was, or would have been, pre-filled,
`gold_…` the truth of a pair of attention gold; null where there is none. `p_a` is null for whatever is no opinion"""

IDLE_SECONDS = 1800.0
"""an answer counts at most so long as work: a page that stays open over lunch is no work"""

MARKS = (
    "gold_accuracy", "agreement", "first_share", "longer_share", "tie_share", "cannot_judge_share", "skip_share",
    "fast_share", "taken_over_share",
)
"""shares that are told of an annotator; each mark is in 0..1, or null where an answer says nothing about it"""

_OPINION = ["a", "tie", "b"]
_UNLIKE_OTHERS = ("onboarding", "adjudicate")


def marks(answers: pl.DataFrame, *, min_seconds: float = 0.0) -> pl.DataFrame:
    """One row per (voter, ballot_id), sorted: MARKS, what drift and anchoring need, seconds, money, when.

    `answers` has the columns ANSWERED. Marks beside MARKS: `peers` (how much the others on this pair agree with one
    another), `compared_tie`, `others_tie`, `gold_tie`, `truth_tie` (ties, for what is right by chance),
    `on_prefilled` and `on_blind` (the vote names the outcome that is pre-filled, or would have been). `gold_accuracy`
    is 1 for gold's likeliest outcome of three, else 0. `agreement` leaves onboarding and adjudication out: those pairs
    were picked for being easy or hard. `fast_share` is null when `min_seconds` is 0.

    Raises InputError for missing columns.
    """
    missing = [name for name in ANSWERED if name not in answers.columns]
    if missing:
        raise InputError(f"answers without columns {missing}", expected=f"{list(ANSWERED)}", next="join them")
    said = answers.with_columns(
        pl.when(outcome="voted").then(verdict(pl.col("p_a"), pl.col("p_tie"))).alias("said")
    )
    compared = said.join(_compared(said), on=["voter", "pair_id", "criterion"], how="left", maintain_order="left")
    return _by_ballot(compared.with_columns(*_of_answer(min_seconds)).with_columns(_agreement()))


def work_seconds() -> pl.Expr:
    """Seconds of an answer that count as work, at most IDLE_SECONDS; null where none were measured."""
    return pl.col("seconds").clip(0, IDLE_SECONDS)


def _of_answer(min_seconds: float) -> list[pl.Expr]:
    said, is_done = pl.col("said"), pl.col("outcome").is_in(["voted", "cannot_judge", "skipped"])
    is_side = said.is_in(["a", "b"])
    truth = verdict(pl.col("gold_p_a"), pl.col("gold_p_tie"))
    difference = pl.col("n_chars_a") - pl.col("n_chars_b")
    as_before = (said == verdict(pl.col("before_p_a"), pl.col("before_p_tie"))).cast(pl.Float64)
    return [
        (said == truth).cast(pl.Float64).alias("gold_accuracy"),
        pl.when(said.is_not_null()).then((truth == "tie").cast(pl.Float64)).alias("truth_tie"),
        pl.when(is_side).then((said == pl.col("shown_first")).cast(pl.Float64)).alias("first_share"),
        pl.when(is_side & (difference.abs() > MIN_DIFFERENCE)).then(
            ((said == "a") == (difference > 0)).cast(pl.Float64)).alias("longer_share"),
        (said == "tie").cast(pl.Float64).alias("tie_share"),
        pl.when(is_done).then((pl.col("outcome") == "cannot_judge").cast(pl.Float64)).alias("cannot_judge_share"),
        pl.when(is_done).then((pl.col("outcome") == "skipped").cast(pl.Float64)).alias("skip_share"),
        pl.when(said.is_not_null() & (min_seconds > 0)).then(
            (pl.col("seconds") < min_seconds).cast(pl.Float64)).alias("fast_share"),
        pl.when(said.is_not_null() & pl.col("is_prefilled")).then(
            pl.col("is_taken_over").cast(pl.Float64)).alias("taken_over_share"),
        pl.when("is_prefilled").then(as_before).alias("on_prefilled"),
        pl.when(~pl.col("is_prefilled")).then(as_before).alias("on_blind"),
        pl.when(said.is_not_null()).then(work_seconds()).alias("voted_seconds"),
    ]


def _agreement() -> pl.Expr:
    """Share of the other people on the pair who say the same; null where there is none."""
    same = [pl.when(said=k).then(pl.col(f"others_{k}")) for k in _OPINION]
    is_like_others = ~pl.col("purpose").is_in(_UNLIKE_OTHERS)
    return pl.when(is_like_others).then(pl.coalesce(same)).alias("agreement")


def _compared(said: pl.DataFrame) -> pl.DataFrame:
    """One row per (voter, pair_id, criterion): what the others say, as shares, and how far they agree among them.

    Everyone counts once per pair, however often they voted on it.
    """
    rows = said.filter(pl.col("said").is_not_null(), ~pl.col("purpose").is_in(_UNLIKE_OTHERS))
    own = rows.group_by("pair_id", "criterion", "voter").agg((pl.col("said") == k).mean().alias(k) for k in _OPINION)
    square = pl.sum_horizontal(pl.col(k) ** 2 for k in _OPINION).alias("square")
    over = ["pair_id", "criterion"]
    rest = own.with_columns(square).with_columns(
        pl.len().over(over).sub(1).alias("n_others"),
        *((pl.col(k).sum().over(over) - pl.col(k)).alias(f"sum_{k}") for k in [*_OPINION, "square"]),
    ).filter(pl.col("n_others") > 0)
    n = pl.col("n_others")
    among = (pl.sum_horizontal(pl.col(f"sum_{k}") ** 2 for k in _OPINION) - pl.col("sum_square")) / (n * (n - 1))
    return rest.select(
        "voter", "pair_id", "criterion", *((pl.col(f"sum_{k}") / n).round(12).alias(f"others_{k}") for k in _OPINION),
        pl.when(n > 1).then(among.round(12)).alias("peers"),
    )


def _by_ballot(marked: pl.DataFrame) -> pl.DataFrame:
    is_compared, is_gold = pl.col("agreement").is_not_null(), pl.col("gold_accuracy").is_not_null()
    tie = pl.col("tie_share")
    # Means are rounded rather than rows sorted before them: at 1 M answers a sort by text takes longer than all else.
    return marked.group_by("voter", "ballot_id").agg(
        *(pl.col(name).mean().round(12) for name in MARKS), pl.col("peers").filter(is_compared).mean().round(12),
        tie.filter(is_compared).mean().round(12).alias("compared_tie"),
        pl.col("others_tie").filter(is_compared).mean().round(12),
        tie.filter(is_gold).mean().round(12).alias("gold_tie"), pl.col("truth_tie").mean().round(12),
        pl.col("on_prefilled", "on_blind").mean().round(12),
        work_seconds().max().alias("work_seconds"), pl.col("voted_seconds").max(), pl.col("cost_usd").sum().round(9),
        pl.col("said_at").max(), pl.col("said").is_not_null().any().alias("is_voted"),
        (pl.col("outcome") == "deleted").all().alias("is_deleted"),
        pl.col("pair_id").min(), pl.col("dataset").min(), pl.col("round").min(),
    ).sort("voter", "ballot_id")
