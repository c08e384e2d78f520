"""Promises of the recipe: strict, complete, and with a fingerprint of what it means, not how it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from schemas.errors import RecipeError
from schemas.recipe import Recipe, parse_recipe
from schemas.settings import parse_settings

FOLDER = Path(__file__).resolve().parents[2] / "examples"
EXAMPLES = sorted(path for path in FOLDER.glob("*.toml") if path.name != "settings.toml")
SMALL = 'dataset = "helpful"\nseed = 7\n[routing]\nbudget_votes = 40\n'
WORLD = '[people]\nengine = "simulated"\n[[world.annotators]]\nname = "ann"\n'


def changed(value: Any) -> Any:
    """Another value of the same type that every field of a recipe accepts."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, float):
        return value / 2 if value else 0.5
    return value + 1 if isinstance(value, int) else value


def numbers(recipe: BaseModel, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Paths of all numbers and flags in a recipe."""
    found: list[tuple[str, ...]] = []
    for name, value in recipe:
        if isinstance(value, BaseModel):
            found += numbers(value, (*path, name))
        elif isinstance(value, int | float):
            found.append((*path, name))
    return found


def test_a_recipe_needs_only_a_name() -> None:
    recipe = parse_recipe('dataset = "helpful"')
    assert recipe == Recipe(dataset="helpful")
    assert (recipe.seed, recipe.consensus.method, recipe.filtering.treatment) == (0, "majority", "drop")


def test_a_recipe_survives_its_canonical_form() -> None:
    recipe = parse_recipe(SMALL + WORLD)
    assert parse_recipe(recipe.canonical()) == recipe
    assert parse_recipe(recipe.canonical()).fingerprint == recipe.fingerprint


def test_layout_order_comments_and_spelled_out_defaults_do_not_change_the_fingerprint() -> None:
    other = "# mine\nseed=7\ndataset='helpful'\nrouting = {budget_votes = 40, method = 'value'}\n[gate]\ndelta = 0.01"
    as_json = '{"routing": {"budget_votes": 40}, "seed": 7, "dataset": "helpful"}'
    assert len({parse_recipe(text).fingerprint for text in (SMALL, other, as_json)}) == 1


HELPFUL = Recipe.model_validate(
    {"dataset": "helpful", "models": [{"name": "tiny", "model": "tiny"}], "synthesis": {"writer": "tiny"}}
)


@pytest.mark.parametrize("path", numbers(HELPFUL), ids=".".join)
def test_every_number_is_part_of_the_fingerprint(path: tuple[str, ...]) -> None:
    recipe = HELPFUL
    fields = recipe.model_dump()
    section = fields
    for step in path[:-1]:
        section = section[step]
    section[path[-1]] = changed(section[path[-1]])
    assert Recipe.model_validate(fields).fingerprint != recipe.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        'dataset = "harmless"', 'dataset = "helpful"\ncriterion = "honesty"', 'dataset = "helpful"\nsources = ["a"]',
        'dataset = "helpful"\n[filtering]\ntreatment = "flip"', 'dataset = "helpful"\n[training]\nkind = "mlp"',
        'dataset = "helpful"\n[training]\nfeatures = ["style", "words"]', f'dataset = "helpful"\n{WORLD}',
    ],
)
def test_every_word_is_part_of_the_fingerprint(change: str) -> None:
    assert parse_recipe(change).fingerprint != Recipe(dataset="helpful").fingerprint


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("seed = 1", "dataset"),
        ('dataset = "Helpful!"', "dataset"),
        ('dataset = "h"\ncolour = 1', "colour"),
        ('dataset = "h"\n[routing]\nbudget = 3', "routing.budget"),
        ('dataset = "h"\n[routing]\nbudget_votes = -1', "routing.budget_votes"),
        ('dataset = "h"\n[filtering]\nshare = 1.5', "filtering.share"),
        ('dataset = "h"\n[consensus]\nmethod = "vibes"', "consensus.method"),
        ('dataset = "h"\n[people]\nengine = "simulated"', "world.annotators"),
        ('dataset = "h"\n[judging]\njudges = ["nobody"]', "nobody"),
        ('dataset = "h', "round.toml"),
        ('{"dataset": ', "round.toml"),
    ],
)
def test_a_wrong_recipe_is_refused_and_the_field_is_named(text: str, where: str) -> None:
    with pytest.raises(RecipeError, match=where) as refused:
        parse_recipe(text, origin="round.toml")
    assert refused.value.seen.startswith("round.toml: ")
    assert refused.value.expected
    assert refused.value.next


def test_a_recipe_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Recipe(dataset="helpful").seed = 3  # type: ignore[misc]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_every_example_is_a_recipe(path: Path) -> None:
    assert parse_recipe(path.read_text(), origin=path.name).dataset


def test_the_example_of_settings_is_one_and_serves_every_model_of_the_example_that_needs_them() -> None:
    settings = parse_settings((FOLDER / "settings.toml").read_text())
    recipe = parse_recipe((FOLDER / "synthesize.toml").read_text())
    assert all(settings.endpoints_of(model.model) for model in recipe.models)
