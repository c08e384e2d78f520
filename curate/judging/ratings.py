"""Ratings of single responses and the votes in them, as UltraFeedback's attribute scores are read (Cui et al. 2023).

Each response is rated alone, one attribute per question, by a model that sees no other response.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from curate.judging.instruments import Instrument
from curate.judging.rendering import rendered
from curate.judging.scales import Scale, level_of
from curate.questions import PLAN, canonical, keyed
from schemas.errors import InputError
from schemas.ids import content_id_expr
from schemas.tables import RATINGS, VOTES

_RATER = ("voter", "attribute", "instrument")
RATING_LINKS = ("call_key", "response_id", "voter", "attribute")


def rating_questions(
    responses: pl.DataFrame, attributes: Sequence[str], judges: Sequence[tuple[str, str]], instrument: Instrument,
    parameters: Mapping[str, str | int | float],
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(plan, links): one question per distinct text and attribute and judge; links have RATING_LINKS, one per rating.

    `responses` has response_id, prompt (JSON of messages), response, and perhaps system; `judges` are (name,
    identity), and `voter` of the links is the identity. Equal texts under several responses are asked about once.
    Raises InputError for an instrument of another form.
    """
    if instrument.form != "rating":
        raise InputError(f"{instrument.id}, of the form {instrument.form}", expected="rating", next="pick another")
    asked = responses.join(pl.DataFrame({"attribute": list(attributes)}, schema={"attribute": pl.String}), how="cross")
    panel = pl.DataFrame(list(judges), schema={"voter": pl.String, "identity": pl.String}, orient="row")
    questions = keyed(rendered(asked, instrument).drop("prompt").join(panel, how="cross").with_columns(
        pl.lit(canonical(dict(parameters))).alias("parameters"),
        pl.struct("response_id", "attribute").struct.json_encode().alias("subject"),
    ).sort("response_id", "attribute", "voter"), "judge")
    plan = questions.select(PLAN).unique("call_key", keep="first", maintain_order=True)
    return plan, questions.with_columns(voter="identity").select(RATING_LINKS)


def ratings_from_calls(read: pl.DataFrame, links: pl.DataFrame, scale: Scale, asked: str) -> pl.DataFrame:
    """RATINGS of the calls that named a level, sorted by `rating_id`; `asked` is their instrument.

    `read` comes from `reading.read_verdicts`. The value is the level that was named, not the mean over the choices'
    probabilities: two responses that both get a 4 are a tie, however the fourth decimals differ. A call that failed
    or says that the attribute has no meaning here makes no rating.
    """
    levels = [level for level in scale.values() if level is not None]
    said = links.join(read.select("call_key", "verdict"), on="call_key")
    rated = said.with_columns(level_of(scale, pl.col("verdict")).alias("value")).filter(pl.col("value").is_not_null())
    about: list[str | pl.Expr] = ["response_id", "voter", pl.lit(asked)]
    return RATINGS.complete(rated.select(
        content_id_expr([pl.lit("rating"), "call_key", *about, "attribute"]).alias("rating_id"),
        content_id_expr([pl.lit("rating"), *about]).alias("ballot_id"),
        "response_id", "voter", "attribute", "value", scale_min=pl.lit(min(levels)), scale_max=pl.lit(max(levels)),
        instrument=pl.lit(asked), status=pl.lit("cast"),
    )).sort("rating_id")


def mean_ratings(ratings: pl.DataFrame, attributes: Sequence[str], criterion: str) -> pl.DataFrame:
    """RATINGS on `criterion`: the mean of `attributes`, for responses that have all of them (UltraFeedback).

    One row per (response, voter, instrument). Meant for votes; what was said stays in the ratings themselves.
    """
    named = ratings.filter(pl.col("attribute").is_in(list(attributes)), pl.col("status") == "cast").sort("rating_id")
    key = ("response_id", "voter", "instrument")
    means = named.group_by(key, maintain_order=True).agg(
        pl.col("value").mean().round(9), pl.col("scale_min", "scale_max", "ballot_id", "status").first(),
        pl.col("attribute").n_unique().alias("n"), pl.col("rating_id").str.join("|").alias("of"),
    ).filter(pl.col("n") == len(set(attributes)))
    ids = content_id_expr([pl.lit("mean"), "of", pl.lit(criterion)]).alias("rating_id")
    return RATINGS.complete(means.with_columns(ids, pl.lit(criterion).alias("attribute")).drop("n", "of"))


def unrated(wanted: pl.DataFrame, votes: pl.DataFrame) -> pl.DataFrame:
    """Abstentions on each of `wanted` (pair_id, voter, criterion, instrument) without a vote: neither side was rated.

    So that a pair on which a judge failed twice is counted as well as one on which it failed once.
    """
    key = ["pair_id", "voter", "criterion", "instrument"]
    silent = wanted.select(key).unique().join(votes, on=key, how="anti")
    about: list[str | pl.Expr] = [pl.lit("unrated"), *key]
    return VOTES.complete(silent.with_columns(
        content_id_expr([*about, pl.lit("vote")]).alias("vote_id"), content_id_expr(about).alias("ballot_id"),
        is_abstention=pl.lit(True), n=pl.lit(1), cost_usd=pl.lit(0.0), status=pl.lit("cast"),
        evidence=pl.lit("no rating of a or b"),
    )).sort("vote_id")


def votes_from_ratings(ratings: pl.DataFrame, pairs: pl.DataFrame, *, source: str = "ratings") -> pl.DataFrame:
    """One vote per (pair, voter, attribute, instrument) that rated at least one side, sorted by `vote_id`.

    `ratings` keeps the contract RATINGS (only status `cast` counts), `pairs` has pair_id, response_a, response_b.
    The higher rating wins outright, equal ratings are a tie. A side without a usable rating makes an abstention
    with the reason in `evidence`: unrated, or rated outside the scale. Several ratings of one response by one
    voter are averaged, and `evidence` says how many. `strength` is 3 times the difference in scale widths,
    rounded to an integer: above 0 when a is better. `criterion` is the attribute; ratings carry no order and no
    cost. Raises InputError when one voter uses two scales for one attribute of one instrument.
    """
    rated = _one_per_response(ratings.filter(pl.col("status") == "cast"))
    sides = pl.concat([_side(pairs, rated, side) for side in ("a", "b")])
    compared = sides.group_by("pair_id", *_RATER).agg(
        *_of_side("a"), *_of_side("b"), pl.col("width").first(),
        pl.col("rating_ids").sort_by("side").str.join("|"),
    )
    return VOTES.complete(compared.with_columns(*_opinion()).select(_vote_columns(source))).sort("vote_id")


def _one_per_response(ratings: pl.DataFrame) -> pl.DataFrame:
    width = pl.col("scale_max") - pl.col("scale_min")
    scales = ratings.group_by(_RATER).agg(pl.struct("scale_min", "scale_max").n_unique().alias("n_scales"))
    if (scales["n_scales"] > 1).any() or not ratings.select((width > 0).all()).item():
        raise InputError(
            "two scales for one attribute of one voter, or a scale of no width",
            expected="scale_min < scale_max, the same in all its ratings", next="name the attributes apart",
        )
    is_usable = pl.col("value").is_finite() & pl.col("value").is_between("scale_min", "scale_max")
    return ratings.sort("rating_id").group_by("response_id", *_RATER, maintain_order=True).agg(
        pl.col("value").filter(is_usable).mean().alias("rating"), is_usable.sum().alias("n_usable"),
        width.first().alias("width"), pl.col("rating_id").str.join(",").alias("rating_ids"),
    )


def _side(pairs: pl.DataFrame, rated: pl.DataFrame, side: str) -> pl.DataFrame:
    owner = pairs.select("pair_id", pl.lit(side).alias("side"), pl.col(f"response_{side}").alias("response_id"))
    return owner.join(rated, on="response_id").drop("response_id")


def _of_side(side: str) -> list[pl.Expr]:
    is_side = pl.col("side") == side
    return [
        pl.col("rating").filter(is_side).first().alias(f"rating_{side}"),
        pl.col("n_usable").filter(is_side).first().alias(f"n_usable_{side}"),
    ]


def _opinion() -> list[pl.Expr]:
    gap = pl.col("rating_a") - pl.col("rating_b")
    levels = 3 * gap / pl.col("width")
    n_most = pl.max_horizontal("n_usable_a", "n_usable_b")
    reason: pl.Expr = pl.when(n_most > 1).then(pl.format("mean of {} ratings of one response", n_most))
    for side in ("a", "b"):
        n_usable = pl.col(f"n_usable_{side}")
        reason = pl.when(n_usable.is_null()).then(pl.lit(f"no rating of {side}")).when(n_usable == 0).then(
            pl.lit(f"rating of {side} outside its scale")).otherwise(reason)
    return [
        (gap > 0).cast(pl.Float64).alias("p_a"), (gap == 0).cast(pl.Float64).alias("p_tie"),
        (levels.sign() * (levels.abs() + 0.5).floor()).alias("strength"),
        gap.is_null().alias("is_abstention"), reason.alias("evidence"),
    ]


def _vote_columns(source: str) -> list[pl.Expr]:
    unshown = pl.lit(None, pl.String)
    about = ["pair_id", "voter", "attribute"]
    return [
        content_id_expr([pl.lit(source), "rating_ids", *about, "instrument", unshown]).alias("vote_id"),
        content_id_expr([pl.lit(source), "instrument", *about]).alias("ballot_id"),
        *(pl.col(c) for c in ("pair_id", "voter", "p_a", "p_tie", "strength", "is_abstention", "instrument")),
        pl.lit(1).alias("n"), unshown.alias("shown_first"), pl.col("attribute").alias("criterion"),
        pl.col("evidence"),
        pl.lit(0.0).alias("cost_usd"), pl.lit("cast").alias("status"),
    ]
