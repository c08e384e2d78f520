"""Built-in verifiers: what passes, what fails, what they cannot tell, and which arguments they refuse."""

from __future__ import annotations

import time

import pytest

from curate.verifying.answers import final_answer, last_number
from curate.verifying.contract import Finding, filled
from curate.verifying.plugins import BUILT_IN
from schemas.errors import RecipeError

PROMPT = '[{"role":"user","content":"Wo steht der Dom, und wie alt ist er?"}]'


def look(name: str, response: str, argument: str = "") -> Finding:
    return BUILT_IN[name].verify(PROMPT, response, argument)


@pytest.mark.parametrize(("name", "argument", "response", "is_passed"), [
    ("length", "max_words=2", "one two", True),
    ("length", "max_words=2", "one two three", False),
    ("length", "min_chars=4;max_words=9", "abc", False),
    ("format", "bullet_list", "Three:\n- a\n- b", True),
    ("format", "bullet_list", "a - b", False),
    ("format", "table", "| a | b |\n|---|---|\n| 1 | 2 |", True),
    ("format", "code_fence,heading", "# Do\n```python\nx = 1\n```", True),
    ("format", "code_fence,heading", "```python\nx = 1\n```", False),
    ("format", "plain", "Only words.", True),
    ("format", "plain", "Only **words**.", False),
    ("json", "", '{"a": 1}', True),
    ("json", "", '```json\n[1, 2]\n```', True),
    ("json", "", 'Here you are: {"a": 1}', False),
    ("json", "", '{"a": NaN}', False),
    ("json", '{"type":"object","required":["a"]}', '{"b": 1}', False),
    pytest.param("json", '{"type":"string","pattern":"^(a+)+$"}', '"' + "a" * 5000 + 'b"', False, id="pattern"),
    ("regex", "^Answer: [0-9]+$", "Answer: 42", True),
    ("regex", "^Answer: [0-9]+$", "42", False),
    ("must_mention", "paris|Seine", "Paris lies on the Seine.", True),
    ("must_mention", "art", "Let us start.", False),
    ("must_mention", "東京", "私は東京に住む", True),
    ("must_mention", "a%7Cb", "it prints a|b", True),
    ("exact_answer", "answer=Paris", "I think.\nThe answer is **Paris**.", True),
    ("exact_answer", "answer=Paris", "Answer: Lyon", False),
    ("numeric_answer", "answer=1,000", r"So \boxed{1000}.", True),
    ("numeric_answer", "answer=3.14;tolerance=0.01", "Answer: 3.149", True),
    ("numeric_answer", "answer=3.14;tolerance=0.001", "Answer: 3.149", False),
    ("numeric_answer", "answer=200;relative=0.1", "#### 215", True),
    ("numeric_answer", "answer=7", "I do not know.", False),
    ("language", "en", "The tower is in the middle of the town and it is old.", True),
    ("language", "prompt", "Der Dom steht in der Mitte und ist nicht neu.", True),
    ("language", "prompt", "The tower is in the middle of the town and it is old.", False),
    ("language", "ru", "Это очень старый собор, и мы его любим.", True),  # noqa: RUF001
    ("language", "ja", "これはとても古い塔です。", True),
    ("code", "", "No code here.", False),
])
def test_a_verifier_says_whether_a_response_passes(name: str, argument: str, response: str, is_passed: bool) -> None:
    assert look(name, response, argument).is_passed is is_passed


@pytest.mark.parametrize(("name", "argument", "response"), [
    ("language", "en", "OK."),
    ("language", "en", "1234 + 5678 = 6912"),
    ("numeric_answer", "answer=many", "Answer: 3"),
    pytest.param("json", "", "[" * 100_000 + "]" * 100_000, id="nested"),
])
def test_what_cannot_be_told_is_neither_passed_nor_failed(name: str, argument: str, response: str) -> None:
    assert look(name, response, argument).is_passed is None


@pytest.mark.parametrize(("name", "argument"), [
    ("length", ""), ("length", "max_words=many"), ("length", "max_words=-1"), ("length", "longest=3"),
    ("length", "max_words=1;max_words=2"), ("format", ""), ("format", "sonnet"), ("json", "{"),
    ("json", '{"type":"odd"}'), ("json", '{"patternProperties":{"(a+)+$":{}}}'),
    ("json", '{"$ref":"http://example.org/schema"}'), ("regex", ""), ("regex", "(a"), ("regex", r"(a)\1"),
    ("regex", "(?=a)"), pytest.param("regex", "a" * 2000, id="long"),
    ("must_mention", "|"), ("exact_answer", ""), ("numeric_answer", ""),
    ("language", "klingon"), ("code", "seconds=soon"),
])
def test_an_argument_that_makes_no_sense_is_refused_as_an_error_of_the_recipe(name: str, argument: str) -> None:
    with pytest.raises(RecipeError):
        look(name, "text", argument)


def test_a_pattern_made_to_hang_ends_at_once() -> None:
    began = time.monotonic()
    assert look("regex", "a" * 50_000 + "b", "^(a+)+$").is_passed is False
    assert look("regex", "\n" * 50_000, r"^(\s*)*x$").is_passed is False
    assert time.monotonic() - began < 2.0


def test_a_final_answer_behind_a_mark_is_surer_than_a_last_line() -> None:
    assert final_answer("Thus.\nAnswer: 5\nbye") == ("5", 1.0)
    assert final_answer("Thus.\n5") == ("5", 0.8)
    assert final_answer(r"first \boxed{1}, then \boxed{\frac{1}{2}}") == (r"\frac{1}{2}", 1.0)
    assert final_answer("") == ("", 0.8)


@pytest.mark.parametrize(("text", "number"), [
    ("from 3 to 1,234.5", 1234.5), ("10-3", 3.0), ("-2", -2.0), ("1e3", 1000.0), ("none", None), ("9" * 500, None),
])
def test_the_last_number_of_a_text(text: str, number: float | None) -> None:
    assert last_number(text) == number


def test_a_tag_fills_its_slot_and_can_begin_no_option_of_its_own() -> None:
    argument = filled("answer={{answer}};tolerance=0", {"answer": "5;tolerance=1000"})
    assert argument == "answer=5%3Btolerance%3D1000;tolerance=0"
    assert filled("answer={{answer}}", {"other": "5"}) is None
    assert look("exact_answer", "5;tolerance=1000", argument.removesuffix(";tolerance=0")).is_passed is True
