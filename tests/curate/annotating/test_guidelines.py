"""Guidelines: versioned Markdown that says where its words come from."""

from __future__ import annotations

import pytest

from curate.annotating.guidelines import parse_guideline, shipped_guideline, shipped_guidelines
from curate.annotating.page import label_config
from curate.engines import Page
from schemas.errors import InputError
from schemas.people import People

FRONT = "---\nname: brief\nversion: 2\ncriterion: overall\nsource: by hand\nlicence: CC0-1.0\n---\n"


def test_a_guideline_is_its_text_without_the_front_matter() -> None:
    brief = parse_guideline(f"{FRONT}\n# Be fair\n")
    assert (brief.id, brief.criterion, brief.text) == ("brief@2", "overall", "# Be fair")


def test_an_edit_without_a_new_version_is_told_by_its_text_id() -> None:
    first, second = (parse_guideline(FRONT + text) for text in ("# Be fair", "# Be kind"))
    assert first.id == second.id
    assert first.text_id != second.text_id


@pytest.mark.parametrize(("text", "seen"), [
    ("# Be fair", "begins '# Be fair'"),
    (FRONT, "without a text"),
    ("---\nname: [\n---\nx", "front matter"),
    ("---\n- name\n---\nx", "no mapping"),
    (FRONT.replace("version: 2", "version: 0") + "x", "version = 0"),
    (FRONT.replace("name: brief", "name: ../brief") + "x", r"name = '../brief'"),
    (FRONT.replace("licence:", "license:") + "x", "licen"),
])
def test_what_is_no_guideline_is_refused_with_what_was_seen(text: str, seen: str) -> None:
    with pytest.raises(InputError, match=seen):
        parse_guideline(text)


def test_the_guideline_that_recipes_name_by_default_is_shipped() -> None:
    assert People().guideline in shipped_guidelines()


@pytest.mark.parametrize("name", shipped_guidelines())
def test_a_shipped_guideline_is_what_its_file_says_and_fits_a_page(name: str) -> None:
    shipped = shipped_guideline(name)
    assert shipped.id == name
    assert shipped.licence == "Apache-2.0"
    assert "Cannot judge" in label_config(Page("helpful", "all", shipped.text))


def test_an_unknown_guideline_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match="guideline@1"):
        shipped_guideline("guideline@9")
