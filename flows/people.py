"""People: routes become tasks, answers become votes, and a vote that contradicts calls for the next person.

Nothing waits in memory for a person. `send` ends when the tasks are where people find them; `collect` takes what is
there and goes on. What is answered later counts in the next round, or when `tiebreak collect` runs by itself.
"""

from __future__ import annotations

import polars as pl

from curate.annotating.assigning import is_step, purpose_of_route, shown_first
from curate.routing.escalation import DOUBTS, escalate, is_charged
from flows.annotators import asked_again
from flows.collecting import collect_from_platform
from flows.label import Wave, pace, posteriors_of, recorded_of, routes_of, standing_of, without_people
from flows.rounds import Turn, finished_stages, now
from flows.sending import send_to_platform
from schemas.ids import content_id_expr
from schemas.people import Quality
from schemas.recipe import Recipe
from schemas.tables import ROUTES, TASKS
from warehouse.store import Writer


def send(turn: Turn) -> int:
    """A task for every route to a person that has none, of any round, as far as queues have room."""
    n = send_now(turn)
    with turn.store.write("send") as writer:
        return turn.finish(writer, "send", n, {})


def collect(turn: Turn) -> int:
    """Votes of people on open tasks, with the end of each task; then the next steps of what they contradicted."""
    n = collect_now(turn)
    with turn.store.write("collect") as writer:
        return turn.finish(writer, "collect", n, {})


def send_now(turn: Turn) -> int:
    """What `send` does, of no round in particular: how many tasks were sent."""
    return send_to_platform(turn) if turn.recipe.people.engine == "label_studio" else _send_at_once(turn)


def collect_now(turn: Turn, *, is_full: bool = False) -> int:
    """What `collect` does, of no round in particular: how many votes came in.

    Engines that answer at once are asked until no pair needs a next step and, in continuous mode, the budget is
    spent; a platform is read once, and what follows is sent. `is_full`: a platform is read from the beginning, and
    what it holds is put right.
    """
    if turn.recipe.people.engine == "label_studio":
        n = collect_from_platform(turn, is_full=is_full)
        escalate_now(turn)
        continue_now(turn)
        if _n_waiting(turn) and (n_sent := send_now(turn)):  # also what a killed collecting had decided and not sent
            turn.say(f"collect: {n_sent} tasks sent for what follows")
        return n
    n = _collect_at_once(turn)
    while _follow(turn):  # ends: a pair is asked a few times in a round, and one whose task stays open waits
        n += _collect_at_once(turn)
    return n


def _follow(turn: Turn) -> int:
    """Decide what follows from the answers so far and ask it of people who answer at once; how many were asked."""
    escalate_now(turn)
    continue_now(turn)
    return _send_at_once(turn) if _n_waiting(turn) else 0


def continue_now(turn: Turn) -> int:
    """Record the next routes of the round, as what was answered since has taught; how many there are.

    As many as are missing to `routing.open_votes` open ones, within what is left of the round's budget. None in batch
    mode, before the round's own `route`, after it was abandoned, and once the recipe is another one: its next round
    goes by that.
    """
    if turn.recipe.routing.open_votes == 0 or "route" not in finished_stages(turn):
        return 0
    with turn.store.write("collect") as writer:
        rounds = writer.query("newest_round", dataset=turn.recipe.dataset)
        asked = writer.query("asked_routes", dataset=turn.recipe.dataset).filter(round_id=turn.round_id)
    wave = _next_wave(turn.recipe, asked)
    ours = rounds.filter(round_id=turn.round_id, recipe_fingerprint=turn.recipe.fingerprint, is_given_up=False)
    if wave.limit == 0 or ours.is_empty():
        return 0
    routes = routes_of(turn, wave)
    with turn.store.write("collect") as writer:
        return writer.append({"routes": routes}).get("routes", 0)


def _next_wave(recipe: Recipe, asked: pl.DataFrame) -> Wave:
    """What is missing to the open first votes of a round, after `asked`: its `asked_routes`.

    What was skipped is not replaced: on a platform others may still answer it.
    """
    is_open, is_first = pl.col("outcome").is_null(), ~is_step()
    is_spent = is_charged() | (pl.col("outcome") == "skipped")
    told = asked.with_columns(is_answered=~is_open, is_charged=is_spent & is_first)
    n_steps = asked.filter(is_step(), is_charged()).height
    limit = max(0, recipe.routing.open_votes - asked.filter(is_open, is_first).height)
    return Wave(told.select(*ROUTES.schema, "is_answered", "is_charged"), limit, n_steps)


def escalate_now(turn: Turn) -> int:
    """Record the routes of the next steps, within what is left of their rounds' budgets; how many there are.

    None where the recipe has neither escalation nor a rule of quality.
    """
    rule = turn.recipe.routing
    if rule.escalation == "none" and turn.recipe.people.quality == Quality():
        return 0
    with turn.store.write("collect") as writer:
        asked = writer.query("asked_routes", dataset=turn.recipe.dataset)
        rounds = writer.query("round_budgets", dataset=turn.recipe.dataset)
        doubts = _doubts(turn, writer)
        standing = standing_of(turn, writer)
    judged = posteriors_of(turn, without_people(standing)).select("pair_id", "p_a", "p_tie")
    if turn.recipe.people.engine == "replay" and rule.escalation == "expert":
        rule = rule.model_copy(update={"escalation": "second"})  # no recorded vote is more final than another
    routes = escalate(asked, _opinions(standing.evidence), judged, rounds, doubts, rule, turn.recipe.people.cost_usd,
                      pace(turn, standing), turn.recipe.seed)
    with turn.store.write("collect") as writer:
        return writer.append({"routes": routes}).get("routes", 0)


def _n_waiting(turn: Turn) -> int:
    """Routes without a task that collecting sends: next steps and, in continuous mode, all of them."""
    with turn.store.write("collect") as writer:
        waiting = writer.query("routes_to_send", dataset=turn.recipe.dataset, sources=turn.sources)
    return waiting.height if turn.recipe.routing.open_votes else waiting.filter(is_step()).height


def _doubts(turn: Turn, writer: Writer) -> pl.DataFrame:
    """(pair_id, reason) of pairs none of whose opinions on the recipe's question is sound."""
    found = asked_again(writer, turn.recipe.people.quality)
    of_ours = pl.col("criterion").is_in([turn.recipe.criterion, ""])
    return found.filter(of_ours, pl.col("reason").is_in(list(DOUBTS))).unique("pair_id", keep="last").select(
        "pair_id", "reason")


def _opinions(evidence: pl.DataFrame) -> pl.DataFrame:
    """(pair_id, voter, p_a, p_tie) of people, several ballots of one person on a pair averaged by weight."""
    voiced = evidence.filter(pl.col("kind") == "human", ~pl.col("is_abstention")).sort("pair_id", "voter", "ballot_id")
    return voiced.group_by("pair_id", "voter", maintain_order=True).agg(
        ((pl.col(p) * pl.col("weight")).sum() / pl.col("weight").sum()).round(12).alias(p) for p in ("p_a", "p_tie"))


def _send_at_once(turn: Turn) -> int:
    """Tasks for people who answer as soon as they are asked, sides shuffled by content."""
    with turn.store.write("send") as writer:
        routes = writer.query("routes_to_send", dataset=turn.recipe.dataset, sources=turn.sources)
        annotator = turn.engines.annotate(*recorded_of(turn, writer))
    if annotator is None or routes.height == 0:
        return 0
    queue = turn.recipe.people.engine
    tasks = routes.with_columns(
        content_id_expr(["route_id", pl.lit(queue)]).alias("task_key"), shown_first(turn.recipe.seed),
        purpose_of_route(), queue=pl.lit(queue), system=pl.lit(queue), is_prefilled=pl.lit(False),
        sent_at=pl.lit(now()))
    sent = annotator.send(tasks)
    with turn.store.write("send") as writer:
        writer.append({"tasks": TASKS.complete(
            tasks.drop("to", "n", "is_audit", "expected_gain", "reason").join(sent, on="task_key"))})
    return tasks.height


def _collect_at_once(turn: Turn) -> int:
    """Votes and ends of all open tasks, in one transaction."""
    with turn.store.write("collect") as writer:
        tasks = writer.query("open_tasks", dataset=turn.recipe.dataset)
        annotator = turn.engines.annotate(*recorded_of(turn, writer))
    if annotator is None or tasks.height == 0:
        return 0
    votes, answers = annotator.collect(tasks)
    with turn.store.write("collect") as writer:
        writer.append({"voters": annotator.voters(), "votes": votes, "answers": answers})
    return votes.height
