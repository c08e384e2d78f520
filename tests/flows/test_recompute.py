"""A version settles again to the same labels, whatever its workspace has learned since."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl
import pytest
from served_models import ServedModels, served_turn
from small_rounds import WORLD, new_store, run_only, run_round, simulated_recipe
from small_rows import votes, world

from flows.calling import thread_fan_out
from flows.engines import engines_of
from flows.judging import examined
from flows.rounds import Turn, open_round, run_stages
from flows.stages import STAGES
from flows.verifying import verify_version
from schemas.errors import RefusedError
from schemas.recipe import Recipe
from schemas.tables import GOLD
from warehouse.store import Store

pytestmark = [pytest.mark.usefixtures("unpublished"), pytest.mark.service]
LENIENT = {"min_accuracy": 0.0, "max_flip_rate": 1.0, "max_fooled": 1.0, "max_failure_rate": 1.0}


def n_different(store: Store, dataset: str, n: int) -> object:
    """Labels of a version that settling it again makes otherwise."""
    return verify_version(store.workspace.root, dataset, n, is_recomputed=True)["recomputed labels that differ"]


def opened(store: Store, recipe: Recipe) -> Turn:
    return open_round(store, engines_of(recipe), recipe, thread_fan_out(2), lambda line: None)


def mark(store: Store, *, is_wrong: bool, rows: slice, added_at: dt.datetime | None = None) -> None:
    """Calibrate gold of some pairs by the truth of the simulated world, or by its opposite."""
    quality = engines_of(simulated_recipe()).world
    assert quality is not None
    with store.write("test") as writer:
        scope = writer.query("scope_pairs", sources=[])
        texts = writer.query("pair_texts", {"wanted": scope}).sort("pair_id")[rows]
        is_a = (quality.quality(texts["text_a"]) > quality.quality(texts["text_b"])) != is_wrong
        writer.append({"gold": GOLD.complete(texts.select(
            "pair_id", p_a=is_a.cast(pl.Float64), p_tie=pl.lit(0.0), why=pl.lit("hand"), source=pl.lit("hand"),
            use=pl.lit("calibrate"), criterion=pl.lit("overall"), added_at=pl.lit(added_at, pl.Datetime("us", "UTC")),
        ))})


def test_calibrate_gold_that_a_later_round_marks_changes_no_earlier_version(tmp_path: Path) -> None:
    store = new_store(tmp_path / "ws")
    recipe = simulated_recipe(
        world={**WORLD, "n_prompts": 80}, judging={"judges": ["strict", "hasty"], "calibration": "temperature"},
        routing={"method": "value", "budget_votes": 70}, filtering={"method": "none"},
        gold={"calibrate_share": 0.9, "min_human_votes": 1, "min_certainty": 0.5},
    )
    for _ in range(2):
        run_round(store, recipe)
    with store.write("test") as writer:
        assert writer.query("calibrate_gold", sources=[], criterion="overall").height > 30
    assert [n_different(store, "small", n) for n in (1, 2)] == [0, 0]


def test_an_examination_that_a_judge_fails_later_changes_no_earlier_version(tmp_path: Path) -> None:
    store = new_store(tmp_path / "ws")
    recipe = simulated_recipe(judging={"judges": ["strict"], "qualification": LENIENT})
    turn = opened(store, recipe)
    run_only(turn, "synthesize")
    mark(store, is_wrong=False, rows=slice(0, 6))
    run_stages(turn, list(STAGES.items()))
    mark(store, is_wrong=True, rows=slice(6, None), added_at=dt.datetime.now(dt.UTC))
    with pytest.raises(RefusedError, match="no better than a coin"):
        examined(opened(store, recipe))
    assert n_different(store, "small", 1) == 0


def test_what_a_recipe_derives_from_its_sources_is_settled_again_too(store: Store) -> None:
    frames = world(8)
    with store.write("test") as writer:
        writer.append({**frames, "votes": votes(frames["pairs"], "ann", 1.0)})
    grown = {"writer": "writer", "n_grown": 3, "n_augmented": 6}
    for synthesis, stages in (({}, []), (grown, ["synthesize"])):
        turn = served_turn(store, ServedModels(), sources=["hand"], **synthesis)
        run_only(turn, *stages, "settle", "release", "gate")
    with store.write("test") as writer:
        members = writer.query("version_members", dataset="d", n=2)
    assert set(members["source"]) == {"hand", "d+grown", "d+rrm"}
    assert [n_different(store, "d", n) for n in (1, 2)] == [0, 0]
