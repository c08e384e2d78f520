"""The labelling page as XML: what it asks, what it cannot be made to do, and how an upgrade is recognised."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.annotating.page import (
    CANNOT_JUDGE,
    STEPS,
    label_config,
    page_version,
    project_options,
    rating_name,
    version_in,
)
from curate.engines import Page
from schemas.errors import InputError

PLAIN = Page("helpful", "all", "Prefer the **true** one.")
CHANGES = (
    {"guideline": "Prefer the short one."}, {"attributes": ("honest",)}, {"asks_why": False},
)


def tags(page: Page, name: str) -> list[Xml.Element]:
    return list(Xml.fromstring(label_config(page)).iter(name))


def names(page: Page) -> set[str]:
    return {tag.attrib["name"] for tag in Xml.fromstring(label_config(page)).iter() if "name" in tag.attrib}


def test_one_required_choice_holds_seven_steps_and_cannot_judge() -> None:
    (choices,) = tags(PLAIN, "Choices")
    assert (choices.attrib["choice"], choices.attrib["required"]) == ("single-radio", "true")
    assert [step.attrib["alias"] for step in choices] == ["3", "2", "1", "0", "-1", "-2", "-3", CANNOT_JUDGE]
    assert [step.attrib["hotkey"] for step in choices] == list("12345670")
    assert tags(PLAIN, "Pairwise") == []


def test_the_words_of_a_step_are_the_mirror_image_of_its_opposite() -> None:
    words = {alias: text for alias, text, _ in STEPS}
    for level in ("1", "2", "3"):
        assert words[f"-{level}"] == words[level].replace("First", "Second")


def test_every_attribute_is_rated_on_both_responses_and_only_then() -> None:
    rated = replace(PLAIN, attributes=("helpful", "code_quality"))
    assert names(rated) - names(PLAIN) == {
        rating_name(attribute, slot) for attribute in rated.attributes for slot in ("first", "second")
    }
    assert {tag.attrib["maxRating"] for tag in tags(rated, "Rating")} == {"5"}
    assert tags(PLAIN, "Rating") == []


def test_no_key_means_two_things() -> None:
    crowded = replace(PLAIN, attributes=tuple(f"quality_{letter}" for letter in "abcdefg"))
    keys = [tag.attrib["hotkey"] for tag in Xml.fromstring(label_config(crowded)).iter() if "hotkey" in tag.attrib]
    assert len(keys) == 8 + 2 * 5
    assert len(set(keys)) == len(keys)


def test_the_reason_is_asked_for_only_where_the_page_asks_why() -> None:
    assert names(PLAIN) - names(replace(PLAIN, asks_why=False)) == {"why"}


def test_all_controls_point_at_the_one_object_and_read_variables_of_ours() -> None:
    config = label_config(replace(PLAIN, attributes=("helpful",)))
    assert set(re.findall(r'toName="([^"]*)"', config)) == {"pair"}
    assert set(re.findall(r"\$(\w+)", config)) == {"pair_id", "guideline", "conversation", "first", "second"}


def test_texts_of_others_go_through_tags_that_write_text_only() -> None:
    variables = {tag.tag for tag in Xml.fromstring(label_config(PLAIN)).iter() if "$" in tag.attrib.get("value", "")}
    assert variables == {"Header", "Text"}


@pytest.mark.parametrize("attribute", ["", "Helpful", "a b", 'x" onclick="', "1st", "a" * 33, "näher", "x\n"])
def test_an_attribute_that_is_no_plain_word_is_refused(attribute: str) -> None:
    with pytest.raises(InputError, match="attributes"):
        label_config(replace(PLAIN, attributes=("helpful", attribute)))


def test_an_attribute_named_twice_is_refused() -> None:
    with pytest.raises(InputError, match="each once"):
        label_config(replace(PLAIN, attributes=("helpful", "helpful")))


def test_a_queue_that_asks_nobody_is_refused() -> None:
    with pytest.raises(InputError, match="overlap = 0"):
        label_config(replace(PLAIN, overlap=0))


def test_a_guideline_with_control_characters_is_refused() -> None:
    with pytest.raises(InputError, match="control characters"):
        label_config(replace(PLAIN, guideline="bell \x07"))


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]) | st.sampled_from("\n$<>&]!['\"")))
def test_no_guideline_adds_a_tag_or_a_variable_to_the_page(guideline: str) -> None:
    try:
        config = label_config(replace(PLAIN, guideline=guideline))
    except InputError:
        return
    shape = [tag.tag for tag in Xml.fromstring(config).iter() if tag.tag not in ("Collapse", "Panel", "Markdown")]
    bare = [tag.tag for tag in Xml.fromstring(label_config(PLAIN)).iter()]
    views = 2 if not guideline.strip() else 0
    assert len(shape) == len([t for t in bare if t not in ("Collapse", "Panel", "Markdown")]) - views
    markdown = "".join(tag.text or "" for tag in Xml.fromstring(config).iter("Markdown"))
    assert not re.search(r"\$[\w\[\].{}]|<[a-zA-Z/!?]", markdown)
    assert markdown.replace("\u2060", "").split() == guideline.replace("\u2060", "").split()


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_what_an_annotator_could_see_changes_the_version(change: dict[str, object]) -> None:
    changed = replace(PLAIN, **change)
    assert page_version(changed) != page_version(PLAIN)
    assert version_in(label_config(changed)) == page_version(changed)


def test_equal_pages_are_equal_bytes_whatever_their_dataset_and_queue() -> None:
    elsewhere = replace(PLAIN, dataset="harmless", queue="experts")
    assert label_config(elsewhere) == label_config(PLAIN)
    assert re.fullmatch("[0-9a-f]{16}", page_version(PLAIN))


def test_a_foreign_configuration_has_no_version() -> None:
    assert version_in("<View><Text name='t' value='$t'/></View>") is None


def test_project_options_follow_the_page() -> None:
    options = project_options(replace(PLAIN, overlap=3, is_blind=False))
    assert (options["maximum_annotations"], options["show_collab_predictions"]) == (3, True)
    assert project_options(PLAIN)["show_collab_predictions"] is False


def test_the_style_sheet_holds_nothing_that_arrives_as_an_entity() -> None:
    (style,) = tags(PLAIN, "Style")
    assert not set(style.text or "") & set("<>&\"'$")
