"""Garbage: training folders, models and orders that no row names and no round waits for, and unfinished files.

What is published is the one thing that this makes again where it is torn: readers need it, and the database has it all.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from warehouse.garbage import Garbage, unreferred_files
from warehouse.lock import holder
from warehouse.soundness import published_faults
from warehouse.store import Store, Writer
from warehouse.workspace import Workspace

Facts = dict[str, object]
ALL = "total"
TORN = "torn published files, published again"
TRAINING_FOLDER = re.compile(r"(?P<dataset>.+)@(?P<n>\d+)")
MODEL_NAME = re.compile(r"(?P<dataset>.+)-(?P<n>\d+)-[0-9a-f]{8}")


def collect_garbage(root: Path, *, is_dry_run: bool) -> list[Facts]:
    """One row per kind of garbage and one of all, with how much; removed unless `is_dry_run`. Twice finds nothing.

    Where published files are torn or gone, all are published again; each of those is a row of no bytes.
    """
    store = Store(root)
    with store.write("gc") as writer:
        found = [*unreferred_files(store.workspace, writer.shards()), *_of_no_model(store.workspace, writer)]
        torn = published_faults(store.workspace)
        rows = [{"what": what, "bytes": piece.n_bytes} for piece in found for what in (piece.what, ALL)]
        rows += [{"what": what, "bytes": 0} for _ in torn for what in (TORN, ALL)]
        if not is_dry_run:
            _sweep(writer, found, is_torn=bool(torn))
    said = pl.DataFrame(rows, schema={"what": pl.String, "bytes": pl.Int64})
    kinds = said.group_by("what").agg(n=pl.len(), bytes=pl.col("bytes").sum()).sort(pl.col("what") == ALL, "what")
    state = "would go" if is_dry_run else "gone"
    if not rows:
        return [{"what": ALL, "n": 0, "bytes": 0, "state": state}]
    return kinds.with_columns(state=pl.lit(state)).to_dicts()


def _sweep(writer: Writer, found: list[Garbage], *, is_torn: bool) -> None:
    if is_torn:
        writer.publish(is_anew=True)
    for piece in found:
        _remove(piece.path)


def _of_no_model(workspace: Workspace, writer: Writer) -> Iterator[Garbage]:
    """What was made to train on, or trained, for a version that has been followed by another, and is in no table."""
    models = writer.query("models_trained")
    newest = dict(writer.query("versions_of", dataset=None).group_by("dataset").agg(pl.col("n").max()).iter_rows())
    named = set(models.select("dataset", "trained_on").iter_rows())
    awaited = {(dataset, n) for dataset, n, is_overtaken in writer.query("versions_to_train", dataset=None).select(
        "dataset", "n", "is_overtaken").iter_rows() if not is_overtaken}
    uris = {(workspace.root / uri).parts[: len(workspace.root.parts) + 2] for uri in models["uri"]}

    def is_past(name: re.Match[str] | None) -> bool:
        return name is not None and int(name["n"]) < newest.get(name["dataset"], 0)

    def is_awaited(path: Path) -> bool:
        """It was trained, and nobody has come to take it in, measure it and ask the gate."""
        name = MODEL_NAME.fullmatch(path.name)
        is_done = (path / "outcome.json").is_file()
        return is_done and name is not None and (name["dataset"], int(name["n"])) in awaited

    for path in sorted(workspace.exports.glob("*/train")):
        name = TRAINING_FOLDER.fullmatch(path.parent.name)
        is_unnamed = name is not None and (name["dataset"], int(name["n"])) not in named
        if is_past(name) and is_unnamed and _is_ours(path):
            yield Garbage("training folders of past versions", path)
    for path in sorted((*workspace.models.glob("[!.]*"), *workspace.orders.glob("[!.]*"))):
        is_unnamed = path.is_dir() and path.parts not in uris and is_past(MODEL_NAME.fullmatch(path.name))
        locks = (path.with_name(f"{path.name}.lock"), path / "trainer.lock")
        if is_unnamed and not is_awaited(path) and not any(map(holder, locks)):
            yield Garbage("models and orders of past versions", path)


def _is_ours(training_folder: Path) -> bool:
    """It holds what a release puts there and nothing else: the split of an export lies in a folder `train` too."""
    names = {path.name for path in training_folder.iterdir()} if training_folder.is_dir() else {"a file"}
    return names <= {"train.parquet", ".train.parquet.tmp"}


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if path.name == "train" and not any(path.parent.iterdir()):
        path.parent.rmdir()
