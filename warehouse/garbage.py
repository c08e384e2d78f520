"""What lies in a workspace and nothing refers to: left by killed writers, or replaced and no longer read.

Asked by the holder of writer.lock: what a writer leaves unfinished then belongs to nobody. What others write without
the lock (workers, trainings, exports) counts as left behind once nobody has touched it for a while.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from warehouse.publish import read_manifest, unknown_files
from warehouse.soundness import published_faults
from warehouse.workspace import Workspace

HOUR, DAY = 3600.0, 86400.0


@dataclass(frozen=True)
class Garbage:
    """A file or folder that can go."""

    what: str
    path: Path

    @property
    def n_bytes(self) -> int:
        """Its size, with everything below it."""
        return sum(path.stat().st_size for path in _below(self.path) if path.is_file() and not path.is_symlink())


def unreferred_files(workspace: Workspace, shards: list[str]) -> Iterator[Garbage]:
    """Published files, shards of texts and unfinished files that nobody needs; `shards` are those of the index.

    Where what is published is torn, its files and the shards that its readers see are left to whoever mends it.
    """
    if not published_faults(workspace):
        manifest = read_manifest(workspace)
        for path in unknown_files(workspace, manifest):
            yield Garbage("published files that no reader needs", path)
        yield from _unnamed_shards(workspace, {*shards, *manifest["shards"]})
    for path in (*workspace.texts.glob(".*.tmp"), *workspace.published.glob(".*.tmp*")):
        yield Garbage("unfinished files of killed writers", path)
    for path in (*workspace.root.glob(".*.tmp"), *workspace.inbox.glob(".*")):
        if is_untouched(path, HOUR):
            yield Garbage("unfinished files of killed workers", path)
    for folder in (workspace.models, workspace.orders):
        for path in sorted(folder.glob(".*.unfinished-*")):
            if is_untouched(path, DAY):
                yield Garbage("unfinished models and orders", path)
    for path in sorted(workspace.exports.glob("**/.*.part")):
        if is_untouched(path, DAY):
            yield Garbage("unfinished exports", path)


def is_untouched(path: Path, seconds: float) -> bool:
    """Nobody changed it, or anything below it, for so long."""
    return all(time.time() - below.lstat().st_mtime > seconds for below in _below(path))


def _unnamed_shards(workspace: Workspace, named: set[str]) -> Iterator[Garbage]:
    for path in sorted(workspace.texts.glob("*.parquet")):
        if path.name not in named:
            yield Garbage("texts that no row names", path)


def _below(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir() and not path.is_symlink():
        yield from path.rglob("*")
