"""Label: reward model and people vote on the pairs that lack their vote. Judges: flows/judging.py."""

from __future__ import annotations

import polars as pl

from curate.adapters.replay import ReplayAnnotator
from curate.consensus.folding import fold_orders
from curate.routing.allocation import choose
from curate.routing.audit import audits
from curate.routing.candidates import candidates
from curate.routing.skill import human_skill
from curate.routing.wrongness import calibrated
from flows.consensus import consensus_of, read_as_told
from flows.release import calibrate_gold
from flows.reward_models import load_incumbent, votes_of_model
from flows.rounds import Turn, now
from schemas.ids import content_id_expr, uniform_expr
from schemas.tables import ROUTES, SCORES, TASKS, VOTERS
from warehouse.store import Writer


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
    votes, scores = votes_of_model(incumbent, texts, responses, turn.recipe.criterion, turn.round_id)
    frames = {"voters": VOTERS.complete(incumbent.voter_row()), "scores": SCORES.complete(scores), "votes": votes}
    with turn.store.write("score") as writer:
        return turn.finish(writer, "score", votes.height, frames)


def route(turn: Turn) -> int:
    """Decide once per round which pairs people are asked about. The decision and its mark are one transaction."""
    with turn.store.write("route") as writer:
        as_of = int(writer.query("last_seq").item())
        # Nobody is asked about a pair whose label follows from others.
        asked = writer.query("scope_pairs", sources=turn.sources).filter(~pl.col("is_derived"))
        votes = turn.current_votes(writer, as_of).join(asked, on="pair_id", how="semi", maintain_order="left")
        voters = writer.query("all_voters")
        texts = writer.query("pair_texts", {"wanted": asked})
        buyable = _buyable(turn, writer)
        audited = writer.query("audit_routes", dataset=turn.recipe.dataset)
        gold = calibrate_gold(turn, writer)
    votes, _ = read_as_told(votes, voters, gold, texts, turn.recipe.judging)
    has_people = turn.recipe.people.engine != "none"
    routes = _choose(turn, votes, voters, texts, buyable, audited) if has_people else ROUTES.empty()
    with turn.store.write("route") as writer:
        return turn.finish(writer, "route", routes.height, {"routes": routes})


def send(turn: Turn) -> int:
    """A task for every route to a person that has none, sides shuffled by content."""
    with turn.store.write("send") as writer:
        routes = writer.query("routes_to_send", dataset=turn.recipe.dataset, sources=turn.sources)
        annotator = turn.engines.annotate(*_recorded(turn, writer))
    if annotator is None or routes.height == 0:
        with turn.store.write("send") as writer:
            return turn.finish(writer, "send", 0, {})
    queue = turn.recipe.people.engine
    is_a_first = uniform_expr(turn.recipe.seed, [pl.lit("shown_first"), "route_id"]) < 0.5
    tasks = routes.with_columns(
        content_id_expr(["route_id", pl.lit(queue)]).alias("task_key"),
        queue=pl.lit(queue), system=pl.lit(queue), is_prefilled=pl.lit(False), sent_at=pl.lit(now()),
        shown_first=pl.when(is_a_first).then(pl.lit("a")).otherwise(pl.lit("b")),
    )
    sent = annotator.send(tasks)
    with turn.store.write("send") as writer:
        return turn.finish(writer, "send", tasks.height, {"tasks": TASKS.complete(tasks.join(sent, on="task_key"))})


def collect(turn: Turn) -> int:
    """Votes of people on open tasks, with the end of each task, in one transaction."""
    with turn.store.write("collect") as writer:
        tasks = writer.query("open_tasks", dataset=turn.recipe.dataset)
        annotator = turn.engines.annotate(*_recorded(turn, writer))
    if annotator is None or tasks.height == 0:
        with turn.store.write("collect") as writer:
            return turn.finish(writer, "collect", 0, {})
    votes, answers = annotator.collect(tasks)
    frames = {"voters": annotator.voters(), "votes": votes, "answers": answers}
    with turn.store.write("collect") as writer:
        return turn.finish(writer, "collect", votes.height, frames)


def _recorded(turn: Turn, writer: Writer) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What the replay annotator knows: recorded votes in scope, and which of them were bought."""
    recorded = writer.query("recorded_votes", criterion=turn.recipe.criterion, sources=turn.sources)
    return recorded, writer.query("sold_votes")


def _buyable(turn: Turn, writer: Writer) -> pl.DataFrame | None:
    """(pair_id, n) still for sale; None where people are not a stock of recorded votes."""
    annotator = turn.engines.annotate(*_recorded(turn, writer))
    return annotator.n_buyable() if isinstance(annotator, ReplayAnnotator) else None


def _choose(
    turn: Turn, votes: pl.DataFrame, voters: pl.DataFrame, texts: pl.DataFrame, buyable: pl.DataFrame | None,
    audited: pl.DataFrame,
) -> pl.DataFrame:
    """Routes of this round; from 100 audits on, P(label is wrong) is learned from them."""
    evidence = fold_orders(votes, voters, turn.recipe.judging.margin)
    posteriors = consensus_of(evidence, turn.recipe.consensus.method).posteriors
    skill = human_skill(evidence)
    said = audited.select("route_id", p_a="said_p_a", p_tie="said_p_tie")
    seen = audits(audited.select(*ROUTES.schema), said)
    pool = calibrated(candidates(posteriors, evidence, texts, buyable=buyable), seen, skill)
    return choose(pool, turn.recipe.routing, skill, turn.recipe.people.cost_usd, turn.round_id, turn.seed("route"))
