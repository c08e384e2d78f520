"""Training-free voters in a round: the log-density ratio of two models, and follow-up likelihood.

They score one response at a time, so they are of the kind `reward_model`; their family is that of the model they read
(the strong one), since a judge on the same base shares its errors.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from curate.judging import density_ratio, follow_up
from curate.judging.likelihoods import score_rows, spread, votes_from_scores, with_margins
from flows.asking import ask
from flows.rounds import Turn
from flows.verifiers import both_responses
from schemas.tables import VOTERS


@dataclass(frozen=True)
class Scorer:
    """One training-free voter of the recipe."""

    voter: str
    instrument: str
    models: tuple[str, ...]
    """names of the models it asks; the first gives the family"""


def scorers_of(turn: Turn) -> list[Scorer]:
    """The training-free voters that the recipe names."""
    judging, identity = turn.recipe.judging, turn.engines.identity
    found = []
    if judging.density_ratio:
        voter = density_ratio.density_voter(*(identity(name) for name in judging.density_ratio))
        found.append(Scorer(voter, density_ratio.INSTRUMENT, judging.density_ratio))
    if judging.follow_up:
        voter = follow_up.follow_up_voter(identity(judging.follow_up))
        found.append(Scorer(voter, follow_up.INSTRUMENT, (judging.follow_up,)))
    return found


def likelihood_members(turn: Turn) -> list[tuple[str, str]]:
    """(voter, instrument) of the training-free voters that the recipe names."""
    return [(scorer.voter, scorer.instrument) for scorer in scorers_of(turn)]


def weigh(turn: Turn) -> dict[str, pl.DataFrame]:
    """Frames `voters`, `scores` and `votes` of the training-free voters, ready to be appended; {} when there is none.

    The spread that turns margins into p is taken over all pairs in scope, so a pair that comes later is read on the
    scale of the whole; known answers are not paid for again.
    """
    each = [_votes_of(turn, scorer) for scorer in scorers_of(turn)]
    if not each:
        return {}
    return {name: pl.concat([frames[name] for frames in each]) for name in each[0]}


def _votes_of(turn: Turn, scorer: Scorer) -> dict[str, pl.DataFrame]:
    panel = pl.DataFrame({"voter": [scorer.voter], "instrument": [scorer.instrument]})
    with turn.store.write("likelihoods") as writer:
        wanted = writer.query("pairs_without_vote", {"panel": panel}, sources=turn.sources,
                              criterion=turn.recipe.criterion)
        pairs = writer.query("responses_of_pairs_in_scope", sources=turn.sources) if wanted.height else wanted
        responses = writer.query("responses_with_texts", {"wanted": both_responses(pairs)})
    scores = _scores(turn, scorer, responses)
    votes = votes_from_scores(
        wanted, scores, voter=scorer.voter, instrument=scorer.instrument, criterion=turn.recipe.criterion,
        round_id=turn.round_id, scale=spread(with_margins(pairs, scores)["margin"]),
    )
    rows = score_rows(scores, scorer.voter, scorer.instrument)
    return {"voters": _voter_row(turn, scorer), "scores": rows, "votes": votes}


def _scores(turn: Turn, scorer: Scorer, responses: pl.DataFrame) -> pl.DataFrame:
    models = [(name, turn.engines.identity(name)) for name in scorer.models]
    if scorer.instrument == follow_up.INSTRUMENT:
        plan, links = follow_up.follow_up_questions(responses, models[0])
        return follow_up.follow_up_scores(ask(turn, "likelihood", plan), links)
    plan, links = density_ratio.density_questions(responses, models[0], models[1])
    return density_ratio.density_scores(ask(turn, "likelihood", plan), links)


def _voter_row(turn: Turn, scorer: Scorer) -> pl.DataFrame:
    serve = turn.engines.serve
    known = serve.voters() if serve else VOTERS.empty()
    family = known.filter(pl.col("voter") == scorer.models[0])["family"].item()
    return VOTERS.complete(pl.DataFrame([{
        "voter": scorer.voter, "kind": "reward_model", "family": family, "model": scorer.voter, "cost_usd": 0.0,
    }]))
