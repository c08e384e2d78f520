"""Promises of the tables: each has a key and types, and all follow the naming of the glossary."""

from __future__ import annotations

import re

import polars as pl
import pytest

from schemas import tables
from schemas.contract import Table
from schemas.tables import TABLES

ALL = {t.name: t for t in vars(tables).values() if isinstance(t, Table)}
COLUMNS = [(t, name) for t in ALL.values() for name in t.columns]
BARRED = {"id", "type", "timestamp", "chosen", "rejected", "item", "annotation", "left", "right"}

each_table = pytest.mark.parametrize("table", ALL.values(), ids=lambda t: t.name)


def test_every_stored_table_is_listed_under_its_own_name() -> None:
    passing = {"evidence", "posteriors", "margins", "comparisons", "candidates", "cards", "pulled_submissions",
               "lessons", "readings"}
    assert set(TABLES) == set(ALL) - passing
    assert all(name == table.name for name, table in TABLES.items())


@each_table
def test_every_table_has_a_key_of_its_own_columns_that_is_never_null(table: Table) -> None:
    assert table.key
    assert [k for k in table.key if k not in table.columns or table.columns[k].is_nullable] == []


@each_table
def test_the_writer_gives_only_columns_that_exist_and_are_no_key(table: Table) -> None:
    assert set(table.given) <= set(table.columns) - set(table.key)


@each_table
def test_every_column_has_one_of_five_types_and_limits_that_fit(table: Table) -> None:
    allowed = {pl.String, pl.Int64, pl.Float64, pl.Boolean, pl.Datetime("us", "UTC")}
    assert {n: c.dtype for n, c in table.columns.items() if c.dtype not in allowed} == {}
    for column in table.columns.values():
        assert column.dtype == pl.String or not column.words
        assert column.dtype in (pl.Int64, pl.Float64) or (column.low is None and column.high is None)
        assert column.low is None or column.high is None or column.low < column.high


@each_table
def test_the_grain_completes_the_sentence_one_row_per(table: Table) -> None:
    assert table.grain
    assert not re.match(r"(?i)(each|every|a|an|the|row)\b", table.grain)
    assert not table.grain.endswith(".")


@each_table
def test_an_empty_frame_of_every_table_keeps_its_contract(table: Table) -> None:
    assert table.complete(table.empty()).schema == pl.Schema(table.schema)


def test_names_of_tables_are_plural_snake_case() -> None:
    without_plural = {"gold", "evidence"}
    assert [n for n in ALL if not re.fullmatch(r"[a-z]+(_[a-z]+)*", n)] == []
    assert [n for n in ALL if not n.endswith("s") and n not in without_plural] == []


def test_booleans_are_is_or_may_and_nothing_else_is() -> None:
    for table, name in COLUMNS:
        is_flag = table.columns[name].dtype == pl.Boolean
        assert is_flag == name.startswith(("is_", "may_")), f"{table.name}.{name}"


def test_times_end_in_at_and_nothing_else_does() -> None:
    for table, name in COLUMNS:
        is_time = isinstance(table.columns[name].dtype, pl.Datetime)
        assert is_time == (name == "at" or name.endswith("_at")), f"{table.name}.{name}"


def test_counts_begin_with_n_and_are_whole_and_never_negative() -> None:
    for table, name in COLUMNS:
        if name == "n" or name.startswith("n_"):
            column = table.columns[name]
            assert column.dtype == pl.Int64, f"{table.name}.{name}"
            assert column.low is not None, f"{table.name}.{name}"
            assert column.low >= 0, f"{table.name}.{name}"


def test_ids_and_keys_are_text() -> None:
    for table, name in COLUMNS:
        if name.endswith(("_id", "_key")):
            assert table.columns[name].dtype == pl.String, f"{table.name}.{name}"


def test_a_word_means_one_thing_in_all_tables() -> None:
    types: dict[str, set[str]] = {}
    for table, name in COLUMNS:
        types.setdefault(name, set()).add(str(table.columns[name].dtype))
    two_types = {name for name, found in types.items() if len(found) > 1}
    assert two_types == {"value"}  # a tag's is text, a rating's is a number
    assert BARRED & set(types) == set()
