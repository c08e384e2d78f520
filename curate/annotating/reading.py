"""What people submitted: new states of submissions, and the votes, ratings and ends of tasks that follow from them.

A submission is what one person said about one task. It moves through states: first said, edited, skipped, deleted.
Each new state is a row; its vote supersedes the vote before, or takes it back. At any time a person has one vote per
pair, that of the submission said last. Nothing is guessed at: what does not keep to the page, or is about no task of
ours, is a refused state with a reason and a row in `rejects`, never a vote.

The same rows come out whatever the order of the rows that go in, and the same current votes however the changes were
cut into readings.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from curate.annotating.page import CANNOT_JUDGE, MAX_RATING
from curate.annotating.pseudonyms import pseudonyms
from curate.annotating.results import read_results
from curate.engines import Changes, Page
from schemas.errors import InputError
from schemas.ids import content_id_expr
from schemas.tables import ANSWERS, PULLED, RATINGS, REJECTS, SUBMISSIONS, VOTERS, VOTES

SOURCE = "submission"
AGAIN = "the same person answered this pair again, later"
"""reason of a submission whose vote another one of the same person replaced"""
TASK_COLUMNS = ("task_key", "pair_id", "shown_first", "is_prefilled", "external_id", "round_id")
_OPINION = ["voted", "cannot_judge"]
_IS_OPINION = pl.col("outcome").is_in(_OPINION)


@dataclass(frozen=True)
class Rules:
    """What stands in the rows beside what the platform says."""

    system: str
    """`Platform.system`: people are told apart within it"""
    key: bytes = field(repr=False)
    """of the pseudonyms"""
    pulled_at: datetime
    criterion: str = "overall"
    instrument: str | None = None
    """guideline@version that annotators read"""
    cost_usd: float = 0.0
    """of one vote"""


@dataclass(frozen=True)
class Read:
    """Frames ready to be appended; all are empty when nothing changed."""

    submissions: pl.DataFrame
    votes: pl.DataFrame
    ratings: pl.DataFrame
    """each counts while the vote of its ballot is current: an edit makes another ballot"""
    rejects: pl.DataFrame
    answers: pl.DataFrame
    """tasks that came to an end: as many people as the page asks voted, could not judge, or skipped. Readers keep the
    first row of a task"""
    voters: pl.DataFrame


def changes(changed: Changes, known: pl.DataFrame, tasks: pl.DataFrame, page: Page, rules: Rules) -> Read:
    """Rows that are new since `known`; reading the same changes again gives none.

    `changed.submissions` keeps PULLED and holds, for each task in it, *all* submissions that are there (or a row that
    is deleted, where there are none): one that is known and missing is deleted, and so is one that a row says is.
    `known` has the columns SUBMISSIONS, one row per submission: how it stands. `tasks` are ours, TASK_COLUMNS, and
    response_a and response_b where the page rates. Raises InputError for a missing column.

    A choice s in −3..3 towards the first response is strength s or −s towards a; the winner takes p = 1, "about the
    same" p_tie = 1: a person's single choice holds no probabilities, its size stays in `strength`. "Cannot judge" is
    a vote that abstains. A retraction is a row of status `retracted` that supersedes the vote it takes back. The pair
    is that of our task, whatever the platform says. A state once read stays as it was read, also under a later page.
    `vote_id` and `ballot_id` name submission and state, `external_ref` the submission, `voted_at` when the platform
    says that it was said. A submission replaced by a later one of the same person on another task, which is then
    deleted, counts again when it is pulled next.
    """
    _check(tasks, page)
    pulled, stands = PULLED.complete(changed.submissions), SUBMISSIONS.complete(known)
    said = _said(pulled, stands, tasks, page, rules)
    gone = _gone(pulled, stands)
    settled = _settled(said, gone, stands)
    new = _new_states(settled)
    votes = _votes(new, rules)
    return Read(
        submissions=_submissions(new, votes, rules), votes=_with_retractions(votes, new, rules),
        ratings=_ratings(new, votes, rules), rejects=_rejects(new, rules),
        answers=_answers(settled, votes, page, rules), voters=_voters(votes, rules),
    )


def _check(tasks: pl.DataFrame, page: Page) -> None:
    needed = [*TASK_COLUMNS, *(("response_a", "response_b") if page.attributes else ())]
    missing = [name for name in needed if name not in tasks.columns]
    if missing:
        raise InputError(f"tasks without columns {missing}", expected=f"{needed}", next="join them")


def _place() -> pl.Expr:
    """System and project of a submission's name."""
    return pl.col("submission").str.replace(r"/[^/]*$", "").alias("place")


def _said(pulled: pl.DataFrame, known: pl.DataFrame, tasks: pl.DataFrame, page: Page, rules: Rules) -> pl.DataFrame:
    """Submissions that are there, with what they say, what was known of them, and their task."""
    live = pulled.filter(~pl.col("is_deleted")).rename({"task_key": "named"})
    before = known.select("submission", *(pl.col(c).alias(f"known_{c}") for c in _KNOWN))
    read = (
        live.join(read_results(live["result"], page), on="result", how="left")
        .join(pseudonyms(live["user"], rules.system, rules.key), on="user", how="left")
        .join(_own(tasks), on="named", how="left")
        .join(before, on="submission", how="left")
    )
    return read.with_columns(_fault()).with_columns(_outcome()).with_columns(_as_it_was_read())


def _own(tasks: pl.DataFrame) -> pl.DataFrame:
    about = [c for c in (*TASK_COLUMNS, "response_a", "response_b") if c in tasks.columns and c != "external_id"]
    return tasks.select(*about, named="task_key")


_KNOWN = ("n", "revision", "task_key", "pair_id", "voter", "outcome", "vote_id", "reason")


def _fault() -> list[pl.Expr]:
    """column, seen and expected of a refusal; null where there is none."""
    is_ours, is_said = pl.col("pair_id").is_not_null(), pl.col("result").is_not_null() | pl.col("is_skipped")
    faults = [
        (~is_ours, "task_key", pl.format("a task that is not ours: {}", pl.col("named").fill_null("without a key")),
         "a task_key that was sent"),
        (pl.col("voter").is_null(), "user", pl.lit("nobody's submission"), "a person"),
        (~is_said, "result", pl.lit("no result"), "what was answered"),
    ]
    columns = {name: pl.when(pl.col("is_skipped")).then(None).otherwise(pl.col(name)) for name in _FAULT}
    for is_fault, column, seen, expected in reversed(faults):
        told = {"column": pl.lit(column), "seen": seen.str.slice(0, 120), "expected": pl.lit(expected)}
        columns = {name: pl.when(is_fault).then(told[name]).otherwise(rest) for name, rest in columns.items()}
    return [expr.alias(name) for name, expr in columns.items()]


_FAULT = ("column", "seen", "expected")


def _outcome() -> list[pl.Expr]:
    refused = pl.format("{}: {}; expected {}", *_FAULT)
    outcome = (
        pl.when(pl.col("column").is_not_null()).then(pl.lit("refused")).when("is_skipped").then(pl.lit("skipped"))
        .when(pl.col("verdict") == CANNOT_JUDGE).then(pl.lit("cannot_judge")).otherwise(pl.lit("voted"))
    )
    return [outcome.alias("outcome"), pl.when(pl.col("column").is_not_null()).then(refused).alias("reason")]


def _as_it_was_read() -> list[pl.Expr]:
    """A state that says what it said keeps its outcome: neither another page nor fewer tasks change the past."""
    is_same = (_revision("known_outcome") == pl.col("known_revision")) & (pl.col("known_outcome") != "refused")
    is_same = is_same.fill_null(False)
    keep = {name: pl.when(is_same).then(f"known_{name}").otherwise(name) for name in ("outcome", "pair_id", "task_key")}
    return [*(expr.alias(name) for name, expr in keep.items()),
            pl.when(is_same).then(None).otherwise("reason").alias("reason"), is_same.alias("is_same")]


def _revision(outcome: str) -> pl.Expr:
    """Content of a state. Neither the time it took nor the platform's own marks are part of it."""
    said = pl.when("is_skipped").then(pl.lit("skip")).otherwise("said")
    return content_id_expr([pl.lit(SOURCE), outcome, "voter", said])


def _gone(pulled: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Known submissions that were deleted: named as such, or missing from a task that was read."""
    there, absent = pulled.filter(~pl.col("is_deleted")), pulled.filter("is_deleted")
    touched = pulled.select(_place(), "external_id").unique()
    standing = known.filter(pl.col("outcome") != "deleted").with_columns(_place())
    missing = standing.join(touched, on=["place", "external_id"], how="semi")
    named = standing.join(absent, on="submission", how="semi")
    lost = pl.concat([missing, named]).unique("submission").join(there, on="submission", how="anti")
    return _from_known(lost.drop("place"), "deleted", pl.lit(None, pl.String))


def _from_known(known: pl.DataFrame, outcome: str, reason: pl.Expr) -> pl.DataFrame:
    """States that follow from what is known, where the platform says nothing new of the submission."""
    before = [pl.col(c).alias(f"known_{c}") for c in _KNOWN]
    revision = content_id_expr([pl.lit(SOURCE), pl.lit(outcome), "revision"]).alias("new_revision")
    return known.with_columns(*before, revision).with_columns(
        outcome=pl.lit(outcome), reason=reason, is_same=pl.lit(False)).drop("n", "revision", "vote_id", "pulled_at")


def _settled(said: pl.DataFrame, gone: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Every submission read, or moved by one that was: how it stands now. One opinion per person and pair."""
    read = said.with_columns(_revision("outcome").alias("new_revision"))
    touched = pl.concat([said.select("submission"), gone.select("submission")])
    of_person = ["voter", "pair_id"]
    untouched = known.filter(_IS_OPINION).join(touched, on="submission", how="anti")
    others = untouched.join(said.filter(_IS_OPINION), on=of_person, how="semi")
    opinions = pl.concat([f.filter(_IS_OPINION).select("submission", *of_person, "said_at") for f in (read, others)])
    newest = opinions.sort("said_at", "submission").unique(of_person, keep="last", maintain_order=True)
    older = opinions.join(newest, on="submission", how="anti")
    replaced = _from_known(others.join(older, on="submission", how="semi"), "refused", pl.lit(AGAIN))
    is_older = pl.col("submission").is_in(older["submission"].implode())
    again = {"outcome": pl.lit("refused"), "reason": pl.lit(AGAIN), "is_same": pl.col("known_reason") == AGAIN,
             "new_revision": content_id_expr([pl.lit(SOURCE), pl.lit(AGAIN), "new_revision"])}
    changed = read.with_columns(
        pl.when(is_older).then(value).otherwise(name).alias(name) for name, value in again.items())
    return pl.concat([changed, gone, replaced], how="diagonal").sort("submission")


def _new_states(settled: pl.DataFrame) -> pl.DataFrame:
    """Those that differ from what is known, numbered on."""
    is_new = ~pl.col("is_same").fill_null(False) & pl.col("known_revision").ne_missing(pl.col("new_revision"))
    return settled.filter(is_new).with_columns(n=pl.col("known_n").fill_null(-1) + 1)


def _votes(new: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Contract VOTES beside `submission`: one cast vote per new opinion."""
    said = new.filter(_IS_OPINION)
    ceased = new.filter(~_IS_OPINION & pl.col("known_vote_id").is_not_null()).sort("submission")
    of_person = ceased.select(pl.col("known_voter").alias("voter"), pl.col("known_pair_id").alias("pair_id"),
                              replaced="known_vote_id").unique(["voter", "pair_id"], keep="last", maintain_order=True)
    level = pl.col("verdict").cast(pl.Float64, strict=False)
    towards_a = pl.when(pl.col("shown_first") == "a").then(level).otherwise(0.0 - level)
    cast = said.join(of_person, on=["voter", "pair_id"], how="left").with_columns(*_ids(rules), strength=towards_a)
    return cast.select(
        "submission", "vote_id", "ballot_id", "pair_id", "voter", "strength", "shown_first", "seconds", "round_id",
        p_a=(pl.col("strength") > 0).cast(pl.Float64), p_tie=(pl.col("strength") == 0).cast(pl.Float64),
        is_abstention=pl.col("outcome") == "cannot_judge", n=pl.lit(1), criterion=pl.lit(rules.criterion),
        instrument=pl.lit(rules.instrument, pl.String), rationale="why", cost_usd=pl.lit(rules.cost_usd),
        external_ref="submission", status=pl.lit("cast"), supersedes=pl.coalesce("known_vote_id", "replaced"),
        voted_at="said_at",
    ).sort("vote_id")


def _ids(rules: Rules) -> list[pl.Expr]:
    state = pl.format("{}#{}", "submission", "n")
    fixed: list[str | pl.Expr] = [pl.lit(SOURCE), state, "pair_id", "voter", pl.lit(rules.criterion)]
    return [content_id_expr([*fixed, pl.lit(rules.instrument, pl.String), "shown_first"]).alias("vote_id"),
            content_id_expr(fixed).alias("ballot_id")]


def _with_retractions(votes: pl.DataFrame, new: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Votes, and a retraction of each earlier one whose submission says nothing any more and that none replaced."""
    ceased = new.filter(pl.col("known_vote_id").is_not_null() & ~pl.col("known_vote_id").is_in(
        votes["supersedes"].drop_nulls().implode()))
    taken_back = ceased.with_columns(pair_id="known_pair_id", voter="known_voter").with_columns(*_ids(rules)).select(
        "vote_id", "ballot_id", "pair_id", "voter", "shown_first", "round_id", is_abstention=pl.lit(True), n=pl.lit(1),
        criterion=pl.lit(rules.criterion), instrument=pl.lit(rules.instrument, pl.String), cost_usd=pl.lit(0.0),
        external_ref="submission", status=pl.lit("retracted"), supersedes="known_vote_id", voted_at="said_at",
    )
    return pl.concat([VOTES.complete(votes.drop("submission")), VOTES.complete(taken_back)]).sort("vote_id")


def _submissions(new: pl.DataFrame, votes: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    began = (pl.col("is_from_prediction") & pl.col("is_prefilled")).fill_null(False)
    is_read = pl.col("is_skipped").is_not_null()
    prefilled = pl.when(is_read).then(began).otherwise("is_prefilled")
    taken_over = pl.when(~is_read).then("is_taken_over").when(began & _IS_OPINION).then("is_unchanged")
    rows = new.with_columns(is_prefilled=prefilled, is_taken_over=taken_over).join(
        votes.select("submission", "vote_id"), on="submission", how="left")
    return SUBMISSIONS.complete(rows.select(
        "submission", "n", "task_key", "pair_id", "external_id", "voter", "outcome", "vote_id", "seconds",
        "is_prefilled", "is_taken_over", "reason", "said_at", revision="new_revision",
        pulled_at=pl.lit(rules.pulled_at),
    )).sort("submission", "n")


def _ratings(new: pl.DataFrame, votes: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    if "response_a" not in new.columns:
        return RATINGS.empty()
    rated = new.join(votes.select("submission", "vote_id", "ballot_id"), on="submission").explode("ratings").filter(
        pl.col("ratings").is_not_null()).unnest("ratings")
    is_a = (pl.col("slot") == "first") == (pl.col("shown_first") == "a")
    about = rated.with_columns(response_id=pl.when(is_a).then("response_a").otherwise("response_b"))
    return RATINGS.complete(about.select(
        "response_id", "voter", "attribute", "value", "ballot_id",
        content_id_expr([pl.lit(SOURCE), "vote_id", "response_id", "attribute"]).alias("rating_id"),
        scale_min=pl.lit(1.0), scale_max=pl.lit(float(MAX_RATING)), instrument=pl.lit(rules.instrument, pl.String),
        status=pl.lit("cast"),
    )).sort("rating_id")


def _rejects(new: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    refused = new.filter(pl.col("outcome") == "refused").with_columns(_place())
    is_again = pl.col("reason") == AGAIN
    told = {"column": pl.lit("pair_id"), "seen": pl.lit(AGAIN), "expected": pl.lit("one answer per person and pair")}
    return REJECTS.complete(refused.select(
        content_id_expr([pl.lit(SOURCE), "submission", "new_revision"]).alias("reject_id"),
        *(pl.when(is_again).then(value).otherwise(name).alias(name) for name, value in told.items()),
        source=pl.lit(rules.system), file="place", row=pl.col("external_id").cast(pl.Int64, strict=False).fill_null(0),
    )).sort("reject_id")


def _answers(settled: pl.DataFrame, votes: pl.DataFrame, page: Page, rules: Rules) -> pl.DataFrame:
    """Tasks that enough people are done with, out of those read."""
    ended = settled.filter(pl.col("outcome").is_in([*_OPINION, "skipped"]), pl.col("task_key").is_not_null()).join(
        votes.select("submission", "vote_id"), on="submission", how="left"
    ).with_columns(
        vote_id=pl.when(_IS_OPINION).then(pl.coalesce("vote_id", "known_vote_id")),
        said_at=pl.col("said_at").fill_null(rules.pulled_at),
    )
    tasks = ended.sort("said_at", "submission").group_by("task_key", maintain_order=True).agg(
        pl.col("voter").n_unique().alias("n_people"), pl.col("vote_id").drop_nulls().first(),
        answered_at=pl.col("said_at").max(),
    ).filter(pl.col("n_people") >= page.overlap)
    outcome = pl.when(pl.col("vote_id").is_null()).then(pl.lit("skipped")).otherwise(pl.lit("voted"))
    return ANSWERS.complete(tasks.select("task_key", "vote_id", "answered_at", outcome=outcome)).sort("task_key")


def _voters(votes: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    people = votes.select("voter").unique().sort("voter")
    return VOTERS.complete(people.select(
        "voter", kind=pl.lit("human"), family="voter", cost_usd=pl.lit(rules.cost_usd)))
