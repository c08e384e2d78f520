"""`tiebreak run`: one round as a Prefect flow, its stages as tasks, engine batches as mapped tasks."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from flows.calling import Batch, FanOut, Work
from flows.rounds import Say, Turn, finished_stages
from flows.server import point_prefect_at
from flows.settings import n_workers
from flows.stages import STAGES
from schemas.errors import CallFailedError, UserError

CALL_RETRIES = 3


def run_in_prefect(turn: Turn, say: Say) -> str:
    """Take the round through its unfinished stages under the workspace's Prefect server; returns its address.

    The server's address must be known before prefect is imported, so prefect is imported here.
    """
    url = point_prefect_at(turn.store.workspace)
    # Prefect logs every failure with its traceback; ours say it in one line, and its UI keeps the rest.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    from prefect import flow
    from prefect.task_runners import ThreadPoolTaskRunner

    todo = [name for name in STAGES if name not in finished_stages(turn)]
    name = f"{turn.recipe.dataset}-round-{turn.n}"

    # As many calls in flight as the setting says, and no more: those are what a kill may cost twice.
    runner: Any = ThreadPoolTaskRunner(max_workers=n_workers())

    @flow(name="round", flow_run_name=name, task_runner=runner, validate_parameters=False)
    def round_flow(workspace: str, round_id: str, stages: list[str]) -> list[int]:
        return [_run_stage(turn, stage, say) for stage in stages]

    round_flow(str(turn.store.workspace.root), turn.round_id, todo)
    return _without_user(url)


def _without_user(url: str) -> str:
    """The address without a user's name and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _run_stage(turn: Turn, name: str, say: Say) -> int:
    """One stage as a task. What it works on stays in this process: NO_CACHE keeps frames out of task keys."""
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    mapped = replace(turn, fan_out=task_fan_out(), progress=Artifacts(turn.recipe.dataset).tell)
    n_rows = task(name=name, cache_policy=NO_CACHE, persist_result=False)(lambda: STAGES[name](mapped))()
    say(f"round {turn.n}: {name}: {n_rows} rows")
    return n_rows


def task_fan_out() -> FanOut:
    """Spread batches over the flow's task runner, each tried again with growing delays when its engine fails."""
    from prefect import task
    from prefect.cache_policies import NO_CACHE
    from prefect.tasks import exponential_backoff

    def spread(work: Work, batches: Sequence[Batch]) -> list[int]:
        calls = task(
            name="calls", cache_policy=NO_CACHE, persist_result=False, retries=CALL_RETRIES,
            retry_delay_seconds=exponential_backoff(1), retry_condition_fn=is_worth_trying_again,
        )(lambda at: work(batches[at]))
        return [int(made) for made in calls.map(range(len(batches))).result()] if batches else []

    return spread




def is_worth_trying_again(task: Any, run: Any, state: Any) -> bool:
    """Whether a failed batch may succeed when asked again: not where a setting or a recipe must change first."""
    error = state.result(raise_on_failure=False)
    return not isinstance(error, UserError) or isinstance(error, CallFailedError)


class Artifacts:
    """Progress of calls in Prefect's UI: one artifact per kind of call, told from any thread."""

    def __init__(self, dataset: str) -> None:
        self._dataset = dataset.replace("_", "-")
        self._guard = threading.Lock()
        self._made: dict[str, Any] = {}

    def tell(self, kind: str, done: int, total: int) -> None:
        """`done` of `total` calls of a kind are recorded."""
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        share, said = 100 * done / total if total else 100.0, f"{done:,} of {total:,} {kind} calls"
        with self._guard:
            if kind in self._made:
                update_progress_artifact(self._made[kind], share, said)
            else:
                key = f"{self._dataset}-{kind}-calls"
                self._made[kind] = create_progress_artifact(share, key=key, description=said)
