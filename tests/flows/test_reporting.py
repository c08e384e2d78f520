"""The report: what was spent, what came of it, and how far its numbers can be believed."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from small_rounds import WORLD, new_store, run_round, simulated_recipe
from small_rows import NOW

from flows.demo import record_gold
from flows.engines import engines_of
from flows.reporting import report
from schemas.errors import InputError, WorkspaceError
from schemas.ids import content_id
from schemas.tables import EVALUATIONS, MODELS, ROUNDS
from warehouse.reader import Reader
from warehouse.store import Store

SECTIONS = ("Versions", "Rounds: budget", "Funnel of the newest version", "Voters", "Reward models", "Gate")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One round of `small` with 6 gold groups, one of `other` without gold."""
    store = new_store(tmp_path_factory.mktemp("reported") / "ws")
    recipe = simulated_recipe(world={**WORLD, "n_gold": 6})
    world = engines_of(recipe).world
    assert world is not None
    record_gold(store, world, 6, recipe.criterion)
    run_round(store, recipe)
    run_round(store, simulated_recipe(dataset="other", people={"engine": "none"}))
    return store.workspace.root


def section(text: str, title: str) -> list[str]:
    """Lines of one section, without its title."""
    return next(part for part in text.split("\n\n") if part.startswith(title)).splitlines()[1:]


def cells(line: str) -> list[str]:
    return re.split(r"  +", line.strip())


@pytest.mark.slow
def test_before_the_first_round_it_says_what_to_do(store: Store) -> None:
    assert report(store.workspace.root, None) == "no round yet; next: tiebreak run"


def test_without_a_workspace_it_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="init"):
        report(tmp_path, None)


@pytest.mark.service
def test_every_dataset_has_every_section(root: Path) -> None:
    text = report(root, None)
    assert [line for line in text.splitlines() if line in ("small", "other")] == ["other", "small"]
    assert {title: text.count(f"\n{title}") for title in SECTIONS} == dict.fromkeys(SECTIONS, 2)


@pytest.mark.service
def test_a_version_names_the_one_dataset_to_show_and_an_unknown_one_is_refused(root: Path) -> None:
    text = report(root, "small@1")
    assert text.startswith("small\n=====")
    assert "other" not in text
    with pytest.raises(InputError, match="no version small@7"):
        report(root, "small@7")


@pytest.mark.service
def test_the_rounds_add_up_to_what_the_warehouse_holds(root: Path) -> None:
    header, _, row = section(report(root, "small@1"), "Rounds")
    shown = dict(zip(cells(header), cells(row), strict=True))
    assert shown == {"round": "1", "state": "closed", "budget": "6", "asked": "6", "audit": "1", "bought": "6",
                     "human_usd": "1.500", "calls": "144", "call_usd": "0.480", "version": "1"}


@pytest.mark.service
def test_the_ledger_counts_every_route_to_people_and_says_nothing_of_who_asked_nobody(root: Path) -> None:
    text = report(root, None)
    assert text.count("What people were asked for") == 1
    asked = [cells(line) for line in section(text, "What people were asked for")[2:]]
    with Reader(root) as reader:
        routes = reader.query("routes_with_votes", dataset="small")
    assert [line[1] for line in asked] == ["audit", "value"]
    assert sum(int(line[2]) for line in asked) == routes.height
    assert sum(int(line[3]) for line in asked) == routes["paid_usd"].is_not_null().sum() > 0


@pytest.mark.service
def test_the_funnel_counts_every_labelled_pair_once(root: Path) -> None:
    _, _, *shown = section(report(root, "small@1"), "Funnel")
    with Reader(root) as reader:
        n_labels = reader.sql("SELECT count(*) AS n FROM newest_labels WHERE dataset = 'small'")["n"].item()
    assert sum(int(cells(line)[-1]) for line in shown) == n_labels == 24


@pytest.mark.service
def test_an_interval_over_few_groups_is_called_descriptive(root: Path) -> None:
    lines = section(report(root, "small@1"), "Reward models")
    assert re.fullmatch(r"  intervals over \d groups, fewer than 10, are descriptive", lines[-1])


@pytest.mark.service
def test_candidates_are_measured_beside_longer_wins_and_random(root: Path) -> None:
    names = {cells(line)[0] for line in section(report(root, "small@1"), "Reward models")[2:-1]}
    assert {"longer-wins", "random"} < names
    assert len(names) == 3


@pytest.mark.service
def test_the_gate_s_decision_comes_with_its_whole_reason(root: Path) -> None:
    text = "\n".join(section(report(root, "small@1"), "Gate"))
    with Reader(root) as reader:
        verdict, reason = reader.sql("SELECT verdict, reason FROM round_summary WHERE dataset = 'small'").row(0)
    assert verdict == "undecided"
    assert "groups" in reason
    assert verdict in text
    assert reason in text


@pytest.mark.service
def test_a_dataset_is_not_shown_what_was_measured_on_the_gold_of_another(store: Store) -> None:
    rounds, models, measured = [], [], []
    for dataset in ("d1", "d2"):
        rounds.append({"round_id": content_id(dataset), "dataset": dataset, "n": 1, "recipe": "{}", "as_of": 0,
                       "recipe_fingerprint": content_id("r"), "budget_votes": 0, "opened_at": NOW})
        models.append({"model": f"m-{dataset}", "kind": "linear", "family": "f", "dataset": dataset, "trained_on": 1,
                       "uri": "u", "sha256": "s", "config": "{}", "n_pairs": 1, "trained_at": NOW})
        measured += [{"model": model, "metric": "accuracy", "set": "gate", "set_revision": f"gold of {dataset}",
                      "value": 0.5, "n": 9, "n_groups": 9, "is_descriptive": False}
                     for model in (f"m-{dataset}", "longer-wins")]
    with store.write("test") as writer:
        writer.append({"rounds": ROUNDS.complete(pl.DataFrame(rounds)), "models": MODELS.complete(pl.DataFrame(models)),
                       "evaluations": EVALUATIONS.complete(pl.DataFrame(measured))})
        writer.publish()
    first, _ = report(store.workspace.root, None).split("\nd2\n")
    assert [cells(line)[0] for line in section(first, "Reward models")[2:-1]] == ["longer-wins", "m-d1"]
