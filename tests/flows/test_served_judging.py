"""Served judges through the whole house: what a model says over HTTP arrives as it was meant, and is paid once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from small_rounds import new_store, run_only
from small_rows import world

from bench._scripted import ScriptedServer
from flows.calling import thread_fan_out
from flows.engines import engines_of
from flows.export_forms import trl
from flows.rounds import Turn, open_round
from schemas.errors import RefusedError, SpendLimitError
from schemas.recipe import parse_recipe
from schemas.settings import Settings
from schemas.tables import GOLD
from warehouse.store import Store

pytestmark = pytest.mark.service
ROOT = Path(__file__).resolve().parents[2]
LABELLING = ("judge", "settle", "release")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ScriptedServer]:
    with ScriptedServer("org/judge", ledger=tmp_path / "ledger.jsonl") as running:
        yield running


@pytest.fixture
def filled(tmp_path: Path) -> Store:
    store = new_store(tmp_path / "ws")
    with store.write("test") as writer:
        writer.append(world(4))
    return store


def turn_of(store: Store, server: ScriptedServer, *, settings: dict[str, object] | None = None,
            model: dict[str, object] | None = None, **judging: object) -> Turn:
    """An open round whose only voter is the served judge."""
    recipe = parse_recipe(json.dumps({
        "dataset": "d", "models": [{"name": "j", "model": "org/judge", "revision": "1", **(model or {})}],
        "filtering": {"method": "none"}, "judging": {"judges": ["j"], **judging},
    }))
    places = {"endpoints": [{"model": "org/judge", "url": server.url}], **(settings or {})}
    engines = engines_of(recipe, None, Settings.model_validate(places))
    return open_round(store, engines, recipe, thread_fan_out(2), lambda line: None)


def run_stages(turn: Turn, *names: str) -> None:
    try:
        run_only(turn, *names)
    finally:
        turn.engines.close()


def members(store: Store, n: int = 1) -> pl.DataFrame:
    with store.write("test") as writer:
        return writer.query("version_members", dataset="d", n=n)


def asked(server: ScriptedServer) -> int:
    """Verdicts that were paid for."""
    return sum(r.path.endswith("/chat/completions") and r.outcome == "served" for r in server.ledger())


def test_what_a_served_judge_prefers_in_both_orders_is_what_the_export_calls_chosen(
    filled: Store, server: ScriptedServer
) -> None:
    server.set(habit={"verdict": "prefers", "text": "bad ", "over": "good "})
    run_stages(turn_of(filled, server), *LABELLING)
    rows = trl(members(filled))
    assert rows.height == 4
    assert all(chosen[-1]["content"].startswith("bad") for chosen in rows["chosen"])
    assert all(rejected[-1]["content"].startswith("good") for rejected in rows["rejected"])


def test_a_served_judge_that_always_says_first_makes_no_label(filled: Store, server: ScriptedServer) -> None:
    server.set(habit={"verdict": "first"})
    run_stages(turn_of(filled, server), *LABELLING)
    assert asked(server) == 8
    assert members(filled).filter(pl.col("action") != "drop").height == 0


def test_the_same_content_in_another_run_costs_nothing(filled: Store, server: ScriptedServer) -> None:
    run_stages(turn_of(filled, server), *LABELLING, "gate")
    with filled.write("test") as writer:
        writer.append(world(5))  # one pair more
    run_stages(turn_of(filled, server), "judge")
    assert asked(server) == 8 + 2


@pytest.mark.parametrize("changed", [
    {"model": {"revision": "2"}}, {"model": {"variant": "float16"}}, {"instrument": "pairwise-five@1"},
    {"temperature": 0.5},
])
def test_another_model_template_or_parameter_is_asked_anew(
    filled: Store, server: ScriptedServer, changed: dict[str, object]
) -> None:
    run_stages(turn_of(filled, server), *LABELLING, "gate")
    run_stages(turn_of(filled, server, **changed), *LABELLING)  # type: ignore[arg-type]
    assert asked(server) == 16
    with filled.write("test") as writer:
        assert writer.query("n_rows")["votes"].item() == 16  # the older votes stay, and no longer count
    assert members(filled, 2)["n_votes"].max() == 1


def test_a_changed_rubric_in_the_workspace_is_asked_anew_under_the_same_name(
    filled: Store, server: ScriptedServer
) -> None:
    filled.workspace.instruments.mkdir()
    own = filled.workspace.instruments / "own@1.md"
    shipped = (ROOT / "curate" / "judging" / "questions" / "pairwise@1.md").read_text()
    first = shipped.replace("name: pairwise", "name: own")
    for text in (first, f"{first}\nBe fair.\n"):
        own.write_text(text)
        run_stages(turn_of(filled, server, instrument="own@1"), *LABELLING, "gate")
    assert asked(server) == 16


def test_a_spend_limit_stops_cleanly_and_a_higher_one_goes_on(filled: Store, server: ScriptedServer) -> None:
    price = {"model": "org/judge", "usd_per_million_prompt_tokens": 1000.0}
    tight = {"prices": [price], "spend_usd_per_round": 3.0}
    with pytest.raises(SpendLimitError, match="spend_usd_per_round"):
        run_stages(turn_of(filled, server, settings=tight), "judge")
    before = asked(server)
    assert 0 < before < 8
    run_stages(turn_of(filled, server, settings={"prices": [price], "spend_usd_per_round": 300.0}), "judge")
    assert asked(server) == 8
    with filled.write("test") as writer:
        assert writer.query("n_rows")["votes"].item() == 8


def test_a_judge_that_fails_its_examination_is_refused_with_its_numbers(
    filled: Store, server: ScriptedServer
) -> None:
    pairs = world(40)
    gold = pairs["pairs"].select("pair_id").with_columns(p_a=pl.lit(1.0), p_tie=pl.lit(0.0), why=pl.lit("by hand"),
                                                         source=pl.lit("hand"), use=pl.lit("calibrate"),
                                                         criterion=pl.lit("overall"))
    with filled.write("test") as writer:
        writer.append({**pairs, "gold": GOLD.complete(gold)})
    server.set(habit={"verdict": "first"})
    with pytest.raises(RefusedError, match=r"order turned 100.0% of its verdicts"):
        run_stages(turn_of(filled, server, qualification={}), "judge")
    with filled.write("test") as writer:
        assert writer.query("n_rows")["votes"].item() == 0


def test_what_judging_would_cost_is_known_before_and_asks_nobody(filled: Store, server: ScriptedServer) -> None:
    from flows.estimating import judging_estimate
    from flows.rounds import next_round

    turn = turn_of(filled, server)
    look = next_round(filled, turn.engines, turn.recipe, thread_fan_out(1), lambda line: None)
    estimate = judging_estimate(look)[0]
    assert (estimate["calls"], estimate["known"], estimate["to make"]) == (8, 0, 8)
    assert asked(server) == 0
    run_stages(turn, "judge")
    assert judging_estimate(look)[0]["known"] == 0  # nothing is left to judge, so nothing would be called
    assert judging_estimate(look)[0]["calls"] == 0
