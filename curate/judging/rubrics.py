"""Rubrics: hard rules and principles, derived from pairs whose better side is known, and tried out before they count.

After OpenRubrics (Liu et al. 2025) and in the manner of CDRRM: from (prompt, better, worse) a writer derives what
decided; the rubric is accepted only if a judge that is shown it prefers the known side in both orders. Assumed
here: the judge of that trial is the writer, and an accepted rubric helps other prompts as an example of manner. It is
never shown for its own prompt, whose verdict it was made from.
"""

from __future__ import annotations

import json

import polars as pl

from curate.consensus.outcomes import DECIMALS, expected_win, p_b
from curate.judging.answering import NOT_READABLE, bounded_list, one_object, sentences

MOST = 6
_LINES = bounded_list(MOST, {"type": "string", "minLength": 1}, least=0)
SCHEMA = json.dumps(one_object(hard_rules=_LINES, principles=_LINES), separators=(",", ":"))
N_EXAMPLES = 3
ACCEPTED = "a judge that is shown it prefers the known side in both orders"


def rubric_of(answer: str) -> str | None:
    """The rubric in a writer's answer, as canonical JSON {hard_rules, principles}; None when it holds none."""
    try:
        read = json.loads(answer)
        parts = {name: sentences(read[name], MOST) for name in ("hard_rules", "principles")}
    except NOT_READABLE:
        return None
    if any(lines is None for lines in parts.values()) or not any(parts.values()):
        return None
    return json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def rubric_shown(rubric: str) -> str:
    """A stored rubric as the judge reads it: hard rules, then principles, each numbered."""
    read = json.loads(rubric)
    parts = (("Hard rules", read["hard_rules"]), ("Principles", read["principles"]))
    return "\n".join("\n".join([f"{title}:", *(f"{n}. {line}" for n, line in enumerate(lines, 1))])
                     for title, lines in parts if lines)


def known_sides(gold: pl.DataFrame) -> pl.DataFrame:
    """(pair_id, side) of gold pairs (pair_id, p_a, p_tie) that one side wins outright: likelier than tie and other."""
    a, tie, b = pl.col("p_a"), pl.col("p_tie"), p_b(pl.col("p_a"), pl.col("p_tie"))
    side = pl.when((a > b) & (a > tie)).then(pl.lit("a")).when((b > a) & (b > tie)).then(pl.lit("b"))
    return gold.select("pair_id", side.alias("side")).filter(pl.col("side").is_not_null())


def tried(votes: pl.DataFrame, sides: pl.DataFrame) -> pl.DataFrame:
    """(pair_id, is_accepted, reason) for each pair of `sides`, from votes of a judge that was shown its rubric.

    `votes` keeps the contract VOTES: one voter, both orders. Accepted when each order was answered and prefers the
    known side (expected win above one half).
    """
    win = expected_win(pl.col("p_a"), pl.col("p_tie")).round(DECIMALS)
    is_right = pl.when(pl.col("side") == "a").then(win > 0.5).otherwise(win < 0.5)
    joined = sides.join(votes.select("pair_id", "p_a", "p_tie", "shown_first"), on="pair_id", how="left")
    counted = joined.with_columns(is_right.alias("is_right")).group_by("pair_id", maintain_order=True).agg(
        pl.col("shown_first").filter(pl.col("p_a").is_not_null()).n_unique().alias("n_orders"),
        pl.col("is_right").filter(pl.col("p_a").is_not_null()).all().alias("is_right"),
    )
    is_whole = pl.col("n_orders") == 2
    reason = (
        pl.when(~is_whole).then(pl.lit("a judge that is shown it gave no verdict in one of the orders"))
        .when("is_right").then(pl.lit(ACCEPTED))
        .otherwise(pl.lit("a judge that is shown it does not prefer the known side in both orders"))
    )
    accepted = (is_whole & pl.col("is_right")).alias("is_accepted")
    return counted.select("pair_id", accepted, reason.alias("reason")).sort("pair_id")


def examples_for(prompts: pl.DataFrame, accepted: pl.DataFrame) -> pl.DataFrame:
    """(prompt_id, examples): up to N_EXAMPLES accepted rubrics of other groups, as text; null where there is none.

    `prompts` has prompt_id and group_id; `accepted` has rubric_id, group_id and rubric (canonical JSON). The first ones
    by id are taken, the same for all prompts of a group, so that a new prompt changes no question but its own.
    """
    asked, known = prompts.select("prompt_id", "group_id"), accepted.sort("rubric_id")
    owners = known.select("group_id").unique().sort("group_id")
    others = owners.join(known, how="cross", suffix="_of").filter(pl.col("group_id") != pl.col("group_id_of"))
    own = others.group_by("group_id", maintain_order=True).agg(pl.col("rubric").head(N_EXAMPLES))
    texts = [_listed(held) for held in own["rubric"].to_list()]
    listed = own.select("group_id", pl.Series("special", texts, dtype=pl.String))
    usual = _listed(known["rubric"].head(N_EXAMPLES).to_list()) if known.height else None
    is_owner = pl.col("group_id").is_in(owners["group_id"].implode())
    examples = pl.when(is_owner).then("special").otherwise(pl.lit(usual, pl.String)).alias("examples")
    return asked.join(listed, on="group_id", how="left").select("prompt_id", examples).sort("prompt_id")


def _listed(rubrics: list[str]) -> str:
    return "\n\n".join(f"Rubric of another conversation:\n{rubric_shown(rubric)}" for rubric in rubrics)
