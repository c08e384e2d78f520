"""What people submitted, since a moment or at all; what is there; and tasks taken back that nobody answered."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from curate.adapters.label_studio.client import Server
from curate.adapters.label_studio.listing import Task, condition, conditions, task_key_of, tasks_of, updated_after
from curate.engines import Changes
from schemas.errors import PlatformError
from schemas.tables import PULLED

OVERLAP = timedelta(minutes=10)
"""read again before the watermark: a transaction may commit after a later one, and the tasks of one reading come page
by page"""
HELD: dict[str, pl.DataType] = {"external_id": pl.String(), "task_key": pl.String(), "n_submissions": pl.Int64()}
SAID = ("id", "completed_by", "result", "was_cancelled", "parent_prediction", "lead_time", "updated_at")
"""fields of an annotation; `include` picks fields of tasks and of what is in them alike"""
RECALL_AT_ONCE = 500


def pull(server: Server, system: str, project: str, since: datetime | None) -> Changes:
    """All that is there of every task changed since `since` less OVERLAP; of every task for None.

    A task without any submission is one row that is deleted, named by the task: `curate.annotating.reading.changes`
    finds deletions by what is missing from a task. Drafts and predictions are no submissions. The watermark is the
    server's time: the newest change seen, at most when the reading began; ours plays no part. A server whose clock
    was set back before `since` is read from the beginning. Raises PlatformError.
    """
    began_at = server.get(f"api/projects/{project}").said_at
    is_set_back = since is not None and began_at is not None and began_at < since
    filters = [] if since is None or is_set_back else [updated_after(since - OVERLAP)]
    rows: list[dict[str, object]] = []
    newest: datetime | None = None
    for task in tasks_of(server, project, filters, ("data", "annotations", *SAID)):
        rows.extend(_submissions(task, f"{system}/{project}"))
        moment = _moment(task.get("updated_at"))
        newest = max(filter(None, (newest, moment)), default=None)
    seen = pl.DataFrame(rows, schema=PULLED.schema)
    bounds = [moment for moment in (newest, began_at) if moment is not None]
    return Changes(PULLED.complete(seen).sort("submission"), min(bounds) if newest else since)


def held(server: Server, project: str) -> pl.DataFrame:
    """(external_id, task_key, n_submissions) of every task there, skips counted; sorted by external_id."""
    counts = ("total_annotations", "cancelled_annotations")
    rows = [
        {"external_id": str(task["id"]), "task_key": task_key_of(task),
         "n_submissions": sum(int(task.get(name) or 0) for name in counts)}
        for task in tasks_of(server, project, [], ("id", "data", *counts))
    ]
    return pl.DataFrame(rows, schema=HELD).sort("external_id")


def recall(server: Server, project: str, external_ids: Sequence[str]) -> pl.DataFrame:
    """(external_id, is_gone), one row each, in order: deleted by the server only where it counts no submission.

    The server decides and deletes in one request, so that what an annotator submits meanwhile is either there before
    and keeps the task, or finds the task gone. Raises PlatformError.
    """
    ids = [_number(name) for name in external_ids]
    there: set[int] = set()
    for at in range(0, len(ids), RECALL_AT_ONCE):
        some = ids[at : at + RECALL_AT_ONCE]
        chosen = {**conditions(condition("total_annotations", "equal", "Number", 0),
                               condition("cancelled_annotations", "equal", "Number", 0)),
                  "selectedItems": {"all": False, "included": some}}
        if _left(server, project, some):
            server.change("POST", "api/dm/actions", chosen, {"id": "delete_tasks", "project": project})
            there.update(_left(server, project, some))
    return pl.DataFrame({"external_id": list(external_ids), "is_gone": [i not in there for i in ids]},
                        schema={"external_id": pl.String, "is_gone": pl.Boolean})


def _left(server: Server, project: str, ids: Sequence[int]) -> set[int]:
    wanted = condition("id", "in_list", "Number", list(ids))
    return {task["id"] for task in tasks_of(server, project, [wanted], ("id",), in_body=True)} & set(ids)


def _number(external_id: str) -> int:
    if not external_id.isdecimal():
        raise PlatformError(f"external id {external_id!r}", expected="the number of a task of Label Studio",
                            next="see which platform the task was sent to")
    return int(external_id)


def _submissions(task: Task, place: str) -> Iterator[dict[str, object]]:
    about = {"external_id": str(task["id"]), "task_key": task_key_of(task), "is_from_prediction": False,
             "is_skipped": False, "is_deleted": False}
    said = task.get("annotations")
    if not isinstance(said, list) or not all(isinstance(one, dict) and one.keys() >= set(SAID) for one in said):
        raise PlatformError(
            f"Label Studio, task {task['id']}: annotations without some of {', '.join(SAID)}",
            expected="each with all of them", next="see that the server is a Label Studio 1.23 or later",
        )
    if not said:
        yield {**about, "submission": f"{place}/task-{task['id']}", "is_deleted": True}
    for one in said:
        yield {
            **about, "submission": f"{place}/{one['id']}", "user": _user(one.get("completed_by")),
            "result": json.dumps(one.get("result")), "is_skipped": bool(one.get("was_cancelled")),
            "is_from_prediction": one.get("parent_prediction") is not None, "seconds": _seconds(one.get("lead_time")),
            "said_at": _moment(one.get("updated_at")),
        }


def _user(user: Any) -> str | None:
    number = user.get("id") if isinstance(user, dict) else user
    return str(number) if isinstance(number, int) else None


def _seconds(lead_time: Any) -> float | None:
    """Null for what is no time: an annotation made over the API has whatever it was given."""
    is_time = isinstance(lead_time, int | float) and 0 <= lead_time < float("inf")
    return float(lead_time) if is_time else None


def _moment(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
