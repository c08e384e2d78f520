"""The keep of a workspace: backup, restore, garbage, erasure."""

from __future__ import annotations

from pathlib import Path

from schemas.errors import NotThereYetError

Facts = dict[str, object]

def backup(root: Path, out: Path) -> Facts:
    """Copy the workspace into one file."""
    raise NotThereYetError("`tiebreak backup` is not there yet", next="copy the folder while nothing runs")


def restore(root: Path, file: Path) -> Facts:
    """Bring a backup back into a new workspace."""
    raise NotThereYetError("`tiebreak restore` is not there yet", next="copy the folder back")


def collect_garbage(root: Path, *, is_dry_run: bool) -> list[Facts]:
    """Remove what nothing refers to."""
    raise NotThereYetError("`tiebreak gc` is not there yet", next="tiebreak doctor")


def redact(root: Path, *, text_id: str | None, voter: str | None, reason: str) -> Facts:
    """Erase a text or a voter."""
    raise NotThereYetError("`tiebreak redact` is not there yet", next="leave the source out and begin anew")
