"""Judge: both orders of every judge on every pair in scope that lacks its ballot."""

from __future__ import annotations

import json
from collections.abc import Sequence

import polars as pl

from curate.engines import CallRequest, one_per_call
from curate.judging.reading import read_verdicts, votes_from_verdicts
from curate.judging.verdicts import Parameters, link_calls, plan_calls, plan_served, votes_from_calls
from curate.questions import requests_of
from flows.asking import ask
from flows.calling import make_calls, recorded_calls
from flows.context import context_of
from flows.examining import qualified
from flows.likelihoods import weigh
from flows.panel import Member, instrument_of, judges_of
from flows.rating import rate
from flows.reviewing import reviewed
from flows.rounds import Turn
from flows.verifiers import verify
from schemas.errors import RecipeError
from schemas.tables import TABLES, VOTERS, VOTES


def judge(turn: Turn) -> int:
    """Votes of the panel on the pairs in scope that it has not judged under its question.

    Judges are examined first where the recipe asks for it. Beside them vote verifiers, ratings and scorers that
    need no training. Raises CallFailedError or SpendLimitError with every answer so far recorded.
    """
    members = examined(turn)
    frames = [_ballots(turn, members), verify(turn), rate(turn, {m.voter for m in members}), weigh(turn)]
    votes = pl.concat([VOTES.empty(), *(frame["votes"] for frame in frames if "votes" in frame)])
    with turn.store.write("judge") as writer:
        return turn.finish(writer, "judge", votes.height, merged(frames))


def examined(turn: Turn) -> list[Member]:
    """The recipe's judges that may vote, their rows in `voters` appended."""
    members = judges_of(turn)
    if not members:
        return []
    with turn.store.write("judge") as writer:
        writer.append({"voters": voters_of(turn, members)})

    def ask_pairs(pairs: pl.DataFrame, asked: Sequence[Member]) -> pl.DataFrame:
        return judged(turn, pairs.join(pl.DataFrame({"judge": [m.voter for m in asked]}), how="cross"), asked)

    allowed = qualified(turn, members, ask_pairs)
    return [m for m in members if m.voter in allowed]


def _ballots(turn: Turn, members: Sequence[Member]) -> dict[str, pl.DataFrame]:
    """Frame `votes` of judges on whatever they have not judged yet."""
    if not members:
        return {}
    panel = pl.DataFrame({"voter": [m.voter for m in members], "instrument": [m.instrument for m in members]})
    with turn.store.write("judge") as writer:
        todo = writer.query(
            "pairs_to_judge", {"panel": panel.unique(maintain_order=True)}, sources=turn.sources,
            criterion=turn.recipe.criterion,
        )
    return {"votes": judged(turn, todo, members)}


def merged(frames: Sequence[dict[str, pl.DataFrame]]) -> dict[str, pl.DataFrame]:
    """Frames of several voters by table; a row that two of them have is there once."""
    tables = dict.fromkeys(name for frame in frames for name in frame)
    found = {name: [TABLES[name].complete(frame[name]) for frame in frames if name in frame] for name in tables}
    return {name: pl.concat(rows).unique(TABLES[name].key, keep="first", maintain_order=True)
            for name, rows in found.items()}


def judged(turn: Turn, todo: pl.DataFrame, members: Sequence[Member]) -> pl.DataFrame:
    """Frame `votes` of the members on rows (pair with texts, `judge` = who is asked), through the call cache."""
    served = [m for m in members if turn.engines.is_served(m.name)]
    simulated = [m for m in members if not turn.engines.is_served(m.name)]
    votes = [VOTES.empty()]
    if simulated:
        votes.append(_by_simulated(turn, todo, simulated))
    if served:
        votes.append(_by_served(turn, todo, served))
    return pl.concat(votes)


def to_ask(
    turn: Turn, todo: pl.DataFrame, members: Sequence[Member], context: pl.DataFrame | None = None
) -> list[CallRequest]:
    """Every call that judging the rows needs, known ones included, with `context` beside each pair."""
    served = [m for m in members if turn.engines.is_served(m.name)]
    plans = [_plan(todo, m)[0] for m in members if m not in served]
    questions = requests_of(_served_plan(turn, todo, served, context)[0]) if served else []
    return one_per_call([*questions, *(request for plan in plans for request in _requests(plan))])


def voters_of(turn: Turn, members: Sequence[Member]) -> pl.DataFrame:
    """Frame `voters` of judges, each under the identity of the model that is served."""
    engines = [engine for engine in (turn.engines.judge, turn.engines.serve) if engine is not None]
    known = pl.concat([VOTERS.empty(), *(engine.voters() for engine in engines)])
    wanted = pl.DataFrame({"voter": [m.name for m in members], "identity": [m.voter for m in members]})
    rows = wanted.join(known, on="voter", how="inner").drop("voter").rename({"identity": "voter"})
    if rows.height < wanted.height:
        raise RecipeError(f"judges {wanted['voter'].to_list()}", expected=f"some of {known['voter'].to_list()}")
    return VOTERS.complete(rows.unique("voter", maintain_order=True))


def _by_served(turn: Turn, todo: pl.DataFrame, members: Sequence[Member]) -> pl.DataFrame:
    """Votes of served models: the instrument is rendered, the answer constrained, the verdict read out of it."""
    instrument = instrument_of(turn.store.workspace, turn.recipe.judging.instrument)
    plan, links = _served_plan(turn, todo, members, context_of(turn, todo, instrument))
    read = read_verdicts(ask(turn, "judge", plan), instrument)
    votes = votes_from_verdicts(read, links, instrument.scale, criterion=turn.recipe.criterion)
    return reviewed(turn, votes, todo)


def _served_plan(
    turn: Turn, todo: pl.DataFrame, members: Sequence[Member], context: pl.DataFrame | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Questions to all members at once, and the links by which answers become votes of their identities."""
    instrument = instrument_of(turn.store.workspace, turn.recipe.judging.instrument)
    each = [
        plan_served(
            todo.filter(pl.col("judge") == m.voter).drop("judge"), [(m.name, m.voter)], instrument,
            _parameters(turn, is_reasoned=instrument.verdict == "reasoned"), n_samples=turn.recipe.judging.n_samples,
            context=_of_pairs(context, todo.filter(pl.col("judge") == m.voter)),
        )
        for m in members
    ]
    links = [
        link.with_columns(voter=pl.lit(m.voter), instrument=pl.lit(m.instrument))
        for m, (_, link) in zip(members, each, strict=True)
    ]
    return pl.concat([plan for plan, _ in each]).unique("call_key", maintain_order=True), pl.concat(links)


def _of_pairs(context: pl.DataFrame | None, pairs: pl.DataFrame) -> pl.DataFrame | None:
    return None if context is None else context.join(pairs, on="pair_id", how="semi", maintain_order="left")


def _parameters(turn: Turn, *, is_reasoned: bool) -> Parameters:
    """What decides an answer beside the texts. The seed of a sample is the recipe's plus its number."""
    judging = turn.recipe.judging
    sampling = {"temperature": judging.temperature} | ({"seed": turn.recipe.seed} if judging.temperature else {})
    return sampling | ({"max_tokens": judging.max_tokens} if is_reasoned else {})


def _by_simulated(turn: Turn, todo: pl.DataFrame, members: Sequence[Member]) -> pl.DataFrame:
    """Votes of simulated judges: they read the texts themselves."""
    plans = [_plan(todo, member) for member in members]
    requests = one_per_call(request for plan, _ in plans for request in _requests(plan))
    make_calls(
        turn.store, turn.engines.ask_judges, requests, kind="judge", round_id=turn.round_id, fan_out=turn.fan_out,
        say=turn.say, progress=turn.progress,
    )
    links = pl.concat([link for _, link in plans])
    calls = recorded_calls(turn.store, links.select("call_key").unique(), "judge")
    return votes_from_calls(calls, links, criterion=turn.recipe.criterion)


def _plan(todo: pl.DataFrame, member: Member) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Calls to make of one judge, and the links by which its answers become votes of its identity."""
    pairs = todo.filter(pl.col("judge") == member.voter).drop("judge")
    asked = [(member.name, member.voter)]
    links = link_calls(pairs, asked, member.instrument, {}).with_columns(voter=pl.lit(member.voter))
    return plan_calls(pairs, asked, member.instrument, {}), links


def _requests(plan: pl.DataFrame) -> list[CallRequest]:
    return [
        CallRequest(
            call_key=row["call_key"], voter=row["voter"], subject=row["subject"], prompt=row["prompt"],
            first=row["first"], second=row["second"], instrument=row["instrument"], sample=row["sample"],
            parameters=json.loads(row["parameters"]),
        )
        for row in plan.iter_rows(named=True)
    ]
