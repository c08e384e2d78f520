"""Retraining: language models for released versions that lack one."""

from __future__ import annotations

from pathlib import Path

from flows.rounds import Say


def retrain(root: Path, recipe: Path | None, *, say: Say) -> None:
    """The candidate of the open round; language models for every released version that lacks one."""
    from flows.commands import run_stage

    run_stage(root, recipe, "retrain", say=say)
