"""Tasks into a project, in bulk, each once: whatever was killed, what is there already is found by its key.

An import that was killed on our side may still be running on theirs. So what is there is counted before and after:
where there is more than was sent, copies that nobody answered are deleted, the oldest is kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import polars as pl

from curate.adapters.label_studio.client import Server
from curate.adapters.label_studio.listing import Task, condition, task_key_of, tasks_of
from curate.adapters.label_studio.pulling import recall
from curate.annotating.cards import task_bodies
from schemas.errors import PlatformError

AT_ONCE = 1000
"""tasks in one request: creating them one by one takes 50 times as long"""
BYTES_AT_ONCE = 8_000_000
"""of one request; 1,000 tasks of 1,500-word answers have 20 MB"""
SENT: dict[str, pl.DataType] = {"task_key": pl.String(), "external_id": pl.String()}
Bodies = dict[str, bytes]


def send(server: Server, project: str, cards: pl.DataFrame) -> pl.DataFrame:
    """SENT, one row per card, sorted by task_key; a card whose key is in the project is not sent again.

    Tasks are looked up by key, a request per thousand, and not at all in an empty project. An import is not repeated
    when it may have arrived: the next `send` finds what came of it. Raises PlatformError.
    """
    bodies = {body["data"]["task_key"]: json.dumps(body).encode() for body in task_bodies(cards)}
    n_before = _count(server, project)
    ids = _first_of(_there(server, project, list(bodies))) if n_before else {}
    new = {key: body for key, body in bodies.items() if key not in ids}
    for chunk in _chunks(new):
        ids |= _import(server, project, chunk)
    if new and _count(server, project) != n_before + len(new):
        ids |= _without_copies(server, project, list(bodies))
    rows = [(key, str(ids[key])) for key in sorted(bodies)]
    return pl.DataFrame(rows, schema=SENT, orient="row")


def _count(server: Server, project: str) -> int:
    said = server.get(f"api/projects/{project}", {"include": "id,task_number"}).body
    number = said.get("task_number") if isinstance(said, dict) else None
    return number if isinstance(number, int) else -1


def _there(server: Server, project: str, keys: Sequence[str]) -> list[Task]:
    """Tasks with these keys. Where the conditions in the body get lost on the way, all tasks are read instead."""
    found: list[Task] = []
    for at in range(0, len(keys), AT_ONCE):
        some = keys[at : at + AT_ONCE]
        asked = condition("data.task_key", "in_list", "Unknown", some)
        for task in tasks_of(server, project, [asked], _COLUMNS, in_body=True):
            if task_key_of(task) not in some:
                return [t for t in tasks_of(server, project, [], _COLUMNS) if task_key_of(t) in set(keys)]
            found.append(task)
    return found


_COLUMNS = ("id", "data", "total_annotations", "cancelled_annotations")


def _first_of(tasks: Sequence[Task]) -> dict[str, int]:
    """Id by key: of copies, one that was answered, else the oldest."""
    best = sorted(tasks, key=lambda task: (_n_said(task) == 0, task["id"]), reverse=True)
    return {str(task_key_of(task)): task["id"] for task in best}


def _n_said(task: Task) -> int:
    return sum(int(task.get(name) or 0) for name in _COLUMNS[2:])


def _without_copies(server: Server, project: str, keys: Sequence[str]) -> dict[str, int]:
    tasks = _there(server, project, keys)
    kept = _first_of(tasks)
    copies = [str(task["id"]) for task in tasks if kept[str(task_key_of(task))] != task["id"]]
    recall(server, project, copies)
    return kept


def _chunks(bodies: Bodies) -> Iterator[Bodies]:
    chunk: Bodies = {}
    size = 0
    for key, body in bodies.items():
        if chunk and (len(chunk) >= AT_ONCE or size + len(body) > BYTES_AT_ONCE):
            yield chunk
            chunk, size = {}, 0
        chunk[key] = body
        size += len(body)
    if chunk:
        yield chunk


def _import(server: Server, project: str, chunk: Bodies) -> dict[str, int]:
    whole = b"[" + b",".join(chunk.values()) + b"]"
    said = server.create(f"api/projects/{project}/import", whole, {"return_task_ids": "true"}).body
    ids = said.get("task_ids") if isinstance(said, dict) else None
    if not isinstance(ids, list) or len(ids) != len(chunk) or not all(isinstance(i, int) for i in ids):
        raise PlatformError(
            f"Label Studio, import into project {project}: no id for each of {len(chunk)} tasks",
            expected="an import that ends at once, with task_ids",
            next="run again in a minute: what was imported is found by its key",
        )
    return dict(zip(chunk, ids, strict=True))
