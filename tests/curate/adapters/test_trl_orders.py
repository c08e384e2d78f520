"""An order is put down once and never changed; what lies in it is known by its sha256."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from training_orders import lessons, readings, tuning

from curate.adapters.trl.orders import (
    folder_sha256,
    outcome_of,
    read_frame,
    read_order,
    write_order,
)
from curate.engines import TrainingOrder
from schemas.errors import InputError, RefusedError


def ordered(folder: Path, **other: object) -> TrainingOrder:
    given = {"model": "m", "tuning": tuning(), "seed": 7, "lessons": lessons(4), "readings": readings(2), **other}
    return write_order(folder, **given)  # type: ignore[arg-type]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written = ordered(tmp_path / "o")
    assert read_order(tmp_path / "o") == written
    assert written.tuning == tuning()
    assert read_frame(tmp_path / "o", "train.parquet").equals(lessons(4))
    assert read_frame(tmp_path / "o", "measure.parquet").equals(readings(2))
    assert outcome_of(tmp_path / "o") is None


def test_the_same_order_again_changes_nothing_whatever_the_order_of_rows(tmp_path: Path) -> None:
    first = ordered(tmp_path / "o")
    before = files(tmp_path / "o")
    assert ordered(tmp_path / "o", lessons=lessons(4).reverse(), readings=readings(2).reverse()) == first
    assert files(tmp_path / "o") == before


@pytest.mark.parametrize("other", [
    {"model": "n"}, {"seed": 8}, {"tuning": tuning(epochs=2.0)}, {"lessons": lessons(5)}, {"readings": readings(3)},
])
def test_another_order_is_refused_in_its_folder(tmp_path: Path, other: dict[str, object]) -> None:
    ordered(tmp_path / "o")
    before = files(tmp_path / "o")
    with pytest.raises(RefusedError, match="holds another order, of m"):
        ordered(tmp_path / "o", **other)
    assert files(tmp_path / "o") == before


def test_a_folder_of_something_else_is_refused_and_an_empty_one_taken(tmp_path: Path) -> None:
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "thesis.tex").write_text("years of work")
    with pytest.raises(RefusedError, match="holds something else"):
        ordered(tmp_path / "o")
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["thesis.tex"]
    (tmp_path / "empty").mkdir()
    assert ordered(tmp_path / "empty").model == "m"


def test_what_a_kill_left_unfinished_is_no_order_and_goes_away(tmp_path: Path) -> None:
    left = tmp_path / ".o.unfinished-1"
    left.mkdir()
    (left / "train.parquet").write_bytes(b"half")
    with pytest.raises(InputError, match=r"order\.json"):
        read_order(tmp_path / "o")
    ordered(tmp_path / "o")
    assert [path.name for path in tmp_path.iterdir()] == ["o"]


@pytest.mark.parametrize("name", ["train.parquet", "measure.parquet"])
def test_a_changed_or_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    ordered(tmp_path / "o")
    path = tmp_path / "o" / name
    pl.read_parquet(path).head(1).write_parquet(path)
    with pytest.raises(InputError, match=f"{name}: sha256 .*; expected .*; next: restore"):
        read_order(tmp_path / "o")
    path.unlink()
    with pytest.raises(InputError, match=f"no .*{name}"):
        read_order(tmp_path / "o")


def test_an_order_of_a_later_release_or_without_sense_is_refused(tmp_path: Path) -> None:
    ordered(tmp_path / "o")
    path = tmp_path / "o" / "order.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps(said | {"format": 2}))
    with pytest.raises(InputError, match="order of format 2; expected at most 1; next: upgrade"):
        read_order(tmp_path / "o")
    path.write_text(json.dumps(said | {"tuning": {"base": "x", "method": "prayer"}}))
    with pytest.raises(InputError, match="expected an order"):
        read_order(tmp_path / "o")
    path.write_text("[]")
    with pytest.raises(InputError, match="holds list"):
        read_order(tmp_path / "o")


def test_a_folder_s_sha256_knows_names_and_bytes_and_not_where_it_lies(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "x").write_text("one")
        (tmp_path / name / "y").write_text("two")
    known = folder_sha256(tmp_path / "a")
    assert folder_sha256(tmp_path / "b") == known
    (tmp_path / "b" / "y").write_text("one")
    (tmp_path / "b" / "sub" / "x").write_text("two")
    assert folder_sha256(tmp_path / "b") != known
