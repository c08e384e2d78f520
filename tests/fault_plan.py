"""A seeded plan of failures at every place where the calls of a round touch the world outside a function.

Each crossing of a boundary draws whether it fails there. Nothing is simulated beside the failure itself: half a
line that was written stays written, a transaction that was committed stays committed.
"""

from __future__ import annotations

import errno
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

import warehouse.inbox
import warehouse.publish
import warehouse.store
from curate.adapters.vllm.served import ServedModels
from warehouse.inbox import Inbox, Waiting
from warehouse.store import Writer


class InjectedError(Exception):
    """What no code of ours knows: it must not be caught on the way."""


class FaultPlan:
    """Which crossings fail: a share per boundary, drawn in the order of crossing from one seed."""

    def __init__(self, seed: str, shares: Mapping[str, float]) -> None:
        self._chance, self._shares = random.Random(seed), shares
        self.is_armed = False
        self.struck: Counter[str] = Counter()
        self.acknowledged: dict[str, float] = {}
        """call key → `time.monotonic()` when it was on disk"""

    def strikes(self, boundary: str) -> bool:
        """Whether this crossing fails. An unarmed plan never strikes."""
        if not self.is_armed or self._chance.random() >= self._shares[boundary]:
            return False
        self.struck[boundary] += 1
        return True

    def hit(self, boundary: str) -> None:
        """Raise where this crossing fails."""
        if self.strikes(boundary):
            raise InjectedError(boundary)


def inject(patch: pytest.MonkeyPatch, plan: FaultPlan) -> None:
    """Put the plan at every boundary of the inbox, the store, the publishing and the engine."""
    _around(patch, plan, Inbox, "record", "before record", "after record", done=_acknowledge)
    _around(patch, plan, Writer, "_insert", "before insert", "after insert")
    _around(patch, plan, Waiting, "delete", "before delete", "after delete")
    _around(patch, plan, Waiting, "frames", "before absorb", "after absorb")
    _around(patch, plan, warehouse.store, "publish", "before publish", "after publish")
    _around(patch, plan, warehouse.publish, "_copy", "before copy", "after copy")
    _around(patch, plan, warehouse.publish, "replace_text", "before manifest", "after manifest")
    _around(patch, plan, warehouse.store, "writer_lock", "before lock", None)
    patch.setattr(warehouse.inbox, "os", _FullDisk(plan))
    patch.setattr(warehouse.store, "_open", _committing(plan, warehouse.store._open))
    patch.setattr(ServedModels, "ask", _asking(plan, ServedModels.ask))


BOUNDARIES = (
    "before record", "after record", "short write", "disk full", "before insert", "after insert", "before delete",
    "after delete", "before absorb", "after absorb", "before publish", "after publish", "before copy", "after copy",
    "before manifest", "after manifest", "before lock", "before commit", "after commit", "before asking",
    "between replies",
)  # fmt: skip


def _acknowledge(plan: FaultPlan, arguments: tuple[Any, ...]) -> None:
    plan.acknowledged.setdefault(str(arguments[1]["call_key"]), time.monotonic())


def _around(
    patch: pytest.MonkeyPatch, plan: FaultPlan, home: object, name: str, before: str, after: str | None, *,
    done: Callable[[FaultPlan, tuple[Any, ...]], None] = lambda plan, arguments: None,
) -> None:
    """Fail before `home.name` runs, or when it has run."""
    true = getattr(home, name)

    def surrounded(*arguments: Any, **named: Any) -> Any:
        plan.hit(before)
        result = true(*arguments, **named)
        done(plan, arguments)
        if after:
            plan.hit(after)
        return result

    patch.setattr(home, name, surrounded)


class _FullDisk:
    """The module `os` as the inbox sees it, on a disk that is full now and then."""

    def __init__(self, plan: FaultPlan) -> None:
        self._plan = plan

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def write(self, descriptor: int, line: bytes) -> int:
        if self._plan.strikes("disk full"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.write(descriptor, line[: len(line) // 2] if self._plan.strikes("short write") else line)


class _Committing:
    """A connection that fails around COMMIT now and then."""

    def __init__(self, plan: FaultPlan, connection: Any) -> None:
        self._plan, self._connection = plan, connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *arguments: Any) -> Any:
        if sql != "COMMIT":
            return self._connection.execute(sql, *arguments)
        self._plan.hit("before commit")
        done = self._connection.execute(sql, *arguments)
        self._plan.hit("after commit")
        return done


def _committing(plan: FaultPlan, true: Callable[..., Any]) -> Callable[..., Any]:
    return lambda workspace: _Committing(plan, true(workspace))


def _asking(plan: FaultPlan, true: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    def ask(served: ServedModels, *arguments: Any) -> Iterator[Any]:
        plan.hit("before asking")
        for reply in true(served, *arguments):
            plan.hit("between replies")
            yield reply

    return ask

