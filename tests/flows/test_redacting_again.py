"""Erasure, seen from what is left: voters as numbers, short texts, versions that are settled again."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
from small_rounds import WORLD, run_round, simulated_recipe
from small_rows import votes, world
from small_versions import id_of, released
from workspace_traces import traces

from flows.exporting import write_training_folder
from flows.redacting import redact
from flows.verifying import verify_version
from schemas.ids import text_id
from warehouse.reader import Reader
from warehouse.store import Store

pytestmark = [pytest.mark.service, pytest.mark.usefixtures("uncatalogued")]

ASKED = '[{"role":"user","content":"question 2"}]'


def test_a_voter_loses_name_and_words_and_the_votes_count_as_before(store: Store) -> None:
    frames = world(4)
    said = votes(frames["pairs"], "ann", rationale="ann thinks so", evidence="ann thinks", external_ref="7")
    released(store, votes=said)
    root = store.workspace.root
    with Reader(root) as reader:
        before = reader.sql("SELECT vote_id, p_a, seq FROM votes ORDER BY seq")
    facts = redact(root, text_id=None, voter="ann", reason="left")
    with store.write("test") as writer:
        writer.check()
    with Reader(root) as reader:
        after = reader.sql("SELECT vote_id, p_a, seq FROM votes ORDER BY seq")
        names = reader.sql("SELECT DISTINCT voter, rationale, evidence, external_ref FROM votes").rows()
        voters = reader.sql("SELECT voter, family FROM voters WHERE kind = 'human'").rows()
    assert after.equals(before)
    assert names == [(facts["voter"], None, None, None)]
    assert voters == [(facts["voter"], facts["voter"])]
    assert str(facts["voter"]).startswith("erased-")
    assert traces(root, '"ann"', "ann thinks") == []
    assert verify_version(root, "d", 1, is_recomputed=False)["stored"] == "equal"
    assert facts["versions that held it"] == "d@1"
    with store.write("test") as writer:  # the source is read again, and has one more vote
        writer.append({"voters": frames["voters"], "votes": votes(frames["pairs"], "ann", criterion="style")})
        assert writer.query("all_voters")["voter"].to_list() == sorted([str(facts["voter"]), "judge"])
        writer.publish()
    assert traces(root, '"ann"') == []


def test_a_long_name_is_erased_wherever_it_is_written(store: Store) -> None:
    name = "annotator-5f3a9c0d7e"
    frames = world(4)
    voters = frames["voters"].with_columns(pl.col("voter", "family").replace({"ann": name}))
    released(store, **{**frames, "voters": voters, "votes": votes(frames["pairs"], name)})
    (store.workspace.root / "feedback.html").write_text(f"<h1>{name}</h1>")
    redact(store.workspace.root, text_id=None, voter=name, reason="left")
    assert traces(store.workspace.root, name) == []


def test_a_short_text_is_erased_where_it_is_all_that_is_said(store: Store) -> None:
    """`good 1` goes; `ann thinks that good is ...` and every text that holds it by chance stay."""
    frames = world(12)  # good 1 is a part of good 10 and good 11
    released(store, **frames)
    redact(store.workspace.root, text_id=id_of("good 1"), voter=None, reason="r")
    with Reader(store.workspace.root) as reader:
        texts = set(reader.sql("SELECT text FROM texts")["text"])
        rationales = set(reader.sql("SELECT rationale FROM votes")["rationale"])
    assert "good 1" not in texts
    assert {"good 10", "good 11", "good 2"} <= texts
    assert rationales == {"ann thinks that good is the better one"}


def test_a_short_prompt_leaves_training_folders_with_its_row(store: Store) -> None:
    released(store)
    with store.write("test") as writer:
        members = writer.query("version_members", dataset="d", n=1)
    write_training_folder(store.workspace, "d", 1, members)
    redact(store.workspace.root, text_id=id_of(ASKED), voter=None, reason="r")
    left = pl.read_parquet(store.workspace.exports / "d@1" / "train" / "train.parquet")
    assert sorted(left["prompt"]) == ["question 0", "question 1", "question 3"]


def unpublished_round(writer: object, *, is_anew: bool = False) -> None:
    """Rounds that nobody reads."""


def test_settling_a_version_again_leaves_the_erased_pair_out_and_says_why(
    migrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(migrated, tmp_path / "ws")
    store, recipe = Store(tmp_path / "ws"), simulated_recipe(
        world={**WORLD, "n_prompts": 10}, people={"engine": "none"},
        training={"min_pairs": 1000, "panel": [], "features": ["words"]})
    with monkeypatch.context() as patched:
        patched.setattr("warehouse.store.Writer.publish", unpublished_round)
        run_round(store, recipe)
    with store.write("test") as writer:
        members = writer.query("version_members", dataset="small", n=1)
    redact(store.workspace.root, text_id=text_id(members["text_a"][0]), voter=None, reason="asked for")
    facts = verify_version(store.workspace.root, "small", 1, is_recomputed=True)
    assert facts["stored"] == "equal"
    assert str(facts["erased since"]).endswith(": asked for")
    assert int(str(facts["recomputed labels that differ"])) < members.height
    monkeypatch.setattr("warehouse.store.Writer.publish", unpublished_round)
    run_round(store, recipe)
    with store.write("test") as writer:
        writer.check()
        later = writer.query("version_diff", dataset="small", n_a=1, n_b=2)
        assert writer.query("versions_of", dataset="small")["n"].to_list() == [1, 2]
    removed = later.filter(pl.col("change") == "removed")["pair_id"].to_list()
    was_kept = members.filter(pl.col("action") != "drop")["pair_id"].to_list()
    assert (members["pair_id"][0] in removed) == (members["pair_id"][0] in was_kept)
