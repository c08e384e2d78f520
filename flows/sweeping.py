"""Garbage: training folders, models and orders that no row names and no round waits for, and unfinished files."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from warehouse.garbage import Garbage, unreferred_files
from warehouse.lock import holder
from warehouse.store import Store, Writer
from warehouse.workspace import Workspace

Facts = dict[str, object]
ALL = "total"
TRAINING_FOLDER = re.compile(r"(?P<dataset>.+)@(?P<n>\d+)")
MODEL_NAME = re.compile(r"(?P<dataset>.+)-(?P<n>\d+)-[0-9a-f]{8}")


def collect_garbage(root: Path, *, is_dry_run: bool) -> list[Facts]:
    """One row per kind of garbage and one of all, with how much; removed unless `is_dry_run`. Twice finds nothing."""
    store = Store(root)
    with store.write("gc") as writer:
        found = [*unreferred_files(store.workspace, writer.shards()), *_of_no_model(store.workspace, writer)]
        rows = [{"what": what, "bytes": piece.n_bytes} for piece in found for what in (piece.what, ALL)]
        for piece in found:
            if not is_dry_run:
                _remove(piece.path)
    said = pl.DataFrame(rows, schema={"what": pl.String, "bytes": pl.Int64})
    kinds = said.group_by("what").agg(n=pl.len(), bytes=pl.col("bytes").sum()).sort(pl.col("what") == ALL, "what")
    state = "would go" if is_dry_run else "gone"
    if not rows:
        return [{"what": ALL, "n": 0, "bytes": 0, "state": state}]
    return kinds.with_columns(state=pl.lit(state)).to_dicts()


def _of_no_model(workspace: Workspace, writer: Writer) -> Iterator[Garbage]:
    """What was made to train on, or trained, for a version that has been followed by another, and is in no table."""
    models = writer.query("models_trained")
    newest = dict(writer.query("versions_of", dataset=None).group_by("dataset").agg(pl.col("n").max()).iter_rows())
    named = set(models.select("dataset", "trained_on").iter_rows())
    uris = {(workspace.root / uri).parts[: len(workspace.root.parts) + 2] for uri in models["uri"]}

    def is_past(name: re.Match[str] | None) -> bool:
        return name is not None and int(name["n"]) < newest.get(name["dataset"], 0)

    for path in sorted(workspace.exports.glob("*/train")):
        name = TRAINING_FOLDER.fullmatch(path.parent.name)
        if is_past(name) and name is not None and (name["dataset"], int(name["n"])) not in named:
            yield Garbage("training folders of past versions", path)
    for path in sorted((*workspace.models.glob("[!.]*"), *workspace.orders.glob("[!.]*"))):
        is_unnamed = path.is_dir() and path.parts not in uris and is_past(MODEL_NAME.fullmatch(path.name))
        if is_unnamed and not any(map(holder, (path.with_name(f"{path.name}.lock"), path / "trainer.lock"))):
            yield Garbage("models and orders of past versions", path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if path.name == "train" and not any(path.parent.iterdir()):
        path.parent.rmdir()
