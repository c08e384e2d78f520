"""Who is given which task: routes into queues of limited capacity, gold tasks mixed in, tasks taken back."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from curate.consensus.outcomes import DECIMALS, p_b
from schemas.ids import content_id_expr, uniform_expr
from schemas.settings import Queue

ONBOARDING = "onboarding"
"""queue of the tasks that everyone is given first"""
ENOUGH = 0.99
"""certainty from which one more vote changes hardly any label: an error of 1 in 100 is left, a person's is larger"""
ESCALATED = ("second", "again", "expert")
"""first words of the reasons of routes that finish a pair: they are sent first"""
ASSIGNED: dict[str, pl.DataType] = {"route_id": pl.String(), "queue": pl.String(), "place": pl.Int64()}
"""`place`: the smaller, the sooner its task is worth an answer"""


def assign(routes: pl.DataFrame, queues: Sequence[Queue], held: pl.DataFrame, seed: int, *,
           gold_share: float = 0.0) -> pl.DataFrame:
    """ASSIGNED, sorted by route_id: the routes that are sent now. The others wait for the next `send`.

    `routes`: route_id, pair_id, to, n (of the round), is_audit, expected_gain, reason. `held`: (pair_id, queue,
    is_open) of every task so far. Routes to an expert go to queues for experts, the others to the rest.

    One task per route, and no person meets a pair twice while another could: a pair goes to a queue that never held
    it; one that all queues held waits until its open task came to an end (so in a single shared queue the votes on a
    pair are asked for one after the other; should the same person answer again, consensus counts one voter). Which of
    several queues, is drawn by content. Where `capacity` does not reach, escalations come first, then older rounds,
    audits, expected gain, content. `gold_share` of each queue's room is left for gold tasks.
    """
    offers = _offers(routes, queues, held, seed)
    room = room_of(queues, held).with_columns((pl.col("room") * (1 - gold_share)).ceil().cast(pl.Int64))
    taken = pl.DataFrame(schema=ASSIGNED)
    while offers.height:  # at most once per queue: each time every route still there is placed or loses an offer
        best = offers.sort("place", "choice").unique("route_id", keep="first", maintain_order=True)
        first = best.unique(["pair_id", "queue"], keep="first", maintain_order=True).join(
            room, on="queue", maintain_order="left")
        placed = first.filter(pl.int_range(pl.len()).over("queue") < pl.col("room"))
        used = placed.group_by("queue").agg(n=pl.len().cast(pl.Int64))
        room = room.join(used, on="queue", how="left").select("queue", room=pl.col("room") - pl.col("n").fill_null(0))
        taken = pl.concat([taken, placed.select(*ASSIGNED)])
        offers = offers.join(best, on=["route_id", "queue"], how="anti").join(
            placed, on="route_id", how="anti").join(placed, on=["pair_id", "queue"], how="anti")
    return taken.sort("route_id")


def room_of(queues: Sequence[Queue], held: pl.DataFrame) -> pl.DataFrame:
    """(queue, room): tasks that each queue still takes, by name; a queue without a bound takes 2^53."""
    known = pl.DataFrame([(q.name, q.capacity or 2**53) for q in sorted(queues, key=lambda q: q.name)],
                         schema={"queue": pl.String, "room": pl.Int64}, orient="row")
    used = held.filter("is_open").group_by("queue").agg(n=pl.len().cast(pl.Int64))
    return known.join(used, on="queue", how="left", maintain_order="left").select(
        "queue", room=(pl.col("room") - pl.col("n").fill_null(0)).clip(0))


def gold_tasks(
    gold: pl.DataFrame, queues: Sequence[Queue], votes: pl.DataFrame, held: pl.DataFrame, share: float, seed: int
) -> pl.DataFrame:
    """(pair_id, queue) of gold pairs to mix in: so many that they are `share` of the tasks each queue was given.

    `gold` has pair_id, `votes` one row (queue) per task for votes, those of now included, `held` as for `assign`,
    gold tasks included, with `is_gold`. No queue is given a pair twice; where gold runs out there is less of it.
    """
    asked = votes.group_by("queue").agg(n=pl.len())
    given = held.filter("is_gold").group_by("queue").agg(n_given=pl.len())
    odds = share / (1 - share) if share < 1 else float(gold.height)
    due = room_of([q for q in queues if not q.is_expert], held).join(asked, on="queue").join(
        given, on="queue", how="left").select("queue", n_due=pl.min_horizontal(
            (pl.col("n") * odds + 0.5).floor().cast(pl.Int64) - pl.col("n_given").fill_null(0), "room"))
    drawn = gold.select("pair_id").join(due, how="cross").join(held, on=["pair_id", "queue"], how="anti").with_columns(
        chance=uniform_expr(seed, [pl.lit("gold"), "queue", "pair_id"])).sort("queue", "chance", "pair_id")
    return drawn.filter(pl.int_range(pl.len()).over("queue") < pl.col("n_due")).select("pair_id", "queue").sort(
        "queue", "pair_id")


def onboarding_tasks(gold: pl.DataFrame, n: int, seed: int) -> pl.DataFrame:
    """(pair_id, queue) of the `n` gold pairs that every annotator is given first, drawn by content."""
    drawn = gold.select("pair_id").with_columns(chance=uniform_expr(seed, [pl.lit(ONBOARDING), "pair_id"]))
    return drawn.sort("chance", "pair_id").head(n).select("pair_id", queue=pl.lit(ONBOARDING)).sort("pair_id")


def mixed(tasks: pl.DataFrame, seed: int) -> pl.DataFrame:
    """`tasks` (task_key, queue, place) in the order of sending: by queue and `place`, gold (no place) among them."""
    rank = pl.col("place").rank("ordinal").over("queue").cast(pl.Float64)
    drawn = uniform_expr(seed, [pl.lit("mixed"), "task_key"]) * (pl.col("place").count().over("queue") + 1)
    return tasks.with_columns(at=pl.coalesce(rank, drawn)).sort("queue", "at", "task_key").drop("at")


def shown_first(seed: int) -> pl.Expr:
    """Which response is shown first, "a" or "b": by content of the route, so both halves are even and none moves."""
    is_a = uniform_expr(seed, [pl.lit("shown_first"), "route_id"]) < 0.5
    return pl.when(is_a).then(pl.lit("a")).otherwise(pl.lit("b")).alias("shown_first")


def is_step() -> pl.Expr:
    """Whether a route finishes a pair that somebody has answered, by its reason."""
    return pl.any_horizontal(pl.col("reason").str.starts_with(word) for word in ESCALATED)


def purpose_of_route() -> pl.Expr:
    """What a routed task is for: an expert adjudicates, everyone else votes."""
    return pl.when(pl.col("to") == "expert").then(pl.lit("adjudicate")).otherwise(pl.lit("vote")).alias("purpose")


def gold_route(purpose: str, dataset: str) -> pl.Expr:
    """What stands in `tasks.route_id` of a task that no route asked for: one per dataset, purpose and pair."""
    return content_id_expr([pl.lit(dataset), pl.lit(purpose), "pair_id"]).alias("route_id")


def recalls(tasks: pl.DataFrame, posteriors: pl.DataFrame, scope: pl.Series) -> pl.DataFrame:
    """(task_key, reason), sorted: open tasks that nobody needs to answer any more.

    `tasks` has task_key, pair_id, purpose, is_audit, is_superseded (its round asked another question, or was given
    up). `posteriors` of the votes so far, `scope` the pairs a dataset may learn from (none of the gate's groups).

    out_of_scope, superseded, or decided: certainty of at least 0.99 by now, a person among its voters. An audit task
    is never `decided`: taking back the easy ones would bias the audit. Gold tasks stay while in scope.
    """
    certainty = pl.max_horizontal("p_a", "p_tie", p_b(pl.col("p_a"), pl.col("p_tie"))).round(DECIMALS)
    decided = posteriors.filter((certainty >= ENOUGH) & (pl.col("n_human") > 0))["pair_id"]
    reason = (
        pl.when(~pl.col("pair_id").is_in(scope.implode())).then(pl.lit("out_of_scope"))
        .when(pl.col("is_superseded")).then(pl.lit("superseded"))
        .when((pl.col("purpose") == "vote") & ~pl.col("is_audit") & pl.col("pair_id").is_in(decided.implode()))
        .then(pl.lit("decided"))
    )
    return tasks.select("task_key", reason=reason).filter(pl.col("reason").is_not_null()).sort("task_key")


def _offers(routes: pl.DataFrame, queues: Sequence[Queue], held: pl.DataFrame, seed: int) -> pl.DataFrame:
    """(route_id, pair_id, queue, place, choice): every queue a route may go to, best by `choice`."""
    keys = [~is_step(), pl.col("n"), ~pl.col("is_audit"), -pl.col("expected_gain"), pl.col("route_id")]
    ranked = routes.sort(keys).with_columns(place=pl.int_range(pl.len()), is_expert=pl.col("to") == "expert")
    named = pl.DataFrame([(q.name, q.is_expert) for q in queues], schema={"queue": pl.String, "is_expert": pl.Boolean},
                         orient="row")
    before = held.group_by("pair_id", "queue").agg(is_open=pl.col("is_open").any(), was_held=pl.lit(True))
    every = ranked.join(named, on="is_expert").join(before, on=["pair_id", "queue"], how="left").with_columns(
        pl.col("is_open", "was_held").fill_null(False))
    is_new = ~pl.col("was_held")
    has_new, has_open = is_new.any().over("route_id"), pl.col("is_open").any().over("route_id")
    choice = uniform_expr(seed, [pl.lit("queue"), "pair_id", "queue"])
    return every.filter(is_new | (~has_new & ~has_open)).select(
        "route_id", "pair_id", "queue", "place", choice=choice)
