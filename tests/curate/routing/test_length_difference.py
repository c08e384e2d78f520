"""Length reads nothing but the difference."""

from __future__ import annotations

import polars as pl

from curate.routing.length import length_difference


def test_the_longer_side_does_not_matter() -> None:
    rows = pl.DataFrame({"length_a": [10, 3, 7], "length_b": [4, 9, 7]})
    assert rows.select(length_difference()).to_series().to_list() == [6, 6, 0]
