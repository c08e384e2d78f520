"""What Prefect's workers run: thin flows that call what the commands call.

Deployments name them by module (`flows.scheduled.round`), so a worker imports the installed package and nothing of the
folder it stands in. Parameters are paths and checksums: no secret, no text of anybody's.
"""

from __future__ import annotations

import os
from pathlib import Path

from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled

from flows import annotating, commands, retraining
from flows.artifacts import Progress
from flows.round import runner
from flows.rounds import Say, now
from flows.settings import serving_settings
from flows.training_pool import carry_out_here
from warehouse.workspace import Workspace


@flow(name="round", task_runner=runner(), validate_parameters=False, persist_result=False)
def round(workspace: str, recipe: str) -> None:
    """One round; an open one is finished first, under its own recipe."""
    _begin()
    commands.run(
        Path(workspace), Path(recipe), 1, is_direct=False, is_dry_run=False, is_resume=True, say=told_in_prefect()
    )


@flow(name="collect", validate_parameters=False, persist_result=False)
def collect(workspace: str, recipe: str) -> None:
    """What people answered since the last look."""
    _begin()
    annotating.collect(Path(workspace), Path(recipe), is_full=False, say=told_in_prefect())


@flow(name="retrain", validate_parameters=False, persist_result=False)
def retrain(workspace: str, recipe: str) -> None:
    """Language models for released versions that lack one. Woken once too often, it finds nothing to do."""
    _begin()
    say = told_in_prefect()
    if commands.load_recipe(Path(workspace), Path(recipe)).training.engine == "embedded":
        say("the recipe trains heads, in its rounds: nothing to do here; next: tiebreak deploy")
        return
    waiting = {row["version"]: row["state"] for row in retraining.due(Path(workspace), Path(recipe))}
    if not {"due", "trained", "overtaken"} & set(waiting.values()):
        others = ", ".join(f"{version}: {state}" for version, state in waiting.items())
        say(f"{others or 'no version lacks its model'}: nothing to do")
        return
    retraining.retrain(Path(workspace), Path(recipe), say=say)


@flow(name="train", validate_parameters=False, persist_result=False)
def train(order_folder: str, train_sha256: str) -> None:
    """Carry out one training order on the machine this worker stands on."""
    _stand_where_the_worker_was_started()
    folder = folder_here(order_folder)
    settings = serving_settings(_workspace_of(folder))
    carry_out_here(folder, train_sha256, settings, say=told_in_prefect(), tell=Progress(folder.name).tell)


def folder_here(order_folder: str) -> Path:
    """The order's folder as this machine sees it: in the worker's workspace, which may be mounted elsewhere here."""
    named = Path(order_folder)
    mine = os.environ.get("TIEBREAK_WORKSPACE")
    here = Workspace(Path(mine)).orders / named.name if mine else named
    return here if here.is_dir() else named


def told_in_prefect() -> Say:
    """Lines as log records of the flow run; a line is data, never a format."""
    logger = get_run_logger()
    return lambda line: logger.info("%s", line)


def take_over_what_is_due() -> None:
    """Cancel runs of this deployment that came due by the schedule while another was under way: this one serves all.

    Without it a schedule that is faster than its rounds would queue up for months.
    """
    if not deployment.id:
        return
    with get_client(sync_client=True) as client:
        for other in _due(client):
            told: State[None] = Cancelled(message="due while another run was under way: the next one served both")
            client.set_flow_run_state(other, told, force=True)


def _begin() -> None:
    _stand_where_the_worker_was_started()
    take_over_what_is_due()


def _stand_where_the_worker_was_started() -> None:
    """Relative paths of settings mean what they meant there; a worker starts its runs in an empty folder.

    What kept that folder's modules out of our imports is not for programs that we start: theirs lie beside them.
    """
    folder = os.environ.get("TIEBREAK_FROM", "")
    if os.path.isdir(folder):
        os.chdir(folder)
    os.environ.pop("PYTHONSAFEPATH", None)


def _due(client: SyncPrefectClient) -> list[str]:
    wanted = FlowRunFilter.model_validate({
        "deployment_id": {"any_": [deployment.id]}, "state": {"type": {"any_": ["SCHEDULED"]}},
        "expected_start_time": {"before_": now()},
    })
    found = client.read_flow_runs(flow_run_filter=wanted, limit=200)
    return [str(run.id) for run in found if run.auto_scheduled and str(run.id) != flow_run.id]


def _workspace_of(folder: Path) -> Workspace:
    """The worker's workspace, whose settings say where bases lie; else the one that the order lies in."""
    mine = os.environ.get("TIEBREAK_WORKSPACE")
    return Workspace(Path(mine) if mine else folder.parent.parent)
