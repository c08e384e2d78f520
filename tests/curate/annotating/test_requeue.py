"""Requeue: a pair whose every opinion is doubtful is asked again, with the reason; a split goes to an expert."""

from __future__ import annotations

import datetime as dt

import polars as pl
from people_at_work import NOON, answer, answers

from curate.annotating.requeue import DOUBTED, REQUEUE, doubted, requeue

LATER = NOON + dt.timedelta(hours=1)


def doubts(*rows: tuple[str, str, dt.datetime | None]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=DOUBTED, orient="row")


def asked(*rows: dict[str, object], about: pl.DataFrame | None = None, **options: object) -> list[tuple[object, ...]]:
    frame = requeue(answers(*rows), doubts() if about is None else about, **options)
    assert frame.schema == pl.Schema(REQUEUE)
    return frame.select("pair_id", "reason", "to", "voters").rows()


def test_a_fast_answer_is_asked_again_of_somebody_else() -> None:
    rows = [answer(pair="p1", seconds=3.0), answer(pair="p2", seconds=30.0), answer(pair="p3")]
    assert asked(*rows, min_seconds=10.0) == [("p1", "too_fast", "person", ["ann"])]
    assert asked(*rows) == []


def test_a_fast_answer_beside_a_sound_one_is_not_asked_again() -> None:
    assert asked(answer("ann", "p", seconds=3.0), answer("ben", "p", seconds=60.0), min_seconds=10.0) == []


def test_answers_of_a_doubted_annotator_count_from_when_the_doubt_begins() -> None:
    rows = [answer(pair="p1", said_at=NOON), answer(pair="p2", said_at=LATER), answer("ben", "p3", said_at=LATER)]
    assert asked(*rows, about=doubts(("ann", "drifts", LATER))) == [("p2", "drifts", "person", ["ann"])]
    always = asked(*rows, about=doubts(("ann", "drifts", LATER), ("ann", "fails_gold", None)))
    assert always == [("p1", "fails_gold", "person", ["ann"]), ("p2", "fails_gold", "person", ["ann"])]


def test_what_was_taken_back_is_asked_again_also_where_its_criterion_is_not_known() -> None:
    deleted = answer(pair="p1", said=None, outcome="deleted", criterion="")
    assert asked(deleted, answer("ben", "p2")) == [("p1", "retracted", "person", ["ann"])]
    assert asked(deleted, answer("ben", "p2"), open_pairs=["p2"]) == [("p1", "retracted", "person", ["ann"])]
    assert asked(deleted) == [("p1", "retracted", "person", ["ann"])]
    assert asked(deleted, answer("ben", "p1")) == []


def test_people_who_disagree_are_settled_by_an_expert_once() -> None:
    split = [answer("ann", "p", "a"), answer("ben", "p", "b")]
    assert asked(*split) == [("p", "people_disagree", "expert", ["ann", "ben"])]
    assert asked(*split, answer("cas", "p", "b")) == []
    assert asked(*split, answer("eva", "p", "tie", purpose="adjudicate")) == []
    assert asked(answer("ann", "p", "a"), answer("ben", "p", "tie"))[0][1] == "people_disagree"


def test_a_doubtful_vote_makes_no_disagreement() -> None:
    split = [answer("ann", "p", "a"), answer("ben", "p", "b")]
    assert asked(*split, about=doubts(("ben", "fails_gold", None))) == []


def test_gold_pairs_open_pairs_and_votes_that_nobody_asked_for_are_left_alone() -> None:
    rows = [answer(pair="gold", seconds=1.0, purpose="gold"), answer(pair="lesson", seconds=1.0, purpose="onboarding"),
            answer(pair="open", seconds=1.0), answer(pair="imported", seconds=1.0, round=None)]
    assert asked(*rows, min_seconds=10.0, open_pairs=["open"]) == []


def test_a_skip_or_cannot_judge_is_no_opinion_and_no_reason() -> None:
    rows = [answer("ann", "p", None, seconds=1.0), answer("ben", "p", None, outcome="cannot_judge", seconds=1.0)]
    assert asked(*rows, min_seconds=10.0) == []


def test_the_queue_does_not_depend_on_order_or_letters() -> None:
    rows = [answer("ann", "p", "a"), answer("ben", "p", "b"), answer("ann", "q", "a", seconds=1.0)]
    mirrored = [answer("ann", "p", "b"), answer("ben", "p", "a"), answer("ann", "q", "b", seconds=1.0)]
    assert asked(*rows, min_seconds=5.0) == asked(*rows[::-1], min_seconds=5.0) == asked(*mirrored, min_seconds=5.0)
    assert len(asked(*rows, min_seconds=5.0)) == 2


def test_whoever_fails_gold_drifts_or_votes_by_chance_is_doubted_and_a_habit_of_place_is_not() -> None:
    found = pl.DataFrame(
        {"voter": ["ann", "ben", "cas", "dan"], "finding": ["drifts", "prefers_slot", "like_chance", "too_fast"],
         "since": [LATER, None, None, None]}, schema_overrides={"since": DOUBTED["since"]})
    failing = pl.DataFrame({"voter": ["eva"], "n": [12], "accuracy": [0.1], "upper": [0.3]})
    assert doubted(found, failing).rows() == [
        ("ann", "drifts", LATER), ("cas", "like_chance", None), ("eva", "fails_gold", None)]
