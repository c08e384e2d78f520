"""kill -9 at random moments against a real Label Studio server: run again, nothing is lost and nothing is twice.

Each run is killed at two points, in `send` and in `collect`.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from label_studio_server import LabelStudio
from memory_platform import result
from small_rounds import new_store, run_only, simulated_recipe

from flows.calling import thread_fan_out
from flows.engines import engines_of
from flows.rounds import open_round
from schemas.settings import parse_settings
from warehouse.store import Store

pytestmark = pytest.mark.service
N_KILLS = int(os.environ.get("TIEBREAK_KILLS", "10"))
BUDGET = 12
DATASET = "kills"


def start(root: Path, server: LabelStudio, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "TIEBREAK_WORKSPACE": str(root), "LABEL_STUDIO_TOKEN": server.admin.token,
                   "TIEBREAK_PSEUDONYM_KEY": "a key of more than sixteen bytes"}
    command = [sys.executable, "-m", "flows.cli", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(process: subprocess.Popen[bytes]) -> None:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output.decode()


def killed(process: subprocess.Popen[bytes], after: float) -> None:
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.fixture(scope="module")
def chosen(label_studio: LabelStudio, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose open round has chosen its pairs for people."""
    store = new_store(tmp_path_factory.mktemp("chosen") / "ws")
    recipe = simulated_recipe(dataset=DATASET, people={"engine": "label_studio", "cost_usd": 0.25},
                              routing={"method": "value", "budget_votes": BUDGET})
    settings = f'[label_studio]\nurl = "{label_studio.url}"\nqueues = [{{name = "one"}}, {{name = "two"}}]\n'
    store.workspace.recipe.write_text(recipe.canonical())
    store.workspace.settings.write_text(settings)
    engines = engines_of(recipe, settings=parse_settings(settings))
    turn = open_round(store, engines, recipe, thread_fan_out(2), lambda line: None)
    run_only(turn, "synthesize", "mark_gold", "judge", "score", "route")
    return store.workspace.root


@contextmanager
def without_projects(server: LabelStudio) -> Iterator[None]:
    """Nobody has sent anything yet, and nothing is left."""
    try:
        assert projects_of(server) == []
        yield
    finally:
        with server.client() as client:
            for project in projects_of(server):
                client.delete(f"/api/projects/{project}/").raise_for_status()


def projects_of(server: LabelStudio) -> list[int]:
    with server.client() as client:
        found = client.get("/api/projects", params={"page_size": 1000}).raise_for_status().json()["results"]
    return [p["id"] for p in found if f"dataset {DATASET}, queue " in p["description"]]


def tasks_of(server: LabelStudio) -> list[dict[str, Any]]:
    with server.client() as client:
        said = [client.get("/api/tasks", params={"project": p, "page_size": 100, "fields": "all"})
                for p in projects_of(server)]
    return [task for answer in said for task in answer.raise_for_status().json()["tasks"]]


def votes(store: Store) -> pl.DataFrame:
    """Current votes of people, which every reading must come to: pair, and what was said."""
    with store.write("test") as writer:
        writer.check()
        return writer._rows("""
            SELECT vote.pair_id::VARCHAR AS pair_id, vote.voter, vote.p_a, vote.external_ref, vote.seconds
            FROM current_votes((SELECT coalesce(max(seq), 0) FROM votes)) AS vote JOIN voters AS voter USING (voter)
            WHERE voter.kind = 'human' ORDER BY ALL""", {}, {})


@pytest.fixture(scope="module")
def seconds(chosen: Path, label_studio: LabelStudio, tmp_path_factory: pytest.TempPathFactory) -> float:
    """What `send` takes when nobody disturbs it, its imports included; `collect` takes about as long."""
    root = shutil.copytree(chosen, tmp_path_factory.mktemp("undisturbed") / "ws")
    with without_projects(label_studio):
        started = time.monotonic()
        finish(start(root, label_studio, "send"))
        took = time.monotonic() - started
        assert len(tasks_of(label_studio)) == BUDGET
    return took


@pytest.mark.parametrize("at", range((N_KILLS + 1) // 2))
def test_a_killed_send_or_collect_run_again_ends_as_if_it_had_not_been_killed(
    at: int, chosen: Path, label_studio: LabelStudio, tmp_path: Path, kill_seed: int, seconds: float
) -> None:
    chance, root = random.Random(f"{kill_seed} people {at}"), shutil.copytree(chosen, tmp_path / "ws")
    store = Store(root)
    with without_projects(label_studio):
        killed(start(root, label_studio, "send"), chance.uniform(0.3, 1.0) * seconds)
        finish(start(root, label_studio, "send"))
        answer_all(label_studio)
        killed(start(root, label_studio, "collect"), chance.uniform(0.3, 1.0) * seconds)
        finish(start(root, label_studio, "collect"))
        once = votes(store)
        finish(start(root, label_studio, "collect", "--full"))
        assert once.height == BUDGET
        assert once["seconds"].sort().to_list() == [float(i + 1) for i in range(BUDGET)]
        assert votes(store).equals(once)
        assert len(tasks_of(label_studio)) == BUDGET


def answer_all(server: LabelStudio) -> None:
    """Three people answer every task, of which there is one each."""
    tasks = tasks_of(server)
    keys = [task["data"]["task_key"] for task in tasks]
    assert len(keys) == len(set(keys)) == BUDGET
    for i, task in enumerate(tasks):
        with server.client(server.people[i % 3]) as client:
            body = {"result": result("3" if i % 2 else "-1"), "lead_time": float(i + 1)}
            client.post(f"/api/tasks/{task['id']}/annotations/", json=body).raise_for_status()
