"""Backup and restore: a workspace as one file, taken while nothing writes, and brought back only if it is whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from schemas.errors import CheckError, InputError, RefusedError
from warehouse.archive import choose, read_archive, write_archive
from warehouse.erasure import require_none_pending
from warehouse.lock import try_lock
from warehouse.store import Store, Writer
from warehouse.workspace import Workspace

Facts = dict[str, object]


def backup(root: Path, out: Path) -> Facts:
    """Pack the workspace into `out`, under the writer's lock. Raises RefusedError when `out` is there or inside."""
    store, out = Store(root), out.resolve()
    workspace = Workspace(store.workspace.require().root.resolve())
    if out.exists() or out.is_relative_to(workspace.root):
        raise RefusedError(f"{out} exists or lies in the workspace", expected="a new file elsewhere", next="--out FILE")
    if not out.parent.is_dir():
        raise InputError(f"no folder {out.parent}", expected="a folder to put the backup in", next="make it")
    with store.hold("backup"):
        require_none_pending(workspace)
        with store.opened() as writer:
            facts = _counts(writer)
            writer.checkpoint()
        chosen = choose(workspace, _secrets_file())
        n_bytes = write_archive(workspace, chosen, out)
    return {"file": str(out), "bytes": out.stat().st_size, "files": len(chosen.files), "bytes unpacked": n_bytes,
            "links left out": len(chosen.links), **facts}


def restore(root: Path, file: Path) -> Facts:
    """A backup as the workspace `root`, a new or empty folder; checked in every way before it gets that name.

    Raises RefusedError when `root` holds something or a check fails, InputError when `file` is no whole backup,
    WorkspaceError when it is of a newer Tiebreak. A kill leaves `root` as it was.
    """
    root = root.resolve()
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise RefusedError(f"{root} is not empty", expected="a new or empty folder", next="name another --workspace")
    if not file.is_file():
        raise InputError(f"no file {file}", expected="a backup", next="check the path")
    with _unseen(root) as folder:
        contents = read_archive(file, folder)
        facts = _checked(folder)
        if root.exists():
            root.rmdir()
        folder.replace(root)
    with Store(root).write("restore") as writer:
        writer.publish()  # the catalog holds absolute paths, of where it was checked so far
    return {"workspace": str(root), "files": len(contents["files"]), **facts}


@contextmanager
def _unseen(root: Path) -> Iterator[Path]:
    """A folder beside `root` that is removed unless it was renamed; what a kill left there goes first."""
    folder = root.with_name(f".{root.name}.restoring")
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if not try_lock(descriptor):
            raise RefusedError(f"{root} is being restored", expected="nobody at it", next="wait for that process")
        for left in folder.iterdir():
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    finally:
        os.close(descriptor)


def _checked(folder: Path) -> Facts:
    """Publish, run the warehouse's checks, and verify the newest version of each dataset."""
    from flows.verifying import verify_version  # loads every engine; a backup needs none

    workspace = Workspace(folder).require()
    for lacking in (workspace.inbox, workspace.texts, workspace.published, workspace.models, workspace.exports):
        lacking.mkdir(exist_ok=True)
    try:
        with Store(folder).write("restore") as writer:
            writer.check()
            facts = _counts(writer)
            versions = writer.query("versions_of", dataset=None)
            newest = versions.group_by("dataset").agg(pl.col("n").max()).sort("dataset")
            writer.publish()
        for dataset, n in newest.iter_rows():
            verify_version(folder, dataset, n, is_recomputed=False)
    except CheckError as error:
        raise RefusedError(f"the backup is whole and its rows are not sound: {error.seen}", expected=error.expected,
                           next="restore an earlier backup") from error
    return {**facts, "verified": ", ".join(f"{dataset}@{n}" for dataset, n in newest.iter_rows()) or "no version yet"}


def _counts(writer: Writer) -> Facts:
    return dict(writer.query("contents").row(0, named=True))


def _secrets_file() -> Path | None:
    named = os.environ.get("TIEBREAK_SECRETS")
    return Path(named).resolve() if named else None
