"""docs/settings.md says of each setting what the code says, and its example is one that is read."""

from __future__ import annotations

import ast
import inspect
import re
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import BaseModel

from flows.settings import DEFAULT_WORKERS
from schemas import settings

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "settings.md").read_text()
SECTIONS: dict[str, type[BaseModel]] = {
    "Top level": settings.Settings, "`[[endpoints]]`": settings.Endpoint, "`[[prices]]`": settings.Price,
    "`[label_studio]`": settings.LabelStudio, "`[[label_studio.queues]]`": settings.Queue,
    "`[training]`": settings.Workshop, "`[[training.bases]]`": settings.Base, "`[schedules]`": settings.Schedules,
}


def said(title: str) -> list[tuple[str, str, str]]:
    """(field, default, meaning) of each row under a heading."""
    body = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", body, re.M)


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """Field to the text that stands below it in the code."""
    (body,) = (node.body for node in ast.parse(inspect.getsource(model)).body if isinstance(node, ast.ClassDef))
    return {
        field.target.id: text.value.value
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }


@pytest.mark.parametrize("title", SECTIONS)
def test_each_setting_stands_there_with_its_default_and_its_meaning(title: str) -> None:
    model = SECTIONS[title]
    told = meanings(model)
    assert said(title) == [
        (name, "required" if field.is_required() else f"`{field.default!r}`", told[name])
        for name, field in model.model_fields.items()
    ]


def test_the_examples_on_the_page_are_settings() -> None:
    examples = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    assert examples
    assert all(settings.parse_settings(text).endpoints for text in examples)


def test_the_number_of_workers_on_the_page_is_that_of_the_code() -> None:
    assert f"`TIEBREAK_WORKERS` | `{DEFAULT_WORKERS}` |" in PAGE
