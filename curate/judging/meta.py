"""The meta-judge: verdicts given with reasons are reviewed, and a refuted one is an abstention.

After Meta-Rewarding Language Models (Wu et al. 2024), where a judge judges judgements. Assumed here: the review is a
yes-no question about one verdict in the order in which it was given, and it can only silence a vote, never turn it.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from curate.consensus.outcomes import expected_win
from curate.judging.instruments import Instrument
from curate.judging.reading import with_levels
from curate.judging.rendering import rendered
from curate.judging.scales import Scale
from curate.questions import PLAN, canonical, keyed
from schemas.errors import InputError
from schemas.tables import VOTES

META_LINKS = ("call_key", "vote_id")
EVEN = 0.05
"""an expected win so near to one half is called a tie"""


def meta_questions(
    votes: pl.DataFrame, pairs: pl.DataFrame, reviewer: tuple[str, str], instrument: Instrument,
    parameters: Mapping[str, str | int | float],
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(plan, links): is the verdict justified? One question per vote with a rationale.

    `votes` keeps the contract VOTES; abstentions and votes without a rationale are not asked about. `pairs` has
    pair_id, prompt (JSON of messages), text_a, text_b, and perhaps system; `reviewer` is (name, identity). Links have
    META_LINKS. Raises InputError for an instrument that is not of the form meta.
    """
    if instrument.form != "meta":
        raise InputError(f"{instrument.id}, of the form {instrument.form}", expected="meta", next="pick another")
    reasoned = votes.filter(~pl.col("is_abstention"), pl.col("rationale").is_not_null())
    texts = pairs.select("pair_id", "prompt", "text_a", "text_b", *(c for c in ("system",) if c in pairs.columns))
    shown = reasoned.select("vote_id", "pair_id", "shown_first", "rationale", "p_a", "p_tie").join(
        texts.unique("pair_id"), on="pair_id").with_columns(*_in_order_shown()).sort("vote_id")
    name, identity = reviewer
    questions = keyed(rendered(shown, instrument).drop("prompt").with_columns(
        pl.lit(name).alias("voter"), pl.lit(identity).alias("identity"),
        pl.lit(canonical(dict(parameters))).alias("parameters"),
        pl.struct("vote_id").struct.json_encode().alias("subject"),
    ), "judge")
    plan = questions.select(PLAN).unique("call_key", keep="first", maintain_order=True)
    return plan, questions.select(META_LINKS)


def apply_meta(
    votes: pl.DataFrame, read: pl.DataFrame, links: pl.DataFrame, scale: Scale, identity: str
) -> pl.DataFrame:
    """`votes` with those that the reviewer refutes made abstentions: same rows, same order.

    `read` comes from `reading.read_verdicts` on the reviewer's calls. Refuted: P(justified) is below one half. Then p
    and strength are null and `evidence` says "refuted by <identity>" with the probability; rationale and call stay.
    A review that failed, or that cannot judge, lets the vote stand.
    """
    levels = with_levels(read, scale).select("call_key", "level")
    reviewed = links.join(levels, on="call_key").select("vote_id", "level")
    joined = votes.join(reviewed, on="vote_id", how="left", maintain_order="left")
    is_refuted = (pl.col("level") < 0.5).fill_null(False)
    note = pl.format("refuted by {} (p = {})", pl.lit(identity), (1 - pl.col("level")).round(3))
    silenced = [pl.when(~is_refuted).then(c).alias(c) for c in ("p_a", "p_tie", "strength")]
    return VOTES.complete(joined.with_columns(
        *silenced, (pl.col("is_abstention") | is_refuted).alias("is_abstention"),
        pl.when(is_refuted).then(note).otherwise("evidence").alias("evidence"),
    ).select(votes.columns))


def _in_order_shown() -> list[pl.Expr]:
    """Columns first, second, verdict: as the judge saw the texts, and what it said in words."""
    is_b_first = pl.col("shown_first") == "b"
    win = expected_win(pl.col("p_a"), pl.col("p_tie"))
    for_first = pl.when(is_b_first).then(1 - win).otherwise(win)
    words = (
        pl.when(for_first > 0.5 + EVEN).then(pl.lit("Response 1 is better."))
        .when(for_first < 0.5 - EVEN).then(pl.lit("Response 2 is better."))
        .otherwise(pl.lit("They are about equally good."))
    )
    return [
        pl.when(is_b_first).then("text_b").otherwise("text_a").alias("first"),
        pl.when(is_b_first).then("text_a").otherwise("text_b").alias("second"), words.alias("verdict"),
    ]
