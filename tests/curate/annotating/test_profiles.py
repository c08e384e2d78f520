"""Profiles: what is told of an annotator, when it is too little to say, and who is found out."""

from __future__ import annotations

import datetime as dt
from math import isclose

import polars as pl
import pytest
from people_at_work import HABITS, NOON, answer, answers, crew

from curate.annotating.findings import failing_gold, findings
from curate.annotating.intervals import difference_bounds, quantile_of, wilson_bounds
from curate.annotating.marks import IDLE_SECONDS, marks
from curate.annotating.profiles import MIN_BALLOTS, PROFILES, pay, profiles
from curate.judging.order_effects import wilson
from schemas.errors import InputError

GUILTY = {
    "adversarial": "against_others", "copies": "copies_pre_annotation", "drifts": "drifts",
    "first_slot": "prefers_slot", "gives_up": "gives_up", "lazy": "like_chance", "too_fast": "too_fast",
}
CREW = {f"honest_{i}": "honest" for i in range(6)} | {habit: habit for habit in HABITS if habit != "honest"}


def profile(*rows: dict[str, object], voter: str = "ann", **options: float) -> dict[str, object]:
    return profiles(answers(*rows), **options).row(by_predicate=pl.col("voter") == voter, named=True)


def many(n: int, **columns: object) -> list[dict[str, object]]:
    """`n` answers of ann on pairs of their own, all "a"."""
    return [answer(pair=f"p{i:03}", **columns) for i in range(n)]


def mirrored(frame: pl.DataFrame) -> pl.DataFrame:
    """The same answers with the letters a and b swapped."""
    swap = {"a": "b", "b": "a"}
    shares = [(1 - pl.col(f"{p}p_a") - pl.col(f"{p}p_tie")).alias(f"{p}p_a") for p in ("", "before_", "gold_")]
    return frame.with_columns(
        *shares, pl.col("shown_first").replace(swap), pl.col("n_chars_a").alias("n_chars_b"),
        pl.col("n_chars_b").alias("n_chars_a"),
    )


@pytest.mark.slow
def test_each_kind_of_bad_annotator_is_found_and_no_honest_one_is() -> None:
    found = findings(profiles(crew(CREW, n_pairs=500, n_each=350), min_seconds=10))
    assert found.select("voter", "finding").rows() == sorted(GUILTY.items())


@pytest.mark.slow
def test_a_thousand_newcomers_do_not_hide_who_votes_by_chance() -> None:
    rows = crew(CREW, n_pairs=500, n_each=350)
    newcomers = answers(*(answer(f"new {i}", f"own {i}") for i in range(1000)))
    few, all_of_them = findings(profiles(rows)), findings(profiles(pl.concat([rows, newcomers])))
    assert few.select("voter", "finding").equals(all_of_them.select("voter", "finding"))


def test_the_moment_of_a_drift_is_found() -> None:
    found = findings(profiles(crew(CREW, n_pairs=500, n_each=350), min_seconds=10))
    since = found.filter(pl.col("finding") == "drifts")["since"].item()
    assert abs(since - (NOON + dt.timedelta(minutes=175))) < dt.timedelta(minutes=20)


@pytest.mark.slow
def test_crews_of_honest_annotators_are_accused_of_nothing_at_the_stated_level() -> None:
    accused = [
        findings(profiles(crew({f"h{i}": "honest" for i in range(6)}, n_pairs=80, n_each=50, seed=s))).height > 0
        for s in range(6)
    ]
    assert sum(accused) <= 1  # P(2 or more of 6) is 0.03 at the full level of 0.05


@pytest.mark.slow
def test_where_everybody_sees_the_pre_annotation_a_copier_is_held_against_the_others() -> None:
    shown = crew(CREW, n_pairs=500, n_each=350).filter("is_prefilled")
    found = findings(profiles(shown))
    assert "copies" in found.filter(pl.col("finding") == "copies_pre_annotation")["voter"].to_list()
    assert profiles(shown)["blind_agreement"].null_count() == shown["voter"].n_unique()


@pytest.mark.slow
def test_profiles_do_not_depend_on_the_order_of_rows_nor_on_the_letters() -> None:
    some = crew(CREW, n_pairs=60, n_each=40)
    told = profiles(some, min_seconds=10)
    assert told.equals(profiles(some.reverse(), min_seconds=10))
    numbers = pl.selectors.float()
    swapped = profiles(mirrored(some), min_seconds=10)
    assert told.drop(numbers).equals(swapped.drop(numbers))
    assert (told.select(numbers) - swapped.select(numbers)).select(pl.all().abs().max()).max_horizontal().item() < 1e-9


def test_under_ten_answers_no_share_is_told_but_time_and_money_are() -> None:
    few = profile(*many(MIN_BALLOTS - 1, gold_p_a=1.0, gold_p_tie=0.0, seconds=60.0, cost_usd=0.5))
    assert few["n_gold"] == 9
    assert [few[k] for k in ("gold_accuracy", "gold_accuracy_low", "first_share", "tie_share")] == [None] * 4
    assert (few["cost_usd"], few["hours"], few["usd_per_hour"]) == (4.5, 0.15, 30.0)
    enough = profile(*many(MIN_BALLOTS, gold_p_a=1.0, gold_p_tie=0.0))
    assert enough["gold_accuracy"] == 1.0
    assert isclose(enough["gold_accuracy_low"], wilson(1.0, 10)[0])


def test_gold_asks_for_the_likeliest_of_three_outcomes() -> None:
    rows = [answer(pair=f"p{i}", said=said, gold_p_a=p_a, gold_p_tie=p_tie) for i, (said, p_a, p_tie) in enumerate([
        ("a", 0.9, 0.0), ("tie", 0.9, 0.0), ("tie", 0.2, 0.6), ("b", 0.1, 0.1), ("a", 0.1, 0.1), (None, 1.0, 0.0)])]
    marked = marks(answers(*rows)).join(answers(*rows).select("ballot_id", pair="pair_id"), on="ballot_id")
    assert marked.sort("pair")["gold_accuracy"].to_list() == [1.0, 0.0, 1.0, 1.0, 0.0, None]


def test_agreement_is_with_each_other_person_on_the_pair_never_with_oneself() -> None:
    rows = [answer("ann", "p", "a"), answer("ben", "p", "a"), answer("cas", "p", "b"),
            answer("ann", "p", "a", ballot_id="again"), answer("ann", "q", "b")]
    marked = marks(answers(*rows)).select("voter", "ballot_id", "agreement", "peers")
    said = marked.drop_nulls("agreement").group_by("voter").agg("agreement")
    of = {voter: shares for voter, shares in said.rows() if voter != "cas"}
    assert of == {"ann": [0.5, 0.5], "ben": [0.5]}
    assert marked.filter(pl.col("voter") == "cas").select("agreement", "peers").row(0) == (0.0, 1.0)


def test_pairs_picked_for_being_hard_or_easy_do_not_count_as_agreement() -> None:
    rows = [answer(voter, "p", "a", purpose="adjudicate") for voter in ("ann", "ben")]
    rows += [answer(voter, "q", "a", purpose="onboarding") for voter in ("ann", "ben")]
    assert marks(answers(*rows))["agreement"].to_list() == [None] * 4


def test_votes_of_one_ballot_are_one_mark() -> None:
    rows = [answer(pair=f"p{i}", said=said, ballot_id="ranking", seconds=40.0, cost_usd=0.1)
            for i, said in enumerate(["a", "a", "b", "tie"])]
    row = profile(*rows)
    assert (row["n_votes"], row["n_ordered"], row["n_opinions"], row["n_timed"]) == (1, 1, 1, 1)
    assert isclose(row["hours"], 40 / 3600)
    assert isclose(row["cost_usd"], 0.4)
    assert marks(answers(*rows)).select("first_share", "tie_share").row(0) == (round(2 / 3, 12), 0.25)


def test_first_slot_and_longer_text_are_counted_over_decided_votes_where_they_can_be_seen() -> None:
    rows = [answer(pair="p1", said="b", shown_first="b", n_chars_a=500), answer(pair="p2", said="b", shown_first=None),
            answer(pair="p3", said="tie"), answer(pair="p4", said="a", n_chars_a=120)]
    marked = marks(answers(*rows)).join(answers(*rows).select("ballot_id", pair="pair_id"), on="ballot_id").sort("pair")
    assert marked["first_share"].to_list() == [1.0, None, None, 1.0]
    assert marked["longer_share"].to_list() == [0.0, None, None, None]


def test_fast_answers_are_counted_against_the_recipe_and_not_without_a_bound() -> None:
    rows = [answer(pair=f"p{i}", seconds=float(i)) for i in range(20)]
    assert profile(*rows, min_seconds=5.0)["fast_share"] == 0.25
    assert profile(*rows)["fast_share"] is None


def test_anchoring_is_what_is_taken_over_beyond_blind_agreement() -> None:
    shown = [answer(pair=f"s{i}", said="a", is_prefilled=True, is_taken_over=True, before_p_a=1.0, before_p_tie=0.0)
             for i in range(20)]
    blind = [answer(pair=f"b{i}", said="a" if i < 12 else "b", before_p_a=1.0, before_p_tie=0.0) for i in range(20)]
    row = profile(*shown, *blind)
    assert (row["taken_over_share"], row["prefilled_agreement"], row["blind_agreement"]) == (1.0, 1.0, 0.6)
    assert row["is_own_blind"]
    assert isclose(row["anchoring"], 0.4)
    assert 0 < row["anchoring_low"] < 0.4 < row["anchoring_high"] < 1
    others = profile(*shown, *({**b, "voter": "ben", "ballot_id": f"ben {b['pair_id']}"} for b in blind))
    assert (others["blind_agreement"], others["is_own_blind"]) == (0.6, False)
    assert profile(*shown)["anchoring"] is None


def test_a_page_left_open_over_lunch_is_no_work() -> None:
    row = profile(answer(seconds=4 * 3600.0, cost_usd=1.0))
    assert row["hours"] == IDLE_SECONDS / 3600
    assert row["usd_per_hour"] == 2.0


@pytest.mark.slow
def test_no_drift_is_told_of_few_answers_or_of_answers_without_a_time() -> None:
    gold = {"gold_p_a": 1.0, "gold_p_tie": 0.0}
    assert profile(*many(2 * MIN_BALLOTS - 1, **gold))["drift"] is None
    assert profile(*many(2 * MIN_BALLOTS, **gold))["drift"] == 0.0
    assert profile(*many(2 * MIN_BALLOTS, **gold))["drift_p"] is None
    assert profile(*many(40, **gold, said_at=None))["drift"] is None


def test_a_batch_that_is_hard_for_everybody_is_nobodys_drift() -> None:
    rows = [answer(v, f"p{i:02}", "a" if i < 20 else "b", gold_p_a=1.0, gold_p_tie=0.0,
                   said_at=NOON + dt.timedelta(minutes=i)) for v in ("ann", "ben", "cas") for i in range(40)]
    assert profiles(answers(*rows))["drift"].to_list() == [0.0, 0.0, 0.0]
    worse = [{**row, "p_a": 1.0} if row["voter"] != "cas" else row for row in rows]
    assert profile(*worse, voter="cas")["drift"] == -1.0


def test_a_mark_that_averages_several_others_tells_more_than_a_coin() -> None:
    told = profiles(crew({f"v{i}": "honest" for i in range(6)}, n_pairs=40, n_each=30))
    assert (told["agreement_coins"] > told["n_compared"]).all()
    two = profiles(crew({"v0": "honest", "v1": "honest"}, n_pairs=40, n_each=30))
    assert two["agreement_coins"].round(6).to_list() == two["n_compared"].to_list()


def test_pay_is_told_per_round_with_the_time_of_skips() -> None:
    rows = [answer(pair="p1", seconds=1800.0, cost_usd=0.5), answer(pair="p2", said=None, seconds=900.0),
            answer(pair="p3", round=2, cost_usd=0.5), answer(pair="p4", round=None, dataset=None)]
    told = pay(answers(*rows)).drop("voter", "seconds_median")
    assert told.columns == ["dataset", "round", "n_votes", "n_others", "n_timed", "hours", "cost_usd", "usd_per_hour"]
    assert told.rows() == [
        ("d", 1, 1, 1, 2, 0.75, 0.5, 0.5 / 0.75), ("d", 2, 1, 0, 0, 0.0, 0.5, None),
        (None, None, 1, 0, 0, 0.0, 0.0, None)]


def test_whoever_the_recipe_leaves_out_for_gold_is_named() -> None:
    gold = {"gold_p_a": 1.0, "gold_p_tie": 0.0}
    bad = [answer("bad", f"p{i}", "b" if i else "a", **gold) for i in range(12)]
    good = [answer("good", f"p{i}", "a", **gold) for i in range(12)]
    failing = failing_gold(answers(*bad, *good), 0.7)
    assert failing.select("voter", "n").rows() == [("bad", 12)]
    assert failing["upper"].item() < 0.7
    assert failing_gold(answers(*bad, *good), 0.0).height == 0


def test_skill_comes_from_the_newest_settling_and_is_null_without_one() -> None:
    fits = pl.DataFrame({"voter": ["ann"], "skill": [0.8], "skill_low": [0.7], "skill_high": [0.9]})
    told = profiles(answers(answer(), answer("ben")), fits)
    assert told.select("voter", "skill", "skill_high").rows() == [("ann", 0.8, 0.9), ("ben", None, None)]


def test_no_answers_are_no_profiles_and_missing_columns_are_refused() -> None:
    assert profiles(answers()).schema == pl.Schema(PROFILES)
    assert findings(profiles(answers())).height == 0
    with pytest.raises(InputError, match="gold_p_a"):
        profiles(answers(answer()).drop("gold_p_a"))


def test_bounds_as_expressions_are_wilson_s_and_newcombe_s() -> None:
    frame = pl.DataFrame({"p": [0.9], "n": [10], "q": [0.3], "m": [10]})
    one, other, z = (pl.col("p"), pl.col("n")), (pl.col("q"), pl.col("m")), quantile_of(0.05)
    assert bounds(frame, wilson_bounds(*one, z)) == tuple(round(x, 4) for x in wilson(0.9, 10))
    # Newcombe 1998, table II (b): 9/10 - 3/10 is 0.1705 to 0.8090 by method 10
    assert bounds(frame, difference_bounds(*one, *other, z)) == (0.1705, 0.8090)
    assert isclose(quantile_of(0.05, 10), quantile_of(0.005))
    assert isclose(quantile_of(0.025, sides=1), z)


def bounds(frame: pl.DataFrame, expressions: tuple[pl.Expr, pl.Expr]) -> tuple[float, ...]:
    return tuple(round(frame.select(one).item(), 4) for one in expressions)
