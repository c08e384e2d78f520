"""Checks over responses: every verifier looks at every response, and none of them can stop a round."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import polars as pl

from curate.verifying.contract import Check, Finding, filled
from schemas.errors import RecipeError

LONGEST_RESPONSE = 1_000_000
"""characters; a longer one is not looked at"""
N_THREADS = 4
"""programs under test run beside each other; what they say does not depend on it"""
FINDINGS: dict[str, pl.DataType] = {
    "voter": pl.String(), "response_id": pl.String(), "is_passed": pl.Boolean(), "confidence": pl.Float64(),
    "evidence": pl.String(), "is_failure": pl.Boolean(),
}
_LONGEST_EVIDENCE = 300


def examine(checks: Sequence[Check], responses: pl.DataFrame, tags: pl.DataFrame | None = None) -> pl.DataFrame:
    """FINDINGS, one row per check and response, sorted by (voter, response_id).

    `responses` has response_id, prompt_id, prompt (JSON of messages), response; `tags` has prompt_id, key, value and
    fills the `{{key}}` of arguments. `is_passed` is null where a verifier cannot tell: it raised (`is_failure`), the
    prompt lacks a tag, the response is too long, the finding makes no sense. Raises RecipeError for an argument that
    a verifier refuses: then the recipe is wrong.
    """
    rows = responses.unique("response_id").sort("response_id")
    values = _tags_of(tags)
    texts = list(rows.select("prompt", "response", "prompt_id").iter_rows())
    with ThreadPoolExecutor(max_workers=N_THREADS) as pool:
        asked = [[pool.submit(_look, check, prompt, response, values.get(prompt_id, {}))
                  for prompt, response, prompt_id in texts] for check in checks]
        found = [_finding(future) for futures in asked for future in futures]
    voters = [check.voter for check in checks for _ in texts]
    ids = rows["response_id"].to_list() * len(checks)
    cells = [(voter, response_id, *finding) for voter, response_id, finding in zip(voters, ids, found, strict=True)]
    return pl.DataFrame(cells, schema=FINDINGS, orient="row").sort("voter", "response_id")


def _look(check: Check, prompt: str, response: str, tags: Mapping[str, str]) -> Finding:
    argument = filled(check.argument, tags)
    if argument is None:
        return Finding(None, 0.0, f"the prompt has no tag {', '.join(sorted(set(check.slots) - set(tags)))}")
    if len(response) > LONGEST_RESPONSE:
        return Finding(None, 0.0, f"longer than {LONGEST_RESPONSE} characters")
    return check.verifier.verify(prompt, response, argument)


def _finding(future: Future[Finding]) -> tuple[bool | None, float, str, bool]:
    """(is_passed, confidence, evidence, is_failure); whatever a plug-in raises is its failure, not the round's."""
    error = future.exception()
    if isinstance(error, RecipeError) or (error is not None and not isinstance(error, Exception)):
        raise error
    if error is not None:
        return None, 0.0, f"{type(error).__name__}: {error}"[:_LONGEST_EVIDENCE], True
    said = future.result()
    if not _makes_sense(said):
        return None, 0.0, f"no finding: {said!r}"[:_LONGEST_EVIDENCE], True
    return said.is_passed, float(said.confidence), said.evidence[:_LONGEST_EVIDENCE], False


def _makes_sense(said: object) -> bool:
    return (
        isinstance(said, Finding) and (said.is_passed is None or isinstance(said.is_passed, bool))
        and isinstance(said.confidence, int | float) and math.isfinite(said.confidence) and 0 <= said.confidence <= 1
        and isinstance(said.evidence, str)
    )


def _tags_of(tags: pl.DataFrame | None) -> dict[str, dict[str, str]]:
    values: dict[str, dict[str, str]] = {}
    for prompt_id, key, value in _single(tags):
        values.setdefault(prompt_id, {})[key] = value
    return values


def _single(tags: pl.DataFrame | None) -> Iterator[tuple[str, str, str]]:
    """Tags on which all taggers agree: of two answers, none is the answer."""
    if tags is None:
        return iter(())
    agreed = tags.group_by("prompt_id", "key").agg(pl.col("value").unique()).filter(pl.col("value").list.len() == 1)
    return agreed.with_columns(pl.col("value").list.first()).iter_rows()
