"""docs/recipe.md names every field of the recipe with its default, and nothing that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from schemas import people, recipe, sections

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "recipe.md").read_text()
SECTIONS = {
    "Top level": recipe.Recipe, "`[world]`": sections.World, "`[[world.policies]]`": sections.SimulatedPolicy,
    "`[[world.judges]], [[world.annotators]]`": sections.SimulatedVoter, "`[[models]]`": sections.Model,
    "`[synthesis]`": sections.Synthesis, "`[[synthesis.policies]]`": sections.Policy,
    "`[[synthesis.contrasts]]`": sections.Contrast, "`[judging]`": sections.Judging,
    "`[judging.qualification]`": sections.Qualification, "`[people]`": people.People,
    "`[people.quality]`": people.Quality, "`[routing]`": people.Routing, "`[routing.hyper]`": people.HyPER,
    "`[consensus]`": people.Consensus, "`[filtering]`": recipe.Filtering, "`[gold]`": recipe.GoldRule,
    "`[training]`": recipe.Training, "`[training.trl]`": recipe.Tuning, "`[gate]`": recipe.Gate,
}


@pytest.mark.parametrize("title", SECTIONS)
def test_the_page_says_of_each_field_what_the_code_says(title: str) -> None:
    body = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    said = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", body, re.M))
    nested = {name for name, model in SECTIONS.items() if model is not recipe.Recipe}
    fields = {
        name: "required" if field.is_required() else f"`{field.default!r}`"
        for name, field in SECTIONS[title].model_fields.items()
        if not (title == "Top level" and ({f"`[{name}]`", f"`[[{name}]]`"} & nested))
        and not isinstance(field.default, sections.Section)  # a table of its own
    }
    assert said == fields
