"""An annotation platform in memory: what a server would hold, people who work on it by name, faults on demand.

It shows what Label Studio shows (raw results under the page's names, edits, skips, several people on one task) and is
as careless: it takes any number of answers from anybody.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import polars as pl

from curate.engines import Changes, Page
from schemas.tables import CARDS, PULLED

T = TypeVar("T")
START = datetime(2026, 1, 1, tzinfo=UTC)


class KilledError(Exception):
    """Stands for kill -9: no code of ours knows it."""


@dataclass
class Said:
    """One person's submission to one task."""

    number: int
    user: str
    result: list[dict[str, Any]]
    is_skipped: bool = False
    is_deleted: bool = False
    seconds: float = 20.0
    at: datetime = START


@dataclass
class Task:
    """A task of a project."""

    number: int
    card: dict[str, Any] | None
    """None: not ours"""
    said: list[Said] = field(default_factory=list)
    at: datetime = START


class MemoryPlatform:
    """The protocol `Platform`."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.tasks: dict[str, list[Task]] = {}
        self.calls: Counter[str] = Counter()
        self.dies_after: str = ""
        """name of a method that ends in KilledError once its work is done"""
        self._now, self._number = START, 0

    @property
    def system(self) -> str:
        return "memory/here"

    def prepare(self, page: Page) -> str:
        project = f"{page.dataset}-{page.queue}"
        self.pages[project] = page
        self.tasks.setdefault(project, [])
        return self._done("prepare", project)

    def send(self, project: str, cards: pl.DataFrame) -> pl.DataFrame:
        CARDS.complete(cards)
        known = {task.card["task_key"]: task for task in self.tasks[project] if task.card}
        for card in cards.iter_rows(named=True):
            if card["task_key"] not in known:
                known[card["task_key"]] = self._add(project, card)
        return self._done("send", cards.select("task_key").with_columns(
            external_id=pl.Series([str(known[key].number) for key in cards["task_key"]], dtype=pl.String)))

    def pull(self, project: str, since: datetime | None) -> Changes:
        changed = [t for t in self.tasks[project] if since is None or t.at >= since]
        rows = [self._row(project, task, said) for task in changed for said in task.said]
        newest = max((t.at for t in self.tasks[project]), default=None)
        return self._done("pull", Changes(PULLED.complete(pl.DataFrame(rows, schema=PULLED.schema)), newest))

    def held(self, project: str) -> pl.DataFrame:
        rows = [(str(t.number), t.card["task_key"] if t.card else None, len(t.said)) for t in self.tasks[project]]
        return self._done("held", pl.DataFrame(rows, orient="row", schema={
            "external_id": pl.String, "task_key": pl.String, "n_submissions": pl.Int64}))

    def recall(self, project: str, external_ids: Sequence[str]) -> pl.DataFrame:
        asked = [t for t in self.tasks[project] if str(t.number) in set(external_ids)]
        gone = [t for t in asked if not t.said]
        self.tasks[project] = [t for t in self.tasks[project] if t not in gone]
        return self._done("recall", pl.DataFrame(
            [(str(t.number), t in gone) for t in asked], orient="row",
            schema={"external_id": pl.String, "is_gone": pl.Boolean}))

    # What people do.

    def open_to(self, queue: str) -> list[Task]:
        """Tasks of a queue that nobody has answered, in the order of sending."""
        return [t for project, page in self.pages.items() if page.queue == queue
                for t in self.tasks[project] if t.card and not t.said]

    def answer(self, task: Task, user: str, verdict: str, *, seconds: float = 20.0) -> Said:
        """A verdict is one of 3..-3 (3: the first is much better) or cannot_judge."""
        said = Said(self._next(), user, result(verdict), seconds=seconds)
        task.said.append(said)
        return self._touch(task, said)

    def skip(self, task: Task, user: str) -> Said:
        said = Said(self._next(), user, [], is_skipped=True)
        task.said.append(said)
        return self._touch(task, said)

    def edit(self, task: Task, said: Said, verdict: str) -> None:
        said.result, said.is_skipped = result(verdict), False
        self._touch(task, said)

    def delete(self, task: Task, said: Said) -> None:
        said.is_deleted = True
        self._touch(task, said)

    def forget(self, task: Task, said: Said) -> None:
        """A submission vanishes without a trace: a database was put back."""
        task.said.remove(said)

    def lose(self, task: Task) -> None:
        """A task vanishes without a trace."""
        for tasks in self.tasks.values():
            if task in tasks:
                tasks.remove(task)

    def add_foreign(self, queue: str) -> Task:
        """Somebody puts a task of their own into our project."""
        project = next(p for p, page in self.pages.items() if page.queue == queue)
        return self._add(project, None)

    def all_tasks(self) -> list[Task]:
        return [task for tasks in self.tasks.values() for task in tasks]

    def _add(self, project: str, card: dict[str, Any] | None) -> Task:
        task = Task(self._next(), card, at=self._tick())
        self.tasks[project].append(task)
        return task

    def _row(self, project: str, task: Task, said: Said) -> dict[str, Any]:
        return {
            "submission": f"{self.system}/{project}/{said.number}", "external_id": str(task.number),
            "task_key": task.card["task_key"] if task.card else None, "user": said.user,
            "result": None if said.is_deleted else json.dumps(said.result), "is_skipped": said.is_skipped,
            "is_deleted": said.is_deleted, "is_from_prediction": False, "seconds": said.seconds, "said_at": said.at}

    def _touch(self, task: Task, said: Said) -> Said:
        task.at = said.at = self._tick()
        return said

    def _tick(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _done(self, method: str, value: T) -> T:
        self.calls[method] += 1
        if self.dies_after == method:
            self.dies_after = ""
            raise KilledError(method)
        return value


def result(verdict: str) -> list[dict[str, Any]]:
    """What the page submits, raw."""
    return [{"from_name": "verdict", "to_name": "pair", "type": "choices", "value": {"choices": [verdict]}}]
