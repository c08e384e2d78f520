"""Whose votes make labels: an expert's is final; of who fails gold or exceeds the cap they are kept, not counted."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl
import pytest
from small_rounds import WORLD, new_store, run_only, simulated_recipe

from flows.calling import thread_fan_out
from flows.engines import engines_of
from flows.label import standing_of, without_people
from flows.people import collect_now
from flows.rounds import Turn, open_round
from flows.verifying import verify_version
from schemas.recipe import Recipe
from schemas.tables import GOLD
from warehouse.store import Store

pytestmark = [pytest.mark.usefixtures("unpublished"), pytest.mark.service]
BEFORE_PEOPLE = ("synthesize", "mark_gold", "judge", "score", "route")
AFTER_PEOPLE = ("settle", "release", "export", "retrain", "evaluate", "gate")


def world(**skills: float) -> dict[str, object]:
    people = [{"name": name, "skill": skill, "cost_usd": 0.25} for name, skill in skills.items()]
    return {**WORLD, "n_prompts": 60, "annotators": people}


def opened(store: Store, recipe: Recipe) -> Turn:
    return open_round(store, engines_of(recipe), recipe, thread_fan_out(2), lambda line: None)


def table(store: Store, sql: str) -> pl.DataFrame:
    with store.write("test") as writer:
        writer.check()
        return writer._rows(sql, {}, {})


def labels(store: Store) -> pl.DataFrame:
    with store.write("test") as writer:
        return writer.query("version_members", dataset="small", n=1)


def n_different(store: Store) -> object:
    """Labels of the version that settling it again makes otherwise."""
    return verify_version(store.workspace.root, "small", 1, is_recomputed=True)["recomputed labels that differ"]


def of_people(store: Store) -> pl.DataFrame:
    """(pair_id, voter) of current votes of people."""
    return table(store, """
        SELECT vote.pair_id::VARCHAR AS pair_id, vote.voter
        FROM current_votes((SELECT coalesce(max(seq), 0) FROM votes)) AS vote JOIN voters USING (voter)
        WHERE kind = 'human'""")


def of_judges(turn: Turn) -> pl.DataFrame:
    """pair_id of every opinion of a judge, both orders folded into one."""
    with turn.store.write("test") as writer:
        evidence = without_people(standing_of(turn, writer)).evidence
    return evidence.filter(~pl.col("is_abstention")).select("pair_id")


def mark_attention(store: Store, recipe: Recipe, added_at: dt.datetime | None = None) -> None:
    """Attention gold of every pair, by the truth of the simulated world."""
    quality = engines_of(recipe).world
    assert quality is not None
    with store.write("test") as writer:
        texts = writer.query("pair_texts", {"wanted": writer.query("scope_pairs", sources=[])})
        is_a = quality.quality(texts["text_a"]) > quality.quality(texts["text_b"])
        writer.append({"gold": GOLD.complete(texts.select(
            "pair_id", p_a=is_a.cast(pl.Float64), p_tie=pl.lit(0.0), why=pl.lit("known"), source=pl.lit("test"),
            use=pl.lit("attention"), criterion=pl.lit("overall"),
            added_at=pl.lit(added_at, pl.Datetime("us", "UTC"))))})


def test_where_an_expert_has_voted_that_vote_is_the_label_and_settling_again_says_the_same(tmp_path: Path) -> None:
    store = new_store(tmp_path / "ws")
    recipe = simulated_recipe(
        world=world(ada=0.3, ben=0.3, eve=9.0), people={"engine": "simulated", "cost_usd": 0.25, "experts": ["eve"]},
        routing={"method": "value", "budget_votes": 40, "escalation": "expert"})
    run_only(opened(store, recipe), *BEFORE_PEOPLE, "send", "collect", *AFTER_PEOPLE)
    finals = table(store, "SELECT pair_id::VARCHAR AS pair_id, p_a, p_tie FROM votes WHERE voter = 'eve'")
    assert finals.height > 0
    told = labels(store).join(finals, on="pair_id", suffix="_final")
    assert told.select("p_a", "p_tie").rows() == told.select("p_a_final", "p_tie_final").rows()
    assert set(told.filter(pl.col("p_tie") == 0)["reason"]) == {"adjudicated"}
    assert set(told["reason"]) <= {"adjudicated", "tie"}
    assert labels(store).filter(reason="adjudicated").join(finals, on="pair_id", how="anti").is_empty()
    assert n_different(store) == 0


def test_who_fails_gold_is_asked_after_by_another_person_and_counts_for_no_label(tmp_path: Path) -> None:
    store = new_store(tmp_path / "ws")
    recipe = simulated_recipe(
        world=world(ada=9.0, mal=-9.0),
        people={"engine": "simulated", "cost_usd": 0.25, "quality": {"min_gold_accuracy": 0.6}},
        routing={"method": "random", "budget_votes": 40, "escalation": "second"})
    turn = opened(store, recipe)
    run_only(turn, *BEFORE_PEOPLE)
    mark_attention(store, recipe)
    run_only(turn, "send", "collect", *AFTER_PEOPLE)
    asked = table(store, "SELECT reason, cost_usd FROM routes ORDER BY route_id")
    assert asked.filter(pl.col("reason") == "again: the annotator fails gold").height > 0
    assert asked.height <= 40
    people = of_people(store)
    assert people.filter(voter="mal").height >= 6
    counting = pl.concat([people.filter(voter="ada").select("pair_id"), of_judges(turn)])
    told = labels(store).join(counting.group_by("pair_id").agg(n=pl.len()), on="pair_id", how="left")
    assert told["n_votes"].to_list() == told["n"].fill_null(0).to_list()
    assert n_different(store) == 0
    assert collect_now(turn) == 0


def test_gold_that_comes_later_changes_no_earlier_version(tmp_path: Path) -> None:
    store = new_store(tmp_path / "ws")
    recipe = simulated_recipe(
        world=world(ada=9.0, mal=-9.0),
        people={"engine": "simulated", "cost_usd": 0.25, "quality": {"min_gold_accuracy": 0.6}},
        routing={"method": "random", "budget_votes": 40})
    run_only(opened(store, recipe), *BEFORE_PEOPLE, "send", "collect", *AFTER_PEOPLE)
    mark_attention(store, recipe, dt.datetime.now(dt.UTC))
    assert n_different(store) == 0


def test_votes_beyond_the_cap_are_kept_and_count_for_no_label(tmp_path: Path) -> None:
    store = new_store(tmp_path / "ws")
    recipe = simulated_recipe(
        world=world(ada=9.0, ben=9.0),
        people={"engine": "simulated", "cost_usd": 0.25, "quality": {"max_votes_per_annotator": 4}},
        routing={"method": "random", "budget_votes": 24})
    turn = opened(store, recipe)
    run_only(turn, *BEFORE_PEOPLE, "send", "collect", *AFTER_PEOPLE)
    people = of_people(store)
    assert people.height == 24
    assert people.group_by("voter").len()["len"].min() > 4
    assert labels(store)["n_votes"].sum() == of_judges(turn).height + 2 * 4
    assert n_different(store) == 0
