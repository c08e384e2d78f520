"""`tiebreak cycles`: which prompts of a version no ranking can hold, and which pair is the weakest of each circle."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from command_line import Tiebreak, in_process
from small_rows import labels
from small_versions import release

from flows.ingest import ingest
from warehouse.store import Store

pytestmark = pytest.mark.service
LEADS = {("x", "y"): 0.9, ("y", "z"): 0.8, ("z", "x"): 0.7}
"""chance that the first wins: a circle whose weakest pair is z over x"""


@pytest.fixture
def tiebreak(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tiebreak:
    return in_process(capsys, monkeypatch)


def released(store: Store, folder: Path, circle: dict[tuple[str, str], float], dropped: str = "") -> None:
    """`d@1`: a prompt whose responses go in a circle, and one with a single pair."""
    rows = [{"prompt": "round", "response_a": a, "response_b": b, "label": "a"} for a, b in circle]
    rows.append({"prompt": "alone", "response_a": "x", "response_b": "y", "label": "a"})
    (folder / "hand.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    ingest(store, str(folder / "hand.jsonl"))
    wins = {frozenset(pair): (pair[0], p) for pair, p in circle.items()}
    with store.write("test") as writer:
        texts = writer.query("pair_texts", {"wanted": writer.query("scope_pairs", sources=[])})
        pairs = writer.query("scope_pairs", sources=[]).join(texts, on="pair_id")
        frame = labels(pairs).join(pairs.select("pair_id", "text_a", "text_b"), on="pair_id").with_columns(
            p_a=pl.struct("text_a", "text_b").map_elements(
                lambda row: _chance(row["text_a"], row["text_b"], wins), return_dtype=pl.Float64),
            action=pl.when(pl.concat_list("text_a", "text_b").list.sort().list.join("") == dropped).then(
                pl.lit("drop")).otherwise("action"))
        release(writer, frame.drop("text_a", "text_b"), 1)
        writer.publish()


def _chance(a: str, b: str, wins: dict[frozenset[str], tuple[str, float]]) -> float:
    winner, p = wins.get(frozenset((a, b)), (a, 0.9))
    return p if winner == a else 1 - p


def test_a_circle_is_told_with_its_weakest_pair(store: Store, tmp_path: Path, tiebreak: Tiebreak) -> None:
    released(store, tmp_path, LEADS)
    (row,) = tiebreak(store.workspace.root, "cycles", "d@1", "--json").json
    assert (row["n_responses"], row["lead"], row["cycle_lead"]) == (3, 0.2, 0.3)
    assert 0 < row["cyclic_share"] < 1
    with store.write("test") as writer:
        texts = writer.query("pair_texts", {"wanted": pl.DataFrame({"pair_id": [row["weakest_pair"]]})})
    assert set(texts.select("text_a", "text_b").row(0)) == {"x", "z"}


def test_a_circle_that_only_a_dropped_pair_closes_is_none(store: Store, tmp_path: Path, tiebreak: Tiebreak) -> None:
    released(store, tmp_path, LEADS, dropped="xz")
    assert tiebreak(store.workspace.root, "cycles", "d@1", "--json").json == []


def test_a_ranking_has_no_cycle_and_a_version_that_is_not_there_is_one_line(
    store: Store, tmp_path: Path, tiebreak: Tiebreak
) -> None:
    released(store, tmp_path, {("x", "y"): 0.9, ("y", "z"): 0.8, ("x", "z"): 0.9})
    assert tiebreak(store.workspace.root, "cycles", "d@1", "--json").json == []
    assert tiebreak(store.workspace.root, "cycles", "d@7").is_one_line_of_yours()
