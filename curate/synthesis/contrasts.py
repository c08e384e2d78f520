"""Controlled contrast: a rewriting of a response that changes one declared attribute and nothing else.

As DocReward, AURORA and Personalized RewardBench build their pairs. What can be checked without a judge is
checked: the rewriting says something, differs from the original, keeps its length within the recipe's bound,
its script, its numbers and its code. Whether the attribute itself changed, and for the worse, is what
the pair's voters say: a contrast is declared, never labelled.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from curate.synthesis.instruments import CONTRAST
from curate.synthesis.lineage import response_rows, with_response_ids
from curate.synthesis.near_duplicates import similarity
from curate.synthesis.selection import checked, discarded, pairs_of
from schemas.tables import TEXTS

STAGE = "contrasts"
NEARLY_SAME = 0.99
"""similarity from which nothing was changed; one word of a text of 500 words gives 0.98"""
SCRIPTS = ("Latin", "Han", "Cyrillic", "Arabic", "Devanagari", "Hangul", "Hiragana", "Katakana", "Greek", "Hebrew",
           "Thai", "Bengali", "Tamil")
MIN_LETTERS = 3
"""a text of fewer letters is of no script"""
ABOUT_NUMBERS = r"(?i)number|numer|figure|fact|correct|accura|math|calcul|detail|specific|complet|concis|length|verbos"
ABOUT_CODE = r"(?i)code|program|correct|accura|complet|concis|length|verbos|detail|format|markdown"
ABOUT_SCRIPT = r"(?i)language|translat|script"
"""attributes, matched anywhere, whose contrasts may change numbers, code blocks or the script"""
COLUMNS = ("parent_id", "prompt_id", "original", "text", "author", "attribute", "max_length_change")


@dataclass(frozen=True)
class Rewritten:
    """Rewritings that hold, with their texts, the pairs they make, and the others."""

    responses: pl.DataFrame
    """contract RESPONSES, `parent_id` the original, sorted"""
    texts: pl.DataFrame
    """contract TEXTS, one row per text of `responses`, sorted"""
    pairs: pl.DataFrame
    """contract PAIRS, sorted"""
    discards: pl.DataFrame
    """contract DISCARDS: `row_id` is the id that the rewriting would have had, `detail` its parent and why"""


def rewrite_messages(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with `messages` to the writer. `rows` has prompt, original (texts), attribute, instruction."""
    material = pl.struct("prompt", "attribute", "instruction", response="original")
    return rows.with_columns(CONTRAST.messages(material))


def contrasts(rows: pl.DataFrame) -> Rewritten:
    """Rewritings that changed no more than was declared, paired with their originals, origin `contrast:<attribute>`.

    One row of `rows` per rewriting: COLUMNS (`original` and `text` are texts, `author` the writer's identity),
    perhaps source and what else of the table `responses` is known. Discards: `empty`, `unchanged` (equal, or
    equal but for case and blanks), `nearly_unchanged` (similarity of 0.99 or more), `length_changed` (relative
    change in characters above max_length_change), `script_changed`, `numbers_changed`, `code_changed` (none of
    the three where the attribute is about them), `repeated` (the writer's same text for another attribute of
    the prompt; the first attribute by name stays). Raises InputError for a missing column or one attribute
    of one parent rewritten twice.
    """
    keyed = _keyed(rows)
    judged = keyed.with_columns(_reason().alias("reason"))
    is_repeated = pl.col("reason").is_null() & (pl.int_range(pl.len()).over("response_id", "reason") > 0)
    told = judged.with_columns(pl.when(is_repeated).then(pl.lit("repeated")).otherwise("reason").alias("reason"))
    good = told.filter(pl.col("reason").is_null())
    couples = good.select("prompt_id", "source", "attribute", left="parent_id", right="response_id",
                          declared_contrast="attribute")
    origin = pl.format("contrast:{}", "declared_contrast")
    return Rewritten(response_rows(good), texts_of(good), pairs_of(couples, origin), _left_out(told))


def texts_of(rows: pl.DataFrame) -> pl.DataFrame:
    """Frame `texts` of rows with text_id and text, each text once, sorted."""
    return TEXTS.complete(rows.select("text_id", "text").unique("text_id")).sort("text_id")


def dominant_script(text: pl.Expr) -> pl.Expr:
    """The script of most letters, of equal ones the first of SCRIPTS; null for fewer than 3 letters of them."""
    counts = pl.concat_list(text.str.count_matches(rf"\p{{{script}}}") for script in SCRIPTS)
    name = pl.concat_list(pl.lit(script) for script in SCRIPTS).list.get(counts.list.arg_max())
    return pl.when(counts.list.sum() >= MIN_LETTERS).then(name).alias("script")


def numbers(text: pl.Expr) -> pl.Expr:
    """Sorted list of the numbers in a text, as written; numbers of list items are layout and left out."""
    return text.str.replace_all(r"(?m)^\s*\d+[.)]\s", "").str.extract_all(r"\d+(?:[.,:/]\d+)*").list.sort()


def code_blocks(text: pl.Expr) -> pl.Expr:
    """List of the fenced code blocks in a text, fences and language names included."""
    return text.str.extract_all(r"(?s)```.*?```")


def _keyed(rows: pl.DataFrame) -> pl.DataFrame:
    ordered = checked(rows.with_columns(pl.concat_str("parent_id", pl.lit(" "), "attribute").alias("_row"))
                      if {"parent_id", "attribute"} <= set(rows.columns) else rows, ("_row", *COLUMNS), "rewritings")
    filled = ordered.with_columns(pl.col("text").fill_null(""), form=pl.lit("text"))
    return with_response_ids(filled).sort("response_id", "attribute", "parent_id")


def _reason() -> pl.Expr:
    old, new, about = pl.col("original"), pl.col("text"), pl.col("attribute")
    before, after = old.str.len_chars().cast(pl.Float64), new.str.len_chars().cast(pl.Float64)
    tests = {
        "empty": new.str.strip_chars() == "",
        "unchanged": _plain(old) == _plain(new),
        "nearly_unchanged": similarity(old, new) >= NEARLY_SAME,
        "length_changed": (after - before).abs() > pl.col("max_length_change") * before,
        "script_changed": ~dominant_script(old).eq_missing(dominant_script(new)) & ~about.str.contains(ABOUT_SCRIPT),
        "numbers_changed": (numbers(old) != numbers(new)) & ~about.str.contains(ABOUT_NUMBERS),
        "code_changed": (code_blocks(old) != code_blocks(new)) & ~about.str.contains(ABOUT_CODE),
    }
    return pl.coalesce(pl.when(is_so).then(pl.lit(reason)) for reason, is_so in tests.items())


def _plain(text: pl.Expr) -> pl.Expr:
    return text.str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()


def _left_out(told: pl.DataFrame) -> pl.DataFrame:
    """Discards; two rewritings of one id and one reason (equal bad texts) are told in one row."""
    detail = pl.format("{} of {}", "attribute", "parent_id")
    rows = told.filter(pl.col("reason").is_not_null()).group_by("response_id", "reason").agg(
        detail.sort().str.join("; ").alias("detail"))
    return discarded(rows.rename({"response_id": "row_id"}), "response", STAGE)
