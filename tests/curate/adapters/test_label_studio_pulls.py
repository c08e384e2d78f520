"""What is read of a pretended Label Studio: since when, how far, and nothing that is no submission."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pytest
from pretended_label_studio import NOON, Pretended, said

from curate.adapters.label_studio import listing
from curate.adapters.label_studio.platform import LabelStudioPlatform
from curate.adapters.label_studio.pulling import OVERLAP
from schemas.errors import PlatformError
from schemas.settings import LabelStudio
from schemas.tables import PULLED

HOUR = dt.timedelta(hours=1)
"""DATE of the pretended server is an hour past noon"""


@pytest.fixture
def pretended() -> Pretended:
    made = Pretended()
    made.projects[1] = {"id": 1}
    return made


@pytest.fixture
def platform(pretended: Pretended) -> Iterator[LabelStudioPlatform]:
    with pretended.serving() as url:
        made = LabelStudioPlatform(LabelStudio(url=url, timeout_s=5.0), "token")
        yield made
        made.close()


def test_every_submission_of_a_task_is_there_and_drafts_and_predictions_are_not(
    pretended: Pretended, platform: LabelStudioPlatform
) -> None:
    task = pretended.add(1, {"task_key": "k"}, said(5, "1"), said(6, user=8, was_cancelled=True, parent_prediction=9))
    pretended.tasks[task] |= {"drafts": [said(7, "2")], "predictions": [said(8, "3")]}
    rows = platform.pull("1", None).submissions
    assert rows.columns == list(PULLED.schema)
    named = [f"{platform.system}/1/{i}" for i in (5, 6)]
    assert rows.select("submission", "user", "is_skipped", "is_from_prediction").rows() == [
        (named[0], "7", False, False), (named[1], "8", True, True)]
    assert json.loads(rows["result"][0])[0]["value"] == {"choices": ["1"]}
    assert rows.select("task_key", "external_id", "seconds", "said_at").row(0) == ("k", "1", 3.0, NOON)


def test_a_task_without_submissions_says_so_and_a_foreign_one_has_no_key(
    pretended: Pretended, platform: LabelStudioPlatform
) -> None:
    for data in ({"text": "?"}, {"task_key": 3}, "text"):
        pretended.add(1, data)
    rows = platform.pull("1", None).submissions
    assert rows.select("submission", "task_key", "is_deleted").row(0) == (f"{platform.system}/1/task-1", None, True)
    assert platform.held("1").select("external_id", "task_key", "n_submissions").rows() == [
        ("1", None, 0), ("2", None, 0), ("3", None, 0)]


@pytest.mark.slow
def test_the_watermark_is_the_newest_change_and_older_ones_are_read_again_within_the_overlap(
    pretended: Pretended, platform: LabelStudioPlatform
) -> None:
    moments = [NOON, NOON + OVERLAP / 2, NOON + 2 * OVERLAP]
    for at in moments:
        pretended.add(1, {}, at=at)
    first = platform.pull("1", None)
    assert first.watermark_at == moments[2]
    assert platform.pull("1", moments[1]).submissions["external_id"].to_list() == ["1", "2", "3"]
    assert platform.pull("1", first.watermark_at).submissions["external_id"].to_list() == ["3"]
    late = moments[2] + 2 * OVERLAP
    assert platform.pull("1", late).watermark_at == late


def test_the_watermark_never_runs_ahead_of_when_the_reading_began(
    pretended: Pretended, platform: LabelStudioPlatform
) -> None:
    pretended.add(1, {}, at=NOON + 3 * HOUR)
    assert platform.pull("1", None).watermark_at == NOON + HOUR
    pretended.date = "no date"
    assert platform.pull("1", None).watermark_at == NOON + 3 * HOUR


def test_a_server_whose_clock_was_set_back_is_read_from_the_beginning(
    pretended: Pretended, platform: LabelStudioPlatform
) -> None:
    pretended.add(1, {}, said(1, "1"), at=NOON)
    changes = platform.pull("1", NOON + 5 * HOUR)
    assert (changes.submissions.height, changes.watermark_at) == (1, NOON)


def test_an_empty_project_has_no_watermark(platform: LabelStudioPlatform) -> None:
    changes = platform.pull("1", None)
    assert (changes.submissions.height, changes.watermark_at) == (0, None)
    assert platform.pull("1", NOON).watermark_at == NOON


@pytest.mark.slow
def test_pages_go_on_after_the_last_id_though_tasks_are_deleted_meanwhile(
    pretended: Pretended, platform: LabelStudioPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PAGE_SIZE", 2)
    for _ in range(5):
        pretended.add(1, {})

    def delete_one(method: str, path: str) -> None:
        if path == "/api/tasks" and pretended.paths("GET").count(path) == 2:
            del pretended.tasks[1]

    pretended.faults.append(delete_one)
    assert platform.held("1")["external_id"].to_list() == ["1", "2", "3", "4", "5"]


def test_a_server_that_ignores_conditions_is_noticed(
    pretended: Pretended, platform: LabelStudioPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PAGE_SIZE", 2)
    pretended.faults.append(
        lambda method, path: (200, {"tasks": [{"id": 1}, {"id": 2}]}) if path == "/api/tasks" else None)
    with pytest.raises(PlatformError, match="from the beginning"):
        platform.held("1")


@pytest.mark.parametrize("broken", [{"annotations": None}, {"annotations": [3]}, {"annotations": [{"id": 1}]}])
def test_a_submission_without_its_fields_stops_the_reading(
    pretended: Pretended, platform: LabelStudioPlatform, broken: dict[str, Any]
) -> None:
    pretended.tasks[pretended.add(1, {})] |= broken
    with pytest.raises(PlatformError, match="task 1: annotations without"):
        platform.pull("1", None)


@pytest.mark.slow
@pytest.mark.parametrize(("fields", "column", "value"), [
    ({"completed_by": None}, "user", None), ({"completed_by": {"id": 9, "email": "e@x"}}, "user", "9"),
    ({"lead_time": None}, "seconds", None), ({"lead_time": -1}, "seconds", None),
    ({"updated_at": "yesterday"}, "said_at", None), ({"result": None}, "result", "null"),
])
def test_odd_fields_of_a_submission_are_null_and_people_are_numbers(
    pretended: Pretended, platform: LabelStudioPlatform, fields: dict[str, Any], column: str, value: object
) -> None:
    pretended.add(1, {}, said(1, "1", **fields))
    assert platform.pull("1", None).submissions[column].to_list() == [value]


def test_only_tasks_without_submissions_are_taken_back(pretended: Pretended, platform: LabelStudioPlatform) -> None:
    pretended.add(1, {})
    pretended.add(1, {}, said(1, "1"))
    assert platform.recall("1", ["2", "1", "77"]).rows() == [("2", False), ("1", True), ("77", True)]
    assert platform.recall("1", []).height == 0
    with pytest.raises(PlatformError, match="external id 'x'"):
        platform.recall("1", ["x"])
