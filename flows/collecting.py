"""Collect: what people said on an annotation platform since the last look becomes votes; drift is put right."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime

import polars as pl

from curate.annotating.assigning import recalls
from curate.annotating.reading import Rules, changes
from curate.engines import Changes
from flows.label import posteriors_of, standing_of
from flows.platform import Desk, desk_of
from flows.rounds import Turn, now
from flows.sending import put_again, repair
from schemas.tables import ANSWERS, PULLED, PULLS


def collect_from_platform(turn: Turn, *, is_full: bool = False) -> int:
    """Votes of every queue's project since its last reading; how many came in.

    A reading, its votes, its ends of tasks and its watermark are one transaction. `is_full` reads from the
    beginning, sends again what the platform lost, counts what is foreign, and takes back votes that are gone.
    """
    desk = desk_of(turn)
    repair(desk)
    with turn.store.write("collect") as writer:
        queues = desk.tasks(writer)["queue"].unique().sort().to_list()
    places = [desk.place(desk.project(queue)) for queue in queues]
    return sum(_collect_queue(desk, queue, places, is_full=is_full) for queue in queues)


def recall_from_platform(turn: Turn) -> pl.DataFrame:
    """Take back the open tasks that nobody needs to answer; (reason, n_tasks, n_answered_already) of them.

    A task that somebody answered stays, and the answer counts when it is collected.
    """
    desk = desk_of(turn)
    repair(desk)
    with turn.store.write("recall") as writer:
        tasks = desk.tasks(writer).filter("is_open")
        scope = writer.query("scope_pairs", sources=turn.sources)["pair_id"]
        standing = standing_of(turn, writer)
    is_superseded = pl.col("is_given_up") | (pl.col("criterion") != turn.recipe.criterion) | (
        pl.col("guideline") != turn.recipe.people.guideline)
    unneeded = tasks.with_columns(is_superseded=is_superseded)
    found = tasks.join(recalls(unneeded, posteriors_of(turn, standing), scope), on="task_key")
    gone = pl.concat([_recalled(desk, queue, found) for queue in found["queue"].unique().sort()]
                     or [pl.DataFrame(schema={"task_key": pl.String})])
    return found.with_columns(is_gone=pl.col("task_key").is_in(gone["task_key"].implode())).group_by("reason").agg(
        n_tasks=pl.col("is_gone").sum(), n_answered_already=(~pl.col("is_gone")).sum()).sort("reason")


def _recalled(desk: Desk, queue: str, found: pl.DataFrame) -> pl.DataFrame:
    """(task_key) of a queue's tasks that are gone from the platform, noted as recalled."""
    project, mine = desk.project(queue), found.filter(pl.col("queue") == queue).select("task_key")
    there = mine.join(desk.platform.held(project), on="task_key", how="left")
    taken = desk.platform.recall(project, there["external_id"].drop_nulls().to_list())
    state = there.join(taken, on="external_id", how="left", nulls_equal=False)
    # What the platform no longer holds is as good as recalled: a kill before this note leaves it so.
    gone = state.filter(pl.col("is_gone").fill_null(pl.col("external_id").is_null())).select("task_key").unique()
    with desk.turn.store.write("recall") as writer:
        writer.append({"answers": ANSWERS.complete(gone.with_columns(
            outcome=pl.lit("recalled"), answered_at=pl.lit(now())))})
    return gone


def _collect_queue(desk: Desk, queue: str, places: list[str], *, is_full: bool) -> int:
    project = desk.project(queue)
    pulled = desk.platform.pull(project, None if is_full else _watermark(desk, project))
    n = _record(desk, queue, project, pulled, places, is_full=is_full)
    if is_full:
        _reconcile(desk, queue, project)
    return n


def _watermark(desk: Desk, project: str) -> datetime | None:
    """From when on a project's changes are unread."""
    with desk.turn.store.write("collect") as writer:
        newest = writer.query("newest_pull", system=desk.platform.system, project=project).item()
    return newest if isinstance(newest, datetime) else None


def _record(desk: Desk, queue: str, project: str, pulled: Changes, places: list[str], *, is_full: bool) -> int:
    """One transaction: what is said, and that it was read."""
    with desk.turn.store.write("collect") as writer:
        known = writer.query("submissions_standing", places=places)
        told = _whole(pulled, known, desk.place(project)) if is_full else pulled
        read = changes(told, known, desk.tasks(writer), desk.page(queue), _rules(desk))
        frames = {"voters": read.voters, "votes": read.votes, "ratings": read.ratings, "answers": read.answers,
                  "submissions": read.submissions, "rejects": read.rejects}
        writer.append({**frames, "pulls": _pull_row(desk, project, told, read.submissions.height)})
    if read.rejects.height:
        desk.turn.say(f"collect: {read.rejects.height} submissions in queue {queue} are refused: "
                      "tiebreak sql 'FROM rejects' says why")
    return read.votes.filter(pl.col("status") == "cast").height


def _rules(desk: Desk) -> Rules:
    people = desk.turn.recipe.people
    return Rules(system=desk.platform.system, key=desk.turn.engines.pseudonym_key(), pulled_at=now(),
                 criterion=desk.turn.recipe.criterion, instrument=desk.guideline.id, cost_usd=people.cost_usd)


def _pull_row(desk: Desk, project: str, told: Changes, n_new: int) -> pl.DataFrame:
    row = {"pull_id": str(uuid.uuid4()), "system": desk.platform.system, "project": project,
           "watermark_at": told.watermark_at, "n_seen": told.submissions.height, "n_new": n_new, "pulled_at": now()}
    return PULLS.complete(pl.DataFrame([row], schema_overrides={"watermark_at": pl.Datetime("us", "UTC")}))


def _whole(changed: Changes, known: pl.DataFrame, place: str) -> Changes:
    """A reading of a project from the beginning, and a row as deleted for each submission that it no longer has."""
    pulled = PULLED.complete(changed.submissions)
    here = known.filter(pl.col("submission").str.replace(r"/[^/]*$", "") == place, pl.col("outcome") != "deleted")
    missing = here.join(pulled, on="submission", how="anti")
    flags = {"is_skipped": False, "is_deleted": True, "is_from_prediction": False}
    gone = PULLED.complete(missing.select(
        "submission", "external_id", "task_key", *(pl.lit(value).alias(name) for name, value in flags.items())))
    return replace(changed, submissions=pl.concat([pulled, gone]))


def _reconcile(desk: Desk, queue: str, project: str) -> None:
    """Send again what the platform lost of the open tasks; tell of tasks there that are not ours."""
    held = desk.platform.held(project)
    with desk.turn.store.write("collect") as writer:
        ours = desk.tasks(writer).filter(pl.col("queue") == queue)
        lost = ours.filter("is_open").join(held, on="task_key", how="anti")
        texts = writer.query("task_texts", {"wanted": lost.select("pair_id").unique()})
    n_foreign = held.join(ours, on="task_key", how="anti").height
    if n_foreign:
        desk.turn.say(f"collect: {n_foreign} tasks in the project of queue {queue} are not ours: left alone")
    if lost.height:
        desk.turn.say(f"collect: {lost.height} tasks of queue {queue} were missing there: sent again")
        put_again(desk, queue, lost, texts)
