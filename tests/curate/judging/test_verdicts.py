"""A judge's answer arrives in the vote, in both orders, whatever the letters; a failed answer never does."""

from __future__ import annotations

import json

import polars as pl
import pytest

from curate.consensus.folding import fold_orders
from curate.consensus.one_coin import one_coin
from curate.judging.order_effects import first_slot_rates, flip_rates
from curate.judging.verdicts import link_calls, plan_calls, tie_long_slight_wins, votes_from_calls
from schemas.errors import InputError
from schemas.tables import CALLS, VOTERS

JUDGE = [("judge", "model@1")]


def pairs_of(*texts: tuple[str, str]) -> pl.DataFrame:
    rows = [
        dict(pair_id=f"pair{i}", prompt_text_id="id-question", text_id_a=f"id-{a}", text_id_b=f"id-{b}",
             prompt="question", text_a=a, text_b=b)
        for i, (a, b) in enumerate(texts)
    ]
    return pl.DataFrame(rows)


def answered(plan: pl.DataFrame, response: pl.Expr, **columns: object) -> pl.DataFrame:
    defaults = dict(kind="judge", template="t", response="", finish_reason="stop", prompt_tokens=1, output_tokens=1,
                    seconds=0.5, cost_usd=0.25, worker="w")
    fixed = [pl.lit(value).alias(name) for name, value in (defaults | columns).items()]
    made = plan.with_columns(*fixed, pl.lit("2026-01-01").str.to_datetime(time_zone="UTC").alias("called_at"))
    return CALLS.complete(made.with_columns(response.alias("response")).select(
        c for c in CALLS.schema if c in made.columns))


def asked(pairs: pl.DataFrame, response: pl.Expr, **columns: object) -> pl.DataFrame:
    plan, links = plan_calls(pairs, JUDGE, "i@1", {}), link_calls(pairs, JUDGE, "i@1", {})
    return votes_from_calls(answered(plan, response, **columns), links)


PREFERS_X = pl.when(pl.col("first") == "x").then(pl.lit("1")).otherwise(pl.lit("2"))


def test_a_judge_that_prefers_text_x_in_both_orders_makes_x_win_under_either_letter() -> None:
    votes = asked(pairs_of(("x", "y"), ("z", "x")), PREFERS_X)
    voters = VOTERS.complete(pl.DataFrame([dict(voter="judge", kind="judge", family="f", cost_usd=0.0)]))
    posteriors = one_coin(fold_orders(votes, voters, 0.1)).posteriors
    assert votes.height == 4
    assert votes.filter(pair_id="pair0")["p_a"].to_list() == [1.0, 1.0]
    assert votes.filter(pair_id="pair1")["p_a"].to_list() == [0.0, 0.0]
    assert posteriors["p_a"].item(0) > 0.6
    assert 1 - posteriors["p_a"].item(1) - posteriors["p_tie"].item(1) > 0.6


def test_both_orders_are_always_asked_and_share_one_ballot() -> None:
    votes = asked(pairs_of(("x", "y")), PREFERS_X)
    assert sorted(votes["shown_first"]) == ["a", "b"]
    assert votes["ballot_id"].n_unique() == 1
    assert votes["vote_id"].n_unique() == 2


def test_equal_texts_are_asked_once_and_paid_for_once() -> None:
    pairs = pairs_of(("x", "y"), ("y", "x"))
    plan = plan_calls(pairs, JUDGE, "i@1", {})
    votes = asked(pairs, PREFERS_X)
    assert plan.height == 2
    assert votes.height == 4
    assert votes["cost_usd"].sum() == 0.5
    assert votes.filter(pair_id="pair0")["cost_usd"].sum() == 0.5


def test_a_pair_of_identical_text_is_not_asked_about() -> None:
    assert plan_calls(pairs_of(("x", "x")), JUDGE, "i@1", {}).is_empty()


@pytest.mark.parametrize("change", [
    dict(judges=[("judge", "model@2")]), dict(instrument="i@2"), dict(parameters={"temperature": 1.0}),
    dict(template="t@2"),
])
def test_a_changed_model_template_instrument_or_parameter_changes_every_call_key(change: dict[str, object]) -> None:
    pairs, usual = pairs_of(("x", "y")), dict(judges=JUDGE, instrument="i@1", parameters={"temperature": 0.0})
    before, after = (set(plan_calls(pairs, **(usual | c))["call_key"]) for c in ({}, change))
    assert not before & after


def test_the_call_key_knows_nothing_of_pairs_and_names() -> None:
    pairs = pairs_of(("x", "y"))
    renamed = plan_calls(pairs.with_columns(pair_id=pl.lit("other")), [("alias", "model@1")], "i@1", {})
    assert set(renamed["call_key"]) == set(plan_calls(pairs, JUDGE, "i@1", {})["call_key"])


def test_the_plan_is_the_same_whatever_the_order_of_pairs_and_judges() -> None:
    pairs, judges = pairs_of(("x", "y"), ("y", "z"), ("y", "x")), [("j", "m@1"), ("k", "m@1")]
    assert plan_calls(pairs, judges, "i", {}).equals(plan_calls(pairs[::-1], judges[::-1], "i", {}))


def test_a_subject_names_the_texts_in_the_order_shown() -> None:
    plan = plan_calls(pairs_of(("x", "y")), JUDGE, "i@1", {}).filter(shown_first="b")
    assert json.loads(plan["subject"].item()) == {"prompt": "id-question", "first": "id-y", "second": "id-x"}
    assert (plan["first"].item(), plan["second"].item()) == ("y", "x")


def test_a_call_that_was_cut_off_becomes_an_abstention_with_its_reason() -> None:
    votes = asked(pairs_of(("x", "y")), pl.lit("1"), finish_reason="length")
    assert votes["is_abstention"].all()
    assert votes["p_a"].null_count() == votes["p_tie"].null_count() == 2
    assert set(votes["evidence"]) == {"finish_reason: length"}


@pytest.mark.parametrize("said", ["", "1.", "first", "[[1]]", "1 2"])
def test_an_unparsable_verdict_is_an_abstention_and_never_a_label(said: str) -> None:
    votes = asked(pairs_of(("x", "y")), pl.lit(said))
    assert votes["is_abstention"].all()
    assert set(votes["evidence"]) == {f"unparsable verdict: {said}"}


@pytest.mark.parametrize(("said", "p_first", "p_tie"), [(" 1\n", 1, 0), ("2", 0, 0), ("TIE", 0, 1)])
def test_a_verdict_is_read_without_regard_to_case_and_surrounding_space(said: str, p_first: int, p_tie: int) -> None:
    vote = asked(pairs_of(("x", "y")), pl.lit(said)).filter(shown_first="a")
    assert (vote["p_a"].item(), vote["p_tie"].item()) == (p_first, p_tie)


def test_log_probabilities_are_renormalised_and_a_missing_choice_counts_zero() -> None:
    logs = json.dumps({"1": -1.0, "tie": -1.0 - 1.0986122886681098})
    votes = asked(pairs_of(("x", "y")), pl.lit("1"), choice_logprobs=logs)
    shown_a, shown_b = votes.filter(shown_first="a"), votes.filter(shown_first="b")
    assert (shown_a["p_a"].item(), shown_a["p_tie"].item()) == (0.75, 0.25)
    assert (shown_b["p_a"].item(), shown_b["p_tie"].item()) == (0.0, 0.25)


def test_log_probabilities_far_below_zero_do_not_underflow() -> None:
    votes = asked(pairs_of(("x", "y")), pl.lit("1"), choice_logprobs=json.dumps({"1": -2000.0, "2": -2000.0}))
    assert votes["p_a"].to_list() == [0.5, 0.5]


def test_samples_are_calls_of_their_own_in_the_same_ballot() -> None:
    pairs = pairs_of(("x", "y"))
    plan, links = (make(pairs, JUDGE, "i", {}, n_samples=3) for make in (plan_calls, link_calls))
    votes = votes_from_calls(answered(plan, PREFERS_X), links)
    assert plan.height == votes.height == 6
    assert votes["ballot_id"].n_unique() == 1


def test_a_link_whose_call_is_missing_gives_no_vote() -> None:
    pairs = pairs_of(("x", "y"))
    calls = answered(plan_calls(pairs, JUDGE, "i@1", {}), PREFERS_X).head(1)
    assert votes_from_calls(calls, link_calls(pairs, JUDGE, "i@1", {})).height == 1


def test_a_repeated_pair_a_repeated_judge_and_a_missing_column_are_refused() -> None:
    pairs = pairs_of(("x", "y"))
    with pytest.raises(InputError, match="pair_id twice"):
        plan_calls(pl.concat([pairs, pairs]), JUDGE, "i", {})
    with pytest.raises(InputError, match="each name once"):
        plan_calls(pairs, JUDGE * 2, "i", {})
    with pytest.raises(InputError, match="prompt_text_id"):
        link_calls(pairs.drop("prompt_text_id"), JUDGE, "i", {})


@pytest.mark.slow
def test_flip_and_first_slot_rates_tell_a_slot_follower_from_a_reader() -> None:
    pairs = pairs_of(("x", "y"), ("x", "z"))
    reader, follower = asked(pairs, PREFERS_X), asked(pairs, pl.lit("1"))
    assert flip_rates(reader)["flip_rate"].to_list() == [0.0]
    assert flip_rates(follower).row(0) == ("judge", 2, 2, 1.0)
    assert first_slot_rates(reader)["first_slot_rate"].to_list() == [0.5]
    assert first_slot_rates(follower).row(0) == ("judge", 4, 0, 4, 4, 1.0)


def test_a_judge_that_never_decides_has_no_first_slot_rate() -> None:
    rates = first_slot_rates(asked(pairs_of(("x", "y")), pl.lit("nonsense")))
    assert rates.row(0) == ("judge", 2, 2, 0, 0, None)


@pytest.mark.slow
def test_a_slight_win_of_a_much_longer_response_becomes_a_tie_and_a_clear_one_does_not() -> None:
    logs = json.dumps({"1": -0.5108256237659907, "2": -0.916290731874155})
    pairs = pairs_of(("x", "y"))
    slight, clear = (asked(pairs, pl.lit("1"), choice_logprobs=c) for c in (logs, json.dumps({"1": 0.0})))
    lengths = pl.DataFrame({"pair_id": ["pair0"], "n_chars_a": [900], "n_chars_b": [100]})
    tied = tie_long_slight_wins(slight, lengths, more_than=500)
    assert tied.filter(shown_first="a").select("p_a", "p_tie").row(0) == (0.0, 1.0)
    assert tied.filter(shown_first="b").select("p_a", "p_tie").row(0) == (0.4, 0.0)
    assert tie_long_slight_wins(slight, lengths, more_than=800).equals(slight)
    assert tie_long_slight_wins(clear, lengths, more_than=500).equals(clear)
