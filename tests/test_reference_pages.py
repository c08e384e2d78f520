"""The reference pages say what the code says: written again, they come out as they lie there."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from flows.settings import DEFAULT_WORKERS
from schemas import settings
from schemas.recipe import Recipe
from schemas.sections import Section
from warehouse.statements import names

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = ("cli.md", "recipe.md", "settings.md", "views.md")
NEXT = "the page is not what the code says; next: make reference"


def the_generator() -> ModuleType:
    """docs/generate.py, which lies in no package."""
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = the_generator()


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    pages: dict[str, str] = generate.pages()
    return pages


def fields(title: str, page: str) -> dict[str, tuple[str, str]]:
    """Field to (default, meaning) of the table under a heading."""
    body = (DOCS / page).read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    return {name: (said, told) for name, said, told in re.findall(r"^\| `(\w+)` \| (.+?) \| (.*?) \|$", body, re.M)}


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_a_reference_page_is_what_the_code_says(written: dict[str, str], page: str) -> None:
    assert (DOCS / page).read_text() == written[page], f"docs/{page}: {NEXT}"


@pytest.mark.parametrize(("page", "titles"), [("recipe.md", generate.RECIPE), ("settings.md", generate.SETTINGS)])
def test_every_field_stands_in_one_table_with_default_and_meaning(page: str, titles: dict[str, type[Section]]) -> None:
    for title, model in titles.items():
        said = fields(title, page)
        of_its_own = {n for n, f in model.model_fields.items() if isinstance(f.default, Section)} | (
            {n for n in model.model_fields if {f"`[{n}]`", f"`[[{n}]]`"} & set(titles)} if model is Recipe else set())
        assert set(said) == set(model.model_fields) - of_its_own
        assert [name for name, (_, told) in said.items() if not told.strip()] == []
        known = {n: "required" if f.is_required() else f"`{f.default!r}`" for n, f in model.model_fields.items()}
        assert {n: d for n, (d, _) in said.items()} == {n: d for n, d in known.items() if n in said}


def test_every_section_of_recipe_and_settings_has_a_table() -> None:
    """A section that somebody adds must not be forgotten by the generator."""
    for root, titles in ((Recipe, generate.RECIPE), (settings.Settings, generate.SETTINGS)):
        assert sections_below(root) == set(titles.values())


def sections_below(model: type[Section]) -> set[type[Section]]:
    """A section and every section that its fields hold, at any depth."""
    found = {model}
    for field in model.model_fields.values():
        for inner in types_in(field.annotation):
            found |= sections_below(inner)
    return found


def types_in(annotation: object) -> set[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return {annotation}
    return {inner for part in getattr(annotation, "__args__", ()) for inner in types_in(part)}


def test_every_command_and_every_option_stands_on_the_page(written: dict[str, str]) -> None:
    import typer

    from flows import cli

    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    for name, command in commands.items():
        body = written["cli.md"].split(f"\n## `{name}`\n")[1].split("\n## ")[0]
        assert {p.opts[0] if p.opts[0].startswith("-") else p.name.upper() for p in command.params} == set(
            re.findall(r"^\| `([\w-]+)", body, re.M)), name


def test_every_command_and_option_says_what_it_does() -> None:
    """`tag`, `diff` and their kin take a version or a file by place: what that is, their first line says."""
    body = (DOCS / "cli.md").read_text()
    silent = re.findall(r"^\| `(--[\w-]+)[^|]*` \|[^|]*\|\s*\|$", body, re.M)
    assert silent == []


def test_every_view_stands_on_the_page_with_its_columns(written: dict[str, str]) -> None:
    for name in names("views"):
        body = written["views.md"].split(f"\n### `{name[3:]}`\n")[1].split("\n### ")[0]
        assert re.search(r"^One row per ", body, re.M), name
        assert len(re.findall(r"^\| `\w+` \| \w+", body, re.M)) >= 3, name


def test_a_changed_default_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recipe.model_fields["seed"], "default", 12345)
    assert generate.recipe_page() != (DOCS / "recipe.md").read_text()


def test_the_examples_on_the_settings_page_are_settings() -> None:
    examples = re.findall(r"```toml\n(.*?)```", (DOCS / "settings.md").read_text(), re.S)
    assert examples
    assert all(settings.parse_settings(text).endpoints for text in examples)


def test_the_number_of_workers_on_the_page_is_that_of_the_code() -> None:
    assert f"`TIEBREAK_WORKERS` | `{DEFAULT_WORKERS}` |" in (DOCS / "settings.md").read_text()
