"""Commands about people, in a round and beside it: send, collect, listen, recall."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from flows.calling import thread_fan_out
from flows.collecting import recall_from_platform
from flows.commands import load_recipe, only_runner, run_stage
from flows.engines import engines_of
from flows.people import collect_now, send_now
from flows.rounds import Say, Turn, finished_stages, run_stages
from flows.settings import meter_path, n_workers, serving_settings
from flows.stages import STAGES
from flows.wakeup import Receiver
from schemas.errors import RefusedError
from schemas.recipe import Recipe
from warehouse.store import Store


def send(root: Path, recipe: Path | None, *, say: Say) -> None:
    """A task for every route that has none and a queue has room for, whichever round decided it.

    Where people answer at once, and where the open round has come to it, this is the stage of the round.
    """
    parsed = load_recipe(root, recipe)
    if parsed.people.engine != "label_studio":
        run_stage(root, recipe, "send", say=say)
        return
    with _standing(root, parsed, say) as turn:
        say(f"send: {send_now(turn):,} tasks")
        _close_stage(turn, "send")
        _publish(turn)


def collect(root: Path, recipe: Path | None, *, is_full: bool, say: Say) -> None:
    """Votes of people since the last look, and the next steps of what they contradicted.

    Raises RefusedError for `is_full` where there is no platform to compare with.
    """
    parsed = load_recipe(root, recipe)
    if parsed.people.engine == "label_studio":
        _look(root, parsed, is_full, say)
        return
    if is_full:
        raise RefusedError(f"people.engine = {parsed.people.engine!r} and --full", expected="an annotation platform",
                           next="tiebreak collect")
    run_stage(root, recipe, "collect", say=say)


def listen(root: Path, recipe: Path | None, port: int, *, say: Say) -> None:
    """Collect now and after every webhook, until interrupted. A webhook that got lost is made up for by the next."""
    parsed = load_recipe(root, recipe)
    if parsed.people.engine != "label_studio":
        raise RefusedError(f"people.engine = {parsed.people.engine!r} and --listen", expected="an annotation platform",
                           next="tiebreak collect")
    receiver = Receiver(port, lambda: _look(root, parsed, False, say), say)
    say(f"collect: listening on http://127.0.0.1:{receiver.port}, Ctrl-C ends it")
    receiver.run()


def recall(root: Path, recipe: Path | None, *, say: Say) -> pl.DataFrame:
    """Take back open tasks whose answer would change nothing: (reason, n_tasks, n_answered_already)."""
    parsed = load_recipe(root, recipe)
    if parsed.people.engine != "label_studio":
        raise RefusedError(f"people.engine = {parsed.people.engine!r}", expected="an annotation platform",
                           next="set people.engine, or leave recall alone")
    with _standing(root, parsed, say) as turn:
        told = recall_from_platform(turn)
        _publish(turn)
    return told


def _look(root: Path, parsed: Recipe, is_full: bool, say: Say) -> None:
    with _standing(root, parsed, say) as turn:
        say(f"collect: {collect_now(turn, is_full=is_full):,} votes")
        _close_stage(turn, "collect")
        _publish(turn)


@contextmanager
def _standing(root: Path, parsed: Recipe, say: Say) -> Iterator[Turn]:
    """The newest round of the dataset, open or closed: what is done beside a round belongs to it.

    Raises RefusedError before the first round.
    """
    store = Store(root)
    with only_runner(store, parsed.dataset):
        engines = engines_of(parsed, meter_path(), serving_settings(store.workspace)).for_round(0.0)
        with store.write("people") as writer:
            rounds = writer.query("newest_round", dataset=parsed.dataset)
        if rounds.height == 0:
            raise RefusedError(f"{parsed.dataset} has had no round", expected="pairs chosen for people",
                               next="tiebreak run")
        newest = rounds.row(0, named=True)
        try:
            yield Turn(store, engines, parsed, newest["round_id"], newest["n"], newest["parent_n"] or 0,
                       thread_fan_out(n_workers()), say)
        finally:
            engines.close()


def _close_stage(turn: Turn, stage: str) -> None:
    """Where the newest round waits for just this stage, it is done now."""
    order, done = list(STAGES), finished_stages(turn)
    if stage not in done and done.issuperset(order[: order.index(stage)]):
        run_stages(turn, [(stage, STAGES[stage])])


def _publish(turn: Turn) -> None:
    with turn.store.write("people") as writer:
        writer.publish()
