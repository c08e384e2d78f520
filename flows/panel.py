"""The panel: who is asked for a vote on every pair, and under which question.

A member's question holds everything that decides its answers beside the texts. Change a word of the
rubric, a temperature or the number of samples, and the member is asked anew; its older votes stay, and
count for the recipes whose question they answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from curate.judging.instruments import Instrument, parse_instrument, shipped_instrument
from schemas.errors import RecipeError
from schemas.ids import content_id
from schemas.recipe import Recipe
from warehouse.store import Writer
from warehouse.workspace import Workspace

if TYPE_CHECKING:
    from flows.engines import Engines
    from flows.rounds import Turn


@dataclass(frozen=True)
class Member:
    """One voter that the recipe asks."""

    name: str
    """as the recipe says it"""
    voter: str
    """identity of what answers"""
    instrument: str
    """the question, by name and content: `votes.instrument`"""


def judges_of(turn: Turn) -> list[Member]:
    """The recipe's judges, each under its question."""
    return [
        Member(name, turn.engines.identity(name), question_of(turn, name)) for name in turn.recipe.judging.judges
    ]


def panel_of(turn: Turn, writer: Writer) -> pl.DataFrame:
    """Frame (voter, instrument) of everyone whose votes this recipe asks for and counts.

    A judge that failed the recipe's examination in this round is not in it, nor are its ratings.
    """
    from flows.examining import failed

    judges = judges_of(turn)
    refused = failed(turn, judges, writer)
    members = [m for m in (*judges, *beside(turn)) if m.voter not in refused]
    return pl.DataFrame(
        [(m.voter, m.instrument) for m in members], schema={"voter": pl.String, "instrument": pl.String}, orient="row"
    ).unique(maintain_order=True)


def beside(turn: Turn) -> list[Member]:
    """Voters beside the judges: verifiers, ratings, and scorers that need no training."""
    from flows.likelihoods import likelihood_members
    from flows.rating import rating_members
    from flows.verifiers import verifier_members

    named = [*verifier_members(turn), *rating_members(turn), *likelihood_members(turn)]
    return [Member(voter, voter, instrument) for voter, instrument in named]


def question_of(turn: Turn, name: str) -> str:
    """What a judge is asked, by name and content. A simulated judge reads texts, not a question: its name alone."""
    judging = turn.recipe.judging
    if not turn.engines.is_served(name):
        return judging.instrument
    instrument = instrument_of(turn.store.workspace, judging.instrument)
    return f"{instrument.id}/{_content(instrument, turn.engines, turn.recipe)}"


def _content(instrument: Instrument, engines: Engines, recipe: Recipe) -> str:
    judging = recipe.judging
    models = [engines.identity(name) if name else "" for name in (judging.aid_model, judging.meta_judge)]
    numbers = [str(n) for n in (judging.n_samples, judging.temperature, judging.max_tokens, judging.n_shots)]
    if judging.temperature:
        numbers.append(str(recipe.seed))  # it seeds the sampling: another one gives other answers
    return content_id(instrument.text_id, *numbers, judging.aid, *models)[:8]


def instrument_of(workspace: Workspace, instrument: str) -> Instrument:
    """The workspace's own instrument of that name and version, else the shipped one.

    Raises RecipeError for an unknown one, InputError for one that is malformed.
    """
    name, _, version = instrument.partition("@")
    if not name.replace("-", "").isalnum() or not version.isdigit():
        raise RecipeError(f"instrument {instrument!r}", expected="name@version, like pairwise@1",
                          next="mend judging.instrument")
    own = workspace.instruments / f"{name}@{version}.md"
    if own.is_file():
        found = parse_instrument(own.read_text(encoding="utf-8"))
        if found.id != instrument:
            raise RecipeError(f"{own.name} calls itself {found.id}", expected=instrument, next="rename the file")
        return found
    return shipped_instrument(instrument)
