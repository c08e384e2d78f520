"""Reward models in a round: load the promoted one, make it a voter, keep it out of its own training groups.

A model is a head on features, which scores in this process and has a head for every fold, or a language model
(`flows/trained.py`), which is asked over a server and has no opinion of what it was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from curate.adapters.trainer import load_model
from curate.rewards.bundle import RewardModel, votes_of
from curate.rewards.language_models import TEMPLATE as CHAT
from flows.rounds import Turn
from flows.trained import Trained, scores_of_pairs, trained_from, untaught
from schemas.ids import content_id_expr
from schemas.tables import COMPARISONS, SCORES, VOTES
from warehouse.store import Writer

TEMPLATE = "prompt-response@1"


@dataclass(frozen=True)
class Incumbent:
    """A head on features and its row in `models`."""

    name: str
    family: str
    model: RewardModel

    @property
    def voter(self) -> str:
        """The voter's name."""
        return f"rm/{self.name}"

    def voter_row(self) -> pl.DataFrame:
        """Frame `voters`. All models on the same features are one family: their errors are shared."""
        return pl.DataFrame([{
            "voter": self.voter, "kind": "reward_model", "family": self.family, "model": self.name, "cost_usd": 0.0,
        }])


def load_incumbent(writer: Writer, turn: Turn) -> Incumbent | Trained | None:
    """The reward model promoted last for this dataset; None before the first promotion."""
    return _loaded(turn, writer.query("incumbent", dataset=turn.recipe.dataset))


def load_named(writer: Writer, turn: Turn, model: str) -> Incumbent | Trained | None:
    """A reward model by its name; None when there is none of that name."""
    return _loaded(turn, writer.query("model_of", model=model))


def _loaded(turn: Turn, rows: pl.DataFrame) -> Incumbent | Trained | None:
    if rows.height == 0:
        return None
    row = rows.row(0, named=True)
    if row["kind"] == "trl":
        return trained_from(row)
    return Incumbent(row["model"], row["family"], load_model(turn.store.workspace.root / row["uri"], row["sha256"]))


def score_pairs(model: RewardModel, texts: pl.DataFrame) -> pl.DataFrame:
    """(pair_id, score_a, score_b, fold, is_out_of_fold) of pairs with texts, by pair id."""
    return model.score(_unlabelled(texts))


def _unlabelled(texts: pl.DataFrame) -> pl.DataFrame:
    """Frame `comparisons` for scoring, by pair id: labels are not looked at."""
    labels = [pl.lit(0.5).alias("p_a"), pl.lit(0.0).alias("p_tie"), pl.lit(1.0).alias("weight")]
    return COMPARISONS.complete(texts.with_columns(labels).sort("pair_id"))


def opinions_of(
    turn: Turn, model: Incumbent | Trained, texts: pl.DataFrame, responses: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Frames `votes` and `scores` of a reward model on pairs with texts and (pair_id, response_a, response_b).

    A pair that it trained on and has no head for that did not see it gets no vote, nor one that it cannot read.
    Raises RefusedError when a language model has to be asked and nobody serves it.
    """
    if isinstance(model, Trained):
        return _votes_of_trained(turn, model, texts, responses), SCORES.empty()
    return votes_of_model(model, texts, responses, turn.recipe.criterion, turn.round_id)


def _votes_of_trained(turn: Turn, model: Trained, texts: pl.DataFrame, responses: pl.DataFrame) -> pl.DataFrame:
    """Frame `votes`; what it was asked for is in `scores` already."""
    with turn.store.write("score") as writer:
        asked = untaught(writer, model, texts.select("pair_id", "group_id"))
    if texts.height > asked.height:
        n = texts.height - asked.height
        turn.say(f"score: no vote of {model.voter} on {n:,} pairs of groups that it was trained on")
    if asked.is_empty():
        return VOTES.empty()
    scores = scores_of_pairs(turn, model, responses.join(asked, on="pair_id", how="semi"))
    read = scores.drop_nulls()
    if read.height < scores.height:
        turn.say(f"score: no vote of {model.voter} on {scores.height - read.height:,} pairs that it could not read")
    return _vote_rows(votes_of(read, model.scale), model.voter, CHAT, turn.recipe.criterion, turn.round_id)


def votes_of_model(
    incumbent: Incumbent, texts: pl.DataFrame, responses: pl.DataFrame, criterion: str, round_id: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Frames `votes` and `scores` of a head on features: see `opinions_of`."""
    comparisons = _unlabelled(texts)
    answerable = texts.sort("pair_id").filter(incumbent.model.can_score(comparisons))
    if answerable.height == 0:
        return VOTES.empty(), SCORES.empty()
    scored = score_pairs(incumbent.model, answerable)
    votes = _vote_rows(votes_of(scored, incumbent.model.scale), incumbent.voter, TEMPLATE, criterion, round_id)
    return votes, _score_rows(incumbent, scored.join(responses, on="pair_id"))


def _vote_rows(opinions: pl.DataFrame, voter: str, template: str, criterion: str, round_id: str) -> pl.DataFrame:
    """Frame `votes` of opinions (pair_id, p_a, p_tie)."""
    key: list[str | pl.Expr] = [
        pl.lit("reward_model"), pl.lit(template), "pair_id", pl.lit(voter), pl.lit(criterion),
    ]
    votes = opinions.select(
        content_id_expr([*key, pl.lit(None, dtype=pl.String), pl.lit(None, dtype=pl.String)]).alias("vote_id"),
        content_id_expr(key).alias("ballot_id"),
        "pair_id", "p_a", "p_tie", voter=pl.lit(voter), is_abstention=pl.lit(False), n=pl.lit(1),
        criterion=pl.lit(criterion), cost_usd=pl.lit(0.0), status=pl.lit("cast"), round_id=pl.lit(round_id),
    )
    return VOTES.complete(votes)


def _score_rows(incumbent: Incumbent, scored: pl.DataFrame) -> pl.DataFrame:
    sides = [
        scored.select("fold", "is_out_of_fold", response_id=f"response_{side}", score=f"score_{side}")
        for side in ("a", "b")
    ]
    rows = pl.concat(sides).unique("response_id", keep="first", maintain_order=True)
    return rows.with_columns(model=pl.lit(incumbent.name), template=pl.lit(TEMPLATE))
