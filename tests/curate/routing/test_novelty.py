"""A prompt of words that no other has is new; one of words that all have is not."""

from __future__ import annotations

import polars as pl
import pytest

from curate.routing.novelty import novelty


def of(*prompts: str) -> list[float]:
    rows = pl.DataFrame({"pair_id": [f"p{i}" for i in range(len(prompts))], "prompt": prompts},
                        schema={"pair_id": pl.String, "prompt": pl.String})
    return novelty(rows)["novelty"].to_list()


def test_words_that_nobody_else_uses_are_new_and_those_of_everybody_are_not() -> None:
    """Four prompts: "the" in all of them, "cat" in two, half the way on the scale of logs."""
    assert of("the", "The cat", "the cat sat", "the end") == [
        0, pytest.approx(0.25), pytest.approx(0.5), pytest.approx(0.5)]


def test_pairs_of_one_prompt_make_it_no_more_usual() -> None:
    assert of("cat", "cat", "dog") == [1, 1, 1]


def test_one_prompt_alone_and_one_without_words_are_not_new() -> None:
    assert of("cat", "cat") == [0, 0]
    assert of("", "cat", "dog") == [0, 1, 1]
    assert of() == []


def test_the_order_of_rows_changes_nothing() -> None:
    rows = pl.DataFrame({"pair_id": ["p", "q", "r"], "prompt": ["a b", "b c", "d"]})
    assert novelty(rows).equals(novelty(rows.reverse()))
