"""Examples come from similar calibrate gold of other groups, in an order that their letters do not decide."""

from __future__ import annotations

import json

import polars as pl
import pytest

from curate.judging.few_shot import MAX_SHOTS, choose_shots, examples_of
from curate.judging.instruments import shipped_instrument
from curate.judging.verdicts import plan_served
from schemas.errors import InputError, RefusedError

PAIRWISE = shipped_instrument("pairwise@1")


def rows_of(*prompts: str, prefix: str = "pair", group: str | None = None) -> pl.DataFrame:
    """A pair per prompt, each in a group of its own unless one is named."""
    return pl.DataFrame([
        dict(pair_id=f"{prefix}{i}", prompt=json.dumps([{"role": "user", "content": said}]),
             group_id=group or f"{prefix} group {i}", prompt_text_id=f"id-{said}", text_id_a=f"id-{prefix}{i}a",
             text_id_b=f"id-{prefix}{i}b", text_a=f"{prefix}{i} good", text_b=f"{prefix}{i} bad", p_a=1.0, p_tie=0.0)
        for i, said in enumerate(prompts)
    ])


def gold_of(*prompts: str, **options: str) -> pl.DataFrame:
    return rows_of(*prompts, prefix="gold", **options).with_columns(use=pl.lit("calibrate"))


ASKED = rows_of("how do I bake rye bread", "prove that the root of two is irrational")
GOLD = gold_of(
    "how do I bake wheat bread", "prove that the root of three is irrational", "name a river", "how do I knit"
)


def test_the_most_similar_gold_comes_first() -> None:
    shots = choose_shots(ASKED, GOLD, 2)
    assert shots.filter(rank=1).select("pair_id", "gold_pair_id").rows() == [("pair0", "gold0"), ("pair1", "gold1")]
    assert shots.filter(pair_id="pair0")["gold_pair_id"].to_list() == ["gold0", "gold3"]
    assert shots.filter(pair_id="pair0")["similarity"].is_sorted(descending=True)


def test_an_example_shows_the_system_prompt_of_its_conversation() -> None:
    told = GOLD.with_columns(system=pl.when(pl.col("pair_id") == "gold0").then(pl.lit("Be brief.")))
    shown = examples_of(choose_shots(ASKED, told, 1), told)["examples"].to_list()
    assert shown[0][:2] == [
        "Judged example, system ===\nBe brief.", "Judged example, user ===\nhow do I bake wheat bread"]
    assert shown[1][0].startswith("Judged example, user ===")


def test_gold_that_shares_nothing_is_no_example() -> None:
    assert choose_shots(rows_of("zzz"), gold_of("qqq", "vvv"), 2).is_empty()


def test_gold_of_the_pairs_own_group_or_prompt_is_never_shown() -> None:
    asked = rows_of("how do I bake bread", group="kitchen")
    assert choose_shots(asked, gold_of("how do I bake rye bread", group="kitchen"), 8).is_empty()
    assert choose_shots(asked, gold_of("how do I bake bread"), 8).is_empty()
    assert choose_shots(asked, gold_of("how do I bake rye bread"), 8).height == 1


@pytest.mark.parametrize("use", ["gate", "steer", "attention"])
def test_gold_of_any_other_use_is_refused(use: str) -> None:
    mixed = GOLD.with_columns(use=pl.when(pl.col("pair_id") == "gold2").then(pl.lit(use)).otherwise("use"))
    with pytest.raises(RefusedError, match=use):
        choose_shots(ASKED, mixed, 2)


@pytest.mark.parametrize("n", [-1, MAX_SHOTS + 1])
def test_more_examples_than_eight_are_refused(n: int) -> None:
    with pytest.raises(InputError, match="0 to 8"):
        choose_shots(ASKED, GOLD, n)


def test_a_missing_column_and_a_repeated_pair_are_refused() -> None:
    with pytest.raises(InputError, match=r"pairs without \['group_id'\]"):
        choose_shots(ASKED.drop("group_id"), GOLD, 2)
    with pytest.raises(InputError, match="gold with a pair twice"):
        choose_shots(ASKED, pl.concat([GOLD, GOLD]), 2)


def test_equally_similar_gold_is_taken_by_id() -> None:
    same = gold_of(*["how do I bake cake"] * 5)
    assert choose_shots(ASKED[:1], same[::-1], 3)["gold_pair_id"].to_list() == ["gold0", "gold1", "gold2"]


@pytest.mark.slow
def test_shots_depend_on_no_order_and_on_no_other_pair() -> None:
    usual = choose_shots(ASKED, GOLD, 3)
    assert choose_shots(ASKED[::-1], GOLD[::-1], 3).equals(usual)
    assert choose_shots(ASKED[1:], GOLD, 3).equals(usual.filter(pair_id="pair1"))
    many = choose_shots(rows_of(*(f"how do I bake {i} breads" for i in range(600))), GOLD, 3)
    alone = choose_shots(rows_of(*(f"how do I bake {i} breads" for i in range(600)))[599:], GOLD, 3)
    assert many.filter(pair_id="pair599").equals(alone)


def test_attributes_count_where_prompts_do_not_decide() -> None:
    asked = rows_of("please help me").with_columns(attributes=pl.lit("category: mathematics"))
    gold = gold_of("help me please now", "please me help then").with_columns(
        attributes=pl.Series(["category: poetry", "category: mathematics"])
    )
    assert choose_shots(asked, gold, 1)["gold_pair_id"].to_list() == ["gold1"]
    assert choose_shots(asked, gold.with_columns(attributes=pl.lit(None, pl.String)), 2).height == 2


def test_no_examples_no_gold_and_no_pairs_give_no_shots() -> None:
    for asked, gold, n in ((ASKED, GOLD, 0), (ASKED, GOLD.clear(), 2), (ASKED.clear(), GOLD, 2)):
        shots = choose_shots(asked, gold, n)
        assert shots.is_empty()
        assert examples_of(shots, GOLD).is_empty()


def shown(shots: pl.DataFrame, gold: pl.DataFrame) -> str:
    context = examples_of(shots, gold)
    plan, _ = plan_served(ASKED[:1], [("judge", "model")], PAIRWISE, {}, context=context.filter(pair_id="pair0"))
    return str(json.loads(plan["messages"][0])[1]["content"])


@pytest.mark.parametrize(("p_a", "p_tie", "better"), [(1.0, 0.0, "good"), (0.0, 0.0, "bad"), (0.0, 1.0, None)])
def test_an_example_shows_both_candidates_and_the_known_verdict(p_a: float, p_tie: float, better: str | None) -> None:
    gold = GOLD.with_columns(p_a=pl.lit(p_a), p_tie=pl.lit(p_tie))
    user = shown(choose_shots(ASKED, gold, 1), gold)
    slot = 1 if f"Candidate 1 ===\ngold0 {better}" in user else 2
    said = f"Candidate {slot} is better" if better else "both are equally good"
    assert "how do I bake wheat bread" in user
    assert f"known verdict: {said} ===" in user
    assert user.count("known verdict: ") == 1


def test_the_letters_of_gold_decide_neither_order_nor_verdict() -> None:
    swapped = GOLD.with_columns(text_a="text_b", text_b="text_a", p_a=1 - pl.col("p_a") - pl.col("p_tie"))
    shots = choose_shots(ASKED, GOLD, 3)
    assert examples_of(shots, swapped).equals(examples_of(shots, GOLD))


def test_better_candidates_do_not_always_stand_first() -> None:
    gold = gold_of(*(f"how do I bake {i} breads" for i in range(40)))
    asked = rows_of(*(f"how do I bake {i} cakes" for i in range(40)))
    parts = examples_of(choose_shots(asked, gold, 8), gold)["examples"].explode()
    first = parts.filter(parts.str.contains("Candidate 1 is better")).len() / parts.str.contains("known verdict").sum()
    assert 0.2 < first < 0.8


def test_another_gold_pair_asks_anew_only_about_pairs_that_it_is_similar_to() -> None:
    more = pl.concat([GOLD, gold_of("how do I bake rye buns").with_columns(pair_id=pl.lit("gold9"))])
    before, after = (examples_of(choose_shots(ASKED, gold, 1), gold) for gold in (GOLD, more))
    assert not before.filter(pair_id="pair0").equals(after.filter(pair_id="pair0"))
    assert before.filter(pair_id="pair1").equals(after.filter(pair_id="pair1"))
