"""What lies in the workspace: can it be written and read, does anything wait, who holds it, is there room."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import tempfile
import time
from pathlib import Path

from flows.doctor_row import Row, judged, row
from schemas.errors import RecipeError
from schemas.recipe import Recipe, parse_recipe
from warehouse.lock import holder
from warehouse.soundness import database_fault, inbox_faults, published_faults, text_faults
from warehouse.workspace import Workspace

LEAST_FREE_GIB = 1.0
LEAST_FREE_FILES = 10_000
"""a disk that can name no more files is full, whatever bytes are left"""
INBOX_AGE_S = 300.0
"""a writer absorbs the inbox at every stage: what is older has no writer coming"""


def workspace_rows(workspace: Workspace) -> list[Row]:
    """Everything about the workspace's own files; it is known to be one."""
    return [
        writable(workspace.root), *locks(workspace), database(workspace), published(workspace), inbox(workspace),
    ]


def disks(root: Path) -> list[Row]:
    """Room where rows are written, and where temporary files are, when that is another disk."""
    temporary = Path(tempfile.gettempdir())
    rows = [_disk("temporary folder", temporary, "export TMPDIR=a folder on a disk with room")]
    if not root.is_dir():
        return rows
    mend = f"tiebreak --workspace {shlex.quote(str(root))} gc, or free room on that disk"
    return [_disk("disk", root, mend), *rows]


def writable(root: Path) -> Row:
    """Whether rows can be added. A read-only copy answers questions and takes no rows."""
    is_ok = os.access(root, os.W_OK, effective_ids=True)
    seen = str(root) if is_ok else f"{root} is read-only: sql, report and export work, nothing else"
    return judged("workspace", is_ok, seen, f"chmod -R u+w {shlex.quote(str(root))}, or mount its disk read-write")


def locks(workspace: Workspace) -> list[Row]:
    """The writer's lock and those of rounds: who holds one. Locks die with their process, so none is ever stale."""
    rounds = sorted(workspace.root.glob("round-*.lock"))
    held = [path for path in rounds if holder(path)]
    return [_lock(path) for path in (workspace.lock, *held)]


def database(workspace: Workspace) -> Row:
    """Whether the writer's file opens."""
    fault = database_fault(workspace)
    seen = fault or ("opens" if workspace.database.is_file() else "none yet: the first ingest makes it")
    return judged("database", fault is None, seen, _restore(workspace))


def published(workspace: Workspace) -> Row:
    """Whether what readers read is whole. Tables can be published anew from the database, texts cannot."""
    lost, torn = text_faults(workspace), published_faults(workspace)
    if lost:
        return row("published", "fault", _some(lost), _restore(workspace))
    mend = f"tiebreak --workspace {shlex.quote(str(workspace.root))} gc, which publishes everything again"
    return judged("published", not torn, _some(torn) if torn else "whole", mend)


def inbox(workspace: Workspace) -> Row:
    """Whether calls and frames wait that nobody absorbed, and whether one of them would stop a writer."""
    faults = inbox_faults(workspace)
    if faults:
        path = shlex.quote(str(workspace.root / faults[0].split(" ")[0]))
        return row("inbox", "fault", _some(faults), f"mv {path} {shlex.quote(str(workspace.root))}")
    ages = [time.time() - path.stat().st_mtime for path in workspace.inbox.glob("[!.]*")]
    if not ages:
        return row("inbox", "ok", "empty")
    seen = f"{len(ages)} files wait for the next writer, the oldest for {_span(max(ages))}"
    mend = f"tiebreak --workspace {shlex.quote(str(workspace.root))} run, collect or gc: whatever writes takes them in"
    return judged("inbox", max(ages) < INBOX_AGE_S or holder(workspace.lock) is not None, seen, mend, worst="note")


def recipe_of(workspace: Workspace) -> tuple[Recipe | None, Row]:
    """The workspace's recipe, where it parses, and what was seen of it."""
    if not workspace.recipe.is_file():
        return None, row("recipe", "note", "none: every command needs one named", f"write {workspace.recipe}")
    try:
        recipe = parse_recipe(workspace.recipe.read_text(encoding="utf-8"), origin=str(workspace.recipe))
    except RecipeError as error:
        return None, row("recipe", "fault", f"{error.seen}; expected {error.expected}", f"edit {workspace.recipe}")
    except (OSError, UnicodeDecodeError) as error:
        return None, row("recipe", "fault", f"cannot be read ({type(error).__name__})", f"edit {workspace.recipe}")
    return recipe, row("recipe", "ok", f"dataset {recipe.dataset}, fingerprint {recipe.fingerprint[:8]}")


def _lock(path: Path) -> Row:
    held = holder(path)
    if held is not None:
        return row(path.name, "note", f"held by {held}", "wait for that process, or stop it")
    note = path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""
    return row(path.name, "ok", f"free; the note of {_writer(note)}, which was killed, is harmless" if note else "free")


def _writer(note: str) -> str:
    try:
        said = json.loads(note)
        return f"pid {said['pid']} on {said['host']} ({said['flow']})"
    except (ValueError, KeyError, TypeError):
        return "another process"


def _disk(check: str, path: Path, mend: str) -> Row:
    room, files = shutil.disk_usage(path), os.statvfs(path)
    seen = f"{room.free / 2**30:.1f} of {room.total / 2**30:.1f} GiB free"
    is_named = files.f_files == 0 or files.f_favail >= LEAST_FREE_FILES  # 0: a disk that counts no files
    if not is_named:
        seen += f", room for {files.f_favail:,} files"
    return judged(check, is_named and room.free / 2**30 >= LEAST_FREE_GIB, seen, mend)


def _restore(workspace: Workspace) -> str:
    fresh = shlex.quote(f"{workspace.root}-restored")
    return f"tiebreak --workspace {fresh} restore BACKUP"


def _some(faults: list[str]) -> str:
    return f"{faults[0]}, and {len(faults) - 1} more" if len(faults) > 1 else faults[0]


def _span(seconds: float) -> str:
    for size, unit in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
