"""An instrument is refused with what is wrong with it, and the shipped ones hold together."""

from __future__ import annotations

import json

import jsonschema
import pytest

from curate.judging.instruments import NEEDED, SLOT, parse_instrument, shipped_instrument, shipped_names
from schemas.errors import InputError
from schemas.ids import text_id

TEXT = """---
name: kinder
version: 2
form: pairwise
verdict: choice
scale: {A: 1, B: -1, C: 0, X: null}
words: {A: the first is kinder, B: the second is kinder, C: equally kind, X: cannot judge}
criterion: kindness
source: ours
licence: Apache-2.0
---
# System
Which is kinder?
{levels}
# User
{prompt}
{first}
{second}
"""


def without(*changes: tuple[str, str]) -> str:
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


def test_an_instrument_is_its_front_matter_and_two_parts() -> None:
    kinder = parse_instrument(TEXT)
    assert (kinder.id, kinder.criterion, kinder.text_id) == ("kinder@2", "kindness", text_id(TEXT))
    assert dict(kinder.scale) == {"A": 1.0, "B": -1.0, "C": 0.0, "X": None}
    assert kinder.system == (
        "Which is kinder?\nA: the first is kinder\nB: the second is kinder\nC: equally kind\nX: cannot judge"
    )
    assert kinder.slots == ("prompt", "first", "second")
    assert (kinder.choices, kinder.schema) == (("A", "B", "C", "X"), "")


def test_a_reasoned_verdict_keeps_a_schema_with_the_reasoning_first() -> None:
    reasoned = parse_instrument(without(("verdict: choice", "verdict: reasoned")))
    schema = json.loads(reasoned.schema)
    assert reasoned.choices == ()
    assert list(schema["properties"]) == ["reasoning", "verdict"]
    jsonschema.validate({"reasoning": "so", "verdict": "A"}, schema)
    for wrong in ({"verdict": "A"}, {"reasoning": "so", "verdict": "D"}, {"reasoning": "", "verdict": "A", "more": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_another_word_anywhere_is_another_text() -> None:
    assert parse_instrument(TEXT).text_id != parse_instrument(without(("Which is", "Who is"))).text_id


def test_line_ends_of_another_system_change_nothing_but_the_text_id() -> None:
    assert parse_instrument(TEXT.replace("\n", "\r\n")).user == parse_instrument(TEXT).user


@pytest.mark.parametrize(("change", "why"), [
    (("---\nname", "name"), "front matter"),
    (("name: kinder", "name: [kinder"), "YAML"),
    (("name: kinder", "name: Kinder!"), "name = 'Kinder!'"),
    (("version: 2", "version: two"), "version = 'two'"),
    (("form: pairwise", "form: triple"), "form = 'triple'"),
    (("licence: Apache-2.0\n", ""), "licence"),
    (("source: ours", "source: ours\ncolour: red"), "colour"),
    (("source: ours", "source: ours\nsource: theirs"), "twice"),
    (("scale: {A: 1,", "scale: {A: 1, A: 1,"), "twice"),
    (("X: null", "yes: null"), "quotes"),
    (("C: 0, ", ""), "only one of scale and words"),
    ((", X: cannot judge", ""), "only one of scale and words"),
    (("B: -1", "B: -2"), "mirror"),
    (("# User\n", ""), "two parts"),
    (("{second}", "{secnd}"), "slots .'secnd'"),
    (("{second}", "{criterion}"), "slots .'criterion'"),
    (("A: the first is kinder", "A: '{first}'"), "slots .'first'"),
    (("\n{second}", ""), "no slot for .'second'"),
    (("{levels}\n", ""), "no slot for .'levels'"),
    (("Which is kinder?", "{prompt}"), "system part"),
    (("verdict: choice", "verdict: text"), "reasoned verdict"),
    (("form: pairwise", "form: generation"), "reasoned verdict"),
])
def test_what_is_wrong_is_named(change: tuple[str, str], why: str) -> None:
    with pytest.raises(InputError, match=why) as refused:
        parse_instrument(without(change))
    assert refused.value.expected
    assert refused.value.next


def test_a_generation_instrument_has_no_scale() -> None:
    scale, words = (line for line in TEXT.splitlines(keepends=True) if line.startswith(("scale", "words")))
    text = without(
        (scale, ""), (words, ""), ("form: pairwise", "form: generation"), ("choice", "text"), ("{levels}", "")
    )
    assert parse_instrument(text).choices == ()
    with pytest.raises(InputError, match="levels"):
        parse_instrument(text.replace("Which", "{levels}"))


@pytest.mark.parametrize("name", shipped_names())
def test_a_shipped_instrument_is_named_as_its_file_and_shows_what_its_form_needs(name: str) -> None:
    instrument = shipped_instrument(name)
    assert instrument.id == name
    assert instrument.licence == "Apache-2.0"
    assert set(NEEDED[instrument.form]) <= set(instrument.slots)
    assert not SLOT.search(instrument.system)


@pytest.mark.parametrize("name", [n for n in shipped_names() if shipped_instrument(n).verdict == "choice"])
def test_every_choice_that_is_shipped_is_one_token_for_any_tokenizer(name: str) -> None:
    assert all(len(choice) == 1 for choice in shipped_instrument(name).choices)


def test_five_and_seven_levels_a_reasoned_and_four_guided_questions_are_shipped() -> None:
    wanted = {"pairwise@1", "pairwise-five@1", "pairwise-seven@1", "pairwise-reasoned@1", "rating@1", "principle@1",
              "meta@1", *(f"pairwise-{aid}@1" for aid in ("reference", "checklist", "rubric", "principles"))}
    assert wanted <= set(shipped_names())
    assert len(shipped_instrument("pairwise-seven@1").scale) == 8
    assert "rubric" in shipped_instrument("pairwise-rubric@1").slots


def test_an_unknown_instrument_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InputError, match="pairwise-five@1"):
        shipped_instrument("../secrets")
