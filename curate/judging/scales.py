"""Verdict scales: what each token of an answer says about the pair, and how its probabilities add up.

A scale maps tokens to levels. For a pair a level is the strength in -3..3 of what is shown first: above 0 it is
better, 0 is a tie. Five and seven worded levels follow WildBench (Lin et al. 2024) and HelpSteer2-Preference
(Wang et al. 2024). A token without a level says "cannot judge".
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import polars as pl

from schemas.errors import InputError

Scale = Mapping[str, float | None]

THREE_WORDS: Scale = {"1": 1.0, "2": -1.0, "tie": 0.0}
"""the scale of simulated judges: who is better, and nothing of how much"""
STRONGEST = 3.0
_TOKEN = re.compile(r"[A-Za-z0-9_]+")


def check_tokens(scale: Scale) -> None:
    """Refuses tokens that answers could not be told apart by. Raises InputError."""
    odd = [token for token in scale if not _TOKEN.fullmatch(token)]
    if odd:
        raise InputError(f"scale tokens {odd}", expected="letters, digits and _ only", next="rename them")
    if len({token.lower() for token in scale}) < len(scale):
        raise InputError(f"scale tokens {list(scale)}", expected="no two that differ in case only", next="rename one")
    levels = [level for level in scale.values() if level is not None]
    if len(levels) < 2 or len(scale) > len(levels) + 1:
        raise InputError(
            f"a scale {dict(scale)}", next="give each token its number",
            expected="two levels or more, and at most one token without a level (cannot judge)",
        )
    if len(set(levels)) < len(levels):
        raise InputError(f"levels {levels}", expected="each once", next="merge the tokens of one level")


def check_mirrored(scale: Scale) -> None:
    """Refuses a pairwise scale that is kinder to one slot, or that leaves -3..3. Raises InputError."""
    levels = {level for level in scale.values() if level is not None}
    if any(abs(level) > STRONGEST for level in levels) or {-level for level in levels} != levels:
        raise InputError(
            f"a pairwise scale {dict(scale)}", expected="strengths in -3..3, each with its mirror image",
            next="the second response needs the words that the first one has",
        )


def is_graded(scale: Scale) -> bool:
    """Whether the scale says how much better: more than one level on a side."""
    return sum(level is not None and level > 0 for level in scale.values()) > 1


def token_said(scale: Scale, answer: pl.Expr) -> pl.Expr:
    """The token that an answer is, without regard to case and surrounding blanks; null when it is none."""
    spelled = {token.lower(): token for token in scale}
    return answer.str.strip_chars().str.to_lowercase().replace_strict(spelled, default=None, return_dtype=pl.String)


def level_of(scale: Scale, token: pl.Expr) -> pl.Expr:
    """The level of a token; null for "cannot judge" and for null."""
    levels = {name: level for name, level in scale.items() if level is not None}
    return token.replace_strict(levels, default=None, return_dtype=pl.Float64)


def side_shares(scale: Scale, logprobs: pl.Expr, token: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Expressions (p_first, p_second): mass of the levels above 0 and below 0.

    `logprobs` is JSON of natural logs over tokens, renormalised over those with a level, a missing one counting
    0; without any, all mass lies on `token`.
    """
    shares = _shares(scale, logprobs, token)
    first, second = ([shares[t] for t, level in scale.items() if level and level * sign > 0] for sign in (1, -1))
    return pl.sum_horizontal(first).alias("p_first"), pl.sum_horizontal(second).alias("p_second")


def expected_level(scale: Scale, logprobs: pl.Expr, token: pl.Expr) -> pl.Expr:
    """Mean level under the same shares, in the scale's units: G-Eval's weighted score (Liu et al. 2023).

    Null when the verdict is no level.
    """
    shares = _shares(scale, logprobs, token)
    mean = pl.sum_horizontal(share * scale[name] for name, share in shares.items())
    return pl.when(level_of(scale, token).is_not_null()).then(mean).alias("level")


def _shares(scale: Scale, logprobs: pl.Expr, token: pl.Expr) -> dict[str, pl.Expr]:
    """Share of each token that has a level. The largest log is taken off first: exp(-2000) is 0."""
    tokens = [name for name, level in scale.items() if level is not None]
    logs = [logprobs.str.json_path_match(f"$.{name}").cast(pl.Float64, strict=False) for name in tokens]
    top = pl.max_horizontal(logs)
    masses = [(log - top).exp().fill_null(0.0) for log in logs]
    total = pl.sum_horizontal(masses)
    return {
        name: pl.when(top.is_null()).then((token == name).fill_null(False).cast(pl.Float64)).otherwise(mass / total)
        for name, mass in zip(tokens, masses, strict=True)
    }
