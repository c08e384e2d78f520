"""Pairs are distinct, never of identical text, and drawn by ids alone."""

from __future__ import annotations

import polars as pl
import pytest

from curate.synthesis.pairing import Pairing, best_against_lower, pair_up, pairing_discards
from schemas.errors import InputError
from schemas.ids import content_id


def responses(*texts: str, prompt_id: str = "p") -> pl.DataFrame:
    return pl.DataFrame({"response_id": [f"{prompt_id}-r{k}" for k in range(len(texts))], "prompt_id": prompt_id,
                         "text_id": list(texts), "author": "m@1", "policy": "m@1"})


def met(pairing: Pairing) -> set[tuple[str, str]]:
    return set(pairing.pairs.select("response_a", "response_b").rows())


def test_all_pairs_come_when_there_is_room_with_letters_by_id() -> None:
    pairing = pair_up(responses("x", "y", "z"), 9, 0)
    assert met(pairing) == {("p-r0", "p-r1"), ("p-r0", "p-r2"), ("p-r1", "p-r2")}
    row = pairing.pairs.row(0, named=True)
    assert row["pair_id"] == content_id(row["response_a"], row["response_b"])
    assert (row["origin"], row["source"]) == ("random", "synthesized")


def test_a_prompt_gets_no_more_pairs_than_asked_and_no_pair_across_prompts() -> None:
    both = pl.concat([responses("x", "y", "z"), responses("u", "v", "w", prompt_id="q")])
    pairs = pair_up(both, 2, 0).pairs
    assert pairs["prompt_id"].value_counts().sort("prompt_id")["count"].to_list() == [2, 2]
    assert pairs["pair_id"].is_unique().all()
    assert pairs.select((pl.col("response_a").str.head(1) == pl.col("response_b").str.head(1)).all()).item()


def test_a_pair_of_identical_text_is_dropped_with_its_reason() -> None:
    pairing = pair_up(responses("x", "x"), 1, 0)
    assert pairing.pairs.is_empty()
    assert pairing.dropped.rows() == [("p", "p-r0", "p-r1", "identical_text")]


def test_the_same_two_texts_are_asked_about_once_per_prompt() -> None:
    pairing = pair_up(responses("x", "x", "y"), 9, 0)
    assert pairing.pairs.height == 1
    assert sorted(pairing.dropped["reason"]) == ["identical_text", "repeated_texts"]


def test_near_duplicates_are_dropped_in_either_order() -> None:
    near = pl.DataFrame({"response_a": ["p-r1"], "response_b": ["p-r0"]})
    pairing = pair_up(responses("x", "y", "z"), 9, 0, near_duplicates=near)
    assert met(pairing) == {("p-r0", "p-r2"), ("p-r1", "p-r2")}
    assert pairing.dropped["reason"].to_list() == ["near_duplicate"]


def test_the_draw_depends_on_seed_and_ids_and_on_nothing_else() -> None:
    rows, other = responses(*"abcdefgh"), responses(*"abcdefgh", prompt_id="q")
    drawn = pair_up(rows, 3, 7)
    assert pair_up(rows[::-1], 3, 7).pairs.equals(drawn.pairs)
    assert pair_up(pl.concat([other, rows]), 3, 7).pairs.filter(prompt_id="p").equals(drawn.pairs)
    assert met(pair_up(rows, 3, 8)) != met(drawn)


def test_the_source_of_the_responses_is_the_source_of_the_pair() -> None:
    assert pair_up(responses("x", "y").with_columns(source=pl.lit("s")), 1, 0).pairs["source"].to_list() == ["s"]


def test_the_best_response_meets_lower_ones_only() -> None:
    scores = pl.DataFrame({"response_id": [f"p-r{k}" for k in range(4)], "score": [1.0, 3.0, 3.0, 2.0]})
    pairing = best_against_lower(responses("w", "x", "y", "z"), scores, 9, 0)
    assert met(pairing) == {("p-r0", "p-r1"), ("p-r1", "p-r3")}
    assert set(pairing.pairs["origin"]) == {"best_of_n"}


def test_a_response_without_a_score_is_dropped_with_its_reason() -> None:
    scores = pl.DataFrame({"response_id": ["p-r0", "p-r1", "p-r2"], "score": [1.0, 2.0, float("nan")]})
    pairing = best_against_lower(responses("w", "x", "y", "z"), scores, 9, 0)
    assert met(pairing) == {("p-r0", "p-r1")}
    assert pairing.dropped.rows() == [("p", "p-r2", None, "not_scored"), ("p", "p-r3", None, "not_scored")]


def test_equal_scores_make_no_pair() -> None:
    scores = pl.DataFrame({"response_id": ["p-r0", "p-r1"], "score": [1.0, 1.0]})
    assert best_against_lower(responses("x", "y"), scores, 1, 0).pairs.is_empty()


def test_no_responses_make_no_pairs() -> None:
    assert pair_up(responses("x", "y").clear(), 1, 0).pairs.is_empty()


def test_a_repeated_response_no_pairs_and_a_missing_column_are_refused() -> None:
    rows = responses("x", "y")
    with pytest.raises(InputError, match="twice"):
        pair_up(pl.concat([rows, rows]), 1, 0)
    with pytest.raises(InputError, match="n_pairs = 0"):
        pair_up(rows, 0, 0)
    with pytest.raises(InputError, match="text_id"):
        pair_up(rows.drop("text_id"), 1, 0)


def test_every_response_is_in_a_pair_or_discarded_once_with_the_reason_it_has() -> None:
    rows = responses("w", "x", "x", "y", "z")
    scores = pl.DataFrame({"response_id": [f"p-r{k}" for k in range(4)], "score": [1.0, 3.0, 3.0, 0.0]})
    pairing = best_against_lower(rows, scores, 1, 0)
    left_out = pairing_discards(pairing, rows, "synthesize")
    told = [*pairing.pairs["response_a"], *pairing.pairs["response_b"], *left_out["row_id"]]
    assert sorted(told) == rows["response_id"].to_list()
    assert dict(left_out.filter(pl.col("row_id").is_in(["p-r2", "p-r4"])).select("row_id", "reason").iter_rows()) == {
        "p-r2": "not_drawn", "p-r4": "not_scored"}


def test_a_response_that_could_only_meet_its_equal_says_so() -> None:
    rows = responses("x", "x")
    left_out = pairing_discards(pair_up(rows, 1, 0), rows, "synthesize")
    assert left_out.select("row_id", "reason", "detail").sort("row_id").rows() == [
        ("p-r0", "identical_text", "p-r1"), ("p-r1", "identical_text", "p-r0")]
