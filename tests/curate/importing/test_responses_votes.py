"""Responses of policies to questions, and votes that name the policies."""

import polars as pl
import pytest

from curate.importing.convert import convert
from curate.importing.raw import RawSource

Rows = list[dict[str, object]]

QUESTIONS: Rows = [{"question_id": 1, "text": "Why?", "category": "generic"}]
RESPONSES: Rows = [
    {"question_id": 1, "model": "old", "response": "because"},
    {"question_id": 1, "model": "new", "response": "reasons"},
    {"question_id": 1, "model": "idle", "response": "never compared"},
]


def vote(first: str, second: str, choice: str, question: int = 1) -> dict[str, object]:
    return {"question_id": question, "model_a": first, "model_b": second, "annotator": "gpt-4", "annotator_kind": "ai",
            "vote": choice, "review": f"{choice} is better"}  # fmt: skip


def source(votes: Rows, responses: Rows = RESPONSES, **more: Rows) -> RawSource:
    files = {"questions": QUESTIONS, "responses": responses, "votes": votes, **more}
    frames = {f"{n}.parquet": pl.DataFrame(rows).with_row_index("_row", offset=1) for n, rows in files.items()}
    return RawSource("vicuna", frames)


def test_both_orders_meet_in_one_pair_and_one_ballot() -> None:
    f = convert(source([vote("old", "new", "a"), vote("new", "old", "b")])).frames
    assert f["pairs"].height == 1
    assert f["votes"]["ballot_id"].n_unique() == 1
    winner = f["votes"].join(f["pairs"], on="pair_id").select(
        "shown_first", response_id=pl.when(pl.col("p_a") == 1).then("response_a").otherwise("response_b"))  # fmt: skip
    assert winner.join(f["responses"], on="response_id")["policy"].to_list() == ["old", "old"]
    assert sorted(winner["shown_first"]) == ["a", "b"]


def test_the_first_named_stood_first() -> None:
    f = convert(source([vote("old", "new", "tie")])).frames
    first = f["votes"].join(f["pairs"], on="pair_id").select(
        response_id=pl.when(pl.col("shown_first") == "a").then("response_a").otherwise("response_b"))  # fmt: skip
    assert first.join(f["responses"], on="response_id")["policy"].to_list() == ["old"]


def test_a_response_that_no_vote_compares_is_there() -> None:
    ingested = convert(source([vote("old", "new", "a")]))
    assert sorted(ingested.frames["responses"]["policy"]) == ["idle", "new", "old"]
    assert ingested.frames["votes"]["rationale"].to_list() == ["a is better"]


@pytest.mark.slow
def test_votes_without_texts_are_refused() -> None:
    votes = [vote("old", "new", "a"), vote("old", "lost", "a"), vote("old", "old", "a"), vote("old", "new", "a", 2)]
    ingested = convert(source(votes))
    assert ingested.counts["votes"] == 1
    assert ingested.frames["rejects"].sort("row").select("row", "seen").rows() == [
        (2, "1 old lost"), (3, "1 old old"), (4, "2 old new")]  # fmt: skip


def test_a_response_given_in_two_ways_is_refused_and_one_given_twice_is_one() -> None:
    other = {"question_id": 1, "model": "idle", "response": "something else"}
    ingested = convert(source([vote("old", "new", "a")], [*RESPONSES, RESPONSES[0], other]))
    assert sorted(ingested.frames["responses"]["policy"]) == ["new", "old"]
    assert ingested.frames["rejects"].sort("row").select("row", "expected").rows() == [
        (3, "one row per question_id and model"), (5, "one row per question_id and model")]  # fmt: skip


def test_a_response_to_no_question_is_refused() -> None:
    ingested = convert(source([vote("old", "new", "a")], [*RESPONSES, RESPONSES[0] | {"question_id": 7}]))
    assert ingested.frames["rejects"].select("file", "row", "seen").rows() == [("responses.parquet", 4, "7")]


def test_files_that_hold_no_texts_are_counted_and_left_out() -> None:
    scores: Rows = [{"file": "f", "question_id": 1, "scores": [1.0, 2.0]}] * 3
    assert convert(source([vote("old", "new", "a")], scores=scores)).skipped["scores.parquet"] == (
        "3 rows not read: relative scores")  # fmt: skip
