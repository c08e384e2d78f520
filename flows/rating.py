"""Attribute ratings in a round: each judge rates each response alone, and the better rated one gets its vote."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import polars as pl

from curate.judging.instruments import Instrument, shipped_instrument
from curate.judging.ratings import mean_ratings, rating_questions, ratings_from_calls, unrated, votes_from_ratings
from curate.judging.reading import read_verdicts
from flows.asking import ask
from flows.rounds import Turn
from flows.verifiers import both_responses
from schemas.ids import content_id

INSTRUMENT = "rating@1"
PARAMETERS = {"temperature": 0.0}
"""one answer per question, so it is the likeliest one"""


def rating_members(turn: Turn) -> list[tuple[str, str]]:
    """(voter, instrument) under which the recipe's served judges rate; [] when nothing is rated."""
    return [(voter, _asked(turn)) for _, voter in raters_of(turn)] if turn.recipe.judging.rate else []


def rate(turn: Turn, allowed: Collection[str] | None = None) -> dict[str, pl.DataFrame]:
    """Frames `ratings` and `votes` of the recipe's served judges on `judging.rate`, ready to be appended.

    `allowed` are the identities of judges that may vote, all by default: one that failed its examination does not
    rate either. A vote's criterion is its attribute. The mean of all attributes votes on the recipe's own criterion,
    unless that is one of the attributes (UltraFeedback). The judges' rows in `voters` are the judge stage's.
    """
    raters = [(name, voter) for name, voter in raters_of(turn) if allowed is None or voter in allowed]
    if not raters or not turn.recipe.judging.rate:
        return {}
    members = [(voter, _asked(turn)) for _, voter in raters]
    panel = pl.DataFrame(members, schema={"voter": pl.String, "instrument": pl.String}, orient="row")
    attributes = list(turn.recipe.judging.rate)
    with turn.store.write("rate") as writer:
        wanted = writer.query("pairs_without_vote", {"panel": panel}, sources=turn.sources, criterion=attributes[0])
        responses = writer.query("responses_with_texts", {"wanted": both_responses(wanted)})
    ratings, links = rated(turn, responses, raters)
    return {"ratings": ratings, "votes": _votes(turn, wanted, ratings, links)}


def rated(
    turn: Turn, responses: pl.DataFrame, raters: Sequence[tuple[str, str]]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(frame `ratings`, links to their calls) of (name, identity) raters on `judging.rate`, asked where not known.

    `responses` has response_id, prompt (JSON of messages), system, response.
    """
    instrument = shipped_instrument(INSTRUMENT)
    plan, links = rating_questions(responses, list(turn.recipe.judging.rate), raters, instrument, PARAMETERS)
    read = read_verdicts(ask(turn, "judge", plan), instrument)
    return ratings_from_calls(read, links, instrument.scale, _asked(turn)), links


def _votes(turn: Turn, wanted: pl.DataFrame, ratings: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
    attributes, criterion = list(turn.recipe.judging.rate), turn.recipe.criterion
    every = [ratings] if criterion in attributes else [ratings, mean_ratings(ratings, attributes, criterion)]
    pairs = wanted.select("pair_id", "response_a", "response_b").unique("pair_id").sort("pair_id")
    voted = votes_from_ratings(pl.concat(every), pairs)
    criteria = pl.DataFrame({"criterion": list(dict.fromkeys([*attributes, criterion]))})
    votes = pl.concat([voted, unrated(wanted.join(criteria, how="cross"), voted)])
    # Whose question it was decides whether a vote counts, and only a vote with a call is asked for its question.
    first = links.group_by("response_id", "voter").agg(pl.col("call_key").min())
    called = pairs.join(first, left_on="response_a", right_on="response_id").select("pair_id", "voter", "call_key")
    return votes.drop("call_key", "round_id").join(called, on=["pair_id", "voter"], how="left").with_columns(
        pl.lit(turn.round_id).alias("round_id")).select(voted.columns)


def raters_of(turn: Turn) -> list[tuple[str, str]]:
    """(name, identity) of served judges: a simulated one reads pairs only."""
    names = [name for name in turn.recipe.judging.judges if turn.engines.is_served(name)]
    return [(name, turn.engines.identity(name)) for name in names]


def _asked(turn: Turn) -> str:
    """Instrument of ratings and their votes: another wording or set of attributes is another one."""
    instrument: Instrument = shipped_instrument(INSTRUMENT)
    return f"{instrument.id}/{content_id(instrument.text_id, *turn.recipe.judging.rate)[:8]}"
