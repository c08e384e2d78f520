"""From pairs through served judges' answers to votes: what a judge prefers wins, what fails abstains with a reason."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable

import polars as pl
import pytest

from curate.judging.instruments import Instrument, shipped_instrument
from curate.judging.reading import read_tokens, read_verdicts, votes_from_verdicts, with_levels
from curate.judging.scales import THREE_WORDS
from curate.judging.verdicts import link_calls, plan_calls, plan_served, votes_from_calls
from schemas.errors import InputError
from schemas.tables import CALLS

THREE, FIVE, SEVEN, REASONED, RUBRIC, RATING = (
    shipped_instrument(f"{name}@1")
    for name in ("pairwise", "pairwise-five", "pairwise-seven", "pairwise-reasoned", "pairwise-rubric", "rating")
)
JUDGE = [("judge", "model@1")]
Answer = Callable[[dict[str, object]], dict[str, object]]


def pairs_of(*texts: tuple[str, str]) -> pl.DataFrame:
    prompt = json.dumps([{"role": "user", "content": "question"}])
    return pl.DataFrame([
        dict(pair_id=f"pair{i}", prompt_text_id="id-question", text_id_a=f"id-{a}", text_id_b=f"id-{b}", prompt=prompt,
             text_a=a, text_b=b)
        for i, (a, b) in enumerate(texts)
    ])


def calls_of(plan: pl.DataFrame, answer: Answer) -> pl.DataFrame:
    """Frame `calls`: what a judge answers to each row of a plan."""
    base = dict(kind="judge", template="t", finish_reason="stop", choice_logprobs=None, prompt_tokens=1,
                output_tokens=1, seconds=0.5, cost_usd=0.25, worker="w", called_at="2026-01-01T00:00:00Z")
    rows = [
        base | {c: row[c] for c in ("call_key", "voter", "subject", "parameters")} | answer(row)
        for row in plan.iter_rows(named=True)
    ]
    frame = pl.DataFrame(rows, infer_schema_length=None)
    return CALLS.complete(frame.with_columns(pl.col("called_at").str.to_datetime(time_zone="UTC")))


def judged(pairs: pl.DataFrame, instrument: Instrument, answer: Answer, **options: object) -> pl.DataFrame:
    plan, links = plan_served(pairs, JUDGE, instrument, {}, **options)  # type: ignore[arg-type]
    return votes_from_verdicts(read_verdicts(calls_of(plan, answer), instrument), links, instrument.scale)


def says(response: str, **columns: object) -> Answer:
    return lambda row: {"response": response} | columns


def shown(row: dict[str, object]) -> tuple[str, str]:
    """The two responses as the judge sees them."""
    user = json.loads(str(row["messages"]))[1]["content"]
    first, second = (user.split(f"Response {slot} ===\n")[1].split("\n===")[0] for slot in (1, 2))
    return first, second


def prefers(text: str, first: str, second: str, neither: str) -> Answer:
    def answer(row: dict[str, object]) -> dict[str, object]:
        return {"response": {0: first, 1: second}.get(shown(row).index(text) if text in shown(row) else 2, neither)}

    return answer


@pytest.mark.parametrize(("instrument", "first", "second"), [
    (THREE, "1", "2"), (FIVE, "A", "E"), (SEVEN, "A", "G"),
    (REASONED, '{"reasoning":"x","verdict":"A"}', '{"reasoning":"x","verdict":"E"}'),
])
def test_the_text_that_a_judge_prefers_wins_in_both_orders_under_either_letter(
    instrument: Instrument, first: str, second: str
) -> None:
    votes = judged(pairs_of(("x", "y"), ("z", "x")), instrument, prefers("x", first, second, "?"))
    assert votes.height == 4
    assert votes.filter(pair_id="pair0")["p_a"].to_list() == [1.0, 1.0]
    assert votes.filter(pair_id="pair1").select("p_a", "p_tie").rows() == [(0.0, 0.0)] * 2
    assert votes["ballot_id"].n_unique() == 2


def test_a_judge_that_always_says_first_contradicts_itself_between_orders() -> None:
    votes = judged(pairs_of(("x", "y")), SEVEN, says("A")).sort("shown_first")
    assert votes.select("shown_first", "p_a", "strength").rows() == [("a", 1.0, 3.0), ("b", 0.0, -3.0)]


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "reason"), [
    (says("A", finish_reason="length"), "finish_reason: length"),
    (says("A", finish_reason="not_a_choice"), "finish_reason: not_a_choice"),
    (says("A", finish_reason="content_filter"), "finish_reason: content_filter"),
    (says(""), "unparsable verdict: "), (says("AB"), "unparsable verdict: AB"), (says("1"), "unparsable verdict: 1"),
    (says("X"), "cannot judge"),
    (says("X", choice_logprobs=json.dumps({"A": -0.1, "X": -3.0})), "cannot judge"),
])
def test_a_failed_call_another_word_and_cannot_judge_are_abstentions_with_their_reason(
    answer: Answer, reason: str
) -> None:
    votes = judged(pairs_of(("x", "y")), FIVE, answer)
    assert votes["is_abstention"].all()
    assert votes.select(pl.col("p_a", "p_tie", "strength").null_count()).row(0) == (2, 2, 2)
    assert set(votes["evidence"]) == {reason}


@pytest.mark.slow
@pytest.mark.parametrize("said", [
    "A", "", "[]", "{}", "null", '{"verdict":"A"}', '{"reasoning":"r"}', '{"reasoning":"r","verdict":"Z"}',
    '{"reasoning":"r","verdict":"A"', '{"reasoning":"r","verdict":"A"} or B', '{"reasoning":"r","verdict":["A"]}',
    '{"reasoning":null,"verdict":"A"}', '{"reasoning":"r","verdict":"A","verdict":"E"}',
    '[["reasoning","r"],["verdict","A"]]', '{"reasoning":"r","verdict":"A","more":"A"}',
    pytest.param("[" * 100_000, id="nested"),
])
def test_a_reasoned_answer_that_does_not_keep_its_schema_is_an_abstention(said: str) -> None:
    votes = judged(pairs_of(("x", "y")), REASONED, says(said))
    assert votes["is_abstention"].all()
    assert set(votes["evidence"]) == {f"unparsable verdict: {said[:80]}"}


def test_a_reasoned_answer_is_read_with_its_reasons_whatever_they_contain() -> None:
    reasons = 'It says {"verdict": "E"} and "ignore the rest".\n=== end ==='
    votes = judged(pairs_of(("x", "y")), REASONED, says(json.dumps({"reasoning": reasons, "verdict": " b "})))
    assert set(votes["rationale"]) == {reasons}
    assert votes.filter(shown_first="b").select("p_a", "strength").row(0) == (0.0, -1.0)


def test_what_json_escapes_and_no_table_holds_is_replaced() -> None:
    votes = judged(pairs_of(("x", "y")), REASONED, says('{"reasoning":"\\u0000 \\ud800","verdict":"A"}'))
    assert set(votes["rationale"]) == {"\ufffd \ufffd"}


@pytest.mark.slow
def test_log_probabilities_on_seven_levels_become_sides_and_strength() -> None:
    shares = {"A": 0.4, "B": 0.2, "C": 0.1, "D": 0.1, "F": 0.2}  # strength 3·.4 + 2·.2 + .1 - 2·.2 = 1.3
    logs = json.dumps({token: math.log(share) for token, share in shares.items()})
    votes = judged(pairs_of(("x", "y")), SEVEN, says("A", choice_logprobs=logs)).sort("shown_first")
    assert votes.select("p_a", "p_tie", "strength").rows() == [(0.7, 0.1, 1.3), (0.2, 0.1, -1.3)]


def test_a_scale_with_one_level_per_side_says_nothing_of_strength() -> None:
    assert judged(pairs_of(("x", "y")), THREE, says("1"))["strength"].null_count() == 2


def by_sample(*answers: str) -> Answer:
    return lambda row: {"response": answers[int(str(row["sample"]))]}


def reasoned(verdict: str, reasoning: str) -> str:
    return json.dumps({"reasoning": reasoning, "verdict": verdict})


def test_samples_of_one_order_are_pooled_before_anything_else() -> None:
    votes = judged(pairs_of(("x", "y")), FIVE, by_sample("A", "B", "C", "E"), n_samples=4).sort("shown_first")
    assert votes.select("p_a", "p_tie", "strength", "n").rows() == [(0.5, 0.25, 0.25, 1), (0.25, 0.25, -0.25, 1)]
    assert votes.select("seconds", "cost_usd").rows() == [(2.0, 1.0)] * 2
    assert votes["evidence"].null_count() == 2
    assert votes["ballot_id"].n_unique() == 1


def test_samples_that_failed_are_counted_and_left_out_of_the_mean() -> None:
    votes = judged(pairs_of(("x", "y")), FIVE, by_sample("A", "junk", "junk"), n_samples=3).sort("shown_first")
    assert votes["p_a"].to_list() == [1.0, 0.0]
    assert set(votes["evidence"]) == {"2 of 3 samples: 2 × unparsable verdict: junk"}


def test_when_no_sample_has_a_verdict_the_vote_is_an_abstention_that_counts_the_reasons() -> None:
    votes = judged(pairs_of(("x", "y")), FIVE, by_sample("junk", "X", "junk"), n_samples=3)
    assert votes["is_abstention"].all()
    assert set(votes["evidence"]) == {"3 of 3 samples: 1 × cannot judge; 2 × unparsable verdict: junk"}


@pytest.mark.slow
def test_more_samples_that_cannot_judge_than_verdicts_are_an_abstention() -> None:
    votes = judged(pairs_of(("x", "y")), FIVE, by_sample("A", "X", "X"), n_samples=3)
    assert votes["is_abstention"].all()
    assert set(votes["evidence"]) == {"2 of 3 samples: 2 × cannot judge"}
    even = judged(pairs_of(("x", "y")), FIVE, by_sample("A", "X", "junk"), n_samples=3)
    assert not even["is_abstention"].any()


def test_the_rationale_is_that_of_a_sample_that_agrees_with_the_vote() -> None:
    answers = (reasoned("E", "for the second"), reasoned("A", "for the first"), reasoned("B", "for the first"))
    votes = judged(pairs_of(("x", "y")), REASONED, by_sample(*answers), n_samples=3)
    assert set(votes["rationale"]) == {"for the first"}


def test_the_rationale_of_an_abstention_is_that_of_a_sample_that_could_not_judge() -> None:
    answers = (reasoned("A", "it is better"), reasoned("X", "nothing to see"), reasoned("X", "nothing to see"))
    votes = judged(pairs_of(("x", "y")), REASONED, by_sample(*answers), n_samples=3)
    assert votes["is_abstention"].all()
    assert set(votes["rationale"]) == {"nothing to see"}


def test_an_instrument_whose_answers_are_texts_has_no_verdicts() -> None:
    with pytest.raises(InputError, match="expected a scale"):
        read_verdicts(CALLS.empty(), shipped_instrument("write-reference@1"))


def test_the_call_named_is_the_one_whose_rationale_is_kept() -> None:
    pairs = pairs_of(("x", "y"))
    plan, links = plan_served(pairs, JUDGE, REASONED, {}, n_samples=5)
    calls = calls_of(plan, lambda row: {"response": reasoned("A", str(row["call_key"]))})
    votes = votes_from_verdicts(read_verdicts(calls, REASONED), links, REASONED.scale)
    assert votes["rationale"].to_list() == votes["call_key"].to_list()
    first = links.group_by("shown_first").agg(pl.col("call_key").min()).sort("shown_first")
    assert votes.sort("shown_first")["call_key"].to_list() == first["call_key"].to_list()


def test_a_vote_waits_for_all_its_samples() -> None:
    plan, links = plan_served(pairs_of(("x", "y")), JUDGE, FIVE, {}, n_samples=2)
    read = read_verdicts(calls_of(plan.head(3), says("A")), FIVE)
    assert votes_from_verdicts(read, links, FIVE.scale).height == 1


def test_equal_texts_are_one_call_whose_cost_is_borne_once() -> None:
    pairs = pairs_of(("x", "y"), ("y", "x"))
    plan, _ = plan_served(pairs, JUDGE, FIVE, {}, n_samples=2)
    votes = judged(pairs, FIVE, prefers("x", "A", "E", "C"), n_samples=2)
    assert plan.height == 4
    assert votes.height == 4
    assert votes.group_by("pair_id").agg(pl.col("cost_usd").sum()).sort("pair_id")["cost_usd"].to_list() == [1.0, 0.0]


def moody(row: dict[str, object]) -> dict[str, object]:
    """Answers of every kind, fixed by what is shown and the sample."""
    mood = random.Random(f"{shown(row)}{row['sample']}")
    logs = {token: mood.uniform(-8, 0) for token in SEVEN.scale if mood.random() < 0.8}
    token = mood.choice([*SEVEN.scale, "junk"])
    return {"response": token, "choice_logprobs": json.dumps(logs) if mood.random() < 0.5 else None}


@pytest.mark.slow
def test_probabilities_are_steps_of_a_two_hundredth_and_sum_to_one() -> None:
    votes = judged(pairs_of(*((f"x{i}", f"y{i}") for i in range(60))), SEVEN, moody, n_samples=3)
    said = votes.filter(~pl.col("is_abstention")).with_columns(p_b=1 - pl.col("p_a") - pl.col("p_tie"))
    assert 0 < said.height < votes.height == 120
    for share in ("p_a", "p_tie", "p_b"):
        steps = said[share] * 200
        assert (steps - steps.round()).abs().max() < 1e-9  # type: ignore[operator]
        assert steps.round().is_between(0, 200).all()


@pytest.mark.slow
def test_swapping_the_letters_of_all_pairs_changes_no_meaning() -> None:
    texts = [(f"x{i}", f"y{i}") for i in range(60)]
    one, other = (judged(pairs_of(*t), SEVEN, moody, n_samples=3) for t in (texts, [(b, a) for a, b in texts]))
    turned = other.with_columns(
        p_a=(1 - pl.col("p_a") - pl.col("p_tie")).round(9), strength=-pl.col("strength") + 0.0,
        shown_first=pl.col("shown_first").replace({"a": "b", "b": "a"}),
    )
    seen = ("pair_id", "shown_first", "p_a", "p_tie", "strength", "is_abstention", "evidence", "call_key")
    assert one.select(seen).sort("pair_id", "shown_first").equals(turned.select(seen).sort("pair_id", "shown_first"))


@pytest.mark.slow
def test_votes_do_not_depend_on_the_order_of_rows() -> None:
    pairs = pairs_of(("x", "y"), ("z", "x"), ("y", "z"))
    plan, links = plan_served(pairs, JUDGE, REASONED, {}, n_samples=3)
    calls = calls_of(plan, lambda row: {"response": reasoned("ABCDE"[int(str(row["sample"]))], str(row["call_key"]))})
    usual = votes_from_verdicts(read_verdicts(calls, REASONED), links, REASONED.scale)
    plan_, links_ = plan_served(pairs[::-1], JUDGE, REASONED, {}, n_samples=3)
    assert plan_.equals(plan)
    assert votes_from_verdicts(read_verdicts(calls[::-1], REASONED), links_[::-1], REASONED.scale).equals(usual)


def test_with_three_words_and_one_sample_votes_are_those_of_simulated_judges_column_for_column() -> None:
    pairs = pairs_of(("x", "y"), ("y", "x"), ("x", "z"), ("y", "z"))
    plan, links = (make(pairs, JUDGE, "i@1", {}) for make in (plan_calls, link_calls))
    said = ["1", "2", "tie", "junk", " TIE ", "1"]
    logs = [None, json.dumps({"1": -0.3, "tie": -1.5}), json.dumps({"2": -800.0, "tie": -801.0}), None, None, None]
    order = {key: i % len(said) for i, key in enumerate(plan["call_key"])}
    calls = calls_of(plan, lambda row: {
        "response": said[order[str(row["call_key"])]], "choice_logprobs": logs[order[str(row["call_key"])]],
    })
    pooled = votes_from_verdicts(read_tokens(calls, THREE_WORDS), links, THREE_WORDS)
    assert pooled.equals(votes_from_calls(calls, links))
    assert pooled.height == 8


def test_another_rubric_asks_anew_about_exactly_its_own_pairs() -> None:
    pairs = pairs_of(("x", "y"), ("x", "z"), ("y", "z"))
    rubrics = pl.DataFrame({"pair_id": pairs["pair_id"], "rubric": ["be kind"] * 3})
    other = rubrics.with_columns(pl.Series("rubric", ["be kind", "be brief", "be kind"]))
    (before, links), (after, links_) = (plan_served(pairs, JUDGE, RUBRIC, {}, context=c) for c in (rubrics, other))
    new = links_.filter(~pl.col("call_key").is_in(links["call_key"].implode()))
    assert new["pair_id"].to_list() == ["pair1"] * 2
    assert len(set(before["call_key"]) & set(after["call_key"])) == 4
    assert not set(new["ballot_key"]) & set(links["ballot_key"])


@pytest.mark.parametrize("change", [
    dict(judges=[("judge", "model@2")]), dict(instrument=FIVE), dict(parameters={"temperature": 1.0}),
])
def test_another_model_question_or_parameter_asks_anew(change: dict[str, object]) -> None:
    usual = dict(pairs=pairs_of(("x", "y")), judges=JUDGE, instrument=SEVEN, parameters={"temperature": 0.0})
    before, after = (set(plan_served(**(usual | c))[0]["call_key"]) for c in ({}, change))  # type: ignore[arg-type]
    assert not before & after


def test_a_plan_names_no_pair_and_asks_both_orders_of_every_sample() -> None:
    plan, links = plan_served(pairs_of(("x", "y")), [*JUDGE, ("alias", "model@1")], FIVE, {}, n_samples=2)
    assert plan.height == 4
    assert links.height == 8
    assert sorted({shown(row) for row in plan.iter_rows(named=True)}) == [("x", "y"), ("y", "x")]
    assert plan["prompt"].unique().to_list() == [""]
    assert set(json.loads(plan["subject"][0])) == {"prompt", "first", "second"}


@pytest.mark.slow
def test_pairs_rendered_in_slices_are_asked_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = pairs_of(("x", "y"), ("y", "x"), ("z", "y"), ("x", "x"))
    whole = plan_served(pairs, JUDGE, FIVE, {}, n_samples=2)
    monkeypatch.setattr("curate.judging.verdicts.SLICE", 1)
    sliced = plan_served(pairs, JUDGE, FIVE, {}, n_samples=2)
    assert sliced[0].equals(whole[0])
    assert sliced[1].equals(whole[1])


@pytest.mark.slow
def test_pairs_of_identical_text_and_no_pairs_are_not_asked_about() -> None:
    for pairs in (pairs_of(("x", "x")), pairs_of(("x", "y")).clear()):
        plan, links = plan_served(pairs, JUDGE, FIVE, {})
        assert plan.height == links.height == 0
        assert votes_from_verdicts(read_verdicts(CALLS.empty(), FIVE), links, FIVE.scale).height == 0


def test_a_context_that_the_question_does_not_show_is_refused() -> None:
    pairs = pairs_of(("x", "y"))
    rubrics = pl.DataFrame({"pair_id": ["pair0"], "rubric": ["be kind"]})
    with pytest.raises(InputError, match="leave out"):
        plan_served(pairs, JUDGE, FIVE, {}, context=rubrics)
    with pytest.raises(InputError, match="one row per pair"):
        plan_served(pairs, JUDGE, RUBRIC, {}, context=pl.concat([rubrics, rubrics]))
    with pytest.raises(InputError, match="rows without a text"):
        plan_served(pairs, JUDGE, RUBRIC, {}, context=rubrics.with_columns(pair_id=pl.lit("other")))
    with pytest.raises(InputError, match="of the form rating"):
        plan_served(pairs, JUDGE, RATING, {})


def test_a_rating_has_the_expected_level_of_its_scale() -> None:
    logs = [json.dumps({"4": math.log(0.75), "5": math.log(0.25)}), None, None, None]
    calls = pl.DataFrame({"response": ["4", "2", "X", "6"], "finish_reason": ["stop"] * 4, "choice_logprobs": logs})
    read = with_levels(read_verdicts(calls, RATING), RATING.scale)
    assert read["level"].to_list() == pytest.approx([4.25, 2.0, None, None])
    assert read["verdict"].to_list() == ["4", "2", "X", None]
