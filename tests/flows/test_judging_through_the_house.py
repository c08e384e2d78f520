"""A judge's verdict through call path, parser, consensus, version and export: it arrives as it was meant."""

from __future__ import annotations

import polars as pl
import pytest
from small_rounds import StubbornJudge, run_only, stubborn_turn
from small_rows import world

from flows.export_forms import trl
from schemas.ids import content_id
from warehouse.store import Store

pytestmark = pytest.mark.usefixtures("unpublished")

LABELLING = ("judge", "settle", "release")


def prefers_bad(first: str, second: str) -> str:
    return "1" if first.startswith("bad") else "2"


@pytest.fixture(autouse=True)
def four_pairs(store: Store) -> None:
    with store.write("test") as writer:
        writer.append(world(4))


def members(store: Store) -> pl.DataFrame:
    with store.write("test") as writer:
        return writer.query("version_members", dataset="d", n=1)


@pytest.mark.slow
def test_what_a_judge_prefers_in_both_orders_is_what_the_export_calls_chosen(store: Store) -> None:
    run_only(stubborn_turn(store, StubbornJudge(prefers_bad)), *LABELLING)
    rows = trl(members(store))
    assert rows.height == 4
    assert all(chosen[-1]["content"].startswith("bad") for chosen in rows["chosen"])
    assert all(rejected[-1]["content"].startswith("good") for rejected in rows["rejected"])


@pytest.mark.slow
def test_a_judge_that_always_says_first_makes_no_label(store: Store) -> None:
    run_only(stubborn_turn(store, StubbornJudge(lambda first, second: "1")), *LABELLING)
    assert members(store).filter(pl.col("action") != "drop").height == 0
    with store.write("test") as writer:
        assert writer.query("n_rows")["votes"].item() == 8  # both orders are kept as they were said


@pytest.mark.service
def test_a_judge_that_cannot_be_understood_is_counted_and_makes_no_label(store: Store) -> None:
    turn = stubborn_turn(store, StubbornJudge(lambda first, second: "the first, I think"))
    run_only(turn, *LABELLING)
    assert set(members(store).select("action", "reason").rows()) == {("drop", "abstentions")}
    with store.write("test") as writer:
        votes = turn.current_votes(writer, 99)
    assert votes["is_abstention"].all()
    assert votes["evidence"].str.contains("unparsable").all()


@pytest.mark.service
def test_a_second_run_over_the_same_content_asks_nothing_again(store: Store) -> None:
    run_only(stubborn_turn(store, StubbornJudge(prefers_bad)), *LABELLING)
    again = StubbornJudge(prefers_bad)
    run_only(stubborn_turn(store, again), "judge")
    assert again.asked == []


@pytest.mark.service
@pytest.mark.parametrize(("changed", "n_asked"), [
    ({"judging": {"judges": ["j"], "instrument": "pairwise@2"}}, 8),
    ({"criterion": "honesty"}, 0),
])
def test_another_instrument_is_asked_anew_and_an_equal_question_is_not(
    store: Store, changed: dict[str, object], n_asked: int
) -> None:
    run_only(stubborn_turn(store, StubbornJudge(prefers_bad)), "judge", "settle", "release", "gate")
    again = StubbornJudge(prefers_bad)
    run_only(stubborn_turn(store, again, **changed), "judge")
    assert len(again.asked) == n_asked


@pytest.mark.service
def test_another_model_behind_the_same_name_is_asked_anew(store: Store) -> None:
    run_only(stubborn_turn(store, StubbornJudge(prefers_bad)), "judge", "settle", "release", "gate")
    other = StubbornJudge(lambda first, second: "2" if prefers_bad(first, second) == "1" else "1", revision="2")
    run_only(stubborn_turn(store, other), "judge", "settle", "release")
    assert len(other.asked) == 8
    with store.write("test") as writer:  # and the old model's votes no longer count
        labels = writer.query("version_members", dataset="d", n=2)
    assert labels.filter((pl.col("p_a") > 0.5) != pl.col("text_a").str.starts_with("good")).height == 0


@pytest.mark.service
def test_one_new_pair_asks_about_that_pair_only(store: Store) -> None:
    run_only(stubborn_turn(store, StubbornJudge(prefers_bad)), "judge", "settle", "release", "gate")
    with store.write("test") as writer:
        writer.append(world(5))
    again = StubbornJudge(prefers_bad)
    run_only(stubborn_turn(store, again), "judge")
    assert {request.prompt for request in again.asked} == {'[{"role":"user","content":"question 4"}]'}


@pytest.mark.service
def test_equal_texts_under_two_responses_are_paid_for_once(store: Store) -> None:
    with store.write("test") as writer:
        frames = world(1)
        prompt = frames["prompts"]["prompt_id"][0]
        texts = frames["responses"]["text_id"].to_list()
        twins = frames["responses"].with_columns(
            author=pl.lit("twin"), response_id=pl.Series([content_id(prompt, t, "twin") for t in texts])
        )
        a, b = sorted(twins["response_id"])
        pair = frames["pairs"].with_columns(
            pair_id=pl.lit(content_id(a, b)), response_a=pl.lit(a), response_b=pl.lit(b)
        )
        writer.append({"responses": twins, "pairs": pair})
    judge = StubbornJudge(prefers_bad)
    run_only(stubborn_turn(store, judge), *LABELLING)
    assert len(judge.asked) == 8
    with store.write("test") as writer:
        assert writer.query("n_rows")["votes"].item() == 10


@pytest.mark.service
def test_equal_texts_are_a_tie_that_nobody_is_asked_about(store: Store) -> None:
    with store.write("test") as writer:
        frames = world(1)
        same = frames["responses"].with_columns(
            text_id=pl.lit(frames["responses"]["text_id"][0]), author=pl.Series(["x", "y"]),
            response_id=pl.Series(sorted([content_id("s1"), content_id("s2")])),
        )
        a, b = sorted(same["response_id"])
        pair = frames["pairs"].with_columns(
            pair_id=pl.lit(content_id(a, b)), response_a=pl.lit(a), response_b=pl.lit(b)
        )
        writer.append({"responses": same, "pairs": pair})
    judge = StubbornJudge(prefers_bad)
    run_only(stubborn_turn(store, judge), *LABELLING)
    assert len(judge.asked) == 8
    row = members(store).filter(pl.col("pair_id") == content_id(a, b))
    assert row.select("action", "reason", "p_tie").row(0) == ("drop", "identical_text", 1.0)
