"""What a verifier is: a program that looks at one response and says whether it passes.

A plug-in is any object with a `name` and a `verify`; it is announced under the entry-point group
`tiebreak.verifiers` (`curate/verifying/plugins.py`). In a recipe it stands as `name` or `name:argument`; an `!` at
the very end makes it a hard constraint, whose failure vetoes `chosen` (`curate/verifying/votes.py`).
In the manner of RewardAgent (Peng et al. 2025) and AURORA, which let programs check what programs can check.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote, unquote

from schemas.errors import RecipeError

SLOT = re.compile(r"\{\{([A-Za-z0-9_.-]+)\}\}")


@dataclass(frozen=True)
class Finding:
    """What a verifier says of one response."""

    is_passed: bool | None
    """None: it cannot tell"""
    confidence: float = 1.0
    """how sure it is, 0 to 1"""
    evidence: str = ""
    """why, in a few words"""


class Verifier(Protocol):
    """A program that checks responses. It bounds its own time; whatever it raises is an abstention."""

    @property
    def name(self) -> str:
        """How recipes name it: letters, digits, _ and -."""
        ...

    def verify(self, prompt: str, response: str, argument: str) -> Finding:
        """Look at one response. `prompt` is JSON of its messages, `argument` what the recipe says after the colon.

        Raises RecipeError for an argument that it does not understand: the recipe is wrong, not the response.
        """
        ...


@dataclass(frozen=True)
class Check:
    """One verifier as a recipe uses it."""

    verifier: Verifier
    argument: str
    is_hard: bool
    """whether a response that fails it can never be `chosen`"""
    version: str
    """of the program: another version is another instrument, and is asked anew"""

    @property
    def voter(self) -> str:
        """Under which name it votes. One program with two arguments is two voters of one family."""
        return f"{self.family}:{self.argument}" if self.argument else self.family

    @property
    def family(self) -> str:
        """Checks by one program share its errors."""
        return f"verifier/{self.verifier.name}"

    @property
    def instrument(self) -> str:
        """Name and version of the program."""
        return f"{self.verifier.name}@{self.version}"

    @property
    def slots(self) -> tuple[str, ...]:
        """Keys of prompt tags that the argument takes its values from."""
        return tuple(dict.fromkeys(SLOT.findall(self.argument)))


def filled(argument: str, tags: Mapping[str, str]) -> str | None:
    """`argument` with each `{{key}}` replaced by that tag of the prompt; None when the prompt lacks one.

    Values arrive percent-encoded, so that a value can end no option and begin no other; `options` and
    `phrases` decode them.
    """
    if any(key not in tags for key in SLOT.findall(argument)):
        return None
    return SLOT.sub(lambda slot: quote(tags[slot[1]], safe=""), argument)


def options(argument: str, known: Mapping[str, str], *, verifier: str) -> dict[str, str]:
    """Options `key=value;key=value` over the defaults of `known`, values percent-decoded.

    Raises RecipeError for an option that is not known, has no value or stands twice.
    """
    said: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in argument.split(";"))):
        key, is_given, value = part.partition("=")
        if not is_given or key.strip() not in known or key.strip() in said:
            raise RecipeError(
                f"verifier {verifier}: {part!r}"[:200], expected=f"key=value;… with {list(known)}, each once",
                next="edit judging.verifiers",
            )
        said[key.strip()] = unquote(value.strip())
    return {**known, **said}


def phrases(argument: str) -> list[str]:
    """Phrases parted by `|`, percent-decoded, empty ones left out."""
    return [phrase for phrase in (unquote(piece).strip() for piece in argument.split("|")) if phrase]


def number(value: str, *, verifier: str, option: str) -> float:
    """A finite number of at least 0. Raises RecipeError."""
    try:
        read = float(value)
    except ValueError:
        read = math.nan
    if not (math.isfinite(read) and read >= 0):
        raise RecipeError(
            f"verifier {verifier}: {option}={value!r}"[:200], expected="a number of at least 0",
            next="edit judging.verifiers",
        )
    return read
