"""Label: the reward model votes on the pairs that lack its vote, and the pairs for people are chosen.

Judges: flows/judging.py. People: flows/people.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from curate.adapters.replay import ReplayAnnotator
from curate.consensus.folding import fold_orders
from curate.routing.allocation import People, decide
from curate.routing.candidates import candidates, margins_of
from curate.routing.diversity import clusters
from curate.routing.escalation import first_votes
from curate.routing.novelty import novelty
from curate.routing.pace import seconds_per_vote
from curate.routing.skill import human_skill
from curate.routing.voices import voices
from curate.routing.wrongness import calibrated
from flows.consensus import consensus_of, read_as_told
from flows.counting import attention_gold, counted_votes
from flows.release import calibrate_gold
from flows.reward_models import load_incumbent, opinions_of
from flows.rounds import Turn
from flows.scoring import Scene, scored
from schemas.tables import ROUTES, SCORES, VOTERS
from warehouse.store import Writer


@dataclass(frozen=True)
class Standing:
    """What is known of the pairs that people may be asked about, as of now."""

    evidence: pl.DataFrame
    """contract EVIDENCE, as the recipe reads its votes"""
    votes: pl.DataFrame
    """the current votes behind it"""
    told: pl.DataFrame
    """the same, as the recipe reads them: calibrated, slight long wins tied"""
    voters: pl.DataFrame
    texts: pl.DataFrame
    """pair_id, group_id, prompt, text_a, text_b of every pair in scope whose label follows from no other"""
    pairs: pl.DataFrame
    """pair_id, response_a, response_b of the same"""


@dataclass(frozen=True)
class Stock:
    """What can be asked of people, beside what is known of the pairs."""

    buyable: pl.DataFrame | None
    """(pair_id, n) recorded votes still for sale; None: people are no stock of recorded votes"""
    excluded: Sequence[str]
    """pairs whose task is still open, whose answer counts when it comes, and gold put before people"""
    sources: pl.DataFrame
    """(pair_id, source)"""


@dataclass(frozen=True)
class Wave:
    """Which part of a round's routes is decided: those after `already`, at most `limit`; by default all of them."""

    already: pl.DataFrame = field(default_factory=ROUTES.empty)
    """ROUTES of the round, with is_answered and is_charged"""
    limit: int | None = None
    n_steps: int = 0
    """votes of escalation that the round's budget has paid for"""


def score(turn: Turn) -> int:
    """The promoted reward model's vote on every pair in scope that lacks it, out of fold where it was trained."""
    with turn.store.write("score") as writer:
        incumbent = load_incumbent(writer, turn)
        if incumbent is None:
            return turn.finish(writer, "score", 0, {})
        todo = writer.query(
            "pairs_to_score", sources=turn.sources, voter=incumbent.voter, criterion=turn.recipe.criterion
        )
        texts = writer.query("pair_texts", {"wanted": todo})
        responses = writer.query("pair_responses", {"wanted": todo})
    votes, scores = opinions_of(turn, incumbent, texts, responses)
    frames = {"voters": VOTERS.complete(incumbent.voter_row()), "scores": SCORES.complete(scores), "votes": votes}
    with turn.store.write("score") as writer:
        return turn.finish(writer, "score", votes.height, frames)


def route(turn: Turn) -> int:
    """Decide which pairs people are asked about, or asked about first. Decision and mark are one transaction."""
    routes = routes_of(turn, Wave(limit=turn.recipe.routing.open_votes or None))
    with turn.store.write("route") as writer:
        return turn.finish(writer, "route", routes.height, {"routes": routes})


def routes_of(turn: Turn, wave: Wave) -> pl.DataFrame:
    """Frame ROUTES: whom this round asks next. Pairs that are under way for other rounds wait."""
    if turn.recipe.people.engine == "none":
        return ROUTES.empty()
    with turn.store.write("route") as writer:
        standing = standing_of(turn, writer)
        under_way = set(writer.query("pairs_under_way", dataset=turn.recipe.dataset)["pair_id"])
        excluded = (*sorted(under_way - set(wave.already["pair_id"])), *attention_gold(turn, writer)["pair_id"])
        stock = Stock(_buyable(turn, writer), excluded, _sources_of(turn, writer))
        steering = _steering(turn, writer)
    return _choose(turn, standing, stock, steering, wave)


def standing_of(turn: Turn, writer: Writer) -> Standing:
    """Evidence on every pair that people may be asked about: nobody is asked where the label follows from others."""
    as_of = int(writer.query("last_seq").item())
    asked = writer.query("scope_pairs", sources=turn.sources).filter(~pl.col("is_derived"))
    votes = turn.current_votes(writer, as_of).join(asked, on="pair_id", how="semi", maintain_order="left")
    voters = writer.query("all_voters")
    votes = counted_votes(turn, writer, votes, voters)
    texts = writer.query("pair_texts", {"wanted": asked})
    told, _ = read_as_told(votes, voters, calibrate_gold(turn, writer), texts, turn.recipe.judging)
    pairs = writer.query("pair_responses", {"wanted": asked})
    return Standing(fold_orders(told, voters, turn.recipe.judging.margin), votes, told, voters, texts, pairs)


def posteriors_of(turn: Turn, standing: Standing) -> pl.DataFrame:
    """POSTERIORS under the recipe's consensus."""
    return consensus_of(standing.evidence, turn.recipe.consensus.method, votes=standing.told, voters=standing.voters,
                        pairs=standing.pairs).posteriors


def without_people(standing: Standing) -> Standing:
    """What would be known had no person voted."""
    human = standing.voters.filter(pl.col("kind") == "human")["voter"].implode()
    return replace(standing, evidence=standing.evidence.filter(pl.col("kind") != "human"),
                   votes=standing.votes.filter(~pl.col("voter").is_in(human)),
                   told=standing.told.filter(~pl.col("voter").is_in(human)))


def recorded_of(turn: Turn, writer: Writer) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What the replay annotator knows: recorded votes in scope, and which of them were bought."""
    recorded = writer.query("recorded_votes", criterion=turn.recipe.criterion, sources=turn.sources)
    return recorded, writer.query("sold_votes")


def _buyable(turn: Turn, writer: Writer) -> pl.DataFrame | None:
    """(pair_id, n) still for sale; None where people are not a stock of recorded votes."""
    annotator = turn.engines.annotate(*recorded_of(turn, writer))
    return annotator.n_buyable() if isinstance(annotator, ReplayAnnotator) else None


def _steering(turn: Turn, writer: Writer) -> pl.DataFrame:
    """Gold that says where the reward model errs; read only where the recipe routes by it."""
    if turn.recipe.routing.method != "retrieval":
        return pl.DataFrame(schema={"pair_id": pl.String})
    return writer.query("calibrate_gold", criterion=turn.recipe.criterion, sources=turn.sources)


def _sources_of(turn: Turn, writer: Writer) -> pl.DataFrame:
    """(pair_id, source) where the recipe names several: of a pair that two hold, the first by name."""
    none = pl.DataFrame(schema={"pair_id": pl.String, "source": pl.String})
    if len(turn.sources) < 2:
        return none
    held = (writer.query("scope_pairs", sources=[name]).select("pair_id", source=pl.lit(name))
            for name in sorted(turn.sources))
    return pl.concat([none, *held]).unique("pair_id", keep="first", maintain_order=True)


def _pool(
    turn: Turn, standing: Standing, posteriors: pl.DataFrame, stock: Stock, skill: float
) -> pl.DataFrame:
    """CANDIDATES with what is believed of them, learned from what people have said so far."""
    known = novelty(standing.texts).join(stock.sources, on="pair_id", how="left")
    if turn.recipe.routing.diversity > 0:
        known = known.join(clusters(standing.texts), on="pair_id", how="left")
    found = candidates(posteriors, standing.evidence, standing.texts, margins=margins_of(standing.evidence),
                       buyable=stock.buyable, excluded=stock.excluded, known=known)
    spoken = voices(standing.evidence, posteriors_of(turn, without_people(standing)),
                    is_majority=turn.recipe.consensus.method == "majority")
    return calibrated(found, spoken, skill)


def pace(turn: Turn, standing: Standing) -> float:
    """Seconds of one vote: what people took, or what the recipe says while too few were timed."""
    human = standing.voters.filter(pl.col("kind") == "human")
    timed = standing.votes.join(human, on="voter", how="semi")
    return seconds_per_vote(timed, turn.recipe.people.seconds_per_vote)


def _choose(turn: Turn, standing: Standing, stock: Stock, gold: pl.DataFrame, wave: Wave) -> pl.DataFrame:
    """Routes of this round."""
    evidence, cost, seconds = standing.evidence, turn.recipe.people.cost_usd, pace(turn, standing)
    rule = first_votes(turn.recipe.routing, wave.n_steps, cost, seconds)
    skill, posteriors = human_skill(evidence), posteriors_of(turn, standing)
    pool = _pool(turn, standing, posteriors, stock, skill)
    rule, scores = scored(turn, rule, Scene(evidence, posteriors, standing.texts, pool, gold))
    found = decide(pool, rule, People(skill, cost, seconds), turn.round_id, turn.seed("route"), scores=scores,
                   already=wave.already, limit=wave.limit)
    if found.stopped and (wave.limit is None or found.routes.height < wave.limit):
        turn.say(f"route: {found.stopped}")
    return found.routes
