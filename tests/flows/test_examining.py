"""Judges are examined before they vote: once per model, question and thresholds, and refused with their numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import polars as pl
import pytest
from small_rounds import StubbornJudge, run_only, stubborn_turn
from small_rows import NOW, votes, world

from curate.engines import CallReply, CallRequest
from flows.examining import AskPairs, qualified
from flows.gold import mark_gold
from flows.panel import Member, panel_of
from flows.rounds import Turn
from schemas.errors import RefusedError
from schemas.tables import GOLD, VOTERS
from warehouse.reader import Reader
from warehouse.store import Store

pytestmark = pytest.mark.service

unpublished = pytest.mark.usefixtures("unpublished")
J = Member("j", "stubborn/j@1", "pairwise@1")

Rule = Callable[[str, str], str]
N = 12


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


def asking(rule: Rule, asked: list[int] | None = None) -> AskPairs:
    """Judges that all answer by one rule, at once and without calls; `asked` hears how many pairs each time."""

    def ask_pairs(pairs: pl.DataFrame, members: Sequence[Member]) -> pl.DataFrame:
        if asked is not None:
            asked.append(pairs.height)
        said = [_said(pairs, member.voter, first, rule) for member in members for first in "ab"]
        return pl.concat(said)

    return ask_pairs


def _said(pairs: pl.DataFrame, voter: str, first: str, rule: Rule) -> pl.DataFrame:
    second = "b" if first == "a" else "a"
    verdicts = [rule(one, two) for one, two in pairs.select(f"text_{first}", f"text_{second}").iter_rows()]
    sides = pl.Series([{"1": first, "2": second, "tie": "tie"}[said] for said in verdicts])
    cast = votes(pairs, voter, shown_first=first)
    return cast.with_columns(p_a=(sides == "a").cast(pl.Float64), p_tie=(sides == "tie").cast(pl.Float64))


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
    turn = turn_of(store, Bench({"j": knows, "k": first_always}), said)
    run_only(turn, "judge")
    told = [line for line in said if "may not vote" in line]
    assert len(told) == 1
    assert told[0].startswith(f"judge k (stubborn/k@1) may not vote: 50.0% right on {N} gold pairs")
    assert "order turned 100.0% of its verdicts" in told[0]
    refused = cards(store)["stubborn/k@1"]
    assert (refused["n_votes"], refused["is_passed"]) == (0, False)
    assert refused["worst_probe"] == "position"
    assert f"right on 50.0 % of {N}" in str(refused["refused_for"])
    with store.write("test") as writer:
        assert panel_of(turn, writer).rows() == [("stubborn/j@1", "pairwise@1")]


@unpublished
def test_when_every_judge_fails_the_stage_is_refused(store: Store) -> None:
    with pytest.raises(RefusedError, match=r"none of 1 judges may vote; j: 50\.0% right") as caught:
        qualified(turn_of(store, Bench({"j": knows})), [J], asking(first_always))
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
    turn = turn_of(store, Bench({"j": knows}))
    for _ in range(2):
        assert qualified(turn, [J], asking(knows, asked)) == {"stubborn/j@1"}
    assert len(asked) == 1


@unpublished
def test_two_names_of_one_model_are_examined_once(store: Store) -> None:
    turn = turn_of(store, Bench({"j": knows}))
    assert qualified(turn, [J, replace(J, name="again")], asking(knows)) == {"stubborn/j@1"}
    assert exams(store).filter(pl.col("domain") == "all").height == 1


@unpublished
def test_another_model_or_threshold_is_examined_anew_and_an_old_pass_does_not_count(store: Store) -> None:
    turn = turn_of(store, Bench({"j": knows}))
    qualified(turn, [J], asking(knows))
    stricter = with_rule(turn, min_accuracy=0.6)
    for changed, judge in ((turn, replace(J, voter="stubborn/j@2")), (stricter, J)):
        with pytest.raises(RefusedError):
            qualified(changed, [judge], asking(first_always))
    of_all = exams(store).filter(pl.col("domain") == "all").sort("examined_at")
    assert of_all.select("voter", "is_passed").rows() == [
        ("stubborn/j@1", True), ("stubborn/j@2", False), ("stubborn/j@1", False)
    ]


def with_rule(turn: Turn, **fields: object) -> Turn:
    """The same turn under other thresholds."""
    judging = turn.recipe.judging
    assert judging.qualification is not None
    changed = judging.model_copy(update={"qualification": judging.qualification.model_copy(update=fields)})
    return replace(turn, recipe=turn.recipe.model_copy(update={"judging": changed}))


@unpublished
def test_a_judge_that_fell_since_its_last_examination_is_told_of(store: Store) -> None:
    said: list[str] = []
    turn = turn_of(store, Bench({"j": knows}), said)
    qualified(turn, [J], asking(knows))
    with pytest.raises(RefusedError, match="no better than a coin"):
        qualified(with_rule(turn, min_accuracy=0.0), [J], asking(lambda one, two: knows(two, one)))
    assert "judge j (stubborn/j@1): accuracy on gold fell from 100.0% to 0.0%" in said


@unpublished
def test_at_most_so_many_pairs_are_asked(store: Store) -> None:
    asked: list[int] = []
    with pytest.raises(RefusedError, match="5 pairs cannot show"):
        qualified(turn_of(store, Bench({"j": knows}), n_pairs=5, min_accuracy=0.7), [J], asking(knows, asked))
    assert asked == [5 + 6 * 5], "gold, and a probe of each kind on its prompts"


@unpublished
def test_without_calibrate_gold_the_refusal_says_what_to_do(store: Store) -> None:
    turn = turn_of(store, Bench({"j": knows}))
    other = replace(turn, recipe=turn.recipe.model_copy(update={"criterion": "style"}))
    with pytest.raises(RefusedError, match="mark calibrate gold, or draw some by"):
        qualified(other, [J], asking(knows))


def test_a_recipe_without_qualification_lets_every_judge_vote(store: Store) -> None:
    run_only(stubborn_turn(store, StubbornJudge(first_always)), "judge")
    assert exams(store).height == 0
    assert cards(store)["stubborn/j@1"]["n_votes"] == 2 * N


@unpublished
def test_gate_gold_examines_nobody(store: Store) -> None:
    append(store, {"gold": gold("gate")})
    with pytest.raises(RefusedError, match="mark calibrate gold"):
        qualified(turn_of(store, Bench({"j": knows})), [J], asking(knows))


def drawn(store: Store, **shares: float) -> dict[str, set[str]]:
    """Groups of the gold that a recipe draws, by use."""
    mark_gold(stubborn_turn(store, StubbornJudge(knows), gold={"min_human_votes": 1, **shares}))
    with store.write("test") as writer:
        rows = writer.query("gold_groups")
    return {use: set(rows.filter(pl.col("use") == use)["group_id"]) for use in ("gate", "calibrate", "attention")}


@unpublished
def test_gold_of_each_use_is_drawn_from_groups_of_its_own(store: Store) -> None:
    frames = world(200)
    append(store, {**frames, "votes": votes(frames["pairs"], "ann")})
    found = drawn(store, gate_share=0.4, calibrate_share=0.3, attention_share=0.3)
    assert min(len(groups) for groups in found.values()) > 40
    assert len(set().union(*found.values())) == sum(len(groups) for groups in found.values())
    assert drawn(store, gate_share=0.4, calibrate_share=0.3, attention_share=0.3) == found


@unpublished
def test_calibrate_groups_stay_in_training(store: Store) -> None:
    frames = world(60)
    append(store, {**frames, "votes": votes(frames["pairs"], "ann")})
    drawn(store, calibrate_share=0.3, attention_share=0.3)
    with store.write("test") as writer:
        assert writer.query("scope_pairs", sources=[]).height == 60
