"""Routing by length: people go where the two responses differ most in length, and judges favour the longer one."""

from __future__ import annotations

import polars as pl


def length_difference() -> pl.Expr:
    """|length of a − length of b|, in characters: the baseline that reads nothing."""
    return (pl.col("length_a") - pl.col("length_b")).abs()
