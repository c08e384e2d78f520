"""Which released versions lack their language model, and the order that has one trained.

The to-do is read from the warehouse and the folders, never from an event: told twice or not at all, it is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from curate.adapters.trl.orders import ORDER, OUTCOME, write_order
from curate.rewards.language_models import lessons_of, model_name, readings_of
from flows.calling import thread_fan_out
from flows.engines import Engines
from flows.rounds import Say, Turn
from flows.settings import n_workers
from schemas.errors import RecipeError
from schemas.recipe import Recipe, Tuning, parse_recipe
from schemas.settings import Workshop
from warehouse.lock import holder
from warehouse.store import Store, Writer
from warehouse.workspace import Workspace


@dataclass(frozen=True)
class Lacking:
    """A released version whose round waits for a language model."""

    dataset: str
    n: int
    newest_n: int
    round_id: str
    round_n: int
    parent_n: int
    recipe: Recipe
    tuning: Tuning
    """how it is trained"""
    model: str
    """name of the model that comes of it"""
    is_overtaken: bool
    """the gate has decided on a model of a later round"""
    is_trained: bool
    """the model is in `models`, and lacks its gate"""
    n_failures: int
    reason: str
    """of the last failure"""

    @property
    def version(self) -> str:
        """`dataset@n`."""
        return f"{self.dataset}@{self.n}"

    def turn(self, store: Store, engines: Engines, say: Say) -> Turn:
        """The version's round, for measuring its model and asking the gate."""
        fan_out = thread_fan_out(n_workers())
        return Turn(store, engines, self.recipe, self.round_id, self.round_n, self.parent_n, fan_out, say)


def lacking(store: Store, dataset: str | None) -> list[Lacking]:
    """Released versions of language-model recipes whose round has no gate decision, oldest first per dataset."""
    with store.write("look-up") as writer:
        return lacking_now(writer, dataset)


def lacking_now(writer: Writer, dataset: str | None) -> list[Lacking]:
    """The same, as the holder of the writer's lock sees it: nothing changes before it writes."""
    versions = writer.query("versions_to_train", dataset=dataset)
    attempts = {row["model"]: row for row in writer.query("training_attempts").iter_rows(named=True)}
    return [_lacking(writer, row, attempts) for row in versions.iter_rows(named=True)]


def _lacking(writer: Writer, row: dict[str, object], attempts: dict[str, dict[str, object]]) -> Lacking:
    dataset, n = str(row["dataset"]), int(str(row["n"]))
    recipe = parse_recipe(str(row["recipe"]), origin=f"recipe of {dataset}@{n}")
    tuning = recipe.training.trl
    if tuning is None:
        raise RecipeError(f"recipe of {dataset}@{n} without [training.trl]", expected="a base", next="release again")
    name = model_name(dataset, n, str(row["fingerprint"]), tuning, recipe.seed)
    tried = attempts.get(name, {"n_failures": 0, "reason": ""})
    return Lacking(
        dataset, n, int(str(row["newest_n"])), str(row["round_id"]), int(str(row["round_n"])),
        int(str(row["parent_n"])), recipe, tuning, name, bool(row["is_overtaken"]),
        writer.query("model_of", model=name).height > 0, int(str(tried["n_failures"])), str(tried["reason"] or ""),
    )


def order_folder(workspace: Workspace, model: str) -> Path:
    """Where the order of a model is, and what comes of it."""
    return workspace.orders / model


def lease_file(workspace: Workspace, model: str) -> Path:
    """Held by whoever has the model trained: the kernel lets go of it when the process dies, however it dies."""
    return workspace.orders / f"{model}.lock"


def state_of(workspace: Workspace, item: Lacking, workshop: Workshop) -> tuple[str, str]:
    """(state, note) of a version that nobody has in hand: overtaken, trained, left or due."""
    failed = f"failure {item.n_failures} of {workshop.max_failures}: {item.reason}"
    is_done = item.is_trained or (order_folder(workspace, item.model) / OUTCOME).is_file()
    if item.is_overtaken or (item.n < item.newest_n and not is_done):
        return "overtaken", f"{item.dataset}@{item.newest_n} was released meanwhile"
    if is_done:
        return "trained", "to be measured, then the gate decides"
    if item.n_failures >= workshop.max_failures:
        return "left", f"{failed}; next: mend that and raise max_failures under [training] in settings.toml"
    return "due", failed if item.n_failures else ""


def put_down(turn: Turn, item: Lacking) -> int:
    """Write the order's folder, once; returns the number of pairs that it teaches.

    An order that lies there stays as it is: what was begun goes on, whatever gold was named since. Fewer pairs than
    the recipe asks for make no order. No pair is of a group that holds gate gold; of gate gold only texts are told.
    No pair is taught of which a text was erased since the release: what stands there now is nobody's answer.
    """
    folder = order_folder(turn.store.workspace, item.model)
    if (folder / ORDER).is_file():
        return int(pl.scan_parquet(folder / "train.parquet").select(pl.len()).collect().item())
    with turn.store.write("train") as writer:
        erased = writer.query("erased_members", dataset=item.dataset, n=item.n)
        kept = writer.query("lessons", dataset=item.dataset, n=item.n).join(erased, on="pair_id", how="anti")
        lessons = lessons_of(kept)
        readings = readings_of(writer.query("gold_readings", sources=turn.sources, criterion=item.recipe.criterion))
    if lessons.height >= item.recipe.training.min_pairs:
        write_order(folder, item.model, item.tuning, item.recipe.seed, lessons, readings)
    return lessons.height


def due_rows(workspace: Workspace, items: Sequence[Lacking], workshop: Workshop) -> list[dict[str, object]]:
    """The to-do as rows that a person can read."""
    def shown(item: Lacking) -> tuple[str, str]:
        held_by = holder(lease_file(workspace, item.model))
        return state_of(workspace, item, workshop) if held_by is None else ("training", f"by {held_by}")

    rows = [(item, *shown(item)) for item in items]
    return [{"version": item.version, "model": item.model, "base": item.tuning.base, "state": state,
             "failures": item.n_failures, "note": note} for item, state, note in rows]
