"""Failure mining: responses on which the current reward model errs, although their true order is known.

In the manner of REFORM (only its abstract was read): class-consistent perturbations of a pair's responses,
kept where the reward model prefers the wrong side. Assumed here: the perturbations are asked of a writer
model, and keep the pair's order by construction. A winner is said again in other words (`preserve`), a loser
is said again (`preserve`) or made worse (`degrade`); the perturbed response then meets the other side of its
parent pair. The writer is trusted no further: the pairs go to the judges like any others, and are no labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from curate.consensus.outcomes import DECIMALS, expected_win, p_b
from curate.synthesis.contrasts import texts_of
from curate.synthesis.instruments import DEGRADE, PRESERVE
from curate.synthesis.lineage import response_rows, with_response_ids
from curate.synthesis.selection import checked, discarded, pairs_of
from schemas.errors import InputError
from schemas.ids import content_id_expr, uniform_expr

STAGE = "failures"
KINDS = pl.DataFrame({"side": ["winner", "loser", "loser"], "kind": ["preserve", "preserve", "degrade"]})
"""which perturbation of which side keeps the order"""
LABELLED = ("pair_id", "prompt_id", "response_a", "response_b", "prompt", "text_a", "text_b", "p_a", "p_tie")


@dataclass(frozen=True)
class Perturbed:
    """Perturbed responses, the pairs to be scored, and what makes no pair."""

    responses: pl.DataFrame
    """contract RESPONSES, `parent_id` the response that was perturbed, sorted"""
    texts: pl.DataFrame
    """contract TEXTS, one row per text of `responses`, sorted"""
    pairs: pl.DataFrame
    """pair_id, prompt_id, source, winner, loser (response ids), certainty, text_winner, text_loser, sorted"""
    discards: pl.DataFrame
    """contract DISCARDS of responses: `empty`, `unchanged`, `identical_text` (as the other side), `repeated`"""


@dataclass(frozen=True)
class Mined:
    """Pairs that the reward model gets wrong, and the others."""

    pairs: pl.DataFrame
    """contract PAIRS, origin `adversarial:<model>`, sorted"""
    discards: pl.DataFrame
    """contract DISCARDS of pairs: `uncertain`, `no_margin`, `scored_right`, `scored_equal`"""


def to_perturb(labelled: pl.DataFrame, n: int, min_certainty: float, seed: int) -> pl.DataFrame:
    """`n` perturbations to ask for, drawn by a hash of (seed, pair, side, kind), sorted by it.

    `labelled` has LABELLED and perhaps source: pairs with their labels. Only pairs with a winner of certainty
    `min_certainty` are drawn from. Out: labelled's ids, side, kind, parent_id and original (what is
    perturbed), opponent and text_opponent (the other side), certainty, prompt, messages to the writer. Raises
    InputError for a missing column, a repeated pair, n < 0 or a certainty outside [0, 1].
    """
    if n < 0 or not 0 <= min_certainty <= 1:
        raise InputError(f"{n} perturbations of certainty {min_certainty}", expected="n >= 0, from 0 to 1")
    rows = checked(labelled, LABELLED, "labelled pairs").with_columns(_certainty(), _winner())
    decided = rows.filter(pl.col("winner").is_not_null(), pl.col("certainty") >= min_certainty)
    each = decided.join(KINDS, how="cross").with_columns(_sides())
    drawn = each.sort(uniform_expr(seed, [pl.lit(STAGE), "pair_id", "side", "kind"]), "pair_id", "side", "kind").head(n)
    return drawn.select(
        "pair_id", "prompt_id", "source", "side", "kind", "parent_id", "original", "opponent", "text_opponent",
        "certainty", "prompt", _messages())


def perturbed_pairs(rows: pl.DataFrame) -> Perturbed:
    """Pairs of what the writer gave back: rows of `to_perturb` with `text` and `author`, perhaps call_key.

    The pairs are to be scored by the reward model, then given to `failures`. A text said twice (by another
    kind, or of another pair of the same response) is one response; `repeated` when it makes the same pair.
    """
    needed = ("prompt_id", "side", "parent_id", "original", "opponent", "text_opponent", "certainty", "author")
    keys = pl.concat_str("pair_id", "side", "kind", separator=" ").alias("_row")
    ordered = checked(rows.with_columns(keys, pl.col("text").fill_null("")), ("_row", *needed), "perturbations")
    keyed = with_response_ids(ordered).with_columns(_new_pair_id()).with_columns(_fault().alias("reason"))
    is_repeated = pl.col("reason").is_null() & (pl.int_range(pl.len()).over("new_pair_id", "reason") > 0)
    told = keyed.with_columns(pl.when(is_repeated).then(pl.lit("repeated")).otherwise("reason").alias("reason"))
    good = told.filter(pl.col("reason").is_null())
    return Perturbed(response_rows(good), texts_of(good), _scorable(good), _unpaired(told))


def failures(perturbed: pl.DataFrame, margins: pl.DataFrame, model: str, min_certainty: float) -> Mined:
    """The pairs of `perturbed` that `model` scores wrongly: its margin is against the winner, strictly.

    `perturbed` is `Perturbed.pairs`; `margins` keeps (pair_id, scorer, margin: score of a minus score of b);
    rows of other scorers are not read. A pair is `uncertain` when its parent's winner is less certain than
    `min_certainty`. Origin `adversarial:<model>`. Raises InputError for a pair with two margins of the model.
    """
    mine = margins.filter(pl.col("scorer") == model).select("pair_id", "margin")
    if mine["pair_id"].is_duplicated().any():
        raise InputError(f"two margins of {model} for one pair", expected="one row per pair and scorer")
    needed = ("pair_id", "prompt_id", "source", "winner", "loser", "certainty")
    rows = checked(perturbed, needed, "perturbed pairs").select(needed)
    joined = rows.join(mine, on="pair_id", how="left", maintain_order="left")
    sign = pl.when(pl.col("winner") < pl.col("loser")).then(1.0).otherwise(-1.0)
    told = joined.with_columns((pl.col("margin") * sign).alias("for_winner")).with_columns(
        _verdict(min_certainty).alias("reason"))
    wrong = told.filter(pl.col("reason").is_null())
    pairs = pairs_of(wrong.select("prompt_id", "source", left="winner", right="loser"), f"adversarial:{model}")
    others = told.filter(pl.col("reason").is_not_null()).select("reason", row_id="pair_id")
    return Mined(pairs, discarded(others, "pair", STAGE))


def _certainty() -> pl.Expr:
    a, tie = pl.col("p_a"), pl.col("p_tie")
    return pl.max_horizontal(a, p_b(a, tie)).alias("certainty")


def _winner() -> pl.Expr:
    """Letter of the winner, null when neither side is likelier."""
    edge = (expected_win(pl.col("p_a"), pl.col("p_tie")) - 0.5).round(DECIMALS)
    return pl.when(edge > 0).then(pl.lit("a")).when(edge < 0).then(pl.lit("b")).alias("winner")


def _sides() -> list[pl.Expr]:
    perturbs_a = (pl.col("winner") == "a") == (pl.col("side") == "winner")
    slots = {"parent_id": ("response_a", "response_b"), "original": ("text_a", "text_b"),
             "opponent": ("response_b", "response_a"), "text_opponent": ("text_b", "text_a")}
    return [pl.when(perturbs_a).then(a).otherwise(b).alias(name) for name, (a, b) in slots.items()]


def _messages() -> pl.Expr:
    material = pl.struct("prompt", response="original")
    is_kept = pl.col("kind") == "preserve"
    return pl.when(is_kept).then(PRESERVE.messages(material)).otherwise(DEGRADE.messages(material)).alias("messages")


def _new_pair_id() -> pl.Expr:
    ends = [pl.min_horizontal("response_id", "opponent"), pl.max_horizontal("response_id", "opponent")]
    return content_id_expr(ends).alias("new_pair_id")


def _fault() -> pl.Expr:
    said = pl.col("text").str.strip_chars()
    return (pl.when(said == "").then(pl.lit("empty"))
            .when(said == pl.col("original").str.strip_chars()).then(pl.lit("unchanged"))
            .when(said == pl.col("text_opponent").str.strip_chars()).then(pl.lit("identical_text")))


def _scorable(good: pl.DataFrame) -> pl.DataFrame:
    is_winner = pl.col("side") == "winner"
    slots = {"winner": ("response_id", "opponent"), "loser": ("opponent", "response_id"),
             "text_winner": ("text", "text_opponent"), "text_loser": ("text_opponent", "text")}
    sided = [pl.when(is_winner).then(mine).otherwise(other).alias(name) for name, (mine, other) in slots.items()]
    return good.select("prompt_id", "source", "certainty", *sided, pair_id="new_pair_id").select(
        "pair_id", "prompt_id", "source", "winner", "loser", "certainty", "text_winner", "text_loser").sort("pair_id")


def _unpaired(told: pl.DataFrame) -> pl.DataFrame:
    """Discards; equal texts that fail for one reason are told in one row, which names them all."""
    detail = pl.format("{} of the {} of {}", "kind", "side", "pair_id")
    rows = told.filter(pl.col("reason").is_not_null()).group_by("response_id", "reason").agg(
        detail.sort().str.join("; ").alias("detail"))
    return discarded(rows.rename({"response_id": "row_id"}), "response", STAGE)


def _verdict(min_certainty: float) -> pl.Expr:
    margin = pl.col("for_winner")
    return (pl.when(pl.col("certainty") < min_certainty).then(pl.lit("uncertain"))
            .when(~margin.is_finite().fill_null(False)).then(pl.lit("no_margin"))
            .when(margin > 0).then(pl.lit("scored_right"))
            .when(margin == 0).then(pl.lit("scored_equal")))
