"""Files and folders from disk."""

import gzip
from pathlib import Path

import polars as pl
import pytest

from curate.adapters.files import read_source
from curate.importing.convert import convert
from curate.importing.raw import RawSource
from schemas.errors import InputError

PAIRS = pl.DataFrame({"pair_id": ["p0", "p1"], "prompt": ["q", "r"], "response_a": ["x", ""], "response_b": ["y", "z"],
                      "label": ["a", "tie"]})  # fmt: skip


def write(frame: pl.DataFrame, path: Path) -> Path:
    if path.name.endswith(".parquet"):
        frame.write_parquet(path)
    elif path.suffix == ".csv":
        frame.write_csv(path)
    else:
        text = frame.write_ndjson().encode()
        path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


@pytest.mark.parametrize("name", ["set.parquet", "set.jsonl", "set.ndjson", "set.jsonl.gz", "set.csv"])
@pytest.mark.service
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    expected = convert(RawSource("set", {"x": PAIRS.with_row_index("_row", offset=1)})).frames
    raw = read_source(write(PAIRS, tmp_path / name))
    assert raw.name == "set"
    found = convert(raw).frames
    assert all(found[table].equals(expected[table]) for table in expected)


@pytest.mark.slow
def test_a_folder_is_all_its_data_files(tmp_path: Path) -> None:
    write(PAIRS, tmp_path / "pairs.parquet")
    write(pl.DataFrame({"pair_id": ["p0"], "annotator": ["x"], "vote": ["a"]}), tmp_path / "annotations.csv")
    (tmp_path / "README.md").write_text("words")
    (tmp_path / "deeper").mkdir()
    raw = read_source(tmp_path)
    assert (raw.name, sorted(raw.files)) == (tmp_path.name, ["annotations.csv", "pairs.parquet"])
    assert convert(raw).counts["votes"] == 1


@pytest.mark.slow
def test_a_copy_in_another_folder_under_another_name_gives_the_same_ids(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    one = convert(read_source(write(PAIRS, tmp_path / "set.parquet"))).frames
    other = convert(read_source(write(PAIRS.reverse(), tmp_path / "deep" / "other.jsonl")), source="set").frames
    assert all(one[table].equals(other[table]) for table in one)


def test_rejects_name_the_file_without_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "set.jsonl"
    file.write_text('{"prompt": "q", "response_a": "x", "response_b": "y", "label": "a"}\n{oops sk-abcdefghijklmn\n')
    rejects = convert(read_source(file)).frames["rejects"]
    assert rejects.select("source", "file", "row", "column", "seen", "expected").rows() == [
        ("set", "set.jsonl", 2, "", "{oops ***", "one JSON object")]  # fmt: skip


@pytest.mark.slow
def test_a_nul_or_lone_surrogate_in_a_text_is_refused(tmp_path: Path) -> None:
    row = '{"prompt": "%s", "response_a": "x", "response_b": "y"}\n'
    file = tmp_path / "set.jsonl"
    file.write_text(row % "fine" + row % "n\\u0000" + row % "s\\ud800")
    ingested = convert(read_source(file))
    assert ingested.counts["pairs"] == 1
    assert ingested.frames["rejects"].sort("row").select("row", "column").rows() == [(2, "prompt"), (3, "prompt")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.parquet", b"not parquet at all", r"^a\.parquet: .*; expected a whole Parquet file; next: "),
        ("a.parquet", b"", "expected a whole Parquet file"),
        ("a.jsonl", b" \n", r"^a\.jsonl: empty; expected rows"),
        ("a.jsonl", b"{\n[\n", r"^a\.jsonl: no row that can be read; first of 2 refused: \[\(1, '', '{', 'one JSON"),
        ("a.csv", b"a,b\n", r"^a\.csv: no row that can be read"),
        ("a.jsonl.gz", b"not gzip", r"^a\.jsonl\.gz: .*expected a readable file"),
        ("a.xlsx", b"x", r"^a\.xlsx: ending '\.xlsx'; expected one of \.parquet"),
        ("a.csv", b"_row,b\n1,2\n", "header"),
        ("a.jsonl", b'{"_row": 1}\n', "a name that is not ours"),
    ],
)
def test_a_bad_file_is_one_line_with_what_was_seen_and_what_next(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_source(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert caught.value.next


def test_one_bad_file_spoils_its_folder(tmp_path: Path) -> None:
    write(PAIRS, tmp_path / "pairs.parquet")
    (tmp_path / "annotations.parquet").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"^annotations\.parquet"):
        read_source(tmp_path)


def test_no_file_and_a_folder_without_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file or folder"):
        read_source(tmp_path / "nowhere")
    (tmp_path / "README.md").write_text("words")
    with pytest.raises(InputError, match=r"holds \['README.md'\]; expected files ending in \.parquet"):
        read_source(tmp_path)
