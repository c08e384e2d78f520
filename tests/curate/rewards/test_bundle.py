from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from curate.rewards.bundle import RewardModel, fit_bundle, votes_of
from schemas.errors import InputError, RefusedError
from schemas.recipe import Training

Make = Callable[..., pl.DataFrame]
WORDS = Training(features=("words",))
SCORES = ["score_a", "score_b"]


def test_training_groups_are_scored_by_the_head_that_did_not_see_them(make_pairs: Make) -> None:
    rows = make_pairs()
    model = fit_bundle(rows, WORDS, seed=1)
    known, new = model.score(rows), model.score(rows.with_columns(group_id=pl.lit("new")))
    assert known["fold"].to_list() == model.rule.sides(rows)[:, 0].tolist()
    assert new["fold"].null_count() == rows.height
    assert known["is_out_of_fold"].all()
    assert not known.select(SCORES).equals(new.select(SCORES))


@pytest.mark.slow
def test_a_groups_labels_do_not_enter_the_scores_of_its_pairs(make_pairs: Make) -> None:
    lied = make_pairs(p_a=pl.when(pl.col("group_id") == "g0").then(1.0 - pl.col("p_a")).otherwise("p_a"))
    own = pl.col("pair_id").is_in(["p000", "p001", "p002", "p003"])
    honest, misled = (fit_bundle(rows, WORDS, seed=1).score(rows).filter(own) for rows in (make_pairs(), lied))
    assert honest.equals(misled)


@pytest.mark.slow
def test_a_text_of_the_pair_does_not_enter_its_scores_where_one_group_holds_all(make_pairs: Make) -> None:
    shared = make_pairs(
        group_id=pl.lit("all"), text_a=pl.when(pl.col("pair_id") < "p012").then(pl.lit("clear")).otherwise("text_a")
    )
    lied = shared.with_columns(p_a=pl.when(pl.col("text_a") == "clear").then(1.0 - pl.col("p_a")).otherwise("p_a"))
    own = pl.col("pair_id") < "p012"
    honest, misled = (fit_bundle(rows, WORDS, seed=1) for rows in (shared, lied))
    assert honest.score(shared.filter(own)).equals(misled.score(lied.filter(own)))


def test_a_training_group_without_a_held_out_head_is_refused(make_pairs: Make) -> None:
    model = fit_bundle(make_pairs(), WORDS, seed=1)
    gone = int(model.rule.sides(make_pairs())[0, 0])
    without = RewardModel(model.kind, model.families, model.rule, model.scale, model.groups, model.full,
                          {n: head for n, head in model.held_out.items() if n != gone})  # fmt: skip
    with pytest.raises(RefusedError, match="no head of it did not see them"):
        without.score(make_pairs())
    assert without.score(make_pairs(group_id=pl.lit("new"))).height == 24


def test_a_single_pair_of_texts_cannot_be_scored_by_the_model_it_trained(make_pairs: Make) -> None:
    one = make_pairs(groups=1, per_group=20, text_a=pl.lit("clear"), text_b=pl.lit("vague"), p_a=pl.lit(1.0))
    model = fit_bundle(one, WORDS, seed=1)
    assert not model.can_score(one).any()
    with pytest.raises(RefusedError, match="20 pairs"):
        model.score(one)


@pytest.mark.slow
def test_swapping_a_and_b_swaps_the_scores_to_the_last_bit(make_pairs: Make) -> None:
    rows = make_pairs()
    model = fit_bundle(rows, WORDS, seed=1)
    swapped = model.score(rows.rename({"text_a": "text_b", "text_b": "text_a"}).select(rows.columns))
    assert swapped["score_a"].equals(model.score(rows)["score_b"].alias("score_a"))


@pytest.mark.parametrize("kind", ["linear", "mlp"])
@pytest.mark.service
def test_neither_order_of_rows_nor_company_changes_a_bit_of_a_score(make_pairs: Make, kind: str) -> None:
    config = Training.model_validate({"kind": kind, "features": ["words", "style"]})
    model, again = (fit_bundle(rows, config, seed=1) for rows in (make_pairs(), make_pairs().reverse()))
    scores = model.score(make_pairs())
    assert again.score(make_pairs()).equals(scores)
    assert model.score(make_pairs().head(3)).equals(scores.head(3))
    assert model.score(make_pairs().reverse()).equals(scores.reverse())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_a_model_comes_back_from_its_arrays(make_pairs: Make, kind: str) -> None:
    model = fit_bundle(make_pairs(), Training.model_validate({"kind": kind}), seed=1)
    arrays = model.to_arrays()
    assert all(values.dtype != np.dtype(object) for values in arrays.values())
    back = RewardModel.from_arrays(arrays)
    assert back.score(make_pairs()).equals(model.score(make_pairs()))
    assert (back.groups, back.scale, back.rule) == (model.groups, model.scale, model.rule)


def test_a_model_holds_no_group_id_in_clear(make_pairs: Make) -> None:
    model = fit_bundle(make_pairs(), WORDS, seed=1)
    assert len(model.groups) == 6
    assert not model.groups & set(make_pairs()["group_id"])


def test_a_model_of_other_features_is_refused(make_pairs: Make) -> None:
    arrays = fit_bundle(make_pairs(), WORDS, seed=1).to_arrays()
    arrays["described"] = np.array(["hashed@0", *arrays["described"][1:]])
    with pytest.raises(InputError, match="hashed@0"):
        RewardModel.from_arrays(arrays)
    with pytest.raises(InputError, match="scale"):
        RewardModel.from_arrays({k: v for k, v in arrays.items() if k != "scale"})


def test_too_few_pairs_that_teach_something_are_refused(make_pairs: Make) -> None:
    with pytest.raises(RefusedError, match="4 pairs"):
        fit_bundle(make_pairs(weight=(pl.col("group_id") == "g0").cast(pl.Float64)), WORDS, seed=1)
    with pytest.raises(RefusedError, match="0 pairs"):
        fit_bundle(make_pairs(text_b=pl.col("text_a")), WORDS, seed=1)


@pytest.mark.slow
def test_nothing_to_score_gives_the_same_columns(make_pairs: Make) -> None:
    model = fit_bundle(make_pairs(), WORDS, seed=1)
    assert model.score(make_pairs().clear()).schema == model.score(make_pairs()).schema


def test_votes_are_calibrated_probabilities_without_ties() -> None:
    scores = pl.DataFrame({"pair_id": ["x", "y", "z"], "score_a": [2.0, 0.0, 1e6], "score_b": [0.0, 0.0, -1e6]})
    votes = votes_of(scores, scale=2.0)
    assert votes["p_a"].to_list() == pytest.approx([1 / (1 + np.exp(-1.0)), 0.5, 1.0])
    assert votes["p_tie"].to_list() == [0.0] * 3
