"""Which pairs are trained on: every row in has one end, and no group is on both sides."""

from __future__ import annotations

import polars as pl
import pytest
from training_orders import lessons, tuning

from curate.adapters.trl.lessons import hashed_groups, lessons_of
from schemas.errors import RefusedError
from schemas.ids import content_id


def parts(frame: pl.DataFrame, seed: int = 7, **other: object) -> dict[str, str]:
    return dict(lessons_of(frame, tuning(**other), seed).rows.select("pair_id", "part").iter_rows())


def changed(frame: pl.DataFrame, pair_id: str, **values: object) -> pl.DataFrame:
    is_it = pl.col("pair_id") == pair_id
    return frame.with_columns(pl.when(is_it).then(pl.lit(v)).otherwise(k).alias(k) for k, v in values.items())


def test_the_likelier_side_is_chosen_whatever_its_letter() -> None:
    rows = lessons_of(lessons(4), tuning(has_margin=True), 7).rows
    assert rows["is_a"].to_list() == [True, False, True, False]
    assert [text.split()[0] in ("honest", "clear", "careful") for text in rows["chosen"]] == [True] * 4
    assert [text.split()[0] in ("sloppy", "rude", "wrong") for text in rows["rejected"]] == [True] * 4
    assert rows["margin"].to_list() == [2.0] * 4


def test_ties_equal_texts_and_weight_0_are_left_out_each_for_its_reason() -> None:
    frame = changed(lessons(6), "p0000", p_a=0.3, p_tie=0.4)
    frame = changed(frame, "p0001", text_a="same", text_b="same")
    frame = changed(frame, "p0002", weight=0.0, p_a=0.5)
    found = parts(frame)
    assert [found[f"p{i:04}"] for i in range(3)] == ["tie", "tie", "no_weight"]
    assert set(found.values()) == {"tie", "no_weight", "train", "validation"}
    assert len(found) == 6


def test_a_group_is_on_one_side_only_and_about_the_share_of_groups_is_kept() -> None:
    rows = lessons_of(lessons(600, n_groups=200), tuning(), 7).rows
    assert rows.group_by("group_id").agg(pl.col("part").n_unique())["part"].to_list() == [1] * 200
    n_kept = rows.filter(part="validation")["group_id"].n_unique()
    assert 25 <= n_kept <= 55, n_kept  # 40 expected, standard deviation 5.7


def test_a_group_stays_on_its_side_when_others_join_and_rows_may_come_in_any_order() -> None:
    few, many = parts(lessons(60, n_groups=60)), parts(lessons(120, n_groups=120))
    assert {pair: many[pair] for pair in few} == few
    assert parts(lessons(60, n_groups=60).reverse()) == few
    assert parts(lessons(60, n_groups=60), seed=8) != few


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_with_two_groups_one_is_trained_on_and_one_is_kept(share: float) -> None:
    rows = lessons_of(lessons(4, n_groups=2), tuning(validation_share=share), 7)
    assert rows.unit == "group"
    assert rows.rows.group_by("part").agg(pl.col("group_id").n_unique()).sort("part").rows() == [
        ("train", 1), ("validation", 1)]


def test_one_group_alone_is_parted_by_pair_and_one_pair_alone_is_trained_on() -> None:
    rows = lessons_of(lessons(40, n_groups=1), tuning(), 7)
    assert rows.unit == "pair"
    assert set(rows.rows["part"]) == {"train", "validation"}
    assert parts(lessons(1)) == {"p0000": "train"}
    assert parts(lessons(1).clear()) == {}


def test_margins_are_on_all_rows_or_refused() -> None:
    frame = changed(lessons(4), "p0003", strength=None)
    assert len(parts(frame)) == 4
    with pytest.raises(RefusedError, match="1 pairs have no strength"):
        parts(frame, has_margin=True)
    assert parts(changed(frame, "p0003", weight=0.0), has_margin=True)["p0003"] == "no_weight"


def test_groups_are_told_by_the_hash_that_other_models_use() -> None:
    assert hashed_groups(lessons(4, n_groups=2)) == sorted([content_id("group", "g0"), content_id("group", "g1")])
