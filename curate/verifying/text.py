"""Verifiers of a text's form: its length, its markdown, a pattern in it, what it must mention.

Patterns run on the regular expressions of Rust (through Polars): their time grows with the length of pattern and
text, whatever the pattern, so `(a+)+$` cannot hang a round. Look-around and back-references do not exist there.
"""

from __future__ import annotations

import polars as pl

from curate.verifying.contract import Finding, number, options, phrases
from schemas.errors import RecipeError

LONGEST_PATTERN = 1_000
"""characters; the compiled pattern is bounded by the engine too"""
_SPACELESS = 0x2E80
"""scripts from here on in Unicode part no words by blanks"""

ELEMENTS = {
    "bullet_list": r"(?m)^[ \t]*[-*+][ \t]+\S",
    "numbered_list": r"(?m)^[ \t]*[0-9]+[.)][ \t]+\S",
    "table": r"(?m)^[ \t]*\|.*\|[ \t]*\r?\n[ \t]*\|?[ \t]*:?-+:?[ \t]*\|",
    "code_fence": r"(?ms)^[ \t]*```.*?^[ \t]*```[ \t]*$",
    "heading": r"(?m)^#{1,6}[ \t]+\S",
    "bold": r"\*\*[^*\s][^*]*\*\*",
}
"""markdown element → pattern that finds one"""


class Length:
    """`length:max_words=200;min_chars=20`: words are parted by blanks, characters are Unicode's."""

    name = "length"

    def verify(self, prompt: str, response: str, argument: str) -> Finding:
        """Passes when every bound holds. Raises RecipeError without a bound."""
        said = options(argument, {f"{end}_{unit}": "" for end in ("min", "max") for unit in _UNITS}, verifier=self.name)
        bounds = {key: number(value, verifier=self.name, option=key) for key, value in said.items() if value}
        if not bounds:
            raise RecipeError("verifier length: no bound", expected=f"one of {list(said)}", next="add max_words=200")
        counts = {"words": len(response.split()), "chars": len(response)}
        broken = [key for key, bound in bounds.items() if not _holds(key, counts[key[4:]], bound)]
        return Finding(not broken, evidence=f"{counts['words']} words, {counts['chars']} characters")


_UNITS = ("words", "chars")


def _holds(key: str, count: int, bound: float) -> bool:
    return count <= bound if key.startswith("max") else count >= bound


class Format:
    """`format:table`, or several elements parted by commas; `plain` is a text without any of them."""

    name = "format"

    def verify(self, prompt: str, response: str, argument: str) -> Finding:
        """Passes when every named element is there. Raises RecipeError for an unknown element."""
        wanted = [element.strip() for element in argument.split(",") if element.strip()]
        unknown = sorted(set(wanted) - {*ELEMENTS, "plain"})
        if unknown or not wanted:
            raise RecipeError(
                f"verifier format: {unknown or 'no element'}", expected=f"some of {[*ELEMENTS, 'plain']}",
                next="edit judging.verifiers",
            )
        there = [element for element, pattern in ELEMENTS.items() if found(pattern, response)]
        is_passed = not there if wanted == ["plain"] else set(wanted) <= set(there)
        return Finding(is_passed, evidence=f"markdown: {', '.join(there) or 'none'}")


class Regex:
    """`regex:^Answer: [0-9]+$`: the pattern is found somewhere in the response."""

    name = "regex"

    def verify(self, prompt: str, response: str, argument: str) -> Finding:
        """Passes when the pattern is found. Raises RecipeError for a pattern that the engine does not take."""
        is_passed = found(argument, response)
        return Finding(is_passed, evidence="found" if is_passed else "not found")


class MustMention:
    """`must_mention:Paris|Seine`: every phrase is there, as whole words, whatever its case."""

    name = "must_mention"

    def verify(self, prompt: str, response: str, argument: str) -> Finding:
        """Passes when no phrase is missing. Raises RecipeError without a phrase."""
        wanted = phrases(argument)
        if not wanted:
            raise RecipeError("verifier must_mention without a phrase", expected="phrases parted by |", next="name one")
        missing = [phrase for phrase in wanted if not mentions(response, phrase)]
        return Finding(not missing, evidence=f"missing: {', '.join(missing)}" if missing else "all mentioned")


def found(pattern: str, text: str) -> bool:
    """Whether a pattern occurs in a text, in time linear in both. Raises RecipeError for a pattern it cannot take."""
    if not pattern or len(pattern) > LONGEST_PATTERN:
        raise RecipeError(
            f"a pattern of {len(pattern)} characters", expected=f"1 to {LONGEST_PATTERN}", next="shorten the pattern"
        )
    try:
        return bool(pl.Series([text], dtype=pl.String).str.contains(pattern, strict=True).item())
    except pl.exceptions.ComputeError as error:
        raise RecipeError(
            f"pattern {pattern!r}"[:200], expected="Rust's regular expressions: no look-around, no back-references",
            next="write the pattern without them",
        ) from error


def mentions(text: str, phrase: str) -> bool:
    """Whether a phrase occurs as whole words, whatever its case; in scripts without blanks, anywhere."""
    held, wanted = f" {text.casefold()} ", phrase.casefold()
    at = held.find(wanted)
    while at >= 0:
        if not (_joins(held[at - 1], wanted[0]) or _joins(wanted[-1], held[at + len(wanted)])):
            return True
        at = held.find(wanted, at + 1)
    return False


def _joins(left: str, right: str) -> bool:
    """Whether two neighbouring characters belong to one word."""
    return all(c.isalnum() and ord(c) < _SPACELESS for c in (left, right))
