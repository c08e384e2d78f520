"""Send: routes become tasks on an annotation platform, once each, whatever is killed on the way.

A platform is a foreign server and knows no transaction of ours. A task's key is known before it is sent, and a card
that is there is not sent twice. The beginning of every sending is on record: one that did not end is found again by
asking the platform which keys it holds, so a task that it took and we did not note keeps its queue.
"""

from __future__ import annotations

import uuid

import polars as pl

from curate.annotating.assigning import (
    ONBOARDING,
    assign,
    gold_route,
    gold_tasks,
    mixed,
    onboarding_tasks,
    purpose_of_route,
    shown_first,
)
from curate.consensus.labels import strength
from curate.consensus.outcomes import p_b
from flows.counting import attention_gold
from flows.label import posteriors_of, standing_of
from flows.platform import Desk, desk_of
from flows.rounds import Turn, now
from schemas.ids import content_id_expr
from schemas.tables import CARDS, RUNS, TASKS
from warehouse.store import Writer

TASK = ("route_id", "pair_id", "round_id", "queue", "purpose", "place")
"""columns of a task before it has its key"""


def send_to_platform(turn: Turn) -> int:
    """Tasks for every waiting route that a queue has room for, gold tasks among them; how many were sent."""
    desk = desk_of(turn)
    repair(desk)
    with turn.store.write("send") as writer:
        planned = _planned(desk, writer)
        texts = writer.query("task_texts", {"wanted": planned.select("pair_id").unique()})
    if planned.height == 0:
        return 0
    run_id = _begun(turn)
    for queue, tasks in _by_queue(mixed(_with_keys(desk, planned), turn.recipe.seed)):
        put(desk, queue, tasks, texts)
    _ended(turn, pl.Series([run_id]))
    return planned.height


def put(desk: Desk, queue: str, tasks: pl.DataFrame, texts: pl.DataFrame) -> None:
    """Send tasks of one queue in order, then note them. What is there already is neither sent nor noted twice."""
    sent = desk.platform.send(desk.project(queue), cards_of(tasks, texts))
    _note_tasks(desk, tasks.drop("external_id", strict=False).join(sent, on="task_key"))


def put_again(desk: Desk, queue: str, tasks: pl.DataFrame, texts: pl.DataFrame) -> None:
    """Send noted tasks once more, as they were: the platform lost them."""
    filled = tasks.join(_prefills(desk), on="pair_id", how="left", maintain_order="left")
    desk.platform.send(desk.project(queue), cards_of(filled, texts))


def cards_of(tasks: pl.DataFrame, texts: pl.DataFrame) -> pl.DataFrame:
    """Frame CARDS, in the order of `tasks` (columns of TASKS, strength and certainty of the posterior or null).

    What is pre-filled is turned to the side that is shown first.
    """
    is_a_first = pl.col("shown_first") == "a"
    sides = [pl.when(is_a_first).then(f"text_{one}").otherwise(f"text_{other}").alias(name)
             for one, other, name in (("a", "b", "text_first"), ("b", "a", "text_second"))]
    rows = tasks.join(texts.rename({"system": "said_before"}), on="pair_id", maintain_order="left").with_columns(
        *sides, prefill=pl.when(is_a_first).then("strength").otherwise(0 - pl.col("strength")),
        prefill_by=pl.when(pl.col("strength").is_not_null()).then(pl.lit("consensus")), prefill_score="certainty",
        system=pl.col("said_before"))
    return CARDS.complete(rows.select(*CARDS.schema))


def repair(desk: Desk) -> int:
    """Note the tasks that an interrupted sending left on the platform; how many there were."""
    turn = desk.turn
    with turn.store.write("send") as writer:
        interrupted = writer.query("interrupted_sends", dataset=turn.recipe.dataset)["run_id"]
        possible = _possible(desk, writer) if interrupted.len() else None
    if possible is None:
        return 0
    queues = possible["queue"].unique().sort().to_list()
    there = pl.concat([pl.DataFrame(schema={"task_key": pl.String, "external_id": pl.String}), *(
        desk.platform.held(desk.project(queue)).select("task_key", "external_id") for queue in queues)])
    found = _with_keys(desk, possible).join(there.unique("task_key", keep="first"), on="task_key")
    _note_tasks(desk, found)
    _ended(turn, interrupted)
    turn.say(f"send: {found.height} tasks of an interrupted sending were there already")
    return found.height


def _planned(desk: Desk, writer: Writer) -> pl.DataFrame:
    """Columns TASK of what is to be sent now."""
    turn, held, gold = desk.turn, desk.tasks(writer), attention_gold(desk.turn, writer)
    quality, seed = turn.recipe.people.quality, turn.recipe.seed
    routes = _waiting(turn, writer)
    assigned = assign(routes, desk.queues, held, seed, gold_share=quality.gold_share)
    votes = routes.join(assigned, on="route_id").with_columns(purpose_of_route())
    first = onboarding_tasks(gold, quality.onboarding_tasks, seed)
    rest = gold.join(first, on="pair_id", how="anti")
    so_far = pl.concat([held.filter(~pl.col("is_gold")).select("queue"), votes.select("queue")])
    extra = gold_tasks(rest, desk.queues, so_far, held, quality.gold_share, seed)
    new = first.join(held, on=["pair_id", "queue"], how="anti")
    return pl.concat([votes.select(TASK), _unrouted(turn, extra, "gold"), _unrouted(turn, new, ONBOARDING)])


def _possible(desk: Desk, writer: Writer) -> pl.DataFrame:
    """Columns TASK of everything that a sending may have put anywhere: waiting routes and gold, in every queue."""
    turn = desk.turn
    queues = pl.DataFrame({"queue": [queue.name for queue in desk.queues]}, schema={"queue": pl.String})
    routes = _waiting(turn, writer).with_columns(purpose_of_route(), place=pl.lit(0, pl.Int64))
    gold = attention_gold(turn, writer).select("pair_id")
    first = gold.with_columns(queue=pl.lit(ONBOARDING))
    every = pl.concat([routes.join(queues, how="cross").select(TASK),
                       _unrouted(turn, gold.join(queues, how="cross"), "gold"), _unrouted(turn, first, ONBOARDING)])
    return every.join(desk.tasks(writer), on=["route_id", "queue"], how="anti")


def _waiting(turn: Turn, writer: Writer) -> pl.DataFrame:
    return writer.query("routes_to_send", dataset=turn.recipe.dataset, sources=turn.sources)


def _unrouted(turn: Turn, pairs: pl.DataFrame, purpose: str) -> pl.DataFrame:
    """Columns TASK of pairs (pair_id, queue) that no route asked for."""
    return pairs.with_columns(
        gold_route(purpose, turn.recipe.dataset), purpose=pl.lit(purpose), round_id=pl.lit(turn.round_id),
        place=pl.lit(None, pl.Int64)).select(TASK)


def _note_tasks(desk: Desk, tasks: pl.DataFrame) -> None:
    with desk.turn.store.write("send") as writer:
        writer.append({"tasks": TASKS.complete(tasks.select(c for c in TASKS.schema if c in tasks.columns))})


def _with_keys(desk: Desk, tasks: pl.DataFrame) -> pl.DataFrame:
    """`tasks` (columns TASK) with key, order of sides and what is pre-filled."""
    filled = tasks.join(_prefills(desk), on="pair_id", how="left", maintain_order="left")
    return filled.with_columns(
        is_prefilled=pl.col("strength").is_not_null()).with_columns(
        content_id_expr(["route_id", "queue"]).alias("task_key"), shown_first(desk.turn.recipe.seed),
        system=pl.lit(desk.platform.system), sent_at=pl.lit(now()))


def _by_queue(tasks: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """Queues in order of name, the onboarding first: who begins finds it there."""
    parts = {str(queue): rows for (queue,), rows in tasks.partition_by("queue", as_dict=True).items()}
    return sorted(parts.items(), key=lambda part: (part[0] != ONBOARDING, part[0]))


def _prefills(desk: Desk) -> pl.DataFrame:
    """(pair_id, strength, certainty) of the posterior as of now; no rows where people vote blind."""
    if desk.turn.recipe.people.is_blind:
        return pl.DataFrame(schema={"pair_id": pl.String, "strength": pl.Float64, "certainty": pl.Float64})
    with desk.turn.store.write("send") as writer:
        standing = standing_of(desk.turn, writer)
    certainty = pl.max_horizontal("p_a", "p_tie", p_b(pl.col("p_a"), pl.col("p_tie")))
    return posteriors_of(desk.turn, standing).select("pair_id", strength(), certainty=certainty)


def _begun(turn: Turn) -> str:
    """Note that a sending begins; its id, which enters nothing else."""
    run_id = str(uuid.uuid4())
    _note(turn, pl.Series([run_id]), "started")
    return run_id


def _ended(turn: Turn, runs: pl.Series) -> None:
    _note(turn, runs, "finished")


def _note(turn: Turn, runs: pl.Series, event: str) -> None:
    rows = runs.alias("run_id").to_frame().with_columns(
        flow=pl.lit("send"), event=pl.lit(event), round_id=pl.lit(turn.round_id), detail=pl.lit(turn.recipe.dataset),
        at=pl.lit(now()))
    with turn.store.write("send") as writer:
        writer.append({"runs": RUNS.complete(rows)})
