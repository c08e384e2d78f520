"""A crew of simulated annotators of known habits, as the frame of answers that quality control reads."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import numpy as np
import polars as pl

from curate.annotating.marks import ANSWERED
from schemas.ids import content_id

NOON = dt.datetime(2026, 1, 2, 12, tzinfo=dt.UTC)
HABITS = ("honest", "lazy", "adversarial", "first_slot", "copies", "too_fast", "drifts", "gives_up")


def answer(voter: str = "ann", pair: str = "p1", said: str | None = "a", **columns: object) -> dict[str, object]:
    """One answer; `said` is a, tie, b or None. Its ballot is named by voter and pair."""
    shares = {"a": (1.0, 0.0), "tie": (0.0, 1.0), "b": (0.0, 0.0), None: (None, None)}[said]
    return {
        "voter": voter, "ballot_id": content_id(voter, pair), "pair_id": pair, "criterion": "overall", "dataset": "d",
        "round": 1, "purpose": "vote", "outcome": "voted" if said else "skipped", "p_a": shares[0], "p_tie": shares[1],
        "shown_first": "a", "seconds": None, "cost_usd": 0.0, "is_prefilled": False, "is_taken_over": None,
        "before_p_a": None, "before_p_tie": None, "gold_p_a": None, "gold_p_tie": None, "n_chars_a": 100,
        "n_chars_b": 100, "said_at": NOON, **columns,
    }


def answers(*rows: dict[str, object]) -> pl.DataFrame:
    """Rows as a frame with the columns ANSWERED."""
    return pl.DataFrame(list(rows), schema=ANSWERED)


def crew(
    habits: Mapping[str, str], *, n_pairs: int = 240, n_each: int = 160, gold_share: float = 0.15, skill: float = 0.8,
    seed: int = 0,
) -> pl.DataFrame:
    """Answers of voters (name → one of HABITS) who each answer `n_each` of `n_pairs` pairs, half of them pre-filled.

    Truth is a, b or, on one pair in ten, a tie; the pre-filled label is right on 65 %; an honest voter is right with
    chance `skill` and else says anything, in a minute or so.
    """
    chance = np.random.default_rng(seed)
    truth = chance.choice(["a", "b", "tie"], n_pairs, p=[0.45, 0.45, 0.1])
    before = np.where(chance.random(n_pairs) < 0.65, truth, chance.choice(["a", "b"], n_pairs))
    is_gold = np.arange(n_pairs) < gold_share * n_pairs
    return pl.concat([
        _of_voter(voter, habit, truth, before, is_gold, n_each, skill, np.random.default_rng([seed, i]))
        for i, (voter, habit) in enumerate(sorted(habits.items()))
    ])


def _of_voter(
    voter: str, habit: str, truth: np.ndarray, before: np.ndarray, is_gold: np.ndarray, n: int, skill: float,
    chance: np.random.Generator,
) -> pl.DataFrame:
    pairs = np.sort(chance.choice(len(truth), n, replace=False))
    chance.shuffle(pairs)
    first, is_prefilled = chance.choice(["a", "b"], n), chance.random(n) < 0.5
    anything = chance.choice(["a", "b", "tie"], n, p=[0.45, 0.45, 0.1])
    right = np.where(chance.random(n) < skill, truth[pairs], anything)
    opposite = np.select([right == "a", right == "b"], ["b", "a"], "tie")
    said = {
        "lazy": anything, "adversarial": opposite, "first_slot": np.where(chance.random(n) < 0.7, first, right),
        "copies": np.where(is_prefilled, before[pairs], right),
        "drifts": np.where(np.arange(n) < n // 2, right, anything),
    }.get(habit, right)
    seconds = chance.lognormal(4.0, 0.4, n)
    is_up = chance.random(n) < (0.5 if habit == "gives_up" else 0.03)
    frame = pl.DataFrame({
        "pair": pairs, "said": said, "shown_first": first, "is_prefilled": is_prefilled, "before": before[pairs],
        "seconds": np.where((habit == "too_fast") & (chance.random(n) < 0.5), 4.0, seconds), "is_up": is_up,
        "truth": truth[pairs], "is_gold": is_gold[pairs], "minute": np.arange(n),
    })
    return _answered(frame, voter)


def _answered(frame: pl.DataFrame, voter: str) -> pl.DataFrame:
    def shares(column: str, when: pl.Expr, prefix: str) -> list[pl.Expr]:
        parts = {"p_a": "a", "p_tie": "tie"}
        return [pl.when(when).then((pl.col(column) == k).cast(pl.Float64)).alias(f"{prefix}{p}")
                for p, k in parts.items()]

    is_said = ~pl.col("is_up")
    return frame.with_columns(
        pl.lit(voter).alias("voter"), pl.format("{}/{}", pl.lit(voter), "pair").alias("ballot_id"),
        pl.format("p{}", "pair").alias("pair_id"), pl.lit("overall").alias("criterion"), pl.lit("d").alias("dataset"),
        pl.lit(1).alias("round"), pl.when("is_gold").then(pl.lit("gold")).otherwise(pl.lit("vote")).alias("purpose"),
        pl.when("is_up").then(pl.lit("skipped")).otherwise(pl.lit("voted")).alias("outcome"),
        *shares("said", is_said, ""), *shares("before", pl.lit(True), "before_"),
        *shares("truth", pl.col("is_gold"), "gold_"), pl.lit(0.25).alias("cost_usd"),
        (pl.col("said") == pl.col("before")).alias("is_taken_over"), pl.lit(500).alias("n_chars_a"),
        pl.lit(500).alias("n_chars_b"), (pl.lit(NOON) + pl.duration(minutes="minute")).alias("said_at"),
    ).select(pl.col(name).cast(kind) for name, kind in ANSWERED.items())
