"""A round: opened once, taken through its stages in order, each of which may be run twice."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from flows.calling import FanOut
from flows.panel import beside, judges_of, panel_of
from schemas.errors import RefusedError
from schemas.ids import content_id, seed_of
from schemas.recipe import Recipe, parse_recipe
from schemas.tables import PROMOTIONS, ROUND_STAGES, ROUNDS
from warehouse.store import Store, Writer

if TYPE_CHECKING:
    from flows.engines import Engines

Say = Callable[[str], None]
Progress = Callable[[str, int, int], None]


def now() -> dt.datetime:
    """The only clock of a round. Times enter no id, no fingerprint and no decision."""
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True)
class Turn:
    """One round in the hands of one process: what every stage body is given."""

    store: Store
    engines: Engines
    recipe: Recipe
    round_id: str
    n: int
    parent_n: int
    fan_out: FanOut
    say: Say = lambda line: None
    progress: Progress = lambda kind, done, total: None
    """told of calls as they come in: kind, done, to make"""

    @property
    def sources(self) -> list[str]:
        """Sources in the dataset's scope; empty: all. What the recipe derives from them belongs to it too."""
        named, dataset, synthesis = self.recipe.sources, self.recipe.dataset, self.recipe.synthesis
        derived = [*([f"{dataset}+grown"] if synthesis.n_grown else []),
                   *([f"{dataset}+rrm"] if synthesis.n_augmented else [])]
        return list(dict.fromkeys([*named, *derived])) if named else []

    def current_votes(self, writer: Writer, as_of: int) -> pl.DataFrame:
        """Frame `votes` that counts for this recipe as of a moment: of voters it asks, only under its questions."""
        return writer.query(
            "votes_in_scope", {"panel": panel_of(self, writer)}, as_of=as_of, criterion=self.recipe.criterion,
            sources=self.sources,
        )

    def seed(self, purpose: str) -> int:
        """Seed for one purpose in this round, from the recipe and the round's number alone."""
        return seed_of(self.recipe.fingerprint, self.recipe.seed, self.n, purpose)

    def finish(self, writer: Writer, stage: str, n_rows: int, frames: Mapping[str, pl.DataFrame]) -> int:
        """Append a stage's frames and the note that it is done, in one transaction; then publish."""
        as_of = int(writer.query("last_seq").item())
        done = ROUND_STAGES.complete(
            pl.DataFrame([{"round_id": self.round_id, "stage": stage, "n_rows": n_rows, "as_of": as_of,
                           "finished_at": now()}])
        )
        writer.append({**frames, "round_stages": done})
        writer.publish()
        return n_rows


Stage = Callable[[Turn], int]


def open_round(store: Store, engines: Engines, recipe: Recipe, fan_out: FanOut, say: Say) -> Turn:
    """The open round of the recipe's dataset, or a new one.

    Raises RefusedError when a round is open under another recipe than the one given.
    """
    turn = next_round(store, engines, recipe, fan_out, say)
    with store.write("round") as writer:
        # Appended by key: a round that is open already stays as it is.
        writer.append({"rounds": _round_row(turn, int(writer.query("last_seq").item()))})
        writer.publish()
    return turn


def next_round(store: Store, engines: Engines, recipe: Recipe, fan_out: FanOut, say: Say) -> Turn:
    """The open round of the recipe's dataset, or the one that would be opened now; nothing is written."""
    with store.write("look-up") as writer:
        open_rounds = writer.query("open_round", dataset=recipe.dataset)
        if open_rounds.height:
            turn = _resume(store, engines, recipe, open_rounds.row(0, named=True), fan_out, say)
        else:
            position = writer.query("round_position", dataset=recipe.dataset).row(0, named=True)
            turn = _new_turn(store, engines, recipe, position, fan_out, say)
        spent = float(writer.query("spent_on_calls", round_id=turn.round_id).item())
    ready = replace(turn, engines=engines.for_round(spent))
    judges_of(ready), beside(ready)  # a question or verifier that there is not is told of before a round is open
    return ready


def open_recipe(store: Store, dataset: str) -> Recipe | None:
    """The recipe that the dataset's open round was begun with; None when no round is open."""
    with store.write("round") as writer:
        rows = writer.query("open_round", dataset=dataset)
    return parse_recipe(str(rows["recipe"][0]), origin=f"recipe of round {rows['n'][0]}") if rows.height else None


def abandon_round(store: Store, dataset: str) -> int | None:
    """Close the dataset's open round without a candidate; its number. What was paid for stays paid and known."""
    with store.write("round") as writer:
        rows = writer.query("open_round", dataset=dataset)
        if rows.height == 0:
            return None
        closed = {"round_id": rows["round_id"][0], "stage": "gate", "n_rows": 0,
                  "as_of": int(writer.query("last_seq").item()), "finished_at": now()}
        verdict = no_candidate(str(rows["round_id"][0]), "abandoned by its owner")
        writer.append({"round_stages": ROUND_STAGES.complete(pl.DataFrame([closed])), "promotions": verdict})
        writer.publish()
        return int(rows["n"][0])


def no_candidate(round_id: str, reason: str, *, incumbent: str = "", looks: int = 0) -> pl.DataFrame:
    """Frame `promotions` of a round that ends without a candidate."""
    row = {
        "round_id": round_id, "candidate": "", "incumbent": incumbent, "verdict": "undecided", "reason": reason,
        "d": 0.0, "n_pairs": 0, "n_groups": 0, "n_looks": looks, "decided_at": now(),
    }
    return PROMOTIONS.complete(pl.DataFrame([row]))


def run_stages(turn: Turn, stages: Sequence[tuple[str, Stage]]) -> None:
    """Run the stages that this round has not finished, in order."""
    done = finished_stages(turn)
    for name, stage in stages:
        if name not in done:
            turn.say(f"round {turn.n}: {name}: {stage(turn)} rows")


def finished_stages(turn: Turn) -> set[str]:
    """Names of the stages this round has finished."""
    with turn.store.write("round") as writer:
        return set(writer.query("finished_stages", round_id=turn.round_id)["stage"].to_list())


def _resume(
    store: Store, engines: Engines, recipe: Recipe, row: Mapping[str, object], fan_out: FanOut, say: Say
) -> Turn:
    stored = parse_recipe(str(row["recipe"]), origin=f"recipe of round {row['n']}")
    if stored.fingerprint != recipe.fingerprint:
        raise RefusedError(
            f"round {row['n']} of {recipe.dataset} is open under another recipe",
            expected="its own recipe until it is closed",
            next="tiebreak run --resume (finish it with its own recipe) or tiebreak run --abandon (close it as it is)",
        )
    parent_n = row["parent_n"]
    return Turn(store, engines, stored, str(row["round_id"]), int(str(row["n"])), int(str(parent_n or 0)), fan_out, say)


def _new_turn(
    store: Store, engines: Engines, recipe: Recipe, position: Mapping[str, object], fan_out: FanOut, say: Say
) -> Turn:
    n, parent_n = int(str(position["last_round"])) + 1, int(str(position["last_version"]))
    fingerprint = position["fingerprint"]
    # No vote number in it: a vote on somebody else's pairs must change no draw of this dataset.
    round_id = content_id(recipe.fingerprint, recipe.dataset, n, None if fingerprint is None else str(fingerprint))
    return Turn(store, engines, recipe, round_id, n, parent_n, fan_out, say)


def _round_row(turn: Turn, as_of: int) -> pl.DataFrame:
    recipe = turn.recipe
    return ROUNDS.complete(
        pl.DataFrame([{
            "round_id": turn.round_id, "dataset": recipe.dataset, "n": turn.n,
            "recipe_fingerprint": recipe.fingerprint, "recipe": recipe.canonical(), "parent_n": turn.parent_n,
            "as_of": as_of, "budget_votes": recipe.routing.budget_votes, "budget_usd": recipe.routing.budget_usd,
            "opened_at": now(),
        }], schema_overrides={"budget_usd": pl.Float64})
    )
