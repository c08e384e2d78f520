"""Near-duplicates: exact similarity, clusters that no order changes, nothing lost without a name."""

from __future__ import annotations

import itertools
import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.synthesis.near_duplicates import (
    clusters,
    near_duplicate_prompts,
    near_duplicate_responses,
    similarity,
    spoken,
)
from schemas.errors import InputError

LONG = " ".join(f"w{i}" for i in range(60))


def responses(*texts: str, prompt_id: str = "p") -> pl.DataFrame:
    return pl.DataFrame({"response_id": [f"{prompt_id}{i}" for i in range(len(texts))], "prompt_id": prompt_id,
                         "text": list(texts)})


def prompts(**texts: str) -> pl.DataFrame:
    return pl.DataFrame({"prompt_id": list(texts), "text": list(texts.values())})


def grams(text: str) -> set[tuple[str, ...]]:
    """The definition, in plain Python."""
    plain = re.sub(r"\s+", " ", text.lower().strip())
    words, tokens = re.findall(r"\w+", plain), re.findall(r"\w+|[^\w\s]", plain)
    cut = tokens if len(words) >= 5 else list(plain)
    return {tuple(cut[i : i + 5]) for i in range(len(cut) - 4)} or {(plain,)}


def test_similarity_is_jaccard_of_word_5_grams() -> None:
    texts = ["a b c d e f", "a b c d e f g", "a b c d e", "v w x y z"]
    found = pl.DataFrame({"text": texts}).select(similarity(pl.lit(texts[0]), pl.col("text")))["similarity"]
    assert found.to_list() == [1.0, 2 / 3, 1 / 2, 0.0]


def test_short_texts_are_compared_by_characters_and_scripts_without_blanks_by_character_too() -> None:
    left, right = ["Paris!", "yes", "今天天气很好我们去公园"], ["paris", "no", "今天天气很好我们去公司"]
    found = pl.DataFrame({"l": left, "r": right}).select(similarity(pl.col("l"), pl.col("r")))["similarity"]
    assert found.to_list() == [1 / 2, 0.0, 6 / 8]


def test_the_smallest_id_of_a_cluster_stays_and_is_named_by_the_others() -> None:
    found = near_duplicate_responses(responses(f"{LONG} x", LONG, "something else entirely, of some length"), 0.9)
    assert found.kept["response_id"].to_list() == ["p0", "p2"]
    assert found.discards.select("what", "row_id", "reason", "detail").rows() == [
        ("response", "p1", "near_duplicate", "p0")]


def test_similar_responses_to_different_prompts_are_no_duplicates() -> None:
    both = pl.concat([responses(LONG), responses(LONG, prompt_id="q")])
    assert near_duplicate_responses(both, 0.9).discards.is_empty()


def test_numbers_and_signs_make_a_difference_at_the_strictest_threshold() -> None:
    texts = responses(f"{LONG} 2 + 2", f"{LONG} 2 - 2", f"{LONG.upper()}  2 + 2")
    assert near_duplicate_responses(texts, 1.0).discards["row_id"].to_list() == ["p2"]


def test_clusters_are_transitive() -> None:
    steps = [f"{LONG} " + " ".join(f"x{i}" for i in range(3 * k)) for k in range(3)]
    ends = pl.DataFrame({"l": steps[:1], "r": steps[2:]}).select(similarity(pl.col("l"), pl.col("r"))).item()
    assert ends < 0.93
    assert near_duplicate_responses(responses(*steps), 0.93).kept["response_id"].to_list() == ["p0"]


def test_a_stored_prompt_outlives_a_new_one_of_a_smaller_id() -> None:
    stored = prompts(z=LONG, y="How do I bake bread at home?")
    found = near_duplicate_prompts(prompts(a=f"{LONG} x", b="Why is the sky blue in May?", z=LONG), 0.9, known=stored)
    assert found.kept["prompt_id"].to_list() == ["b", "z"]
    assert found.discards.select("what", "row_id", "detail").rows() == [("prompt", "a", "z")]


def test_what_is_asked_is_compared_without_the_frame_that_all_prompts_share() -> None:
    stored = pl.DataFrame({"m": ['[{"role":"user","content":"a \\"b\\""},{"role":"assistant","content":"é"}]']})
    assert stored.select(spoken(pl.col("m")))["text"].to_list() == ['a "b"\né']


WORDS = st.lists(st.sampled_from("abc"), min_size=0, max_size=9).map(" ".join)


@pytest.mark.slow
@given(st.lists(WORDS, min_size=1, max_size=12), st.sampled_from([0.3, 0.5, 0.7, 1.0]), st.randoms())
def test_clusters_are_those_of_comparing_every_two_whatever_the_order(
    texts: list[str], threshold: float, random: object
) -> None:
    frame = pl.DataFrame({"id": [f"{i:02}" for i in range(len(texts))], "block": "", "text": texts, "is_known": False})
    shuffled = frame.sample(fraction=1, shuffle=True, seed=random.randrange(2**30))  # type: ignore[attr-defined]
    expected = {i: {i} for i in range(len(texts))}
    for i, j in itertools.combinations(range(len(texts)), 2):
        a, b = grams(texts[i]), grams(texts[j])
        if len(a & b) >= threshold * len(a | b) - 1e-9:
            whole = expected[i] | expected[j]
            expected |= dict.fromkeys(whole, whole)
    found = clusters(shuffled, threshold)
    assert found["keeper"].to_list() == [f"{min(expected[i]):02}" for i in range(len(texts))]
    assert clusters(frame, threshold, max_candidates=1).equals(found)


@pytest.mark.slow
def test_a_large_cluster_costs_a_comparison_per_text_and_every_row_is_told() -> None:
    many = responses(*(f"{LONG} {LONG[::-1]} {i}" for i in range(400)))
    found = near_duplicate_responses(many, 0.9)
    assert (found.kept.height, found.discards.height) == (1, 399)


def test_a_column_of_the_caller_s_never_stands_in_for_a_computed_one() -> None:
    crowded = responses(LONG, LONG, "another one").with_columns(keeper=pl.lit("x"), id=pl.lit("y"), block=pl.lit("z"))
    found = near_duplicate_responses(crowded, 0.9)
    assert found.kept.rows() == crowded.filter(pl.col("response_id") != "p1").rows()


def test_nothing_in_is_nothing_out() -> None:
    found = near_duplicate_responses(responses("x").clear(), 0.9)
    assert (found.kept.height, found.discards.height) == (0, 0)


def test_a_threshold_of_nothing_a_missing_column_and_a_repeated_id_are_refused() -> None:
    rows = responses("x", "y")
    with pytest.raises(InputError, match="threshold 0"):
        near_duplicate_responses(rows, 0.0)
    with pytest.raises(InputError, match="text"):
        near_duplicate_responses(rows.drop("text"), 0.9)
    with pytest.raises(InputError, match="twice"):
        near_duplicate_responses(pl.concat([rows, rows]), 0.9)
