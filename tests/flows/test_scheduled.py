"""Rounds that run by themselves: a real server, a real worker, killed and started again."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from prefect_at_work import KEY, asked, posted, run_now, state_of, tiebreak, until
from small_rounds import WORLD, fingerprints, new_store, simulated_recipe

from curate.adapters.meter import Meter
from flows.server import Worker, running_server, running_worker, stop_server
from flows.serving import stop_worker
from schemas.recipe import Recipe
from warehouse.reader import Reader
from warehouse.store import Store

pytestmark = pytest.mark.service

HASTY = {"PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "3", "PREFECT_WORKER_QUERY_SECONDS": "2"}
SCHEDULES = '[schedules]\nround = "every 4 s"\ncollect = "0 3 29 2 *"\n'


@dataclass(frozen=True)
class Deployed:
    """A workspace whose rounds run every few seconds, and the server they run on."""

    root: Path
    api: str
    rows: list[dict[str, object]]
    scheduled_within_s: float


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    root = tmp_path_factory.mktemp("scheduled") / "ws"
    workspace = new_store(root).workspace
    workspace.recipe.write_text(simulated_recipe().canonical())
    workspace.settings.write_text(SCHEDULES)
    shadow = root.parent / "flows"  # a folder that has a `flows` of its own
    shadow.mkdir()
    (shadow / "__init__.py").write_text('raise ImportError("the folder shadows the product")\n')
    try:
        tiebreak(root, "serve", cwd=root.parent, PYTHONSAFEPATH="1", **HASTY)
        server = running_server(workspace)
        assert server is not None
        rows = json.loads(tiebreak(root, "deploy", "--json"))
        begun = time.monotonic()
        until(lambda: asked(server.api_url, "flow_runs"), 120)
        scheduled_within_s = time.monotonic() - begun
        until(lambda: "small-round-2" in names_of(server.api_url), 400)
        for one in asked(server.api_url, "deployments"):  # enough seen: the machine is for the other tests
            posted(server.api_url, f"deployments/{one['id']}/pause_deployment", {})
        yield Deployed(root, server.api_url, rows, scheduled_within_s)
    finally:
        stop_worker(workspace)
        stop_server(workspace)


def names_of(api: str, *states: str) -> list[str]:
    """Names of flow runs, of those in one of these states where some are named."""
    wanted = {"flow_runs": {"state": {"name": {"any_": list(states)}}}} if states else {}
    return sorted(str(run["name"]) for run in asked(api, "flow_runs", **wanted))


def test_a_scheduled_round_runs_by_itself_and_is_named_after_what_it_did(deployed: Deployed) -> None:
    assert "small-round-1" in names_of(deployed.api, "Completed")
    with Reader(deployed.root) as reader:
        assert "small@1" in reader.sql("FROM version_log")["version"].to_list()


def test_deployed_again_nothing_changes_and_it_says_so(deployed: Deployed) -> None:
    def known() -> list[list[object]]:
        return [sorted(str(row["id"]) + str(row["updated"]) for row in asked(deployed.api, what))
                for what in ("deployments", "automations")]

    before = known()
    again = json.loads(tiebreak(deployed.root, "deploy", "--json"))
    assert [row["state"] for row in deployed.rows] == ["made"]
    assert [row["state"] for row in again] == ["unchanged"]
    assert known() == before
    assert [row["state"] for row in json.loads(tiebreak(deployed.root, "deploy", "--dry-run", "--json"))] == [
        "unchanged"]


def test_status_shows_server_and_worker_and_serve_keeps_both(deployed: Deployed) -> None:
    worker = running_worker(Store(deployed.root).workspace)
    assert worker is not None
    assert f"worker: pid {worker.pid}, pool tiebreak" in tiebreak(deployed.root, "status")
    assert f"pid {worker.pid}, pool tiebreak" in tiebreak(deployed.root, "serve", **HASTY)


def test_what_came_due_during_a_round_is_one_more_round_and_no_queue(deployed: Deployed) -> None:
    runs = asked(deployed.api, "flow_runs")
    told = [run for run in runs if run["state_name"] == "Cancelled"]
    assert told, "rounds were faster than their schedule"
    assert {run["state"]["message"] for run in told} == {
        "due while another run was under way: the next one served both"}
    rounds = sorted((run["start_time"], run["end_time"] or "") for run in runs if "small-round" in run["name"])
    assert len(rounds) >= 2
    assert all(ended and ended <= begun for (_, ended), (begun, _) in pairwise(rounds)), "two rounds at once"


def test_the_round_s_page_is_an_artifact(deployed: Deployed) -> None:
    pages = [a for a in asked(deployed.api, "artifacts") if a["key"] == "small-round"]
    first = next(page for page in pages if page["description"] == "round 1 of small")
    text = str(first["data"])
    assert "Released: **small@1**" in text
    for part in ("| verdict |", "synthesize | 24 |", "gate | 1 |", "tiebreak report small@1", "| drop |", "| keep |"):
        assert part.replace("| verdict |", "verdict") in text, text


def test_the_pinned_versions_let_prefect_s_server_import() -> None:
    assert importlib.import_module("prefect.server.api.server").create_app


def test_the_pinned_versions_let_prefect_s_scheduler_make_runs(deployed: Deployed) -> None:
    assert deployed.scheduled_within_s < 60
    assert len([run for run in asked(deployed.api, "flow_runs") if run["auto_scheduled"]]) >= 3
    log = (deployed.root / "prefect" / "server.log").read_text()
    assert "bulk DML" not in log


def test_no_secret_is_in_prefect_s_database_or_logs(deployed: Deployed) -> None:
    worker = running_worker(Store(deployed.root).workspace)
    assert worker is not None
    assert KEY.encode() in Path(f"/proc/{worker.pid}/environ").read_bytes(), "the worker was given the key"
    held = {str(path): content(path) for path in deployed.root.rglob("*")}
    assert any(b"small-round-1" in whole for whole in held.values())
    assert [name for name, whole in held.items() if KEY.encode() in whole] == []
    with sqlite3.connect(f"file:{deployed.root / 'prefect' / 'prefect.db'}?mode=ro", uri=True) as database:
        assert KEY not in "\n".join(database.iterdump())


def content(path: Path) -> bytes:
    """Bytes of a file; none of a folder, or of a file that a round at work took away meanwhile."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        return b""


def bigger_recipe() -> Recipe:
    people = {"engine": "simulated", "cost_usd": 0.25}
    return simulated_recipe(world={**WORLD, "n_prompts": 60}, people=people, routing={"budget_votes": 12})


def spent(store: Store) -> dict[str, float]:
    with Reader(store.workspace.root) as reader:
        row = reader.sql("SELECT sum(n_routes) AS asked, sum(n_bought) AS bought, sum(human_usd) AS usd, "
                         "sum(n_calls) AS calls FROM round_summary").row(0, named=True)
    return {name: float(value) for name, value in row.items()}


def kill_with_its_runs(worker: Worker) -> None:
    """As a machine that goes down: worker and round at once. They are one process group."""
    os.killpg(worker.pid, signal.SIGKILL)


def test_a_worker_killed_in_a_round_and_started_again_ends_as_if_nothing_had_happened(
    deployed: Deployed, tmp_path: Path
) -> None:
    undisturbed, store, meter = new_store(tmp_path / "other"), new_store(tmp_path / "ws"), Meter(tmp_path / "bill")
    for workspace in (undisturbed.workspace, store.workspace):
        workspace.recipe.write_text(bigger_recipe().canonical())
    tiebreak(undisturbed.workspace.root, "run", "--direct", "--rounds", "2")
    bill = {"TIEBREAK_METER": str(tmp_path / "bill"), "TIEBREAK_WORKERS": "2"}
    shell, root = {"PREFECT_API_URL": deployed.api, **bill, **HASTY}, store.workspace.root
    try:
        deployment = json.loads(tiebreak(root, "deploy", "--json", **shell))[0]["deployment"]
        tiebreak(root, "serve", **shell)
        worker = running_worker(store.workspace)
        assert worker is not None
        killed = run_now(deployed.api, deployment)
        until(lambda: len(meter.served()) > 150, 240, every=0.05)
        kill_with_its_runs(worker)
        known, paid = recorded_keys(store), len(meter.served())
        assert fingerprints(store) == [], "killed too late to show anything"
        assert "worker: not running" in tiebreak(root, "status", **shell)
        assert state_of(deployed.api, killed) == "Running", "nobody could tell Prefect"
        tiebreak(root, "serve", **shell)
        assert state_of(deployed.api, killed) == "Crashed"
        runs = [run_now(deployed.api, deployment) for _ in range(2)]
        until(lambda: {state_of(deployed.api, run) for run in runs} == {"Completed"}, 400)
    finally:
        stop_worker(store.workspace)
    assert fingerprints(store) == fingerprints(undisturbed)
    assert spent(store) == spent(undisturbed)
    assert not known & set(meter.served()[paid:]), "a recorded call was paid for again"
    assert sum(n - 1 for n in Counter(meter.served()).values()) <= 2, "only what was in flight may be repeated"


def recorded_keys(store: Store) -> set[str]:
    with store.write("test") as writer:
        return set(writer.query("call_keys")["call_key"])
