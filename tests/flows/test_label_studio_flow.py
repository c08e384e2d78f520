"""Rounds with a real Label Studio server: routes go there, three users answer over its API, the next version knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from label_studio_server import LabelStudio
from memory_platform import result
from small_rounds import new_store, run_only, simulated_recipe

from flows.calling import thread_fan_out
from flows.collecting import recall_from_platform
from flows.engines import engines_of
from flows.people import collect_now, send_now
from flows.rounds import Turn, open_round
from flows.stages import STAGES
from schemas.errors import PlatformError, RecipeError
from schemas.recipe import Recipe
from schemas.settings import LabelStudio as LabelStudioSettings
from schemas.settings import Queue, Settings
from schemas.tables import TABLES
from warehouse.store import Store

pytestmark = pytest.mark.service
BUDGET = 6
PSEUDONYM_KEY = "a key of more than sixteen bytes"
AFTER_PEOPLE = ("settle", "release", "export", "retrain", "evaluate", "gate")


def recipe_of(dataset: str, **people: object) -> Recipe:
    return simulated_recipe(dataset=dataset, people={"engine": "label_studio", "cost_usd": 0.25, **people},
                            routing={"method": "value", "budget_votes": BUDGET})


def turn_of(store: Store, server: LabelStudio, recipe: Recipe, *queues: Queue) -> Turn:
    named = LabelStudioSettings(url=server.url, queues=queues or (Queue(name="all"),))
    engines = engines_of(recipe, settings=Settings(label_studio=named))
    return open_round(store, engines, recipe, thread_fan_out(2), lambda line: None)


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch, label_studio: LabelStudio) -> None:
    monkeypatch.setenv("LABEL_STUDIO_TOKEN", label_studio.admin.token)
    monkeypatch.setenv("TIEBREAK_PSEUDONYM_KEY", PSEUDONYM_KEY)


def project_of(server: LabelStudio, dataset: str, queue: str = "all") -> int:
    with server.client() as client:
        projects = client.get("/api/projects", params={"page_size": 100}).raise_for_status().json()["results"]
    return next(p["id"] for p in projects if f"dataset {dataset}, queue {queue}." in p["description"])


def tasks_of(server: LabelStudio, project: int) -> list[dict[str, Any]]:
    with server.client() as client:
        said = client.get("/api/tasks", params={"project": project, "page_size": 100, "fields": "all"})
        return sorted(said.raise_for_status().json()["tasks"], key=lambda task: task["id"])


def submit(client: httpx.Client, task: int, verdict: str, *, is_skipped: bool = False) -> int:
    body = {"result": [] if is_skipped else result(verdict), "was_cancelled": is_skipped, "lead_time": 12.5}
    return int(client.post(f"/api/tasks/{task}/annotations/", json=body).raise_for_status().json()["id"])


def stored_bytes(store: Store) -> Iterator[bytes]:
    """Every file as it lies there, and every value of every table."""
    yield from (path.read_bytes() for path in store.workspace.root.rglob("*") if path.is_file())
    with store.write("test") as writer:
        yield from (writer._rows(f"FROM {table}", {}, {}).write_ndjson().encode() for table in TABLES)


def current(store: Store) -> pl.DataFrame:
    with store.write("test") as writer:
        writer.check()
        return writer._rows("""
            SELECT vote.pair_id::VARCHAR AS pair_id, vote.voter, vote.p_a, vote.p_tie
            FROM current_votes((SELECT coalesce(max(seq), 0) FROM votes)) AS vote JOIN voters AS voter USING (voter)
            WHERE voter.kind = 'human' ORDER BY ALL""", {}, {})


def test_three_users_answer_after_the_round_and_the_next_version_contains_their_votes(
    label_studio: LabelStudio, tmp_path: Path
) -> None:
    store, recipe = new_store(tmp_path / "ws"), recipe_of("threeusers")
    turn = turn_of(store, label_studio, recipe)
    run_only(turn, *STAGES)
    assert current(store).is_empty(), "nothing waited for a person"
    tasks = tasks_of(label_studio, project_of(label_studio, "threeusers"))
    assert len(tasks) == BUDGET
    for i, task in enumerate(tasks):
        with label_studio.client(label_studio.people[i % 3]) as client:
            submit(client, int(str(task["id"])), "3")
    again = turn_of(store, label_studio, recipe)
    assert again.n == 2
    run_only(again, *STAGES)
    votes = current(store)
    assert votes.height == BUDGET
    assert votes["voter"].n_unique() == 3
    assert not any(p.email in "".join(votes["voter"]) for p in label_studio.people)
    with store.write("test") as writer:
        counted = [writer.query("version_members", dataset="threeusers", n=n).join(votes, on="pair_id", how="semi")
                   for n in (1, 2)]
    assert (counted[1]["n_votes"] - counted[0]["n_votes"]).to_list() == [1] * BUDGET
    assert len(tasks_of(label_studio, project_of(label_studio, "threeusers"))) == 2 * BUDGET
    hidden = [label_studio.admin.token, PSEUDONYM_KEY, *(p.email for p in label_studio.people)]
    assert [s for s in hidden for content in stored_bytes(store) if s.encode() in content] == []
    turn.engines.close()
    again.engines.close()


def test_edits_deletions_skips_and_a_foreign_task_end_where_they_should(
    label_studio: LabelStudio, tmp_path: Path
) -> None:
    store, recipe = new_store(tmp_path / "ws"), recipe_of("edits")
    turn = turn_of(store, label_studio, recipe)
    run_only(turn, *list(STAGES)[: list(STAGES).index("collect")])
    project = project_of(label_studio, "edits")
    edited, deleted, skipped, *_ = (int(str(task["id"])) for task in tasks_of(label_studio, project))
    with label_studio.client(label_studio.people[0]) as client:
        first, second = submit(client, edited, "3"), submit(client, deleted, "3")
        submit(client, skipped, "", is_skipped=True)
        assert collect_now(turn) == 2
        client.patch(f"/api/annotations/{first}/", json={"result": result("0")}).raise_for_status()
        client.delete(f"/api/annotations/{second}/").raise_for_status()
    foreign = {**dict(tasks_of(label_studio, project)[0]["data"]), "task_key": "somebody else's"}
    with label_studio.client() as client:
        client.post(f"/api/projects/{project}/import", json=[{"data": foreign}]).raise_for_status()
    assert collect_now(turn) == 1
    assert current(store)["p_tie"].to_list() == [1.0]
    assert collect_now(turn, is_full=True) == 0
    assert (collect_now(turn), send_now(turn)) == (0, 0)
    assert recall_from_platform(turn).is_empty()
    turn.engines.close()


def test_a_deleted_task_is_sent_again_by_a_full_collect_and_a_deleted_project_too(
    label_studio: LabelStudio, tmp_path: Path
) -> None:
    store, recipe = new_store(tmp_path / "ws"), recipe_of("lost")
    turn = turn_of(store, label_studio, recipe)
    run_only(turn, *list(STAGES)[: list(STAGES).index("collect")])
    project = project_of(label_studio, "lost")
    with label_studio.client() as client:
        client.delete(f"/api/tasks/{tasks_of(label_studio, project)[0]['id']}/").raise_for_status()
        collect_now(turn, is_full=True)
        assert len(tasks_of(label_studio, project)) == BUDGET
        client.delete(f"/api/projects/{project}/").raise_for_status()
    collect_now(turn, is_full=True)
    assert len(tasks_of(label_studio, project_of(label_studio, "lost"))) == BUDGET
    turn.engines.close()


def test_a_wrong_token_and_a_server_that_is_down_are_one_clear_line(
    label_studio: LabelStudio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, recipe = new_store(tmp_path / "ws"), recipe_of("refused")
    turn = turn_of(store, label_studio, recipe)
    run_only(turn, *list(STAGES)[: list(STAGES).index("send")])
    monkeypatch.setenv("LABEL_STUDIO_TOKEN", "f" * 40)
    with pytest.raises(PlatformError) as refused:
        send_now(turn_of(store, label_studio, recipe))
    assert "f" * 40 not in str(refused.value)
    monkeypatch.delenv("LABEL_STUDIO_TOKEN")
    with pytest.raises(RecipeError, match="export LABEL_STUDIO_TOKEN"):
        send_now(turn_of(store, label_studio, recipe))
    monkeypatch.setenv("LABEL_STUDIO_TOKEN", label_studio.admin.token)
    assert send_now(turn_of(store, label_studio, recipe)) == BUDGET
