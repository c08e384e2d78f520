"""Self-training: sure labels only, an end when gold stops rising, and the best step's model."""

from __future__ import annotations

import polars as pl
import pytest

from curate.synthesis.self_training import pseudo_labels, self_train, should_stop
from schemas.errors import InputError, RefusedError


def pairs(*ids: str, p_a: float | None = 1.0) -> pl.DataFrame:
    return pl.DataFrame({"pair_id": ids, "p_a": [p_a] * len(ids), "p_tie": 0.0},
                        schema={"pair_id": pl.String, "p_a": pl.Float64, "p_tie": pl.Float64})


def test_a_label_is_the_likeliest_outcome_where_it_is_likely_enough() -> None:
    said = pl.DataFrame({"pair_id": ["a", "b", "c", "d", "e"], "p_a": [0.95, 0.02, 0.05, 0.7, None],
                         "p_tie": [0.0, 0.03, 0.9, 0.0, None]})
    found = pseudo_labels(said, 0.9)
    assert found.labels.select("pair_id", "p_a", "p_tie").rows() == [("a", 1.0, 0.0), ("b", 0.0, 0.0), ("c", 0.0, 1.0)]
    assert found.discards.select("row_id", "reason").sort("row_id").rows() == [
        ("d", "uncertain"), ("e", "no_prediction")]


def test_a_lower_bar_keeps_more() -> None:
    shares = [i / 100 for i in range(101)]
    said = pl.DataFrame({"pair_id": [f"{p:.2f}" for p in shares], "p_a": shares, "p_tie": 0.0})
    kept = [pseudo_labels(said, tau).labels.height for tau in (1.0, 0.9, 0.6)]
    assert kept == [2, 22, 82]


def test_it_stops_when_gold_accuracy_stops_rising() -> None:
    assert not should_stop([])
    assert not should_stop([0.7])
    assert not should_stop([0.7, 0.8])
    assert should_stop([0.7, 0.7])
    assert should_stop([0.7, 0.8, 0.75])
    assert not should_stop([0.7, 0.8, 0.75], patience=2)
    assert should_stop([0.7, 0.8, 0.75, 0.8], patience=2)
    assert should_stop([0.70, 0.705], min_gain=0.01)


def loop(accuracies: list[float], **options: object) -> tuple[int, list[int], list[float]]:
    """A model is the number of its fit; after each fit it is right on so large a share of ten gold pairs."""
    fits: list[int] = []

    def fit(rows: pl.DataFrame) -> int:
        fits.append(rows.height)
        return len(fits) - 1

    def score(model: int, rows: pl.DataFrame) -> pl.DataFrame:
        if "g0" not in rows["pair_id"]:
            return rows.select("pair_id", p_a=pl.lit(0.95), p_tie=pl.lit(0.0)).head(model + 1)
        right = pl.int_range(pl.len()) < round(accuracies[model] * 10)
        return rows.select("pair_id", p_a=pl.when(right).then(0.9).otherwise(0.1), p_tie=pl.lit(0.0))

    gold = pairs(*(f"g{i}" for i in range(10)))
    found = self_train(pairs("l0", "l1"), pairs("u0", "u1", "u2", p_a=None), gold, fit, score, **options)  # type: ignore[arg-type]
    assert found.model == found.step
    assert found.history["gold_accuracy"].to_list() == accuracies[: len(fits)]
    return found.step, fits, found.history["kept_share"].round(2).to_list()


def test_the_model_of_the_best_step_comes_back_with_the_way_there() -> None:
    assert loop([0.6, 0.8, 0.7, 1.0]) == (1, [2, 3, 4], [0.0, 0.33, 0.67])


def test_a_first_step_that_does_not_help_leaves_the_model_of_labelled_pairs() -> None:
    assert loop([0.6, 0.6, 1.0]) == (0, [2, 3], [0.0, 0.33])


def test_steps_are_bounded_and_patience_is_waited_for() -> None:
    assert loop([0.1, 0.2, 0.3, 0.4], max_steps=2) == (2, [2, 3, 4], [0.0, 0.33, 0.67])
    assert loop([0.6, 0.5, 0.7, 0.6, 0.6], patience=2) == (2, [2, 3, 4, 5, 5], [0.0, 0.33, 0.67, 1.0, 1.0])


def test_gold_is_never_trained_on() -> None:
    shared = pairs("l0"), pairs("u0"), pairs("l0")
    with pytest.raises(RefusedError, match="1 gold pairs whose pair_id"):
        self_train(*shared, lambda rows: 0, lambda model, rows: rows)
    grouped = [frame.with_columns(group_id=pl.lit("g")) for frame in (pairs("l0"), pairs("u0"), pairs("g0"))]
    with pytest.raises(RefusedError, match="1 gold pairs whose group_id"):
        self_train(*grouped, lambda rows: 0, lambda model, rows: rows)


def test_gold_without_a_winner_and_a_bar_that_anything_passes_are_refused() -> None:
    with pytest.raises(RefusedError, match="no gold pair"):
        self_train(pairs("l0"), pairs("u0"), pairs("g0", p_a=0.5), lambda rows: 0, lambda model, rows: rows)
    with pytest.raises(InputError, match=r"tau = 0\.5"):
        pseudo_labels(pairs("a"), 0.5)
    with pytest.raises(InputError, match="patience"):
        should_stop([0.1], patience=0)
