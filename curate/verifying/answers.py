"""Verifiers of an answer: JSON that keeps a schema, the exact answer, the number within a tolerance."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NoReturn

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend

from curate.verifying.contract import Finding, number, options
from curate.verifying.text import found
from schemas.errors import RecipeError

SURE, GUESSED = 1.0, 0.8
"""confidence in an answer that the response marks as final, and in one read off its last line"""
_NUMBER = re.compile(r"(?<![\d.])[-+]?(?:\d[\d,]*)?\.?\d+(?:[eE][-+]?\d{1,3})?")
_MARKS = ("####", "final answer:", "final answer is", "the answer is", "answer:")
_LONGEST_MARKED = 200


class Json:
    """`json`, or `json:{"type":"object",…}`: the whole response, or its one fence, is JSON that keeps the schema.

    The schema is Draft 2020-12; its patterns run in linear time, its references point into itself.
    """

    name = "json"

    def verify(self, prompt: str, response: str, argument: str) -> Finding:
        """Passes when it parses and keeps the schema. Raises RecipeError for a schema that is none."""
        validator = _validator(argument) if argument else None
        try:
            read = json.loads(unfenced(response), parse_constant=_no_number)
            error = next(validator.iter_errors(read), None) if validator else None
        except ValueError as refused:
            return Finding(False, evidence=f"no JSON: {refused}"[:200])
        except RecursionError:
            return Finding(None, evidence="nested too deeply to be read")
        if error is not None:
            return Finding(False, evidence=f"{error.json_path}: {error.message}"[:200])
        return Finding(True, evidence=f"JSON: {type(read).__name__}")


class ExactAnswer:
    """`exact_answer:answer=Paris`, or `answer={{answer}}` for the tag `answer` of each prompt.

    Compared are the final answer of the response (after "answer:", "####" or in \\boxed{}, else its last line)
    and the answer, without case, outer blanks, quotes and a last full stop.
    """

    name = "exact_answer"

    def verify(self, prompt: str, response: str, argument: str) -> Finding:
        """Passes when both are equal. Raises RecipeError without an answer."""
        wanted = _wanted(options(argument, {"answer": ""}, verifier=self.name), self.name)
        said, confidence = final_answer(response)
        return Finding(_plain(said) == _plain(wanted), confidence, f"answered {said!r}"[:200])


class NumericAnswer:
    """`numeric_answer:answer=3.14;tolerance=0.01;relative=0`: the last number of the final answer is near enough.

    Near enough: |said - answer| <= tolerance + relative |answer|.
    """

    name = "numeric_answer"

    def verify(self, prompt: str, response: str, argument: str) -> Finding:
        """Passes within the tolerance; cannot tell when the expected answer holds no number."""
        said = options(argument, {"answer": "", "tolerance": "0", "relative": "0"}, verifier=self.name)
        bound, share = (number(said[key], verifier=self.name, option=key) for key in ("tolerance", "relative"))
        wanted = last_number(_wanted(said, self.name))
        answer, confidence = final_answer(response)
        seen = last_number(answer)
        if wanted is None:
            return Finding(None, evidence="the expected answer holds no number")
        if seen is None:
            return Finding(False, confidence, "no number in the final answer")
        # A billionth of the numbers' size: 0.1 + 0.2 is not 0.3 in binary.
        is_near = abs(seen - wanted) <= bound + share * abs(wanted) + 1e-9 * max(1.0, abs(wanted))
        return Finding(is_near, confidence, f"answered {seen:g}")


def final_answer(response: str) -> tuple[str, float]:
    """The final answer of a response, and how surely it is one: SURE behind a mark, GUESSED off the last line."""
    boxed = _boxed(response)
    if boxed is not None:
        return boxed, SURE
    lowered = response.lower()
    ends = [at + len(mark) for mark in _MARKS if (at := lowered.rfind(mark)) >= 0]
    if ends and len(lowered) == len(response):
        lines = response[max(ends) :].strip().splitlines()
        return (lines[0].strip()[:_LONGEST_MARKED] if lines else ""), SURE
    lines = response.strip().splitlines()
    return (lines[-1].strip() if lines else ""), GUESSED


def last_number(text: str) -> float | None:
    """The last number in a text, thousands parted by commas or not; None without one."""
    numbers = _NUMBER.findall(text[-10 * _LONGEST_MARKED :])
    read = float(numbers[-1].replace(",", "")) if numbers else math.nan
    return read if math.isfinite(read) else None


def unfenced(response: str) -> str:
    """The content of the one code fence that a response is, else the response; outer blanks left out."""
    text = response.strip()
    if text.startswith("```") and text.endswith("```") and text.count("```") == 2:
        return text[3:-3].partition("\n")[2].strip()
    return text


@cache
def _validator(schema: str) -> Any:
    try:
        read = json.loads(schema)
        Draft202012Validator.check_schema(read)
    except (ValueError, SchemaError) as error:
        raise RecipeError(
            f"verifier json: {error}".replace("\n", " ")[:200], expected="a JSON Schema", next="edit judging.verifiers"
        ) from error
    foreign = [key for key in _keys(read) if key in ("patternProperties", "$dynamicRef")]
    foreign += [ref for ref in _references(read) if not ref.startswith("#")]
    if foreign:
        raise RecipeError(
            f"verifier json: a schema with {foreign}", expected="no patternProperties, references into itself only",
            next="edit judging.verifiers",
        )
    return _Linear(read)


def _pattern(validator: Any, pattern: str, instance: object, schema: object) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not found(pattern, instance):
        yield ValidationError(f"does not match {pattern!r}")


_Linear = extend(Draft202012Validator, {"pattern": _pattern})


def _keys(schema: object) -> Iterator[str]:
    for node in _nodes(schema):
        yield from node


def _references(schema: object) -> Iterator[str]:
    for node in _nodes(schema):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]


def _nodes(schema: object) -> Iterator[dict[str, Any]]:
    children: list[object] = []
    if isinstance(schema, dict):
        yield schema
        children = list(schema.values())
    elif isinstance(schema, list):
        children = schema
    for child in children:
        yield from _nodes(child)


def _no_number(word: str) -> NoReturn:
    raise json.JSONDecodeError(f"{word} is no JSON", word, 0)


def _boxed(response: str) -> str | None:
    r"""Content of the last \boxed{…}, its braces balanced; None without one."""
    opening = response.rfind("\\boxed{")
    if opening < 0:
        return None
    depth, start = 1, opening + len("\\boxed{")
    for at in range(start, len(response)):
        depth += {"{": 1, "}": -1}.get(response[at], 0)
        if depth == 0:
            return response[start:at].strip()
    return None


def _plain(answer: str) -> str:
    return answer.lstrip("\"'`*$ \t\n").rstrip("\"'`*$. \t\n").casefold()


def _wanted(said: dict[str, str], verifier: str) -> str:
    if not said["answer"].strip():
        raise RecipeError(
            f"verifier {verifier} without an answer", expected="answer=… or answer={{tag of the prompt}}",
            next="edit judging.verifiers",
        )
    return said["answer"]
