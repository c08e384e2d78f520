"""`tiebreak run`: one round as a Prefect flow, its stages as tasks, engine batches as mapped tasks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from flows.artifacts import Progress, show_round
from flows.calling import Batch, FanOut, Work
from flows.rounds import Say, Turn, finished_stages
from flows.server import point_prefect_at, without_user
from flows.settings import n_workers
from flows.stages import STAGES
from schemas.errors import CallFailedError, UserError
from warehouse.workspace import Workspace

CALL_RETRIES = 3
RELEASED = "tiebreak.version.released"
"""the event of a round whose stage `release` made a version"""


def run_in_prefect(turn: Turn, say: Say) -> str:
    """Take the round through its unfinished stages under the workspace's Prefect server; returns its address.

    The server's address must be known before prefect is imported, so prefect is imported here.
    """
    url = point_prefect_at(turn.store.workspace)
    # Prefect logs every failure with its traceback; ours say it in one line, and its UI keeps the rest.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    from prefect import flow
    from prefect.runtime import flow_run

    todo = [name for name in STAGES if name not in finished_stages(turn)]
    if flow_run.id:  # a deployment's run: its tasks are ours, no flow within the flow
        name_run(turn)
        run_todo(turn, todo, say)
        return without_user(url)

    @flow(name="round", flow_run_name=_name(turn), task_runner=runner(), validate_parameters=False)
    def round_flow(workspace: str, round_id: str, stages: list[str]) -> list[int]:
        return run_todo(turn, stages, say)

    round_flow(str(turn.store.workspace.root), turn.round_id, todo)
    return without_user(url)


def runner() -> Any:
    """As many calls in flight as the setting says, and no more: those are what a kill may cost twice."""
    from prefect.task_runners import ThreadPoolTaskRunner

    return ThreadPoolTaskRunner(max_workers=n_workers())


def run_todo(turn: Turn, stages: Sequence[str], say: Say) -> list[int]:
    """Stages of a round as tasks, then its page among the artifacts; rows of each. Inside a flow run only."""
    rows = [_run_stage(turn, stage, say) for stage in stages]
    tell_released(turn)
    show_round(turn)
    return rows


def name_run(turn: Turn) -> None:
    """Call the flow run of a deployment what it turned out to be: Prefect named it by two words of its own."""
    from prefect.client.orchestration import get_client
    from prefect.runtime import flow_run

    with get_client(sync_client=True) as client:
        client.update_flow_run(flow_run.id, name=_name(turn))


def _name(turn: Turn) -> str:
    return f"{turn.recipe.dataset}-round-{turn.n}"


def _run_stage(turn: Turn, name: str, say: Say) -> int:
    """One stage as a task. What it works on stays in this process: NO_CACHE keeps frames out of task keys."""
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    mapped = replace(turn, fan_out=task_fan_out(), progress=Progress(turn.recipe.dataset).calls)
    n_rows = task(name=name, cache_policy=NO_CACHE, persist_result=False)(lambda: STAGES[name](mapped))()
    say(f"round {turn.n}: {name}: {n_rows} rows")
    return n_rows


def tell_released(turn: Turn) -> None:
    """Emit `tiebreak.version.released` where this round made a version: it wakes retraining.

    At the round's end, so that retraining finds no round under way, and also when it was an earlier process that came
    as far as the release. The event may be lost or come twice: whoever is woken looks for what there is to do.
    """
    from prefect.events import emit_event

    with turn.store.write("round") as writer:
        released = writer.query("versions_of", dataset=turn.recipe.dataset).filter(round_id=turn.round_id)
    if released.is_empty():
        return
    resource = released_resource(turn.store.workspace, turn.recipe.dataset)
    named = {"prefect.resource.id": resource, "prefect.resource.name": f"{turn.recipe.dataset}, round {turn.n}"}
    emit_event(RELEASED, named, payload={"dataset": turn.recipe.dataset, "round": turn.n})


def released_resource(workspace: Workspace, dataset: str) -> str:
    """What the event is about: a dataset of a workspace."""
    return f"tiebreak.dataset.{dataset}.of.{workspace.root.resolve()}"


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
