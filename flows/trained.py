"""Language models that were trained as reward models, in a round: what they are, and whom to ask for their rewards.

A reward that is recorded is not asked again. Others are asked of a server, through the call cache; a server is
compared with what is recorded of the model before anything that it says is believed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace

import polars as pl

from curate.engines import one_per_call
from curate.questions import plan_questions, requests_of
from curate.rewards.language_models import (
    TEMPLATE,
    log_odds,
    readings_of,
    reward_questions,
    rewards_from,
    side_scores,
    unlike,
)
from flows.asking import ask
from flows.calling import recorded_calls, unknown_calls
from flows.engines import Ask
from flows.reaching import reached
from flows.rounds import Turn
from schemas.errors import RefusedError
from schemas.sections import Model
from schemas.tables import SCORES
from warehouse.store import Writer

N_PROBES = 4
"""recorded rewards that a server is asked for again"""


@dataclass(frozen=True)
class Trained:
    """A language model with one output, and its row in `models`."""

    name: str
    base: str
    dataset: str
    n: int
    """version that it was trained on"""
    uri: str
    """of its folder, from the workspace"""
    sha256: str
    scale: float
    """sigma(margin / scale) is a probability"""
    dtype: str
    unread: frozenset[str]
    """response_id of gate gold that its trainer could not read: nobody is asked for those again"""

    @property
    def voter(self) -> str:
        """The voter's name, and the name under which it is served."""
        return f"rm/{self.name}"

    @property
    def served(self) -> Model:
        """The model as engines know it: other weights are another identity."""
        return Model(name=self.voter, model=self.voter, revision=self.sha256[:16], family=self.base)

    def voter_row(self) -> pl.DataFrame:
        """Frame `voters`. All models of one base are one family: their errors are shared."""
        return pl.DataFrame([{
            "voter": self.voter, "kind": "reward_model", "family": self.base, "model": self.name,
            "revision": self.sha256[:16], "cost_usd": 0.0,
        }])


def trained_from(row: Mapping[str, object]) -> Trained:
    """The model of a row of `models` of kind "trl"."""
    config = json.loads(str(row["config"]))
    return Trained(
        str(row["model"]), str(row["base"]), str(row["dataset"]), int(str(row["trained_on"])), str(row["uri"]),
        str(row["sha256"]), float(config["scale"]), str(config["tuning"]["dtype"]), frozenset(config["unread"]),
    )


def untaught(writer: Writer, model: Trained, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows (with group_id) whose group has no pair in what the model was trained on: it has no head out of fold."""
    groups = writer.query("trained_groups", dataset=model.dataset, n=model.n)
    return rows.join(groups, on="group_id", how="anti", maintain_order="left")


def scores_of_pairs(turn: Turn, model: Trained, pairs: pl.DataFrame) -> pl.DataFrame:
    """(pair_id, score_a, score_b) of pairs (pair_id, response_a, response_b) of groups that it was not trained on.

    Null where it could not read a side. What was asked is recorded in `scores`.
    """
    sides = pl.concat([pairs.select(response_id=f"response_{side}") for side in ("a", "b")]).unique()
    with turn.store.write("score") as writer:
        rows = writer.query("responses_with_texts", {"wanted": sides})
    said = rewards(turn, model, rows)
    with turn.store.write("score") as writer:
        writer.append({"scores": score_rows(model.name, said)})
    return side_scores(pairs, said)


def margins_of_pairs(turn: Turn, model: Trained, pairs: pl.DataFrame) -> pl.DataFrame:
    """(pair_id, margin) of pairs (pair_id, response_a, response_b), in log-odds; 0 where a side could not be read."""
    scores = scores_of_pairs(turn, model, pairs)
    n = scores.filter(pl.any_horizontal(pl.all().is_null())).height
    if n:
        turn.say(f"{model.voter} could not read a side of {n:,} of {scores.height:,} gold pairs: a coin for each")
    return log_odds(scores, model.scale)


def rewards(turn: Turn, model: Trained, rows: pl.DataFrame) -> pl.DataFrame:
    """(response_id, score), sorted, of rows with response_id, prompt (JSON), system, response; asked where unknown.

    A response that the model cannot read has no row. Raises RefusedError when nobody serves the model, or somebody
    else under its name.
    """
    wanted = rows.select("response_id").unique()
    with turn.store.write("score") as writer:
        known = writer.query("recorded_scores", {"wanted": wanted}, model=model.name, template=TEMPLATE)
    missing = rows.join(known, on="response_id", how="anti").filter(
        ~pl.col("response_id").is_in(sorted(model.unread)))
    if missing.is_empty():
        return known
    return pl.concat([known, _asked(turn, model, missing)]).sort("response_id")


def score_rows(model: str, said: pl.DataFrame) -> pl.DataFrame:
    """Frame `scores` of rewards (response_id, score) of responses in groups that the model was not trained on."""
    return SCORES.complete(said.select(
        "response_id", "score", model=pl.lit(model), template=pl.lit(TEMPLATE), is_out_of_fold=pl.lit(True)))


def _asked(turn: Turn, model: Trained, rows: pl.DataFrame) -> pl.DataFrame:
    """(response_id, score) through the call cache; no server is needed where every call is recorded."""
    identity = f"{model.voter}@{model.sha256[:16]}"
    questions = reward_questions(readings_of(rows), model.voter, identity)
    plan = plan_questions(questions, "score")
    if not unknown_calls(turn.store, requests_of(plan)):
        return rewards_from(questions, recorded_calls(turn.store, plan, "score"))
    with turn.store.write("score") as writer:
        spent = float(writer.query("spent_on_calls", round_id=turn.round_id).item())
    settings = reached(turn.store.workspace, turn.engines.settings, model)
    engines = turn.engines.beside(model.served, settings, spent)
    with closing(engines):
        if model.voter not in turn.engines.compared:
            refuse_other_rewards(turn, model, engines.asker("score"))
        return rewards_from(questions, ask(replace(turn, engines=engines), "score", plan))


def refuse_other_rewards(turn: Turn, model: Trained, asker: Ask) -> None:
    """`refuse_unlike` of what is recorded of gate gold."""
    with turn.store.write("score") as writer:
        probes = probes_of(writer, model)
    refuse_unlike(model, probes, asker)


def probes_of(writer: Writer, model: Trained) -> pl.DataFrame:
    """Recorded rewards of the model with their conversations: response_id, score, prompt, system, response."""
    return writer.query("probing_scores", model=model.name, template=TEMPLATE, n=N_PROBES)


def refuse_unlike(model: Trained, probes: pl.DataFrame, asker: Ask) -> int:
    """Ask for recorded rewards again, past the cache; how many were compared. Raises RefusedError when they differ."""
    if probes.is_empty():
        return 0
    questions = reward_questions(readings_of(probes), model.voter, "probe")
    replies = asker(one_per_call(requests_of(plan_questions(questions, "score"))))
    calls = pl.DataFrame(
        [(reply.call_key, reply.response, reply.finish_reason) for reply in replies], orient="row",
        schema={"call_key": pl.String, "response": pl.String, "finish_reason": pl.String})
    differs = unlike(probes.select("response_id", "score"), rewards_from(questions, calls), model.dtype)
    if differs:
        raise RefusedError(
            f"what is served as {model.voter} is not that model: {differs}",
            expected="its weights under the chat template beside them", next=f"tiebreak serve-rm {model.name}",
        )
    return probes.height
