"""One row per annotator: how well, how fast, how fairly and at what price somebody votes.

Shares stand with Wilson's interval over ballots, and are null under MIN_BALLOTS of them: too few to say. What is
counted, paid or timed is a fact and always told.
"""

from __future__ import annotations

import polars as pl
from scipy.special import kolmogorov, ndtri

from curate.annotating.intervals import difference_bounds, wilson_bounds
from curate.annotating.marks import MARKS, marks

MIN_BALLOTS = 10
"""ballots under which a share is not told"""
MOST_COINS = 4.0
"""a mark of agreement counts for so many coins at most, however little the marks vary"""
N_OF = {
    "gold_accuracy": "n_gold", "agreement": "n_compared", "first_share": "n_ordered", "longer_share": "n_longer",
    "tie_share": "n_opinions", "cannot_judge_share": "n_asked", "skip_share": "n_asked", "fast_share": "n_limited",
    "taken_over_share": "n_prefilled",
}
"""mark → column that counts its ballots; `n_limited` are those timed under a recipe with a least number of seconds"""

_COUNT, _NUMBER = pl.Int64(), pl.Float64()
PROFILES: dict[str, pl.DataType] = {
    "voter": pl.String(), "n_votes": _COUNT, "n_pairs": _COUNT, "n_deleted": _COUNT,
    **dict.fromkeys(N_OF.values(), _COUNT),
    **{f"{mark}{end}": _NUMBER for mark in MARKS for end in ("", "_low", "_high")},
    "gold_chance": _NUMBER, "agreement_chance": _NUMBER, "agreement_coins": _NUMBER, "n_peers": _COUNT,
    "peer_agreement": _NUMBER,
    "n_blind": _COUNT, "is_own_blind": pl.Boolean(), "prefilled_agreement": _NUMBER, "blind_agreement": _NUMBER,
    "anchoring": _NUMBER, "anchoring_low": _NUMBER, "anchoring_high": _NUMBER,
    "n_in_time": _COUNT, "drift": _NUMBER, "drift_low": _NUMBER, "drift_high": _NUMBER, "drift_p": _NUMBER,
    "drift_at": pl.Datetime("us", "UTC"),
    "n_timed": _COUNT, "seconds_median": _NUMBER, "hours": _NUMBER, "cost_usd": _NUMBER, "usd_per_hour": _NUMBER,
    "skill": _NUMBER, "skill_low": _NUMBER, "skill_high": _NUMBER,
}
_Z = float(ndtri(0.975))


def profiles(
    answers: pl.DataFrame, fits: pl.DataFrame | None = None, *, min_seconds: float = 0.0
) -> pl.DataFrame:
    """Columns PROFILES, one row per voter in `answers`, sorted; intervals are two-sided 95 %.

    `answers` has the columns ANSWERED, `fits` (voter, skill, skill_low, skill_high) of the newest settling.

    `gold_chance` and `agreement_chance`: what somebody would reach whose answers have nothing to do with the pairs,
    with as many ties: t·u + (1 − t)(1 − u)/2 for a tie share t of theirs and u of the truth's or the others'.
    `agreement_coins`: coins that would tell as much as the marks of agreement, which vary less (a mark is the mean over
    several others): n p (1 − p) / variance, between n and MOST_COINS n; its interval is Wilson's over so many (as Korn
    and Graubard 1998 for surveys). `peer_agreement`: how often the others agree with one another on the same pairs.
    `anchoring`: share of votes for the pre-filled outcome where it was shown, less that of blind votes for the outcome
    that would have been shown: their own (`is_own_blind`), or everyone else's where they have too few; bounds by
    Newcombe (1998).

    `drift`: mean mark of the second half of their ballots, by time, less that of the first; `drift_p` is the chance of
    a cumulative sum that strays as far (Brown, Durbin and Evans 1975; the bridge's limit is Kolmogorov's), `drift_at`
    the first ballot after it strayed farthest. A mark is being right on gold, else agreeing with others, less what
    others reach on the same pair. `hours` counts an answer for IDLE_SECONDS at most; `usd_per_hour` is over the
    ballots whose time is known.
    """
    ballots = marks(answers, min_seconds=min_seconds)
    found = ballots.group_by("voter").agg(*_counts(), *_shares(), *_chances(), *_work()).sort("voter")
    for part in (_anchoring(ballots), _drifts(ballots), _skill(fits)):
        found = found.join(part, on="voter", how="left", maintain_order="left")
    return _with_bounds(found).select(pl.col(name).cast(kind) for name, kind in PROFILES.items())


def pay(answers: pl.DataFrame) -> pl.DataFrame:
    """One row per annotator, dataset and round, sorted: what was done, in which time, for which money.

    voter, dataset, round (null for votes that no round asked for), n_votes, n_others (skipped, not judged, deleted),
    n_timed, hours, seconds_median, cost_usd, usd_per_hour. Time and money as in `profiles`.
    """
    by = ["voter", "dataset", "round"]
    return marks(answers).group_by(by).agg(
        pl.col("is_voted").sum().cast(pl.Int64).alias("n_votes"),
        (~pl.col("is_voted")).sum().cast(pl.Int64).alias("n_others"), *_work(),
    ).sort(by, nulls_last=True)


def _counts() -> list[pl.Expr]:
    counted = {n: mark for mark, n in N_OF.items()}
    return [
        pl.col("is_voted").sum().alias("n_votes"), pl.col("pair_id").filter("is_voted").n_unique().alias("n_pairs"),
        pl.col("is_deleted").sum().alias("n_deleted"),
        *(pl.col(mark).count().alias(n) for n, mark in counted.items()), pl.col("peers").count().alias("n_peers"),
    ]


def _shares() -> list[pl.Expr]:
    return [_told(mark).alias(mark) for mark in MARKS]


def _chances() -> list[pl.Expr]:
    own = {"gold_chance": ("gold_tie", "truth_tie"), "agreement_chance": ("compared_tie", "others_tie")}
    chance = [
        (pl.col(t).mean() * pl.col(u).mean() + (1 - pl.col(t).mean()) * (1 - pl.col(u).mean()) / 2).alias(name)
        for name, (t, u) in own.items()
    ]
    mark, mean = pl.col("agreement"), pl.col("agreement").mean()
    coins = (mean * (1 - mean) / mark.var(ddof=0)).fill_nan(1.0).clip(1.0, MOST_COINS) * mark.count()
    return [*chance, coins.alias("agreement_coins"), _told("peers").alias("peer_agreement")]


def _work() -> list[pl.Expr]:
    hours = pl.col("work_seconds").sum() / 3600
    of_timed = pl.col("cost_usd").filter(pl.col("work_seconds").is_not_null()).sum()
    return [
        pl.col("work_seconds").count().cast(pl.Int64).alias("n_timed"),
        pl.col("voted_seconds").median().alias("seconds_median"), hours.alias("hours"),
        pl.col("cost_usd").sum(), pl.when(hours > 0).then(of_timed / hours).alias("usd_per_hour"),
    ]


def _told(mark: str) -> pl.Expr:
    return pl.when(pl.col(mark).count() >= MIN_BALLOTS).then(pl.col(mark).mean())


def _with_bounds(found: pl.DataFrame) -> pl.DataFrame:
    coins = N_OF | {"agreement": "agreement_coins"}
    bounds = [wilson_bounds(pl.col(mark), pl.col(n), _Z) for mark, n in coins.items()]
    named = [(mark, *low_high) for mark, low_high in zip(N_OF, bounds, strict=True)]
    return found.with_columns(
        *(low.alias(f"{mark}_low") for mark, low, _ in named), *(high.alias(f"{mark}_high") for mark, _, high in named)
    )


def _anchoring(ballots: pl.DataFrame) -> pl.DataFrame:
    own = ballots.group_by("voter").agg(
        pl.col("on_prefilled").count().alias("n_shown"), pl.col("on_prefilled").mean().alias("prefilled_agreement"),
        pl.col("on_blind").count().alias("own_n"), pl.col("on_blind").sum().alias("own_sum"),
    ).sort("voter")
    is_own = pl.col("own_n") >= MIN_BALLOTS
    n = pl.when(is_own).then("own_n").otherwise(pl.col("own_n").sum() - pl.col("own_n"))
    hits = pl.when(is_own).then("own_sum").otherwise(pl.col("own_sum").sum() - pl.col("own_sum"))
    known = own.with_columns(n.alias("n_blind"), (hits / n).alias("rate"), is_own.alias("is_own_blind"))
    is_shown, is_told = pl.col("n_shown") >= MIN_BALLOTS, pl.col("n_blind") >= MIN_BALLOTS
    shares = known.with_columns(
        pl.when(is_shown).then("prefilled_agreement").alias("prefilled_agreement"),
        pl.when(is_told).then("rate").alias("blind_agreement"),
    )
    shown, blind = pl.col("prefilled_agreement"), pl.col("blind_agreement")
    low, high = difference_bounds(shown, pl.col("n_shown"), blind, pl.col("n_blind"), _Z)
    return shares.select(
        "voter", "n_blind", "is_own_blind", "prefilled_agreement", "blind_agreement",
        (shown - blind).alias("anchoring"), low.alias("anchoring_low"), high.alias("anchoring_high"),
    )


def _drifts(ballots: pl.DataFrame) -> pl.DataFrame:
    ordered = _quality(ballots).sort("voter", "said_at", "ballot_id").with_columns(
        pl.len().over("voter").alias("n_in_time"), pl.int_range(pl.len()).over("voter").alias("place"),
    ).with_columns(
        (pl.col("quality") - pl.col("quality").mean().over("voter")).cum_sum().over("voter").abs().alias("strayed"),
        pl.col("said_at").shift(-1).over("voter").alias("next_at"),
    )
    is_late = pl.col("place") >= pl.col("n_in_time") // 2
    late, early = pl.col("quality").filter(is_late), pl.col("quality").filter(~is_late)
    error = (late.var() / late.len() + early.var() / early.len()).sqrt()
    strays = pl.col("strayed").max() / (pl.col("quality").std() * pl.len().sqrt())
    found = ordered.filter(pl.col("n_in_time") >= 2 * MIN_BALLOTS).group_by("voter", maintain_order=True).agg(
        (late.mean() - early.mean()).alias("drift"), error.alias("error"), strays.alias("strays"),
        pl.col("next_at").get(pl.col("strayed").round(9).arg_max()).alias("drift_at"),
    )
    chance = pl.Series("drift_p", kolmogorov(found["strays"].to_numpy()), dtype=pl.Float64).fill_nan(None)
    reach = _Z * pl.col("error")
    told = found.with_columns(chance).select(
        "voter", "drift", (pl.col("drift") - reach).alias("drift_low"), (pl.col("drift") + reach).alias("drift_high"),
        "drift_p", "drift_at",
    )
    counted = ordered.group_by("voter").agg(pl.len().alias("n_in_time"))
    return counted.join(told, on="voter", how="left")


def _quality(ballots: pl.DataFrame) -> pl.DataFrame:
    """Ballots of known time with `quality`: their mark less what others reach, so that a hard batch is no drift."""
    n, total = pl.col("gold_accuracy").count().over("pair_id"), pl.col("gold_accuracy").sum().over("pair_id")
    others = pl.when(n > 2).then((total - pl.col("gold_accuracy")) / (n - 1))
    on_gold = pl.col("gold_accuracy") - others.fill_null(pl.col("gold_accuracy").mean())
    on_rest = pl.col("agreement") - pl.col("peers").fill_null(pl.col("agreement").mean())
    return ballots.with_columns(pl.coalesce(on_gold, on_rest).round(12).alias("quality")).filter(
        pl.col("quality").is_not_null(), pl.col("said_at").is_not_null()
    )


def _skill(fits: pl.DataFrame | None) -> pl.DataFrame:
    columns = {"voter": pl.String(), "skill": _NUMBER, "skill_low": _NUMBER, "skill_high": _NUMBER}
    return pl.DataFrame(schema=columns) if fits is None else fits.select(*columns)
