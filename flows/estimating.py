"""What sampling and judging would cost, before anything is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from curate.engines import CallRequest
from curate.questions import plan_questions, requests_of
from flows.calling import unknown_calls
from flows.candidates import slots
from flows.engines import Engines
from flows.judging import to_ask
from flows.panel import judges_of
from flows.rounds import Turn
from flows.sourcing import sourced
from schemas.recipe import Recipe

Row = dict[str, object]

CHARACTERS_PER_TOKEN = 4
"""of English prose under common tokenizers; prices of other scripts come out too low"""
AID_CHARACTERS = 800
"""taken for an aid that is not written yet"""


def judging_estimate(turn: Turn) -> list[Row]:
    """One row per judge of the calls that its ballots need now: calls, known, to make, tokens, usd.

    Reads what is there and asks nobody. Pairs that this round has yet to synthesize are not in it, nor what
    `not_estimated` names.
    """
    members = judges_of(turn)
    if not members:
        return []
    panel = pl.DataFrame({"voter": [m.voter for m in members], "instrument": [m.instrument for m in members]})
    with turn.store.write("estimate") as writer:
        todo = writer.query(
            "pairs_to_judge", {"panel": panel.unique(maintain_order=True)}, sources=turn.sources,
            criterion=turn.recipe.criterion,
        )
    requests = to_ask(turn, todo, members, _placeholder(turn, todo))
    missing = {r.call_key for r in unknown_calls(turn.store, requests)}
    return [_row(m.name, [r for r in requests if r.voter == m.name], missing, turn.engines) for m in members]


def not_estimated(turn: Turn) -> list[str]:
    """What the recipe asks for beside ballots and answers, whose calls hang on what is answered first."""
    judging, synthesis = turn.recipe.judging, turn.recipe.synthesis
    asked = {
        "examinations of judges": judging.qualification, f"writing each {judging.aid}": judging.aid != "none",
        "examples shown": judging.n_shots, "ratings": judging.rate, "the meta-judge": judging.meta_judge,
        "likelihoods": judging.density_ratio or judging.follow_up, "scores of candidates": synthesis.scorer,
        "what the writer makes": synthesis.n_grown or synthesis.contrasts or synthesis.n_failures
        or synthesis.has_attributes,
        "machine hours": any(price.usd_per_hour for price in turn.engines.settings.prices),
    }
    return [what for what, is_asked in asked.items() if is_asked]


def _placeholder(turn: Turn, todo: pl.DataFrame) -> pl.DataFrame | None:
    """Context of an aid that is not written yet, of a usual length."""
    if turn.recipe.judging.aid == "none":
        return None
    return todo.select("pair_id", pl.lit("…" * AID_CHARACTERS).alias(turn.recipe.judging.aid)).unique("pair_id")


def _row(name: str, requests: Sequence[CallRequest], missing: set[str], engines: Engines) -> Row:
    new = [r for r in requests if r.call_key in missing]
    prompt_tokens = sum(len(r.messages or r.prompt + r.first + r.second) // CHARACTERS_PER_TOKEN for r in new)
    output_tokens = sum(_most_tokens(r) for r in new)
    return {
        "asked": name, "calls": len(requests), "known": len(requests) - len(new), "to make": len(new),
        "prompt tokens": prompt_tokens, "output tokens at most": output_tokens,
        "usd": round(_price(engines, name, len(new), prompt_tokens, output_tokens), 4),
    }


def _most_tokens(request: CallRequest) -> int:
    """Tokens that an answer can have: a choice is at most one token a byte, and its end."""
    longest = max((len(choice.encode()) for choice in request.choices), default=0)
    return longest + 1 if longest else int(request.parameters.get("max_tokens", 1))


def _price(engines: Engines, name: str, n_calls: int, prompt_tokens: int, output_tokens: int) -> float:
    if not engines.is_served(name):
        return n_calls * _simulated_prices(engines.recipe).get(name, 0.0)
    served = next(m.model for m in engines.recipe.models if m.name == name)
    price = engines.settings.price_of(served)
    return (
        prompt_tokens * price.usd_per_million_prompt_tokens + output_tokens * price.usd_per_million_output_tokens
    ) / 1e6


def _simulated_prices(recipe: Recipe) -> dict[str, float]:
    return {j.name: j.cost_usd for j in recipe.world.judges} if recipe.world else {}


def sampling_estimate(turn: Turn) -> list[Row]:
    """One row per served policy of the answers that stored prompts need now; empty for a simulated world.

    What the writer makes (grown prompts, contrasts, attributes) and scoring come on top: they hang on the answers.
    """
    synthesis = turn.recipe.synthesis
    if not synthesis.policies:
        return []
    stored = turn.recipe.model_copy(update={"synthesis": synthesis.model_copy(update={"n_grown": 0})})
    still = replace(turn, recipe=stored, say=lambda line: None)
    requests = requests_of(plan_questions(slots(still, sourced(still).prompts), "generate"))
    missing = {r.call_key for r in unknown_calls(turn.store, requests)}
    models = dict.fromkeys(p.model for p in synthesis.policies)
    return [_row(name, [r for r in requests if r.voter == name], missing, turn.engines) for name in models]
