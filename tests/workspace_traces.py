"""Where words stand in a workspace: in files as they lie there, in Parquet as it is read, in published tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import polars.selectors as cs

from schemas.tables import TABLES
from warehouse.reader import Reader
from warehouse.store import Store


def everything(root: Path) -> Iterator[tuple[str, str]]:
    """Every file as it lies there, every value of every table, and what every Parquet file of it says."""
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        yield str(path.relative_to(root)), path.read_bytes().decode("utf-8", "replace")
        if path.suffix == ".parquet":
            yield f"{path.name} read", pl.read_parquet(path).select(~cs.binary()).write_ndjson()  # no ids
    store = Store(root)
    with store.write("test") as writer:
        writer.publish()
    with Reader(root) as reader:
        for table in TABLES:
            yield table, reader.sql(f"FROM {table}").write_ndjson()


def traces(root: Path, *words: str) -> list[str]:
    return [name for name, content in everything(root) if any(word in content for word in words)]
