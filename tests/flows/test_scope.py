"""What a dataset learns from: its own sources, never the gate's groups, and nothing that merely lies beside it."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from small_rounds import StubbornJudge, fingerprints, new_store, run_only, run_round, simulated_recipe, stubborn_turn
from small_rows import world

from flows.calling import thread_fan_out
from flows.engines import engines_of
from flows.ingest import ingest
from flows.rounds import abandon_round, open_recipe, open_round
from schemas.errors import RefusedError
from schemas.recipe import parse_recipe
from schemas.tables import GOLD
from warehouse.store import Store


def write_recorded(folder: Path, name: str, numbers: range, *, case: str = "") -> Path:
    """Pairs of source `name` with four people's votes; `case` changes nothing but the writing of the prompt."""
    target = folder / name
    target.mkdir(parents=True)
    prompts = {i: f"Question {i}?" if not case else f"question   {i}" for i in numbers}
    pairs = [{"pair_id": f"{name}{i}", "prompt": prompts[i], "response_a": f"yes {i} {case}",
              "response_b": f"no {i} {case}"} for i in numbers]
    votes = [{"pair_id": f"{name}{i}", "annotator": f"w{v}", "annotator_kind": "human", "vote": "a" if i % 3 else "b"}
             for i in numbers for v in range(4)]
    for file, rows in (("pairs", pairs), ("annotations", votes)):
        (target / f"{file}.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return target


REPLAY = {
    "dataset": "d", "people": {"engine": "replay"}, "routing": {"method": "value", "budget_votes": 10},
    "filtering": {"method": "none"}, "training": {"min_pairs": 100},
}


@pytest.mark.service
def test_rounds_in_which_nothing_changes_close_without_a_version_as_often_as_they_are_run(tmp_path: Path) -> None:
    store = new_store(tmp_path / "ws")
    ingest(store, str(write_recorded(tmp_path, "a", range(12))))
    recipe = parse_recipe(json.dumps({**REPLAY, "people": {"engine": "none"}}))
    for _ in range(4):
        run_round(store, recipe)
    assert len(fingerprints(store)) == 1
    with store.write("test") as writer:
        assert writer.query("n_closed_rounds", dataset="d").item() == 4


@pytest.mark.service
def test_a_source_that_the_recipe_does_not_name_changes_no_choice_and_no_fingerprint(tmp_path: Path) -> None:
    alone, beside = new_store(tmp_path / "one"), new_store(tmp_path / "two")
    recipe = parse_recipe(json.dumps({**REPLAY, "sources": ["a"], "gold": {"gate_share": 0.3}}))
    folders = {name: write_recorded(tmp_path, name, numbers) for name, numbers in
               (("a", range(30)), ("z", range(100, 120)))}
    ingest(alone, str(folders["a"]), is_recorded=True)
    for name in ("z", "a"):
        ingest(beside, str(folders[name]), is_recorded=True)
    run_round(alone, recipe)
    run_round(beside, recipe)
    assert fingerprints(alone) == fingerprints(beside)


@pytest.mark.service
def test_two_sources_that_share_pairs_hold_them_both_whichever_comes_first(tmp_path: Path) -> None:
    recipe = parse_recipe(json.dumps({**REPLAY, "sources": ["a"], "gold": {"gate_share": 0.3}}))
    folders = {name: write_recorded(tmp_path, name, range(30)) for name in ("a", "b")}
    found = []
    for order in ("ab", "ba"):
        store = new_store(tmp_path / order)
        for name in order:
            ingest(store, str(folders[name]), is_recorded=True)
        run_round(store, recipe)
        found.append(fingerprints(store))
    assert found[0] == found[1]
    assert len(found[0]) == 1


@pytest.mark.service
def test_a_prompt_of_the_gate_is_out_of_bounds_in_every_source_that_holds_it(store: Store, tmp_path: Path) -> None:
    ingest(store, str(write_recorded(tmp_path, "a", range(3))))
    ingest(store, str(write_recorded(tmp_path, "b", range(3), case="other")))
    with store.write("test") as writer:
        before = writer.query("scope_pairs", sources=[])
        texts = writer.query("pair_texts", {"wanted": before})
        gate = texts.filter(pl.col("prompt") == "Question 1?")
        row = {"pair_id": gate["pair_id"][0], "criterion": "overall", "p_a": 1.0, "p_tie": 0.0, "why": "test",
               "source": "a", "use": "gate"}
        writer.append({"gold": GOLD.complete(pl.DataFrame([row]))})
        after = writer.query("pair_texts", {"wanted": writer.query("scope_pairs", sources=[])})
    assert before.height == 6
    assert sorted(after["prompt"]) == ["Question 0?", "Question 2?", "question   0", "question   2"]


@pytest.mark.service
def test_a_round_that_cannot_go_on_is_finished_with_its_own_recipe_or_abandoned(tmp_path: Path) -> None:
    store = new_store(tmp_path / "ws")
    stuck, other = simulated_recipe(), simulated_recipe(seed=99)
    open_round(store, engines_of(stuck), stuck, thread_fan_out(1), lambda line: None)
    with pytest.raises(RefusedError, match=r"--resume .* --abandon"):
        run_round(store, other)
    assert open_recipe(store, "small") == stuck
    assert abandon_round(store, "small") == 1
    assert open_recipe(store, "small") is None
    run_round(store, other)
    assert len(fingerprints(store)) == 1


@pytest.mark.usefixtures("unpublished")
@pytest.mark.service
def test_pairs_without_any_opinion_are_dropped_by_name_and_not_forgotten(store: Store) -> None:
    with store.write("test") as writer:
        writer.append(world(3))
    turn = stubborn_turn(store, StubbornJudge(lambda first, second: "1"), judging={"judges": []})
    run_only(turn, "settle", "release")
    with store.write("test") as writer:
        members = writer.query("version_members", dataset="d", n=1)
    assert members.select("action", "reason", "n_votes").rows() == [("drop", "no_votes", 0)] * 3
