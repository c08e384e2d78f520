"""Writes the reference pages from the code: commands, recipe fields, settings, views. `make reference`.

Nothing is kept by hand that the code says already. A test writes the pages again and compares.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from schemas import people, recipe, sections, settings  # noqa: E402
from schemas.tables import TABLES  # noqa: E402

DOCS = Path(__file__).resolve().parent
NOTICE = "<!-- Written by `make reference` from {source}: change it there. -->"
BEGIN, END = "<!-- reference begins -->", "<!-- reference ends -->"

RECIPE_INTRO = """\
# Recipe fields

A recipe is a TOML file. It decides the rows of every version and nothing else: no path, no address, no secret, no
number of workers. Unknown fields are refused. Equal recipes have equal fingerprints, whatever their layout. Whole
examples: [`examples/`](../examples).
"""
RECIPE: dict[str, type[BaseModel]] = {
    "Top level": recipe.Recipe, "`[world]`": sections.World, "`[[world.policies]]`": sections.SimulatedPolicy,
    "`[[world.judges]], [[world.annotators]]`": sections.SimulatedVoter, "`[[models]]`": sections.Model,
    "`[synthesis]`": sections.Synthesis, "`[[synthesis.policies]]`": sections.Policy,
    "`[[synthesis.contrasts]]`": sections.Contrast, "`[judging]`": sections.Judging,
    "`[judging.qualification]`": sections.Qualification, "`[people]`": people.People,
    "`[people.quality]`": people.Quality, "`[routing]`": people.Routing, "`[routing.hyper]`": people.HyPER,
    "`[consensus]`": people.Consensus, "`[filtering]`": recipe.Filtering, "`[gold]`": recipe.GoldRule,
    "`[training]`": recipe.Training, "`[training.trl]`": recipe.Tuning, "`[gate]`": recipe.Gate,
}
SETTINGS: dict[str, type[BaseModel]] = {
    "Top level": settings.Settings, "`[[endpoints]]`": settings.Endpoint, "`[[prices]]`": settings.Price,
    "`[label_studio]`": settings.LabelStudio, "`[[label_studio.queues]]`": settings.Queue,
    "`[training]`": settings.Workshop, "`[[training.bases]]`": settings.Base, "`[schedules]`": settings.Schedules,
}
CLI_INTRO = """\
# Commands

`tiebreak --workspace DIR COMMAND …` says where the warehouse lies (else `TIEBREAK_WORKSPACE`; else `./.tiebreak`). It
stands before the command. `DATASET@N` is a version, `DATASET@TAG` the one that a tag points to. With `--json` a command
prints rows for machines. Exit 0: done; 1: a fault of ours, with a traceback; 2: one of yours: what was
seen, what was expected, what to do next.
"""
VIEWS_INTRO = """\
# Views and tables

What `tiebreak sql` can be asked. How a query runs: [sql.md](sql.md). Questions with their answers:
[the SQL cookbook](tutorials/sql-cookbook.md). A label is three numbers that add up to one: `p_a`, `p_tie` and the rest,
p_b. The letters carry no opinion: `a` is the response with the smaller id.
"""


def pages() -> dict[str, str]:
    """Name of each page to its text as it should be."""
    return {
        "recipe.md": recipe_page(), "settings.md": settings_page(), "cli.md": cli_page(), "views.md": views_page(),
    }


def main() -> None:
    """Write every page that differs."""
    for name, text in pages().items():
        path = DOCS / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"reference: docs/{name}\n")


def recipe_page() -> str:
    """Every field of the recipe, section by section."""
    notice = NOTICE.format(source="`schemas/recipe.py`, `schemas/sections.py` and `schemas/people.py`")
    return _joined(notice, RECIPE_INTRO, *sections_of(RECIPE))


def settings_page() -> str:
    """The page as it is, with the part between its two marks written anew: the rest is by hand."""
    page = (DOCS / "settings.md").read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    tables = _joined(NOTICE.format(source="`schemas/settings.py`"), *sections_of(SETTINGS))
    return f"{before}{BEGIN}\n{tables}\n{END}{after}"


def sections_of(models: dict[str, type[BaseModel]]) -> Iterator[str]:
    """A heading, the docstring's first line and a table of fields per section."""
    for title, model in models.items():
        told = meanings(model)
        rows = [
            f"| `{name}` | {default(field)} | {_meaning(field, told.get(name, ''))} |"
            for name, field in model.model_fields.items() if not _has_a_table(title, name, field, models)
        ]
        first = inspect.getdoc(model) or ""
        head = f"## {title}\n\n{first.splitlines()[0]}\n\n| field | default | meaning |\n|---|---|---|\n"
        yield head + "\n".join(rows) + "\n"


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """Field to the text that stands below it in the code."""
    (body,) = (node.body for node in ast.parse(inspect.getsource(model)).body if isinstance(node, ast.ClassDef))
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }


def default(field: FieldInfo) -> str:
    """How a field stands when nobody says anything."""
    return "required" if field.is_required() else f"`{field.default!r}`"


def cli_page() -> str:
    """Every command with its arguments and options, as the parser knows them."""
    import typer

    from flows import cli

    group: Any = typer.main.get_command(cli.app)
    commands: dict[str, Any] = dict(sorted(group.commands.items()))
    index = "\n".join(f"| [`{name}`](#{name}) | {_one_line(command.help)} |" for name, command in commands.items())
    notice = NOTICE.format(source="`flows/cli.py` and `flows/cli_operation.py`")
    listed = f"| command | what it does |\n|---|---|\n{index}\n"
    return _joined(notice, CLI_INTRO, listed, *(_command(name, command) for name, command in commands.items()))


def views_page() -> str:
    """Public views, macros and stored tables with their columns, as DuckDB describes them over an empty workspace."""
    from warehouse.reader import Reader
    from warehouse.statements import names, statement
    from warehouse.workspace import Workspace

    notice = NOTICE.format(source="`warehouse/sql/views`, `warehouse/sql/macros` and `schemas/tables.py`")
    with tempfile.TemporaryDirectory() as folder:
        Workspace(Path(folder) / "ws").create()
        with Reader(Path(folder) / "ws") as reader:
            views = [_described(reader, name[3:], grain(statement("views", name))) for name in names("views")]
            tables = [_described(reader, table.name, f"one row per {table.grain}") for table in TABLES.values()]
    macros = "\n".join(_macro(statement("macros", name)) for name in names("macros"))
    listed = f"| macro | what it gives |\n|---|---|\n{macros}\n"
    return _joined(notice, VIEWS_INTRO, "## Views\n", *views, "## Macros\n", listed, "## Stored tables\n", *tables)


def grain(sql: str) -> str:
    """The comment that a statement begins with, in one line."""
    lines = [line.removeprefix("--").strip() for line in sql.splitlines() if line.startswith("--")]
    return " ".join(lines)


def _has_a_table(title: str, name: str, field: FieldInfo, models: dict[str, type[BaseModel]]) -> bool:
    """Whether a field is told in a section of its own, and nowhere else."""
    is_titled = title == "Top level" and models is RECIPE and bool({f"`[{name}]`", f"`[[{name}]]`"} & set(models))
    return is_titled or isinstance(field.default, sections.Section)


def _meaning(field: FieldInfo, told: str) -> str:
    """Choices of a field, then what its text says."""
    choices = re.findall(r"'(\w+)'", str(field.annotation)) if "Literal" in str(field.annotation) else []
    return "; ".join(part for part in (" · ".join(choices), told) if part).replace("|", "\\|")


def _command(name: str, command: Any) -> str:
    words = [_usage(p) for p in command.params if not p.opts[0].startswith("-")]
    given = [_usage(p) for p in command.params if p.opts[0].startswith("-") and p.required]
    has_options = any(p.opts[0].startswith("-") and not p.required for p in command.params)
    usage = " ".join(["tiebreak", name, *words, *given, *(["[OPTIONS]"] if has_options else [])])
    rows = "\n".join(_parameter(p) for p in command.params)
    table = f"\n| argument or option | default | meaning |\n|---|---|---|\n{rows}\n" if rows else ""
    return f"## `{name}`\n\n{_one_line(command.help)}\n\n```text\n{usage}\n```\n{table}"


def _usage(parameter: Any) -> str:
    if parameter.opts[0].startswith("-"):
        return f"{parameter.opts[0]} {_value(parameter)}".strip()
    return parameter.name.upper() if parameter.required else f"[{parameter.name.upper()}]"


def _value(parameter: Any) -> str:
    """What stands behind an option on the command line."""
    if getattr(parameter, "is_flag", False):
        return ""
    choices = parameter.type_descriptor.choices
    kind = {"int": "N", "PosixPath": "PATH", "Path": "PATH"}.get(_kind(parameter), "TEXT")
    return "|".join(choices) if choices else " ".join([kind] * parameter.nargs)


def _kind(parameter: Any) -> str:
    said = str(parameter.type_descriptor.annotation)
    return next((kind for kind in ("Path", "int") if kind in said.replace("'", "").split(".")[-1]), "str")


def _parameter(parameter: Any) -> str:
    is_option, is_flag = parameter.opts[0].startswith("-"), getattr(parameter, "is_flag", False)
    shown = f"{parameter.opts[0]} {_value(parameter)}".strip() if is_option else parameter.name.upper()
    has_none = parameter.default is None or is_flag
    said = "required" if parameter.required else "" if has_none else f"`{parameter.default}`"
    bar = "\\|"  # a bar ends a cell, also between backticks
    return f"| `{shown.replace('|', bar)}` | {said} | {_one_line(parameter.help)} |"


def _described(reader: Any, name: str, told: str) -> str:
    rows = reader.sql(f"DESCRIBE {name}").select("column_name", "column_type").rows()
    columns = "\n".join(f"| `{column}` | {kind} |" for column, kind in rows)
    return f"### `{name}`\n\n{told[0].upper()}{told[1:]}.\n\n| column | type |\n|---|---|\n{columns}\n"


def _macro(sql: str) -> str:
    head = re.search(r"MACRO (\w+\([^)]*\))", sql)
    return f"| `{head[1] if head else ''}` | {grain(sql)} |"


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _joined(*parts: str) -> str:
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


if __name__ == "__main__":
    main()
