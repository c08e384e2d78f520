"""Erasure in files: what a workspace holds beside its database, its shards and what is published of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from warehouse.erasure import Erasure, without
from warehouse.inbox import write_parquet
from warehouse.workspace import Workspace

PIECE = 1 << 22


@dataclass(frozen=True)
class Reached:
    """What became of the other files."""

    changed: list[Path]
    still: list[Path]
    """files that hold the words and that are not ours to change: recipes, weights, Prefect's home, running workers"""


def erase_files(workspace: Workspace, erasure: Erasure) -> Reached:
    """Take rows that hold the words out of Parquet files, remove pages, and overwrite them in place in all others."""
    changed: list[Path] = []
    still: list[Path] = []
    for path in _files(workspace):
        is_ours = not _is_kept_as_it_is(workspace, path)
        if path.suffix == ".parquet":
            is_found = _erase_parquet(path, erasure, is_changed=is_ours)
        elif path.suffix == ".html":
            is_found = _erase_page(path, erasure, is_changed=is_ours)
        else:
            is_found = _overwrite(path, erasure, is_changed=is_ours)
        if is_found:
            (changed if is_ours else still).append(path)
    return Reached(changed, still)


def holds(path: Path, erasure: Erasure) -> bool:
    """Whether a file's bytes, or its rows when it is Parquet, hold the words."""
    if path.suffix == ".parquet":
        return _erase_parquet(path, erasure, is_changed=False)
    return _overwrite(path, erasure, is_changed=False)


def places(path: Path, wanted: list[bytes], piece: int = PIECE) -> Iterator[tuple[int, int]]:
    """(offset, length) of every occurrence of `wanted` in a file that is read in pieces."""
    longest = max((len(want) for want in wanted), default=1)
    with path.open("rb") as file:
        end, tail = 0, b""
        while read := file.read(piece):
            block = tail + read
            end += len(read)
            for want in wanted:
                at = block.find(want)
                while at >= 0:
                    if at + len(want) > len(tail):  # else the piece before had it
                        yield end - len(block) + at, len(want)
                    at = block.find(want, at + 1)
            tail = block[len(block) - min(longest - 1, len(block)):]


def _files(workspace: Workspace) -> Iterator[Path]:
    """Files beside those that are written anew."""
    anew = {workspace.published, workspace.texts}
    for folder, folders, found in os.walk(workspace.root, followlinks=True):
        here = Path(folder)
        folders[:] = sorted(n for n in folders if here / n not in anew and _is_below(workspace, here / n))
        paths = (here / name for name in sorted(found) if not name.startswith((workspace.database.name, "redaction.")))
        yield from (path for path in paths if path.is_file() and _is_below(workspace, path))


def _is_below(workspace: Workspace, path: Path) -> bool:
    """What links lead to is not the workspace's, but for its own places."""
    return not path.is_symlink() or path in workspace.places


def _is_kept_as_it_is(workspace: Workspace, path: Path) -> bool:
    kept = (workspace.server, workspace.models, workspace.instruments, workspace.recipe, workspace.settings,
            workspace.inbox)
    is_of_model = path.is_relative_to(workspace.orders) and "model" in path.relative_to(workspace.orders).parts
    return is_of_model or any(path.is_relative_to(place) for place in kept)


def _erase_page(path: Path, erasure: Erasure, *, is_changed: bool) -> bool:
    """Whether a page shows the text. It goes whole: a report can be made again, and shows parts of long texts."""
    if erasure.what != "text":
        return _overwrite(path, erasure, is_changed=is_changed)
    is_found = any(places(path, [head.encode("utf-8", "replace") for head in erasure.beginnings]))
    if is_found and is_changed:
        path.unlink()
    return is_found


def _overwrite(path: Path, erasure: Erasure, *, is_changed: bool) -> bool:
    """Whether the words were found; each place becomes as many letters x, so that offsets in the file still hold."""
    if not erasure.is_quotable:
        return False
    found = list(places(path, [form.encode("utf-8", "replace") for form in erasure.forms]))
    if found and is_changed:
        with path.open("r+b") as file:
            for at, n_bytes in found:
                file.seek(at)
                file.write(b"x" * n_bytes)
            file.flush()
            os.fsync(file.fileno())
    return bool(found)


def _erase_parquet(path: Path, erasure: Erasure, *, is_changed: bool) -> bool:
    """Whether rows held the words. A row that held an erased text goes; a voter's name gives way to the other name."""
    try:
        held = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError):
        return _overwrite(path, erasure, is_changed=is_changed)
    told = [_says(pl.col(name), kind, erasure) for name, kind in held.schema.items()]
    is_found = pl.any_horizontal(pl.lit(False), *told).fill_null(False)
    if not held.select(is_found.any()).item():
        return False
    if is_changed:
        names = [name for name, kind in held.schema.items() if kind == pl.String]
        after = held.with_columns(without(pl.col(name), erasure) for name in names)
        write_parquet(held.filter(~is_found) if erasure.what == "text" else after, path)
    return True


def _says(value: pl.Expr, kind: pl.DataType, erasure: Erasure) -> pl.Expr:
    """Whether a value is the words or, when they are long enough, quotes them, however deep it is nested."""
    if isinstance(kind, pl.List):
        inner = _says(pl.element(), pl.Series([], dtype=kind.inner).dtype, erasure)
        return value.list.eval(inner).list.any()
    if isinstance(kind, pl.Struct):
        return pl.any_horizontal(
            pl.lit(False), *(_says(value.struct.field(f.name), pl.Series([], dtype=f.dtype).dtype, erasure)
                             for f in kind.fields))
    if kind != pl.String:
        return value.is_null() & pl.lit(False)
    is_all = value.is_in(list(erasure.quotes))
    return pl.any_horizontal(is_all, *(value.str.contains(form, literal=True) for form in erasure.forms))
