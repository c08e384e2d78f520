"""What is deployed: decided without a server, so that each rule is one line to read."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from small_rounds import new_store, simulated_recipe

from flows.deploying import _renamed, deploy, deployment_name, planned, schedule_of
from flows.server import Server, without_user
from flows.serving import work
from schemas.errors import RecipeError, RefusedError
from schemas.recipe import Recipe
from schemas.settings import Settings, parse_settings
from warehouse.workspace import Workspace

TRL = {"engine": "trl", "trl": {"base": "somebody/tiny"}, "min_pairs": 10}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return new_store(tmp_path / "ws").workspace


def names(workspace: Workspace, recipe: Recipe, settings: Settings) -> list[str]:
    return [plan.full_name for plan in planned(workspace, workspace.recipe, recipe, settings)[0]]


def test_a_dataset_has_a_deployment_per_flow_and_a_pool_one_for_training(workspace: Workspace) -> None:
    trained, gpu = simulated_recipe(training=TRL), parse_settings('[training]\npool = "gpu"\n')
    asked = simulated_recipe(people={"engine": "label_studio"})
    assert names(workspace, simulated_recipe(), Settings()) == ["round/small"]
    assert names(workspace, asked, Settings()) == ["round/small", "collect/small"]
    assert names(workspace, trained, Settings()) == ["round/small", "retrain/small"]
    assert names(workspace, trained, gpu) == ["round/small", "retrain/small", "train/gpu"]


def test_what_a_recipe_has_no_use_for_any_more_is_removed(workspace: Workspace) -> None:
    asked = simulated_recipe(training=TRL, people={"engine": "label_studio"})
    assert planned(workspace, workspace.recipe, simulated_recipe(), Settings())[1] == ["collect/small", "retrain/small"]
    assert planned(workspace, workspace.recipe, asked, Settings())[1] == []


@pytest.mark.service  # imports prefect
def test_what_a_recipe_deployed_under_an_earlier_dataset_s_name_is_removed(workspace: Workspace) -> None:
    def deployed(name: str, stage: str, recipe: str) -> SimpleNamespace:
        given = {"workspace": str(workspace.root.resolve()), "recipe": recipe}
        return SimpleNamespace(name=name, entrypoint=f"flows.scheduled.{stage}", parameters=given)

    mine = str(workspace.recipe.resolve())
    there = [deployed("small", "round", mine), deployed("old", "round", mine), deployed("old", "retrain", mine),
             deployed("harmless", "round", "/elsewhere/harmless.toml")]
    plans = planned(workspace, workspace.recipe.resolve(), simulated_recipe(), Settings())[0]
    client = SimpleNamespace(read_deployments=lambda **_: there)
    assert _renamed(client, plans) == ["retrain/old", "round/old"]  # type: ignore[arg-type]


def test_parameters_are_whole_paths_and_nothing_else(workspace: Workspace) -> None:
    plan = planned(workspace, workspace.recipe.resolve(), simulated_recipe(), Settings())[0][0]
    assert plan.parameters == {"workspace": str(workspace.root.resolve()), "recipe": str(workspace.recipe.resolve())}


def test_a_release_of_just_this_dataset_of_just_this_workspace_wakes_retraining(workspace: Workspace) -> None:
    plans = planned(workspace, workspace.recipe, simulated_recipe(training=TRL), Settings())[0]
    woken = [plan.woken_by for plan in plans if plan.woken_by]
    assert woken == [f"tiebreak.dataset.small.of.{workspace.root.resolve()}"]


def test_on_a_server_that_others_share_names_carry_the_workspace(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert deployment_name(workspace, "small") == "small"
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    here, there = deployment_name(workspace, "small"), deployment_name(new_store(tmp_path / "b").workspace, "small")
    assert here.startswith("small-")
    assert here != there
    # Its own server keeps its names, also while it is too busy to answer.
    monkeypatch.setattr("flows.server._noted", lambda workspace: Server(1, 4200))
    monkeypatch.setattr("flows.server._is_ours", lambda server: True)
    monkeypatch.setattr("flows.server._is_healthy", lambda server: False)
    assert deployment_name(workspace, "small") == "small"


@pytest.mark.service  # imports prefect
def test_schedules_are_in_utc_and_intervals_count_from_a_moment_that_never_moves() -> None:
    cron, interval = schedule_of("round", "0 3 * * 1"), schedule_of("round", "every 600 s")
    assert (cron.cron, cron.timezone) == ("0 3 * * 1", "UTC")
    assert interval.interval.total_seconds() == 600
    assert interval == schedule_of("round", "every 600 s")
    assert interval.anchor_date.isoformat() == "2026-01-01T00:00:00+00:00"
    assert schedule_of("round", "") is None


@pytest.mark.service  # imports prefect
def test_five_fields_that_are_no_time_are_refused_by_name() -> None:
    with pytest.raises(RecipeError, match=r"schedules.collect = '99 3 \* \* \*'; expected five cron fields"):
        schedule_of("collect", "99 3 * * *")


@pytest.mark.service  # imports prefect
def test_a_dry_run_starts_no_server(workspace: Workspace) -> None:
    workspace.recipe.write_text(simulated_recipe().canonical())
    workspace.settings.write_text('[schedules]\nround = "0 3 * * *"\n')
    rows = deploy(workspace.root, None, is_dry_run=True)
    assert [(row["deployment"], row["pool"], row["schedule (UTC)"], row["state"]) for row in rows] == [
        ("round/small", "tiebreak", "0 3 * * *", "would be made")]
    assert not workspace.server.exists()


def test_a_worker_of_a_pool_starts_no_server_of_its_own(workspace: Workspace) -> None:
    with pytest.raises(RefusedError, match=r"no Prefect server on this machine.*export PREFECT_API_URL"):
        work(workspace.root, "gpu", lambda line: None)
    assert not workspace.server.exists()


def test_an_address_is_shown_without_its_user() -> None:
    assert without_user("http://me:secret@127.0.0.1:4200/api") == "http://127.0.0.1:4200/api"
    assert without_user("http://127.0.0.1:4200/a@b") == "http://127.0.0.1:4200/a@b"
