"""Causal augmentation: own responses against other prompts' responses (RRM, Liu et al. 2024, arXiv 2409.13156).

In the manner of RRM: to its own prompt a response beats one that was written for another prompt, and two
responses of another prompt tie, because neither is about it. So whatever a response has regardless of its
prompt (length, lists, tone) wins and loses equally often, and cannot be what is learned. Assumed here: the
other prompt comes from another group, one foreign pair per labelled pair drawn, 3 of 7 augmented pairs are
ties (of the 14 combinations of a pair with two other prompts' pairs 6 are neutral).

The pairs are a source of their own, `<dataset>+rrm`. Their labels enter as votes of the voter `rrm`, kind
`imported`, instrument `rrm@1`: declared, never human, in a family of its own, and left out wherever a recipe
names its sources.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from curate.consensus.outcomes import DECIMALS, expected_win
from curate.synthesis.contrasts import texts_of
from curate.synthesis.lineage import response_rows, with_response_ids
from curate.synthesis.selection import checked, discarded, pairs_of
from schemas.errors import InputError
from schemas.ids import content_id_expr, uniform_expr
from schemas.tables import INSTRUMENTS, SOURCES, TEXTS, VOTERS, VOTES

STAGE, ORIGIN, VOTER, INSTRUMENT = "augmentation", "augmented:rrm", "rrm", "rrm@1"
GUIDELINE = (
    "To a prompt, a response that was written for it is better than one that was written for another prompt; "
    "two responses that were both written for another prompt are equally good.")
TIE_SHARE = 3 / 7
N_DRAWS = 8
"""foreign pairs drawn before a pair is given up: half the pairs in one group leaves 1 in 256 without one"""
LABELLED = ("pair_id", "prompt_id", "group_id", "response_a", "response_b", "text_a", "text_b", "p_a", "p_tie")


@dataclass(frozen=True)
class Augmented:
    """A derived dataset: every frame but the last two is ready for its table."""

    sources: pl.DataFrame
    """contract SOURCES, one row"""
    texts: pl.DataFrame
    """contract TEXTS: the responses' texts and the instrument's"""
    responses: pl.DataFrame
    """contract RESPONSES: foreign responses under the prompt they were moved to, `parent_id` the original"""
    pairs: pl.DataFrame
    """contract PAIRS, origin `augmented:rrm`, sorted"""
    voters: pl.DataFrame
    """contract VOTERS, one row"""
    instruments: pl.DataFrame
    """contract INSTRUMENTS, one row"""
    votes: pl.DataFrame
    """contract VOTES, one cast vote per pair, sorted"""
    labels: pl.DataFrame
    """pair_id, p_a, p_tie, why, group_id, donor_pair_id, donor_group_id, sorted: what the votes say, and whence"""
    discards: pl.DataFrame
    """contract DISCARDS of pairs: `no_other_group`, `identical_text`, `repeated` (`row_id`: the labelled pair)"""


def augment(
    labelled: pl.DataFrame, n: int, dataset: str, seed: int, *, gate_groups: Collection[str] = (),
    tie_share: float = TIE_SHARE, criterion: str = "overall",
) -> Augmented:
    """`n` augmented pairs at most, one per labelled pair that a hash of (seed, pair_id) draws.

    `labelled` has LABELLED (group_id as splits use it); pairs without a winner and pairs of `gate_groups` take
    no part, neither as own nor as foreign. Either of a pair's responses, preferred or not, is set against
    either foreign one. Foreign pairs are drawn by (seed, pair), so they depend on which pairs there are.
    Raises InputError for n < 0, a share outside [0, 1], a missing column or a repeated pair.
    """
    if n < 0 or not 0 <= tie_share <= 1:
        raise InputError(f"{n} augmented pairs, tie share {tie_share}", expected="n >= 0, a share from 0 to 1")
    pool = _decided(checked(labelled, LABELLED, "labelled pairs"), gate_groups)
    drawn = pool.sort(_draw(seed, "own"), "pair_id").head(n)
    judged = _judged(_with_sides(_with_donor(drawn, pool, seed), seed, tie_share))
    good = judged.filter(pl.col("reason").is_null())
    left_out = judged.filter(pl.col("reason").is_not_null()).select("reason", row_id="pair_id", detail="donor_pair_id")
    return _frames(good, dataset, criterion, discarded(left_out, "pair", STAGE))


def faults(augmented: Augmented, labelled: pl.DataFrame, gate_groups: Collection[str] = ()) -> pl.DataFrame:
    """One row per offence (pair_id, fault), sorted; none when the derived dataset is what it claims to be.

    `same_group`: own and foreign pair are of one group. `gate_group`: either is of a gate-gold group.
    `human_vote`: a vote of another voter than `rrm`, or `rrm` of another kind than `imported`. `no_vote`: not exactly
    one vote. `not_declared`: p is neither a sure win nor a sure tie. `own_loses`: a pair with a moved response
    and an own one that the own one does not win, or one of two moved ones that is no tie. `moved_at_home`: a
    moved response whose parent was written for the same prompt.
    """
    home = pl.concat([labelled.select("prompt_id", response_id=f"response_{x}") for x in "ab"]).unique("response_id")
    moved = augmented.responses.join(home.rename({"prompt_id": "home"}), left_on="parent_id", right_on="response_id")
    labels, votes = augmented.labels, augmented.votes.join(augmented.voters, on="voter", how="left")
    n_votes = votes.group_by("pair_id").len()
    sided = augmented.pairs.join(labels, on="pair_id").with_columns(
        moved_a=pl.col("response_a").is_in(moved["response_id"].to_list()),
        moved_b=pl.col("response_b").is_in(moved["response_id"].to_list()))
    at_home = moved.filter(pl.col("home") == pl.col("prompt_id"))["response_id"].to_list()
    right_p = pl.when(pl.col("moved_a") & pl.col("moved_b")).then(pl.col("p_tie") == 1).otherwise(
        pl.col("p_a") == pl.col("moved_b").cast(pl.Float64))
    found = {
        "same_group": labels.filter(pl.col("group_id") == pl.col("donor_group_id")),
        "gate_group": labels.filter(pl.any_horizontal(pl.col("group_id", "donor_group_id").is_in(list(gate_groups)))),
        "human_vote": votes.filter((pl.col("voter") != VOTER) | (pl.col("kind") != "imported")),
        "no_vote": labels.join(n_votes.filter(pl.col("len") == 1), on="pair_id", how="anti"),
        "not_declared": labels.filter(~(pl.col("p_a").is_in([0.0, 1.0]) & pl.col("p_tie").is_in([0.0, 1.0]))),
        "own_loses": sided.filter(~right_p | ~(pl.col("moved_a") | pl.col("moved_b"))),
        "moved_at_home": sided.filter(pl.any_horizontal(pl.col("response_a", "response_b").is_in(at_home))),
    }
    rows = [frame.select("pair_id", fault=pl.lit(fault)) for fault, frame in found.items()]
    return pl.concat(rows).unique().sort("pair_id", "fault")


def _decided(rows: pl.DataFrame, gate_groups: Collection[str]) -> pl.DataFrame:
    edge = (expected_win(pl.col("p_a"), pl.col("p_tie")) - 0.5).round(DECIMALS)
    return rows.select(LABELLED).filter(edge != 0, ~pl.col("group_id").is_in(list(gate_groups)))


def _draw(seed: int, what: str, *parts: str) -> pl.Expr:
    return uniform_expr(seed, [pl.lit("rrm"), pl.lit(what), "pair_id", *parts])


def _with_donor(drawn: pl.DataFrame, pool: pl.DataFrame, seed: int) -> pl.DataFrame:
    """`drawn` with donor_pair_id, donor_group_id, donor_response_a, donor_text_a, … of a pair of another group."""
    donors = pool.select(pl.all().name.prefix("donor_")).with_row_index("at").with_columns(pl.col("at").cast(pl.Int64))
    tries = drawn.join(pl.DataFrame({"attempt": range(N_DRAWS)}), how="cross")
    at = (_draw(seed, "donor", "attempt") * pool.height).floor().cast(pl.Int64).clip(0, max(pool.height - 1, 0))
    found = tries.with_columns(at.alias("at")).join(donors, on="at").filter(
        pl.col("donor_group_id") != pl.col("group_id"), pl.col("donor_prompt_id") != pl.col("prompt_id"))
    first = found.sort("pair_id", "attempt").unique("pair_id", keep="first", maintain_order=True)
    new = [c for c in first.columns if c.startswith("donor_")]
    return drawn.join(first.select("pair_id", *new), on="pair_id", how="left")


def _with_sides(rows: pl.DataFrame, seed: int, tie_share: float) -> pl.DataFrame:
    """Left (own, or foreign in a tie) and right (foreign): parents and texts."""
    is_tie = _draw(seed, "tie") < tie_share
    own_a, foreign_a = _draw(seed, "own side") < 0.5, _draw(seed, "foreign side") < 0.5
    chosen = rows.with_columns(is_tie=is_tie, own_a=own_a, foreign_a=foreign_a)
    slots = {}
    for part in ("response", "text"):
        own = pl.when("own_a").then(f"{part}_a").otherwise(f"{part}_b")
        slots[f"left_{part}"] = pl.when("is_tie").then(f"donor_{part}_a").otherwise(own)
        foreign = pl.when("foreign_a").then(f"donor_{part}_a").otherwise(f"donor_{part}_b")
        slots[f"right_{part}"] = pl.when("is_tie").then(f"donor_{part}_b").otherwise(foreign)
    return chosen.with_columns(**slots)


def _judged(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with left, right (response ids), augmented_id, p_a, p_tie and the reason why one makes no pair."""
    for side in ("left", "right"):
        moved = rows.select("prompt_id", text=f"{side}_text", author=pl.format("rrm:{}", f"{side}_response"))
        rows = rows.with_columns(with_response_ids(moved)["response_id"].alias(f"{side}_moved"))
    left = pl.when("is_tie").then("left_moved").otherwise("left_response")
    ends = rows.with_columns(left=left, right=pl.col("right_moved"))
    low, high = pl.min_horizontal("left", "right"), pl.max_horizontal("left", "right")
    told = ends.with_columns(
        content_id_expr([low, high]).alias("augmented_id"), p_tie=pl.col("is_tie").cast(pl.Float64),
        p_a=(~pl.col("is_tie") & (pl.col("left") < pl.col("right"))).cast(pl.Float64),
        reason=pl.when(pl.col("donor_pair_id").is_null()).then(pl.lit("no_other_group"))
        .when(pl.col("left_text") == pl.col("right_text")).then(pl.lit("identical_text"))).sort("pair_id")
    is_repeated = pl.col("reason").is_null() & (pl.int_range(pl.len()).over("augmented_id", "reason") > 0)
    return told.with_columns(pl.when(is_repeated).then(pl.lit("repeated")).otherwise("reason").alias("reason"))


def _frames(good: pl.DataFrame, dataset: str, criterion: str, left_out: pl.DataFrame) -> Augmented:
    source = f"{dataset}+rrm"
    moved = _moved(good)
    couples = good.select("prompt_id", "left", "right", source=pl.lit(source))
    why = pl.when("is_tie").then(pl.lit("two responses to another prompt")).otherwise(
        pl.lit("own response beats another prompt's"))
    labels = good.select("p_a", "p_tie", "group_id", "donor_pair_id", "donor_group_id", why.alias("why"),
                         pair_id="augmented_id").select(
        "pair_id", "p_a", "p_tie", "why", "group_id", "donor_pair_id", "donor_group_id").sort("pair_id")
    guideline = pl.DataFrame({"text": [GUIDELINE]}).with_columns(content_id_expr(["text"]).alias("text_id"))
    name, version = INSTRUMENT.split("@")
    return Augmented(
        SOURCES.complete(pl.DataFrame({"source": [source], "terms": [f"responses of {dataset} under other prompts"]})),
        TEXTS.complete(pl.concat([texts_of(moved), guideline.select("text_id", "text")]).sort("text_id")),
        response_rows(moved), pairs_of(couples, ORIGIN),
        VOTERS.complete(pl.DataFrame({"voter": [VOTER], "kind": ["imported"], "family": [VOTER], "cost_usd": [0.0]})),
        INSTRUMENTS.complete(guideline.select("text_id", instrument=pl.lit(name), version=pl.lit(version))),
        _votes(labels, source, criterion), labels, left_out)


def _moved(good: pl.DataFrame) -> pl.DataFrame:
    """The foreign responses under their new prompt; their author is `rrm:<response>`, no policy's win or loss."""
    sides = [good.filter("is_tie").select("prompt_id", text="left_text", parent_id="left_response"),
             good.select("prompt_id", text="right_text", parent_id="right_response")]
    return with_response_ids(pl.concat(sides).with_columns(author=pl.format("rrm:{}", "parent_id")))


def _votes(labels: pl.DataFrame, source: str, criterion: str) -> pl.DataFrame:
    unshown = pl.lit(None, pl.String)
    about: list[str | pl.Expr] = [pl.lit(source), "pair_id", "pair_id", pl.lit(VOTER), pl.lit(criterion)]
    return VOTES.complete(labels.select(
        content_id_expr([*about, pl.lit(INSTRUMENT), unshown]).alias("vote_id"),
        content_id_expr(about).alias("ballot_id"), "pair_id", "p_a", "p_tie", voter=pl.lit(VOTER),
        is_abstention=pl.lit(False), n=pl.lit(1), criterion=pl.lit(criterion), instrument=pl.lit(INSTRUMENT),
        evidence="why", cost_usd=pl.lit(0.0), status=pl.lit("cast"))).sort("vote_id")
