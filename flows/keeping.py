"""The keep of a workspace, as the command line asks for it: backup, restore, garbage, erasure.

Each is a module of its own, imported when it is asked for: `tiebreak --help` loads none of them.
"""

from __future__ import annotations

from pathlib import Path

Facts = dict[str, object]


def backup(root: Path, out: Path) -> Facts:
    """Copy the workspace into one file."""
    from flows import archiving

    return archiving.backup(root, out)


def restore(root: Path, file: Path) -> Facts:
    """Bring a backup back into a new workspace."""
    from flows import archiving

    return archiving.restore(root, file)


def collect_garbage(root: Path, *, is_dry_run: bool) -> list[Facts]:
    """Remove what nothing refers to."""
    from flows import sweeping

    return sweeping.collect_garbage(root, is_dry_run=is_dry_run)


def redact(root: Path, *, text_id: str | None, voter: str | None, reason: str) -> Facts:
    """Erase a text or a voter."""
    from flows import redacting

    return redacting.redact(root, text_id=text_id, voter=voter, reason=reason)
