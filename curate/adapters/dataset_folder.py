"""A folder that the library `datasets` reads: Arrow files by split, as `DatasetDict.save_to_disk` lays them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from schemas.ids import content_id


def save_splits(splits: Mapping[str, pl.DataFrame], folder: Path, fingerprint: str) -> None:
    """Write one split per frame under `folder`; equal frames and fingerprint give equal files."""
    import datasets

    datasets.disable_progress_bars()
    # The library would draw a fingerprint at random; its own are hexadecimal and 16 long.
    named = {name: content_id(fingerprint, name).replace("-", "")[:16] for name in splits}
    saved: dict[str, Any] = {
        name: datasets.Dataset(_table(frame), fingerprint=named[name]) for name, frame in splits.items()
    }
    datasets.DatasetDict(saved).save_to_disk(str(folder))


def _table(frame: pl.DataFrame) -> pa.Table:
    """Arrow with plain strings and lists: `large_string` is another feature to a reader than `string`.

    Rows are copied: buffers of a frame that was filtered hold bytes of other rows, and a file is filled up with them.
    """
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    table = table.take(pl.int_range(table.num_rows, eager=True).to_arrow())
    return table.cast(pa.schema([field.with_type(_plain(field.type)) for field in table.schema]))


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_large_list(kind):
        return pa.list_(_plain(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_plain(field.type)) for field in kind])
    return kind
