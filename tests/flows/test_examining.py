"""Judges are examined before they vote: once per model, question and thresholds, and refused with their numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import polars as pl
import pytest
from small_rounds import StubbornJudge, run_only, stubborn_turn
from small_rows import NOW, votes, world

from curate.engines import CallReply, CallRequest
from flows.examining import qualified
from flows.gold import mark_gold
from flows.judging import examined
from flows.panel import Member
from flows.rounds import Turn
from schemas.errors import RefusedError
from schemas.tables import GOLD, VOTERS
from warehouse.reader import Reader
from warehouse.store import Store

unpublished = pytest.mark.usefixtures("unpublished")

Rule = Callable[[str, str], str]
N = 24


def knows(first: str, second: str) -> str:
    """Good is better than anything else, short better than padded, the same is a tie."""
    worth = ["good" in text and 2 - (len(text) > 20) for text in (first, second)]
    return "tie" if worth[0] == worth[1] else "1" if worth[0] > worth[1] else "2"


def first_always(first: str, second: str) -> str:
    return "1"


class Bench(StubbornJudge):
    """Judges by name, each with a rule of its own."""

    def __init__(self, rules: Mapping[str, Rule], revision: str = "1") -> None:
        super().__init__(first_always, revision)
        self._rules = rules

    def voters(self) -> pl.DataFrame:
        return VOTERS.complete(pl.DataFrame([
            {"voter": name, "kind": "judge", "family": name, "cost_usd": 0.0} for name in self._rules
        ]))

    def judge(self, requests: Sequence[CallRequest]) -> Iterator[CallReply]:
        for request in requests:
            self.asked.append(request)
            yield CallReply(request.call_key, self._rules[request.voter](request.first, request.second))


def turn_of(store: Store, judge: Bench, said: list[str] | None = None, **qualification: object) -> Turn:
    names = [str(name) for name in judge.voters()["voter"]]
    turn = stubborn_turn(
        store, judge, world={"judges": [{"name": name} for name in names]},
        judging={"judges": names, "qualification": qualification},
    )
    return replace(turn, say=said.append) if said is not None else turn


def append(store: Store, frames: Mapping[str, pl.DataFrame]) -> None:
    with store.write("test") as writer:
        writer.append(frames)


def gold(use: str = "calibrate", n: int = N) -> pl.DataFrame:
    """The first pairs of the world as gold: the good response is the better one."""
    frames = world(N)
    texts = frames["responses"].join(frames["texts"], on="text_id").select("response_id", "text")
    pairs = frames["pairs"].join(texts, left_on="response_a", right_on="response_id").sort("pair_id").head(n)
    is_a = pl.col("text").str.starts_with("good").cast(pl.Float64)
    return GOLD.complete(pairs.select(
        "pair_id", is_a.alias("p_a"), pl.lit(0.0).alias("p_tie"), pl.lit("by hand").alias("why"), "source",
        pl.lit(use).alias("use"), pl.lit("overall").alias("criterion"), pl.lit(NOW).alias("added_at"),
    ))


def exams(store: Store) -> pl.DataFrame:
    asked = pl.DataFrame({"voter": ["stubborn/j@1", "stubborn/j@2"], "instrument": ["pairwise@1"] * 2})
    with store.write("test") as writer:
        return writer.query("exams_of", {"asked": asked})


def cards(store: Store) -> dict[str, dict[str, object]]:
    with Reader(store.workspace.root) as reader:
        return {str(row["voter"]): row for row in reader.query("voter_cards", kind="judge").iter_rows(named=True)}


@pytest.fixture(autouse=True)
def pairs_with_gold(store: Store) -> None:
    append(store, {**world(N), "gold": gold()})


def test_a_judge_that_passes_votes_and_its_examination_is_recorded(store: Store) -> None:
    run_only(turn_of(store, Bench({"j": knows})), "judge")
    results = exams(store)
    assert results["is_passed"].all()
    assert results.filter(pl.col("domain") == "all").select("value", "n").row(0) == (1.0, N)
    card = cards(store)["stubborn/j@1"]
    assert (card["n_votes"], card["is_passed"], card["refused_for"], card["accuracy"]) == (2 * N, True, None, 1.0)


def test_a_judge_that_fails_gives_no_vote_and_its_numbers_are_said(store: Store) -> None:
    said: list[str] = []
    run_only(turn_of(store, Bench({"j": knows, "k": first_always}), said), "judge")
    told = [line for line in said if "may not vote" in line]
    assert len(told) == 1
    assert told[0].startswith(f"judge k (stubborn/k@1) may not vote: 50.0% right on {N} gold pairs")
    assert "order turned 100.0% of its verdicts" in told[0]
    refused = cards(store)["stubborn/k@1"]
    assert (refused["n_votes"], refused["is_passed"]) == (0, False)
    assert refused["worst_probe"] == "position"
    assert f"right on 50.0 % of {N}" in str(refused["refused_for"])
    with store.write("test") as writer:
        assert writer.query("refused_voters").rows() == [("stubborn/k@1", "pairwise@1")]


@unpublished
def test_when_every_judge_fails_the_stage_is_refused(store: Store) -> None:
    with pytest.raises(RefusedError, match=r"none of 1 judges may vote; j: 50\.0% right") as caught:
        run_only(turn_of(store, Bench({"j": first_always})), "judge")
    assert caught.value.exit_code == 2
    assert exams(store).height > 0, "what it was asked is known all the same"


@unpublished
def test_answers_to_probes_never_become_votes(store: Store) -> None:
    run_only(turn_of(store, Bench({"j": knows})), "judge")
    with store.write("test") as writer:
        assert writer.query("votes_per_criterion").rows() == [("overall", 2 * N)]


@unpublished
def test_a_recorded_examination_is_not_asked_again(store: Store) -> None:
    asked: list[int] = []

    def refuse_to_ask(pairs: pl.DataFrame, members: Sequence[Member]) -> pl.DataFrame:
        asked.append(pairs.height)
        raise AssertionError("asked again")

    turn = turn_of(store, Bench({"j": knows}))
    examined(turn)
    again = qualified(turn, [Member("j", "stubborn/j@1", "pairwise@1")], refuse_to_ask)
    assert (again, asked) == ({"stubborn/j@1"}, [])


@unpublished
def test_another_model_threshold_or_gold_set_is_examined_anew(store: Store) -> None:
    for changed in (
        lambda: turn_of(store, Bench({"j": knows})), lambda: turn_of(store, Bench({"j": knows}, "2")),
    ):
        examined(changed())
    assert exams(store).filter(pl.col("domain") == "all")["voter"].sort().to_list() == ["stubborn/j@1", "stubborn/j@2"]
    turn = turn_of(store, Bench({"j": knows}))
    append(store, {"gold": gold(n=2).with_columns(retired_at=pl.lit(NOW), use=pl.lit("steer"))})
    stricter = replace(turn, recipe=turn.recipe.model_copy(update={
        "judging": turn.recipe.judging.model_copy(update={"qualification": rule(turn, min_accuracy=0.6)})
    }))
    examined(stricter)
    assert exams(store).filter(pl.col("voter") == "stubborn/j@1")["exam"].n_unique() == 2


def rule(turn: Turn, **fields: object) -> object:
    asked = turn.recipe.judging.qualification
    assert asked is not None
    return asked.model_copy(update=fields)


@unpublished
def test_a_judge_that_fell_since_its_last_examination_is_told_of(store: Store) -> None:
    said: list[str] = []
    turn = turn_of(store, Bench({"j": knows}), said)
    examined(turn)

    def worse(pairs: pl.DataFrame, members: Sequence[Member]) -> pl.DataFrame:
        wrong = gold().select("pair_id", (1 - pl.col("p_a")).alias("wrong"))
        shown = pl.concat([votes(pairs, "stubborn/j@1", 0.0, shown_first=first) for first in "ab"])
        p_a = pl.col("wrong").fill_null(0.5).alias("p_a")
        return shown.join(wrong, on="pair_id", how="left").with_columns(p_a).drop("wrong")

    lax = replace(turn, recipe=turn.recipe.model_copy(update={"judging": turn.recipe.judging.model_copy(update={
        "qualification": rule(turn, min_accuracy=0.0, max_fooled=1.0)})}))
    with pytest.raises(RefusedError, match="no better than a coin"):
        qualified(lax, [Member("j", "stubborn/j@1", "pairwise@1")], worse)
    assert any("accuracy on gold fell from 100.0% to" in line for line in said)


@unpublished
def test_at_most_so_many_pairs_are_asked_and_the_same_ones_each_time(store: Store) -> None:
    seen: list[list[str]] = []

    def note(pairs: pl.DataFrame, members: Sequence[Member]) -> pl.DataFrame:
        seen.append(pairs["pair_id"].to_list())
        return pl.concat([votes(pairs, "stubborn/j@1", 0.5, p_tie=0.0, shown_first=first) for first in "ab"])

    turn = turn_of(store, Bench({"j": knows}), n_pairs=5)
    for _ in range(2):
        with pytest.raises(RefusedError):
            qualified(turn, [Member("j", "stubborn/j@1", "pairwise@1")], note)
    known = set(gold()["pair_id"])
    assert len([pair for pair in seen[0] if pair in known]) == 5
    assert len(seen) == 1, "a failed examination is recorded too"


@unpublished
def test_without_calibrate_gold_the_refusal_says_what_to_do(store: Store) -> None:
    turn = turn_of(store, Bench({"j": knows}))
    other = replace(turn, recipe=turn.recipe.model_copy(update={"criterion": "style"}))
    with pytest.raises(RefusedError, match="mark calibrate gold, or draw some by"):
        examined(other)


def test_a_recipe_without_qualification_lets_every_judge_vote(store: Store) -> None:
    run_only(stubborn_turn(store, StubbornJudge(first_always)), "judge")
    assert exams(store).height == 0
    assert cards(store)["stubborn/j@1"]["n_votes"] == 2 * N


@unpublished
def test_gate_gold_examines_nobody(store: Store) -> None:
    append(store, {"gold": gold("gate")})
    with pytest.raises(RefusedError, match="mark calibrate gold"):
        examined(turn_of(store, Bench({"j": knows})))


def drawn(store: Store, **shares: float) -> dict[str, set[str]]:
    """Groups of the gold that a recipe draws, by use."""
    mark_gold(stubborn_turn(store, StubbornJudge(knows), gold={"min_human_votes": 1, **shares}))
    with store.write("test") as writer:
        rows = writer.query("gold_groups")
    return {use: set(rows.filter(pl.col("use") == use)["group_id"]) for use in ("gate", "calibrate")}


@unpublished
def test_gate_and_calibrate_gold_are_drawn_from_different_groups(store: Store) -> None:
    frames = world(200)
    append(store, {**frames, "votes": votes(frames["pairs"], "ann")})
    found = drawn(store, gate_share=0.4, calibrate_share=0.4)
    assert len(found["gate"]) > 40
    assert len(found["calibrate"]) > 40
    assert not found["gate"] & found["calibrate"]


@unpublished
def test_calibrate_groups_stay_in_training(store: Store) -> None:
    frames = world(60)
    append(store, {**frames, "votes": votes(frames["pairs"], "ann")})
    drawn(store, calibrate_share=0.5)
    with store.write("test") as writer:
        assert writer.query("scope_pairs", sources=[]).height == 60
