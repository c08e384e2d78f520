"""Deployments: round, collect, retrain and train as Prefect runs them by themselves."""

from __future__ import annotations

from pathlib import Path

from schemas.errors import NotThereYetError

Facts = dict[str, object]

def deploy(root: Path, recipe: Path | None, *, is_dry_run: bool) -> list[Facts]:
    """One row per deployment: name, pool, schedule, what wakes it."""
    raise NotThereYetError("`tiebreak deploy` is not there yet", next="tiebreak run")
