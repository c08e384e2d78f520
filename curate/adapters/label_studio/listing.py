"""Tasks of a project, page by page, each page after the last id: a task deleted meanwhile hides no other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from curate.adapters.label_studio.client import Answer, Server
from schemas.errors import PlatformError

PAGE_SIZE = 500
Task = dict[str, Any]
Filter = dict[str, object]


def condition(column: str, operator: str, kind: str, value: object) -> Filter:
    """One condition of the data manager on a column of tasks."""
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}


def conditions(*filters: Filter) -> dict[str, object]:
    """All of them at once, as the data manager reads them."""
    return {"filters": {"conjunction": "and", "items": list(filters)}, "ordering": ["tasks:id"]}


def updated_after(moment: datetime) -> Filter:
    """Tasks changed after a moment of the server's clock. Submitting, editing, deleting and skipping change a task."""
    return condition("updated_at", "greater", "Datetime", moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))


def tasks_of(
    server: Server, project: str, filters: Sequence[Filter], columns: Sequence[str], *, in_body: bool = False
) -> Iterator[Task]:
    """Tasks by id, with these columns. `in_body`: conditions too long for an address travel in the body.

    Raises PlatformError for an answer that is no list of tasks, or does not go on from where it was asked to.
    """
    params: dict[str, str | int] = {"project": project, "page_size": PAGE_SIZE, "include": ",".join(columns)}
    params |= {"resolve_uri": "false", **({"fields": "all"} if "annotations" in columns else {})}
    last, is_full = 0, True
    while is_full:
        asked = conditions(*filters, condition("id", "greater", "Number", last))
        said = server.get("api/tasks", params, body=asked) if in_body else server.get(
            "api/tasks", {**params, "query": json.dumps(asked)})
        page = _page(said, last)
        yield from page
        is_full = len(page) >= PAGE_SIZE
        last = page[-1]["id"] if page else last


def task_key_of(task: Task) -> str | None:
    """Our key in a task; null for one that somebody else made."""
    key = task["data"].get("task_key") if isinstance(task.get("data"), dict) else None
    return key if isinstance(key, str) else None


def _page(said: Answer, last: int) -> list[Task]:
    tasks = said.body.get("tasks") if isinstance(said.body, dict) else None
    if not isinstance(tasks, list) or not all(isinstance(t, dict) and isinstance(t.get("id"), int) for t in tasks):
        raise PlatformError(
            "Label Studio, list of tasks: an answer without tasks", expected="tasks with ids",
            next="see that the `url` of the settings is that of a Label Studio 1.23 or later",
        )
    ids = [last, *(task["id"] for task in tasks)]
    if sorted(set(ids)) != ids:
        raise PlatformError(
            "Label Studio, list of tasks: not by id, or again from the beginning", expected=f"ids above {last}, rising",
            next="see that nothing between us and the server changes requests",
        )
    return tasks
