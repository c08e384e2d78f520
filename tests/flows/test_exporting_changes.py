"""Exports of released versions: licences, changes since an earlier version, and where they went."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from command_line import Tiebreak, in_process
from small_rows import labels, world
from small_versions import id_of, release, released

from flows import commands
from flows.export_forms import FORMS
from flows.exporting import export_version
from flows.redacting import redact
from schemas.errors import InputError
from schemas.tables import POLICIES, RESPONSES, SOURCES
from warehouse.reader import Reader
from warehouse.store import Store

FORBIDDEN, UNKNOWN = "**MUST NOT BE PASSED ON.**", "**Not cleared for passing on.**"


@pytest.fixture
def tiebreak(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tiebreak:
    return in_process(capsys, monkeypatch)


def second(store: Store, changed: pl.DataFrame) -> None:
    """Release `changed` as d@2."""
    with store.write("test") as writer:
        release(writer, changed, 2)
        writer.publish()


def exported(store: Store, out: Path, form: str = "openrlhf", n: int = 1, since: int | None = None) -> pl.DataFrame:
    export_version(store.workspace.root, "d", n, out, form, since)
    return pl.read_parquet(out / "train.parquet")


def sources(**may: bool | None) -> pl.DataFrame:
    return SOURCES.complete(pl.DataFrame({
        "source": list(may), "licence": ["cc-by-4.0"] * len(may), "may_redistribute": list(may.values())},
        schema_overrides={"may_redistribute": pl.Boolean}))


@pytest.mark.service
@pytest.mark.parametrize(("may", "warning"), [(True, ""), (False, FORBIDDEN), (None, UNKNOWN)])
def test_the_card_warns_loudly_of_text_that_may_not_be_passed_on(
    store: Store, tmp_path: Path, may: bool | None, warning: str
) -> None:
    released(store, sources=sources(hand=may))
    facts = export_version(store.workspace.root, "d", 1, tmp_path / "out", "trl")
    text = (tmp_path / "out" / "card.md").read_text()
    assert (warning in text.splitlines()[2]) if warning else ("PASSED ON" not in text and "Not cleared" not in text)
    assert "- source hand: cc-by-4.0, " in text
    assert (warning or "- source hand: cc-by-4.0, ") in commands.card(store.workspace.root, "d@1")
    assert (facts["pairs that must not be passed on"], facts["pairs not cleared for passing on"]) == {
        True: (0, 0), False: (4, 0), None: (0, 4)}[may]


@pytest.mark.service
def test_a_pair_that_another_source_allows_may_be_passed_on_and_a_policy_can_still_forbid_it(
    store: Store, tmp_path: Path
) -> None:
    """All pairs come from `hand`, which allows it, and from `closed`, which does not; `writer@1` wrote one response."""
    frames = world(4)
    first = frames["pairs"].head(1)
    written = frames["responses"].with_columns(policy=pl.when(pl.col("response_id") == first["response_a"][0]).then(
        pl.lit("writer@1")))
    policy = POLICIES.complete(pl.DataFrame({"policy": ["writer@1"], "model": ["writer"], "may_redistribute": [False]}))
    released(store, sources=sources(hand=True, closed=False), responses=RESPONSES.complete(written), policies=policy)
    with store.write("test") as writer:
        writer.append({"pairs": frames["pairs"].with_columns(source=pl.lit("closed"))})
        writer.publish()
    facts = export_version(store.workspace.root, "d", 1, tmp_path / "out", "hf")
    assert facts["pairs that must not be passed on"] == 1
    text = (tmp_path / "out" / "README.md").read_text()
    assert "- policy writer@1: licence not known, **must not be passed on**, 1 pairs\n" in text
    assert f"> {FORBIDDEN} 1 of 4 pairs" in text


@pytest.mark.service
@pytest.mark.parametrize("form", ["trl", "openrlhf", "kto", "parquet"])
def test_the_changes_laid_over_the_earlier_export_are_the_later_one(store: Store, tmp_path: Path, form: str) -> None:
    """One pair flips, one becomes a tie, one is dropped, one stays, one is new."""
    frames = released(store, 5, labels=labels(world(5)["pairs"]).head(0).with_columns(label_set=pl.lit("")))
    with store.write("test") as writer:
        release(writer, labels(frames["pairs"]).head(4), 1, dataset="e")
        after = labels(frames["pairs"]).with_row_index("i").with_columns(
            p_a=pl.when(pl.col("i") == 0).then(0.1).when(pl.col("i") == 1).then(0.5).otherwise("p_a"),
            action=pl.when(pl.col("i") == 2).then(pl.lit("drop")).otherwise("action"),
            reason=pl.when(pl.col("i") == 2).then(pl.lit("tie")).otherwise("reason")).drop("i")
        release(writer, after, 2, dataset="e")
        writer.publish()
    root, key = store.workspace.root, FORMS[form].key
    for name, n, since in (("late", 2, None), ("changes", 2, 1)):
        export_version(root, "e", n, tmp_path / name, form, since)
    with Reader(root) as reader:
        early, late = (FORMS[form].rows(reader.query("version_members", dataset="e", n=n)) for n in (1, 2))
    changes, removed = (pl.read_parquet(tmp_path / "changes" / f"{name}.parquet") for name in ("train", "removed"))
    laid = pl.concat([early.join(pl.concat([changes.select(key), removed.select(key)]), on=key, how="anti"), changes])
    assert laid.sort(key).equals(late.sort(key))
    assert 0 < changes.height < late.height
    assert f"rows that are no longer in it: {removed.height}, in `removed.parquet`" in (
        tmp_path / "changes" / "card.md").read_text()
    if form in ("trl", "openrlhf"):
        assert sorted(removed["removed_because"]) == ["a tie", "drop: tie"]


@pytest.mark.service
def test_a_pair_whose_text_was_erased_is_among_the_removed(store: Store, tmp_path: Path) -> None:
    frames = released(store, 3)
    redact(store.workspace.root, text_id=id_of("bad 1"), voter=None, reason="asked for")
    second(store, labels(frames["pairs"]))
    export_version(store.workspace.root, "d", 2, tmp_path / "out", "openrlhf", 1)
    removed = pl.read_parquet(tmp_path / "out" / "removed.parquet")
    assert removed["removed_because"].to_list() == ["erased"]
    assert pl.read_parquet(tmp_path / "out" / "train.parquet").height == 0


@pytest.mark.service
def test_a_folder_with_removed_rows_loads_as_its_training_rows_alone(store: Store, tmp_path: Path) -> None:
    import datasets

    frames = released(store, 3)
    second(store, labels(frames["pairs"].head(2), strength=1.0))
    facts = export_version(store.workspace.root, "d", 2, tmp_path / "out", "openrlhf", 1)
    rows = pl.read_parquet(tmp_path / "out" / "train.parquet")
    assert facts["pairs not cleared for passing on"] == 2, "the third pair's text is not in it"
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {name: split.num_rows for name, split in loaded.items()} == {"train": rows.height} == {"train": 2}
    assert pl.read_parquet(tmp_path / "out" / "removed.parquet")["removed_because"].to_list() == ["drop: withdrawn"]


@pytest.mark.parametrize("since", [1, 2])
def test_changes_are_counted_from_an_earlier_version_only(store: Store, tmp_path: Path, since: int) -> None:
    with pytest.raises(InputError, match="a version before d@1"):
        export_version(store.workspace.root, "d", 1, tmp_path / "out", "trl", since)
    assert not (tmp_path / "out").exists()


@pytest.mark.service
def test_the_command_takes_two_versions_of_one_dataset(tiebreak: Tiebreak, store: Store, tmp_path: Path) -> None:
    frames = released(store, 3)
    second(store, labels(frames["pairs"], p_a=0.8))
    with store.write("test") as writer:
        release(writer, labels(frames["pairs"]), 1, dataset="e")
        writer.publish()
    said = tiebreak(store, "export", "d@2", "--since", "d@1", "--format", "parquet", "--out", str(tmp_path / "out"))
    assert (said.code, said.err) == (0, "")
    assert "rows: 3\n" in said.out
    refused = tiebreak(store, "export", "d@2", "--since", "e@1", "--out", str(tmp_path / "other"))
    assert refused.is_one_line_of_yours()
    assert "expected a version of d" in refused.err


@pytest.mark.service
def test_where_an_export_went_is_noted_and_a_read_only_workspace_says_that_it_was_not(
    store: Store, tmp_path: Path
) -> None:
    released(store, 2)
    exported(store, tmp_path / "out")
    with store.write("test") as writer:
        made = writer.query("exports_made").select("version", "form", "folder").rows()
    assert made == [("d@1", "openrlhf", str((tmp_path / "out").resolve()))]


@pytest.mark.service
def test_an_export_from_a_workspace_that_cannot_be_written_goes_on_and_says_so(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released(store, 2)

    def refuse(*arguments: object) -> None:
        raise OSError("read-only")

    monkeypatch.setattr("warehouse.inbox.Inbox.segment", refuse)
    facts = export_version(store.workspace.root, "d", 1, tmp_path / "out", "trl")
    assert facts["noted for redact"] == "no: the workspace is read-only"
    assert (tmp_path / "out" / "train.parquet").is_file()
