"""Ingest: all of a source or nothing of it, once however often it is read, and every refused row with its reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from flows.ingest import ingest
from schemas.errors import InputError
from schemas.tables import TABLES
from warehouse.reader import Reader
from warehouse.store import Store, Writer

COUNTS = [
    ("llmfao", 1_651, 10_190), ("pandalm_test", 678, 3_376), ("tulu1_human_eval", 726, 832),
    ("ukpconvarg1", 12_544, 62_581), ("llmbar", 342, 36_936), ("qa_feedback_dev", 2_112, 2_112),
]
IDS = {"texts": "text_id", "prompts": "prompt_id", "responses": "response_id", "pairs": "pair_id",
       "votes": "vote_id", "ratings": "rating_id"}


def counts(store: Store) -> dict[str, int]:
    with Reader(store.workspace.root) as reader:
        return {name: reader.sql(f"SELECT count(*) AS n FROM {name}")["n"].item() for name in TABLES}


def ids(store: Store) -> dict[str, list[str]]:
    with Reader(store.workspace.root) as reader:
        return {
            table: reader.sql(f"SELECT {key}::VARCHAR AS id FROM {table} ORDER BY id")["id"].to_list()
            for table, key in IDS.items()
        }


def content(store: Store) -> dict[Path, bytes]:
    root = store.workspace.root
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def write_rows(path: Path, *rows: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def pair(i: int, **more: object) -> dict[str, object]:
    return {"pair_id": f"u{i}", "prompt": f"question {i}", "response_a": f"x {i}", "response_b": f"y {i}", **more}


def vote(i: int, said: str = "a", annotator: str = "ann") -> dict[str, object]:
    return {"pair_id": f"u{i}", "annotator": annotator, "vote": said}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pairs in the common form, with a vote each."""
    write_rows(tmp_path / "set" / "pairs.jsonl", *(pair(i) for i in range(3)))
    write_rows(tmp_path / "set" / "annotations.jsonl", *(vote(i) for i in range(3)))
    return tmp_path / "set"


@pytest.mark.service
@pytest.mark.parametrize(("name", "n_pairs", "n_votes"), COUNTS)
def test_a_public_set_is_there_whole_and_a_second_time_brings_nothing_new(
    store: Store, real_data: Path, name: str, n_pairs: int, n_votes: int
) -> None:
    first = ingest(store, str(real_data / name))
    found = counts(store)
    assert (found["pairs"], found["votes"], found["rejects"]) == (n_pairs, n_votes, 0)
    assert (first.new["pairs"], first.new["votes"]) == (n_pairs, n_votes)
    again = ingest(store, str(real_data / name))
    assert set(again.new.values()) == {0}
    assert counts(store) == found
    with store.write("test") as writer:
        writer.check()


@pytest.mark.service
@pytest.mark.parametrize("name", ["llmfao", "pandalm_test", "llmbar", "hh_harmless", "qlora_gpt4"])
def test_another_path_and_shuffled_rows_give_the_same_ids(
    store: Store, migrated: Path, real_data: Path, tmp_path: Path, name: str
) -> None:
    moved = tmp_path / "somewhere else" / name
    shutil.copytree(real_data / name, moved)
    for seed, file in enumerate(sorted(moved.glob("*.parquet"))):
        pl.read_parquet(file).sample(fraction=1.0, shuffle=True, seed=seed).write_parquet(file)
    shutil.copytree(migrated, tmp_path / "other")
    other = Store(tmp_path / "other")
    ingest(store, str(real_data / name))
    ingest(other, str(moved))
    assert ids(store) == ids(other)
    assert len(ids(store)["pairs"]) > 0


@pytest.mark.service
def test_a_second_time_brings_nothing_new_and_says_so(store: Store, folder: Path) -> None:
    ingest(store, str(folder))
    before = counts(store)
    lines = ingest(store, str(folder)).lines()
    assert "  votes: 3 read, 0 new" in lines
    assert counts(store) == before


@pytest.mark.service
def test_more_of_the_same_source_adds_only_what_is_new(store: Store, folder: Path) -> None:
    ingest(store, str(folder))
    write_rows(folder / "annotations.jsonl", *(vote(i, annotator=who) for i in range(3) for who in ("ann", "bob")))
    report = ingest(store, str(folder))
    assert (report.new["pairs"], report.new["votes"]) == (0, 3)


@pytest.mark.service
def test_a_bad_row_goes_to_rejects_with_its_place_and_the_good_ones_enter(store: Store, folder: Path) -> None:
    write_rows(folder / "annotations.jsonl", vote(0), vote(1, "perhaps"), vote(2))
    report = ingest(store, str(folder))
    assert (report.n_rejects, report.new["votes"], report.new["pairs"]) == (1, 2, 3)
    with Reader(store.workspace.root) as reader:
        reject = reader.sql('SELECT source, file, "row", "column", seen, expected FROM rejects').row(0)
    assert reject == ("set", "annotations.jsonl", 2, "vote", "perhaps", "one of a, b, tie, equal, invalid, abstain")
    assert "annotations.jsonl row 2 column vote: saw perhaps, expected one of a, b" in "\n".join(report.lines())


@pytest.mark.parametrize(("file", "bad"), [
    ("pairs.parquet", b"PAR1 and then nothing"), ("more.jsonl", b""), ("more.csv", b"pair_id,pair_id\n1,2\n"),
    ("more.jsonl", b'{"something": "else"}'), ("more.jsonl.gz", b"not gzip"),
])
def test_a_bad_file_is_refused_in_one_line_and_leaves_nothing_of_the_good_ones_behind(
    store: Store, folder: Path, file: str, bad: bytes
) -> None:
    (folder / file).write_bytes(bad)
    before = content(store)
    with pytest.raises(InputError, match=file) as refusal:
        ingest(store, str(folder))
    assert len(str(refusal.value).splitlines()) == 1
    assert "; expected " in str(refusal.value)
    assert content(store) == before


@pytest.mark.service
def test_a_failure_in_the_middle_of_writing_leaves_no_row_of_any_table(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Writer._insert

    def fail_at_votes(self: Writer, name: str, frame: pl.DataFrame) -> int:
        if name == "votes":
            raise OSError("disk full")
        return whole(self, name, frame)

    with monkeypatch.context() as broken:
        broken.setattr(Writer, "_insert", fail_at_votes)
        with pytest.raises(OSError, match="disk full"):
            ingest(store, str(folder))
    with store.write("test") as writer:
        assert writer.query("n_rows").row(0) == (0, 0, 0, 0)
        writer.publish()
    assert ingest(store, str(folder)).new["votes"] == 3


@pytest.mark.slow
def test_a_dry_run_reads_everything_and_writes_nothing(store: Store, folder: Path) -> None:
    before = content(store)
    report = ingest(store, str(folder), is_dry_run=True)
    assert report.read["votes"] == 3
    assert content(store) == before


@pytest.mark.service
def test_votes_for_replay_are_known_and_are_no_opinion(store: Store, folder: Path) -> None:
    ingest(store, str(folder), is_recorded=True)
    with Reader(store.workspace.root) as reader:
        assert reader.sql("SELECT status, count(*) FROM votes GROUP BY status").rows() == [("recorded", 3)]
        assert reader.sql("FROM voter_summary").height == 0


@pytest.mark.service
def test_a_source_of_another_name_is_another_voter_on_the_same_pairs(store: Store, folder: Path) -> None:
    ingest(store, str(folder))
    report = ingest(store, str(folder), name="others")
    assert (report.new["pairs"], report.new["votes"]) == (0, 3)


def test_a_column_to_group_by_that_is_not_there_is_refused(store: Store, folder: Path) -> None:
    with pytest.raises(InputError, match="topic"):
        ingest(store, str(folder), group_by="topic")


@pytest.mark.slow
def test_columns_that_are_not_read_are_named(store: Store, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "wide.jsonl", pair(0, favourite_colour="blue"))
    assert any("favourite_colour" in line for line in ingest(store, str(file), is_dry_run=True).lines())
