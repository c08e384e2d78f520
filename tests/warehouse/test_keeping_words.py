"""Words that are to be erased are found wherever a file was cut, and in every way that JSON writes them."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.tables import VOTERS
from warehouse.erasure import Erasure, name_for, renamed
from warehouse.erasure_files import holds, places

LONG = "sixteen letters and more"


def erasure(words: str) -> Erasure:
    return Erasure("text", "0" * 36, words, None, "r", ())


@given(st.text("ab", max_size=40), st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3, unique=True),
       st.integers(1, 7))
def test_every_place_is_found_once_however_the_file_is_read(
    tmp_path_factory: pytest.TempPathFactory, content: str, wanted: list[str], piece: int
) -> None:
    path = tmp_path_factory.mktemp("f") / "f"
    path.write_text(content)
    expected = [(i, len(w)) for w in wanted for i in range(len(content)) if content.startswith(w, i)]
    found = list(places(path, [w.encode() for w in wanted], piece))
    assert sorted(found) == sorted(expected)


@given(st.text(min_size=16, max_size=60))
def test_a_text_is_recognised_in_json_and_in_json_within_json(words: str) -> None:
    forms = erasure(words).forms
    for ascii in (True, False):
        once = json.dumps(words, ensure_ascii=ascii)
        assert any(form in once for form in forms)
        assert any(form in json.dumps(once, ensure_ascii=ascii) for form in forms)
    assert words in forms


def test_a_nested_column_is_looked_into(tmp_path: Path) -> None:
    said = [[{"role": "user", "content": f"he said {LONG}"}], [{"role": "user", "content": "nothing"}]]
    pl.DataFrame({"n": [1, 2], "chosen": said}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"n": [1], "chosen": said[1:]}).write_parquet(tmp_path / "b.parquet")
    assert [holds(tmp_path / f"{name}.parquet", erasure(LONG)) for name in "ab"] == [True, False]


def test_a_short_text_is_not_looked_for_inside_others(tmp_path: Path) -> None:
    pl.DataFrame({"text": ["yes, of course"]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"text": ["yes"]}).write_parquet(tmp_path / "b.parquet")
    (tmp_path / "c.txt").write_text("yes")
    assert [holds(tmp_path / name, erasure("yes")) for name in ("a.parquet", "b.parquet", "c.txt")] == [
        False, True, False]


def test_an_erased_voter_is_known_again_and_nobody_else_is() -> None:
    rows = VOTERS.complete(pl.DataFrame([
        {"voter": v, "kind": "human", "family": v, "cost_usd": 0.0} for v in ("ann", "ben")]))
    stones = pl.DataFrame({"row_id": [name_for("ann", "salt"), name_for("cyd", "pepper")], "salt": ["salt", "pepper"]})
    assert renamed(rows, "voters", stones)["voter"].to_list() == [name_for("ann", "salt"), "ben"]
    assert renamed(rows, "voters", stones)["family"].to_list() == [name_for("ann", "salt"), "ben"]
    assert renamed(rows, "voters", stones.clear()) is rows
