"""Retraining: language models for released versions that lack one, measured and put before the gate.

Whatever wakes this (an event, a schedule, a person) may do so twice or not at all: what is to be done is read from
the warehouse, a training is held by one process at a time, and every step that is done is left out the next time.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import polars as pl

from curate.adapters.trl.orders import MEASURE, outcome_of, read_frame, read_order
from curate.engines import TrainingOutcome
from flows.commands import load_recipe, run_stage
from flows.engines import engines_of
from flows.orders import Lacking, due_rows, lacking, lacking_now, lease_file, order_folder, put_down, state_of
from flows.retrain import evaluations, promotions
from flows.rounds import Say, Turn, no_candidate, now
from flows.settings import meter_path, serving_settings
from flows.trained import score_rows
from schemas.errors import InputError, LockHeldError, UserError
from schemas.recipe import Recipe
from schemas.settings import Settings
from schemas.tables import MODELS, RUNS
from warehouse.lock import writer_lock
from warehouse.store import Store, Writer

LEASE_S = 1.0
"""whoever looks at a lease holds it for a moment"""
Carry = Callable[[Path], object]
"""has the order in a folder carried out, and returns when its outcome lies there"""


def due(root: Path, recipe: Path | None) -> list[dict[str, object]]:
    """Versions that lack their language model, oldest first: version, model, base, state, failures, note.

    States: due, training (somebody has it trained now), trained (to be measured), left (failed too often), overtaken
    (a newer version is there). Of the recipe's dataset; of all datasets when none is named.
    """
    store = Store(root)
    settings = serving_settings(store.workspace.require())
    return due_rows(store.workspace, lacking(store, _dataset(root, recipe)), settings.training)


def retrain(root: Path, recipe: Path | None, *, say: Say, carry: Carry | None = None) -> None:
    """Language models for every version that is due; where the recipe trains heads, the candidate of the open round.

    `carry` has an order carried out; None: by a worker of the settings' pool, or in this process where they name none.
    Raises the first UserError when all versions had their turn.
    """
    store, parsed = Store(root), load_recipe(root, recipe)
    settings = serving_settings(store.workspace.require())
    failures: list[UserError] = []
    if parsed.training.engine == "trl" and _awaits_stage(store, parsed):
        with _put_off(failures, f"round of {parsed.dataset}", say):  # somebody may be working on that round
            run_stage(root, recipe, "retrain", say=say)
    for item in lacking(store, _dataset(root, recipe)):
        with _put_off(failures, item.version, say):
            _take(store, item, settings, say, carry)
    if parsed.training.engine == "embedded":
        run_stage(root, recipe, "retrain", say=say)
    for first in failures:
        raise first


@contextmanager
def _put_off(failures: list[UserError], what: str, say: Say) -> Iterator[None]:
    """An error of one is told, and kept until the others had their turn."""
    try:
        yield
    except UserError as error:
        say(f"{what}: {error}")
        failures.append(error)


def _dataset(root: Path, recipe: Path | None) -> str | None:
    return load_recipe(root, recipe).dataset if recipe is not None else None


def _awaits_stage(store: Store, recipe: Recipe) -> bool:
    """Whether a round is open that was taken as far as this stage, one command after the other."""
    with store.write("look-up") as writer:
        rows = writer.query("open_round", dataset=recipe.dataset)
        done = [set(writer.query("finished_stages", round_id=i)["stage"].to_list()) for i in rows["round_id"]]
    return any("release" in stages and "retrain" not in stages for stages in done)


def _take(store: Store, item: Lacking, settings: Settings, say: Say, carry: Carry | None) -> None:
    """Bring one version as far as it can be brought; a version that somebody else has in hand is left to them."""
    workspace = store.workspace
    workspace.orders.mkdir(parents=True, exist_ok=True)
    try:
        with writer_lock(lease_file(workspace, item.model), f"training of {item.model}", wait=LEASE_S):
            # What was looked up before the lease was held may be done by now.
            for current in (one for one in lacking(store, item.dataset) if one.model == item.model):
                _take_held(store, current, settings, say, carry)
    except LockHeldError as error:
        if lease_file(workspace, item.model).name not in error.seen:
            raise
        say(f"{item.version}: {error.seen}: nothing to do here")


def _take_held(store: Store, item: Lacking, settings: Settings, say: Say, carry: Carry | None) -> None:
    """What is left to do for a version whose lease is held."""
    state, note = state_of(store.workspace, item, settings.training)
    if state == "overtaken":
        _close(store, item, f"overtaken: {note}", say)
    elif state == "left":
        say(f"{item.version}: {item.model} is left untrained: {note}")
    else:
        with closing(engines_of(item.recipe, meter_path(), settings)) as engines:
            turn = item.turn(store, engines, say)
            if item.is_trained or _is_trained_now(turn, item, settings, carry):
                _measure(turn, item)


def _is_trained_now(turn: Turn, item: Lacking, settings: Settings, carry: Carry | None) -> bool:
    """Have the model trained, or take in what was trained before; False when there is too little to learn from."""
    n_lessons, floor = put_down(turn, item), item.recipe.training.min_pairs
    if n_lessons < floor:
        _close(turn.store, item, f"{n_lessons} pairs are fewer than training.min_pairs = {floor}", turn.say)
        return False
    folder = order_folder(turn.store.workspace, item.model)
    outcome = outcome_of(folder)
    if outcome is None:
        turn.say(f"{item.version}: training {item.model} from {item.tuning.base} on {n_lessons:,} pairs")
        with _counted(turn.store, item):
            (carry or _carrier(turn.store, settings, turn.say))(folder)
            outcome = outcome_of(folder)  # what counts lies in the folder, and is checked against its sha256
            if outcome is None:
                raise InputError(f"{folder} holds no outcome", expected="outcome.json of the training",
                                 next="let the trainer write where the order lies")
    _record(turn, item, outcome)
    return True


@contextmanager
def _counted(store: Store, item: Lacking) -> Iterator[None]:
    """An attempt in `runs`: begun before anything, ended with what happened. A kill leaves it without an end."""
    run_id = str(uuid.uuid4())
    _note(store, item, run_id, "started", "")
    try:
        yield
    except BaseException as error:  # an interrupt is an end too
        _note(store, item, run_id, "failed", str(error) or type(error).__name__)
        raise
    _note(store, item, run_id, "finished", "")


def _note(store: Store, item: Lacking, run_id: str, event: str, reason: str) -> None:
    detail = json.dumps({"model": item.model, "reason": reason[:500]} if reason else {"model": item.model})
    row = {"run_id": run_id, "flow": "train", "event": event, "round_id": item.round_id, "detail": detail, "at": now()}
    with store.write("train") as writer:
        writer.append({"runs": RUNS.complete(pl.DataFrame([row]))})
        writer.publish()


def _carrier(store: Store, settings: Settings, say: Say) -> Carry:
    """How the settings have an order carried out: by a worker of their pool, or here."""
    def on_pool(folder: Path) -> None:
        from flows.training_pool import train_on_pool

        train_on_pool(store.workspace.root, folder, read_order(folder).train_sha256, settings, say=say)

    def here(folder: Path) -> TrainingOutcome:
        from flows.training_pool import trained_here

        return trained_here(folder, settings, say)

    return on_pool if settings.training.pool else here


def _record(turn: Turn, item: Lacking, outcome: TrainingOutcome) -> None:
    """The model, and its rewards of gate gold, in one transaction."""
    said = outcome.rewards.select("response_id", score="reward").filter(pl.col("score").is_finite())
    readings = read_frame(order_folder(turn.store.workspace, item.model), MEASURE)
    unread = readings.join(said, on="response_id", how="anti")["response_id"].sort().to_list()
    config = {"tuning": item.tuning.model_dump(mode="json"), "seed": item.recipe.seed, "scale": outcome.scale,
              "metrics": dict(outcome.metrics), "unread": unread}
    row = {
        "model": item.model, "kind": "trl", "family": item.tuning.base, "base": item.tuning.base,
        "dataset": item.dataset, "trained_on": item.n, "round_id": item.round_id,
        "uri": f"orders/{item.model}/{outcome.folder.name}", "sha256": outcome.sha256,
        "config": json.dumps(config, sort_keys=True), "n_pairs": int(outcome.metrics["n_train"]), "trained_at": now(),
    }
    with turn.store.write("train") as writer:
        writer.append({"models": MODELS.complete(pl.DataFrame([row])), "scores": score_rows(item.model, said)})
        writer.publish()


def _measure(turn: Turn, item: Lacking) -> None:
    """Evaluations and the gate's decision, in one transaction.

    Measuring takes minutes, training took hours: meanwhile another decision may have come. After one on a later round
    this one is overtaken; after one on an earlier round there may be another incumbent, so it is measured again.
    """
    verdict: pl.DataFrame | None = None
    while verdict is None and _is_awaited(turn.store, item, turn.say):
        measured, decided = evaluations(turn), promotions(turn)
        with turn.store.write("train") as writer:
            if _is_current(writer, item, decided):
                writer.append({"evaluations": measured, "promotions": decided})
                writer.publish()
                verdict = decided
    if verdict is not None:
        said = verdict.row(0, named=True)
        turn.say(f"{item.version}: {item.model} is {said['verdict']} over {said['incumbent']}: {said['reason']}")


def _is_awaited(store: Store, item: Lacking, say: Say) -> bool:
    """Whether the round still waits for its gate; one that was overtaken is closed."""
    found = [one for one in lacking(store, item.dataset) if one.round_id == item.round_id]
    if not found:
        say(f"{item.version}: its round was closed meanwhile: nothing is decided on {item.model}")
    elif found[0].is_overtaken:
        _close(store, item, "overtaken: the gate has decided on a model of a later round", say)
    return bool(found) and not found[0].is_overtaken


def _is_current(writer: Writer, item: Lacking, decided: pl.DataFrame) -> bool:
    """Whether nothing was decided in the dataset while the decision was made."""
    looks = int(writer.query("gold_looks", dataset=item.dataset).item()) + int(decided["candidate"][0] != "")
    waits = [one for one in lacking_now(writer, item.dataset) if one.round_id == item.round_id and not one.is_overtaken]
    return bool(waits) and looks == decided["n_looks"][0]


def _close(store: Store, item: Lacking, reason: str, say: Say) -> None:
    """The round's gate has nothing to decide, and says why."""
    with store.write("train") as writer:
        writer.append({"promotions": no_candidate(item.round_id, reason)})
        writer.publish()
    say(f"{item.version}: no model: {reason}")
