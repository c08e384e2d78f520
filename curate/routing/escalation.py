"""Escalation: the judges first, then one person, a second where that person contradicts them, then an expert."""

from __future__ import annotations

import math

import polars as pl

from curate.consensus.outcomes import DECIMALS, p_b, verdict
from curate.routing.allocation import TOLERANCE
from schemas.ids import content_id_expr, uniform_expr
from schemas.people import Routing
from schemas.tables import ROUTES

CONTRADICTED = 0.25
"""share of first votes that are thought to contradict the judges; half of the second ones contradict the first"""
MAX_SECONDS = 2
"""second opinions asked for on one pair in one round: one, and another where the same person gave it or skipped"""
SECONDS = ("second", "again")
"""first words of the reasons of routes to a second person"""
DOUBTS = {
    "retracted": "the answer was taken back", "fails_gold": "the annotator fails gold",
    "against_others": "the annotator votes against the others", "like_chance": "the annotator votes like chance",
    "drifts": "the annotator got worse", "too_fast": "the answer came too fast",
}
"""why no opinion on a pair is relied on (`curate.annotating.requeue`), in words"""


def first_votes(rule: Routing, n_steps: int = 0, cost_usd: float = 0.0, seconds: float = 0.0) -> Routing:
    """The rule with the budget of first votes: what escalation is thought to need is set aside for it.

    Of n first votes a quarter is expected to need a second, half of those an expert. Where the round's `n_steps`
    (votes of `cost_usd` and `seconds` each) already took more than that, less is left. Unchanged without both.
    """
    steps = CONTRADICTED * {"none": 0.0, "second": 1.0, "expert": 1.5}[rule.escalation]
    share = 1 / (1 + steps)
    left = {"budget_usd": n_steps * cost_usd, "budget_hours": n_steps * seconds / 3600}
    scaled = {name: None if (whole := getattr(rule, name)) is None else max(0.0, min(whole * share, whole - taken))
              for name, taken in left.items()}
    votes = min(math.ceil(rule.budget_votes * share - TOLERANCE), rule.budget_votes - n_steps)
    return rule.model_copy(update={"budget_votes": max(0, votes), **scaled})


def escalate(
    asked: pl.DataFrame, people: pl.DataFrame, judged: pl.DataFrame, rounds: pl.DataFrame, doubts: pl.DataFrame,
    rule: Routing, cost_usd: float, seconds: float, seed: int,
) -> pl.DataFrame:
    """Frame ROUTES of the next steps, as many as the leftover budget of each pair's round pays for.

    `asked`: ROUTES of the dataset with `n` of the round and `outcome` of the task (null: still open). `people`:
    (pair_id, voter, p_a, p_tie), one row per person with an opinion on the pair. `judged`: (pair_id, p_a, p_tie),
    the consensus of all others. `rounds`: (round_id, budget_votes, budget_usd, budget_hours). `doubts`: (pair_id,
    reason), at most one row per pair none of whose opinions is sound, with a reason of DOUBTS.

    A pair with an open route waits. Two people of different verdicts: an expert, once (`escalation = "expert"`).
    One person whose verdict is not that of the judges: a second. Opinions none of which is sound: another one,
    whatever `escalation` is. Verdicts are three-way (`outcomes.verdict`). A vote takes `seconds`;
    a route that came to an end without a vote costs nothing.
    Where the budget does not reach, or would leave too little for the experts to come, experts come first, then the
    pairs on which the judges were surest, then chance by content. Nothing prefers a letter.
    """
    steps = _steps(asked, people, judged, doubts, rule.escalation)
    left = _left(asked, rounds, cost_usd, seconds)
    certainty = pl.max_horizontal("p_a", "p_tie", p_b(pl.col("p_a"), pl.col("p_tie"))).round(DECIMALS).fill_null(0)
    chance = uniform_expr(seed, [pl.lit("escalation"), "round_id", "pair_id"])
    ranked = steps.join(left, on="round_id").with_columns(certainty=certainty, chance=chance).sort(
        "to", "certainty", "chance", "pair_id", descending=[False, True, False, False])  # "expert" < "human"
    # Every second second calls for an expert: what it will need is kept for it, but for the last half vote.
    needs = pl.when((pl.col("to") == "human") & pl.lit(rule.escalation == "expert")).then(1.5).otherwise(1.0)
    is_paid = needs.cum_sum().over("round_id") <= pl.col("n_left") + 0.5
    return _as_routes(ranked.filter(is_paid), cost_usd)


def _steps(
    asked: pl.DataFrame, people: pl.DataFrame, judged: pl.DataFrame, doubts: pl.DataFrame, escalation: str
) -> pl.DataFrame:
    """Pairs with a next step: `to` and `reason`, beside what is known of their newest route and of the judges."""
    said = people.sort("pair_id", "voter").with_columns(said=verdict(pl.col("p_a"), pl.col("p_tie"))).group_by(
        "pair_id").agg(
        n_people=pl.col("voter").n_unique(), verdicts=pl.col("said").unique().sort().str.join(", "),
        n_verdicts=pl.col("said").n_unique())
    doubted = doubts.select("pair_id", doubt=pl.col("reason").replace_strict(DOUBTS))
    known = _standing(asked).join(said, on="pair_id", how="left").join(judged, on="pair_id", how="left").join(
        doubted, on="pair_id", how="left").with_columns(of_judges=verdict(pl.col("p_a"), pl.col("p_tie")))
    return known.with_columns(reason=_reason(escalation)).filter(pl.col("reason").is_not_null()).with_columns(
        to=pl.when(pl.col("reason").str.starts_with("expert")).then(pl.lit("expert")).otherwise(pl.lit("human")))


def _standing(asked: pl.DataFrame) -> pl.DataFrame:
    """One row per pair none of whose routes is open: its newest round, and what was asked there."""
    closed = asked.filter(pl.col("outcome").is_not_null().all().over("pair_id"))
    newest = closed.filter(pl.col("n") == pl.col("n").max().over("pair_id")).sort("pair_id", "ordinal")
    begins = [pl.col("reason").str.starts_with(word) for word in SECONDS]
    return newest.group_by("pair_id", maintain_order=True).agg(
        pl.col("round_id", "propensity", "features").first(), pl.col("ordinal").max() + 1,
        n_seconds=pl.any_horizontal(begins).sum(), has_expert=(pl.col("to") == "expert").any())


def _reason(escalation: str) -> pl.Expr:
    is_torn = pl.col("n_verdicts") > 1
    is_contradicted = pl.col("verdicts") != pl.col("of_judges")
    is_open = ~pl.col("has_expert")
    is_second = is_open & (pl.col("n_seconds") < MAX_SECONDS)
    is_alone = pl.col("n_people") == 1
    expert = pl.format("expert: people say {}", "verdicts")
    second = pl.format("second: a person says {}, the judges {}", "verdicts", "of_judges")
    return (
        pl.when(is_open & is_torn & pl.lit(escalation == "expert")).then(expert)
        .when(is_second & is_alone & is_contradicted & pl.lit(escalation != "none")).then(second)
        .when(is_second).then(pl.format("again: {}", "doubt"))
    )


def is_charged() -> pl.Expr:
    """Whether a route counts against its round's budget: while its task is open, and for good if it was voted on."""
    return pl.col("outcome").is_null() | (pl.col("outcome") == "voted")


def _left(asked: pl.DataFrame, rounds: pl.DataFrame, cost_usd: float, seconds: float) -> pl.DataFrame:
    """(round_id, n_left): votes that each round's budgets still allow."""
    paid = asked.filter(is_charged()).group_by("round_id").agg(
        n=pl.len().cast(pl.Int64), usd=pl.col("cost_usd").sum())
    money = ((pl.col("budget_usd") - pl.col("usd")) / cost_usd + TOLERANCE).floor() if cost_usd > 0 else pl.lit(None)
    in_time = (3600 * pl.col("budget_hours") / seconds + TOLERANCE).floor().cast(pl.Int64)
    votes = pl.min_horizontal("budget_votes", in_time)
    return rounds.join(paid, on="round_id", how="left").with_columns(pl.col("n", "usd").fill_null(0)).select(
        "round_id", n_left=pl.min_horizontal(votes - pl.col("n"), money.cast(pl.Int64)))


def _as_routes(steps: pl.DataFrame, cost_usd: float) -> pl.DataFrame:
    """`expected_gain` is 0: a step follows a rule, no gain was reckoned. `features` are those of the first route."""
    return ROUTES.complete(steps.select(
        content_id_expr(["round_id", "pair_id", "ordinal"]).alias("route_id"), "pair_id", "round_id", "to", "ordinal",
        pl.lit(0.0).alias("expected_gain"), pl.lit(cost_usd, dtype=pl.Float64).alias("cost_usd"), "propensity",
        pl.lit(False).alias("is_audit"), "reason", "features",
    ))
