from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from curate.rewards.crossfit import FoldRule, cross_fit, fold_rule, require_out_of_fold, temperature
from schemas.errors import RefusedError
from schemas.ids import fold_of_expr
from schemas.recipe import Training
from schemas.tables import MARGINS

Make = Callable[..., pl.DataFrame]
WORDS = Training(panel=("words",))
OPPOSITE = 1.0 - pl.col("p_a")


def margin_by_pair(margins: pl.DataFrame) -> dict[str, float]:
    return dict(margins.select("pair_id", "margin").iter_rows())


@pytest.mark.slow
def test_one_scorer_per_family_and_every_margin_is_out_of_fold(make_pairs: Make) -> None:
    margins = cross_fit(make_pairs(), Training(panel=("words", "characters")))
    assert set(margins["scorer"]) == {"linear:words", "linear:characters"}
    assert margins.height == 2 * 24
    assert margins["is_out_of_fold"].all()
    assert require_out_of_fold(margins) is margins


def test_margins_point_to_the_better_response(make_pairs: Make) -> None:
    rows = make_pairs().join(cross_fit(make_pairs(), WORDS), on="pair_id")
    assert rows.select(((pl.col("margin") > 0) == (pl.col("p_a") > 0.5)).all()).item()


def test_margins_do_not_depend_on_the_order_of_rows(make_pairs: Make) -> None:
    assert cross_fit(make_pairs().reverse(), WORDS).equals(cross_fit(make_pairs(), WORDS))


def test_a_groups_own_labels_do_not_move_the_sign_of_its_margins(make_pairs: Make) -> None:
    lied = make_pairs(p_a=pl.when(pl.col("group_id") == "g0").then(OPPOSITE).otherwise("p_a"))
    rows = lied.filter(pl.col("group_id") == "g0").join(cross_fit(lied, WORDS), on="pair_id")
    assert rows.select(((pl.col("margin") > 0) == (pl.col("p_a") < 0.5)).all()).item()


def test_where_one_group_holds_all_no_text_of_a_held_out_pair_is_trained_on(make_pairs: Make) -> None:
    one = make_pairs(group_id=pl.lit("all"))
    rule = fold_rule(one, 3)
    sides = rule.sides(one)
    assert rule.by == "text"
    for low, high in rule.held_out().values():
        is_training = ~np.isin(sides, (low, high)).any(axis=1)
        is_held_out = (sides == (low, high)).all(axis=1)
        texts = [set(one.filter(m)["text_a"]) | set(one.filter(m)["text_b"]) for m in (is_training, is_held_out)]
        assert not texts[0] & texts[1]


def test_one_group_still_gets_margins_that_point_right(make_pairs: Make) -> None:
    one = make_pairs(groups=20, group_id=pl.lit("all"))
    rows = one.join(cross_fit(one, Training(panel=("words",), n_folds=3)), on="pair_id")
    assert rows.select(((pl.col("margin") > 0) == (pl.col("p_a") > 0.5)).mean()).item() > 0.9


def test_groups_that_hash_to_one_fold_are_parted(make_pairs: Make) -> None:
    names = pl.DataFrame({"group_id": [f"g{i}" for i in range(30)]}).with_columns(fold_of_expr("group_id", 2))
    together = names.filter(pl.col("fold") == 0)["group_id"].head(2)
    rows = make_pairs(groups=2).with_columns(pl.col("group_id").replace(["g0", "g1"], together))
    assert fold_rule(rows, 2).salt > 0
    assert set(fold_rule(rows, 2).sides(rows)[:, 0].tolist()) == {0, 1}


def test_a_group_keeps_its_fold_when_others_join(make_pairs: Make) -> None:
    few, many = make_pairs(groups=6), make_pairs(groups=12)
    assert fold_rule(few, 5).sides(few).tolist() == FoldRule("group", 5).sides(many)[: few.height].tolist()


def test_a_pair_with_no_training_pair_left_has_margin_zero(make_pairs: Make) -> None:
    assert cross_fit(make_pairs(groups=1, per_group=1), WORDS)["margin"].to_list() == [0.0]


def test_no_pairs_give_no_margins(make_pairs: Make) -> None:
    assert cross_fit(make_pairs().clear(), WORDS).equals(MARGINS.empty())


def test_a_scorer_that_knows_nothing_has_margins_near_zero(make_pairs: Make) -> None:
    same_words = make_pairs(text_a=pl.format("{} one", "pair_id"), text_b=pl.format("{} two", "pair_id"))
    coin = same_words.with_columns(p_a=(pl.col("pair_id").str.slice(2).cast(pl.Int64) % 3 == 0).cast(pl.Float64))
    known, unknown = cross_fit(make_pairs(), WORDS), cross_fit(coin, WORDS)
    assert unknown["margin"].abs().mean() < 0.2 * known["margin"].abs().mean()


def test_in_sample_margins_are_refused_with_scorer_and_count() -> None:
    inside = pl.DataFrame({"pair_id": ["x", "y"], "scorer": ["rm@3"] * 2, "margin": [1.0, 2.0],
                           "is_out_of_fold": [True, False]})  # fmt: skip
    with pytest.raises(RefusedError, match=r"1 of 2 margins, of \['rm@3'\].*cross_fit"):
        require_out_of_fold(inside)


@pytest.mark.parametrize("scale", [0.25, 1.0, 8.0])
def test_temperature_finds_the_scale_that_margins_were_stretched_by(scale: float) -> None:
    log_odds = np.linspace(-3, 3, 13)
    found = temperature(log_odds * scale, 1 / (1 + np.exp(-log_odds)), np.ones(13))
    assert found == pytest.approx(scale, rel=1e-4)


def test_temperature_silences_margins_that_point_the_wrong_way() -> None:
    assert temperature(np.array([1.0, 2.0]), np.zeros(2), np.ones(2)) > 1e5
    assert temperature(np.zeros(2), np.ones(2), np.ones(2)) == 1.0
