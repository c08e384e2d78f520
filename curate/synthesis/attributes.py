"""Five attributes of a pair: what kind of comparison it is, before anybody says which side is better.

Skywork-Reward-V2 (Liu et al. 2025, arXiv 2507.01352) annotates task category, objectivity, controversiality,
desired attributes and an annotation guideline, and retrieves similar pairs and few-shot examples by them.
"""

from __future__ import annotations

import polars as pl

from schemas.tables import PAIR_TAGS

KEYS = ("task_category", "objectivity", "controversiality", "desired_attributes", "annotation_guideline")
WORDS = {"objectivity": ("objective", "subjective"), "controversiality": ("low", "medium", "high")}
MATERIAL = ("prompt", "first", "second")
"""what the question shows, as JSON"""


def material(pairs: pl.DataFrame) -> pl.DataFrame:
    """`pairs` (with prompt, text_a, text_b) and what the question shows of them: the texts in the order of the ids."""
    return pairs.with_columns(first="text_a", second="text_b")


def tags_of(answers: pl.DataFrame, tagger: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(frame `pair_tags`, failed answers with a reason) from rows of pair_id, call_key, response, finish_reason.

    An answer tags its pair whole or not at all: all five are there, and the worded ones are one of their words.
    `desired_attributes` is a JSON list. Failed: row_id (the call), reason, detail.
    """
    read = answers.with_columns(
        pl.col("response").str.json_path_match(f"$.{key}").str.strip_chars().alias(key) for key in KEYS)
    why = pl.when(pl.col("finish_reason") != "stop").then("finish_reason").when(~_is_whole()).then(
        pl.lit("not_the_attributes"))
    judged = read.with_columns(why.alias("reason"))
    rows = judged.filter(pl.col("reason").is_null()).unpivot(
        KEYS, index="pair_id", variable_name="key").with_columns(tagger=pl.lit(tagger))
    failed = judged.filter(pl.col("reason").is_not_null()).select(
        row_id="call_key", reason="reason", detail="pair_id")
    return PAIR_TAGS.complete(rows).sort("pair_id", "key"), failed.unique("row_id", keep="first").sort("row_id")


def _is_whole() -> pl.Expr:
    has_all = pl.all_horizontal((pl.col(key).is_not_null() & (pl.col(key) != "")) for key in KEYS)
    is_worded = pl.all_horizontal(pl.col(key).is_in(words) for key, words in WORDS.items())
    return (has_all & is_worded & pl.col("desired_attributes").str.starts_with("[")).fill_null(False)
