"""Verifiers in a round: programs vote on the pairs in scope that they have not looked at; failed constraints veto."""

from __future__ import annotations

import polars as pl

from curate.verifying.examining import examine
from curate.verifying.plugins import checks_of
from curate.verifying.votes import (
    VETOED,
    failures,
    verifier_panel,
    verifier_voters,
    vetoes,
    votes_from_findings,
)
from flows.rounds import Turn


def verifier_members(turn: Turn) -> list[tuple[str, str]]:
    """(voter, instrument) of the recipe's verifiers. Raises RecipeError for one that there is not."""
    return [(check.voter, check.instrument) for check in checks_of(turn.recipe.judging.verifiers)]


def verify(turn: Turn) -> dict[str, pl.DataFrame]:
    """Frames `voters` and `votes` of the recipe's verifiers, ready to be appended; {} when it names none.

    Says how many findings failed. Raises RecipeError for a verifier or an argument that makes no sense.
    """
    checks = checks_of(turn.recipe.judging.verifiers)
    if not checks:
        return {}
    with turn.store.write("verify") as writer:
        wanted = writer.query("pairs_without_vote", {"panel": verifier_panel(checks)}, sources=turn.sources,
                              criterion=turn.recipe.criterion)
        responses = writer.query("responses_with_texts", {"wanted": both_responses(wanted)})
        tags = writer.query("tags_of_prompts", {"wanted": wanted.select("prompt_id").unique()})
    asked = set(wanted["voter"])
    findings = examine([check for check in checks if check.voter in asked], responses, tags)
    for voter, n_failures in failures(findings).iter_rows():
        turn.say(f"{voter}: failed on {n_failures:,} responses, no opinion there")
    votes = votes_from_findings(wanted, findings, criterion=turn.recipe.criterion, round_id=turn.round_id)
    return {"voters": verifier_voters(checks), "votes": votes}


def vetoed(turn: Turn, votes: pl.DataFrame) -> pl.DataFrame:
    """VETOED of the recipe's hard verifiers in the current `votes`, for `curate.verifying.votes.veto`."""
    checks = checks_of(turn.recipe.judging.verifiers)
    return vetoes(votes, checks) if any(check.is_hard for check in checks) else pl.DataFrame(schema=VETOED)


def both_responses(pairs: pl.DataFrame) -> pl.DataFrame:
    """(response_id) of either side of pairs, each once."""
    sides = [pairs.select(response_id=f"response_{side}") for side in ("a", "b")]
    return pl.concat(sides).unique().sort("response_id")
