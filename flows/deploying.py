"""Deployments: round, collect, retrain and train as Prefect runs them by themselves.

Deployed twice is deployed once: what is there already is compared, and only what differs is written, because a write
throws away the runs that were scheduled.
"""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flows.commands import load_recipe
from flows.round import RELEASED, released_resource
from flows.server import noted_server, point_prefect_at, running_server
from flows.settings import serving_settings
from schemas.errors import RecipeError
from schemas.ids import content_id
from schemas.recipe import Recipe
from schemas.settings import Settings
from warehouse.lock import writer_lock
from warehouse.workspace import Workspace

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

Facts = dict[str, object]
ANCHOR = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
"""intervals count from here: the same moments whoever deploys, and whenever"""
# The plain command, not the worker's default: that one writes its whole environment, secrets too, into a file.
JOB: dict[str, Any] = {"command": "python -m prefect.engine", "env": {"PYTHONSAFEPATH": "1"}}


@dataclass(frozen=True)
class Plan:
    """A deployment as it should be."""

    stage: str
    name: str
    pool: str
    parameters: dict[str, str]
    schedule: str = ""
    """as the settings say it: five cron fields, or `every 600 s`"""
    woken_by: str = ""
    """resource of the event that runs it"""

    @property
    def full_name(self) -> str:
        """flow/deployment."""
        return f"{self.stage}/{self.name}"


def deploy(root: Path, recipe: Path | None, *, is_dry_run: bool) -> list[Facts]:
    """One row per deployment: name, pool, schedule, what wakes it, whether it was made, changed or there already.

    A server is started when none answers, not so for a dry run.
    """
    workspace = Workspace(root).require()
    path = (recipe or workspace.recipe).resolve()
    parsed, settings = load_recipe(root, path), serving_settings(workspace)
    is_alone = is_dry_run and not (os.environ.get("PREFECT_API_URL") or running_server(workspace))
    if not is_alone:
        point_prefect_at(workspace)  # before anything imports prefect, which reads the address then
    plans, unwanted = planned(workspace, path, parsed, settings)
    for plan in plans:
        schedule_of(plan.stage, plan.schedule)
    if is_alone:
        return [_row(plan, "would be made") for plan in plans]
    workspace.server.mkdir(parents=True, exist_ok=True)
    with writer_lock(workspace.server / "deploy.lock", "deploy"):
        return _deployed(plans, unwanted, is_dry_run)


def planned(workspace: Workspace, recipe: Path, parsed: Recipe, settings: Settings) -> tuple[list[Plan], list[str]]:
    """Deployments of a recipe, and full names of those that an earlier one had and this one has not."""
    times, pool = settings.schedules, host_pool(workspace)
    given = {"workspace": str(workspace.root.resolve()), "recipe": str(recipe)}
    name = deployment_name(workspace, parsed.dataset)
    plans, unwanted = [Plan("round", name, pool, given, times.round)], list[Plan]()
    collect = Plan("collect", name, pool, given, times.collect)
    # Elsewhere people answer within the round: there is nothing to take in between rounds.
    (plans if parsed.people.engine == "label_studio" else unwanted).append(collect)
    trained = [Plan("retrain", name, pool, given, times.retrain, released_resource(workspace, parsed.dataset))]
    if settings.training.pool:
        trained.append(training_plan(workspace, settings.training.pool))
    is_trained = parsed.training.engine == "trl"  # a head on features is trained within its round
    plans, unwanted = (plans + trained, unwanted) if is_trained else (plans, [*unwanted, trained[0]])
    return plans, [plan.full_name for plan in unwanted]


def training_plan(workspace: Workspace, pool: str) -> Plan:
    """The deployment that carries out orders on a pool; which order is a parameter of each run."""
    return Plan("train", deployment_name(workspace, pool), pool, {})


def host_pool(workspace: Workspace) -> str:
    """Work pool of the one machine that may open the workspace's warehouse."""
    return deployment_name(workspace, "tiebreak")


def deployment_name(workspace: Workspace, what: str) -> str:
    """`what`; on a server that others share, with a mark of this workspace."""
    given, own = os.environ.get("PREFECT_API_URL"), noted_server(workspace)
    if given is None or (own is not None and given.rstrip("/") == own.api_url):
        return what
    return f"{what}-{content_id(str(workspace.root.resolve()))[:8]}"


def schedule_of(field: str, said: str) -> Any:
    """Prefect's schedule, in UTC; None for an empty one. Raises RecipeError for a line that cron does not know."""
    from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

    if not said:
        return None
    if said.startswith("every "):
        seconds = dt.timedelta(seconds=int(said.split()[1]))
        return IntervalSchedule(interval=seconds, anchor_date=ANCHOR, timezone="UTC")
    try:
        return CronSchedule(cron=said, timezone="UTC")
    except ValueError as error:
        raise RecipeError(f"schedules.{field} = {said!r}", expected="five cron fields as in '0 3 * * *'",
                          next="edit settings.toml") from error


def _deployed(plans: list[Plan], unwanted: list[str], is_dry_run: bool) -> list[Facts]:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        rows = []
        for plan in plans:
            found = _found(client, plan.full_name)
            is_whole = found is not None and _is_same(found, plan) and _is_woken(client, plan, found.id)
            state = "unchanged" if is_whole else "changed" if found else "made"
            rows.append(_row(plan, state if not is_dry_run or is_whole else f"would be {state}"))
            if not is_whole and not is_dry_run:
                _write(client, plan)
        for name in [*unwanted, *_renamed(client, plans)]:
            if (found := _found(client, name)) is not None:
                rows.append({"deployment": name, "state": "would be removed" if is_dry_run else "removed"})
                if not is_dry_run:
                    _remove(client, name, found.id)
        return rows


def _renamed(client: SyncPrefectClient, plans: list[Plan]) -> list[str]:
    """Full names of deployments of the same recipe file from when it named another dataset.

    Their runs read the recipe as it is now: left alone they would make every round of the new dataset twice.
    """
    from prefect.client.schemas.filters import DeploymentFilter

    tagged = DeploymentFilter.model_validate({"tags": {"all_": ["tiebreak"]}})
    given, kept = plans[0].parameters, {plan.name for plan in plans}
    found = client.read_deployments(deployment_filter=tagged, limit=200)
    return sorted(f"{(one.entrypoint or '').rpartition('.')[2]}/{one.name}" for one in found
                  if one.parameters == given and one.name not in kept)


def _row(plan: Plan, state: str) -> Facts:
    woken = RELEASED if plan.woken_by else "by retrain" if plan.stage == "train" else None
    return {"deployment": plan.full_name, "pool": plan.pool, "schedule (UTC)": plan.schedule or None,
            "woken by": woken, "state": state}


def _found(client: SyncPrefectClient, name: str) -> DeploymentResponse | None:
    from prefect.exceptions import ObjectNotFound

    try:
        return client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None


def _is_same(found: DeploymentResponse, plan: Plan) -> bool:
    """Whether the deployment is as planned. Pausing one by hand is its owner's affair."""
    wanted = schedule_of(plan.stage, plan.schedule)
    limit = found.global_concurrency_limit
    return (
        found.parameters == plan.parameters and found.work_pool_name == plan.pool and found.job_variables == JOB
        and found.entrypoint == _entrypoint(plan) and limit is not None and limit.limit == 1
        and [s.schedule.model_dump(mode="json") for s in found.schedules]
        == ([wanted.model_dump(mode="json")] if wanted else [])
    )


def _write(client: SyncPrefectClient, plan: Plan) -> None:
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
    from prefect.utilities.callables import parameter_schema

    from flows import scheduled

    _make_pool(client, plan.pool)
    entry = getattr(scheduled, plan.stage)
    wanted = schedule_of(plan.stage, plan.schedule)
    made = client.create_deployment(
        flow_id=client.create_flow_from_name(plan.stage), name=plan.name, work_pool_name=plan.pool,
        entrypoint=_entrypoint(plan), parameters=plan.parameters, tags=["tiebreak"], description=entry.fn.__doc__,
        schedules=[DeploymentScheduleCreate(schedule=wanted)] if wanted else [],
        # A second run waits for the first; the kernel's lock of the dataset's round holds beside it.
        concurrency_limit=1,
        concurrency_options=ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
        parameter_openapi_schema=parameter_schema(entry.fn).model_dump(), job_variables=JOB,
    )
    if plan.woken_by:
        _wake(client, plan, made)


def _make_pool(client: SyncPrefectClient, pool: str) -> None:
    """A process pool, where none of that name is there: whoever made another kind knows why."""
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

    try:
        client.read_work_pool(pool)
    except ObjectNotFound:
        try:
            client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
        except ObjectAlreadyExists:  # a worker was quicker
            return


def _wake(client: SyncPrefectClient, plan: Plan, deployment_id: UUID) -> None:
    """One automation that runs the deployment on the event; those that an earlier form left are gone."""
    from prefect.events import EventTrigger
    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import AutomationCore, Posture

    for old in client.read_automations_by_name(_automation(plan.full_name)):
        client.delete_automation(old.id)
    client.create_automation(AutomationCore(
        name=_automation(plan.full_name), description="A new version wakes retraining.",
        trigger=EventTrigger.model_validate({
            "expect": [RELEASED], "match": {"prefect.resource.id": plan.woken_by}, "posture": Posture.Reactive,
            "threshold": 1,
        }),
        actions=[RunDeployment(source="selected", deployment_id=deployment_id, parameters=None, job_variables=None)],
    ))


def _is_woken(client: SyncPrefectClient, plan: Plan, deployment_id: UUID) -> bool:
    if not plan.woken_by:
        return True
    found = client.read_automations_by_name(_automation(plan.full_name))
    told = [(one.model_dump(mode="json")["trigger"], one.model_dump(mode="json")["actions"][0]) for one in found]
    wanted = ([RELEASED], {"prefect.resource.id": plan.woken_by}, str(deployment_id))
    return [(trigger["expect"], trigger["match"], action["deployment_id"]) for trigger, action in told] == [wanted]


def _remove(client: SyncPrefectClient, name: str, deployment_id: UUID) -> None:
    for old in client.read_automations_by_name(_automation(name)):
        client.delete_automation(old.id)
    client.delete_deployment(deployment_id)


def _automation(deployment: str) -> str:
    return f"tiebreak: {deployment} after a release"


def _entrypoint(plan: Plan) -> str:
    return f"flows.scheduled.{plan.stage}"
