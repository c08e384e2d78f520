"""Candidates: each prompt's answers by the recipe's policies, and what a reward model says of them."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from curate.questions import canonical, keyed, plan_questions
from curate.synthesis.lineage import discards, policy_identity, with_response_ids
from curate.synthesis.pools import draw_pools
from flows.asking import ask
from flows.reward_models import TEMPLATE, load_incumbent, score_pairs
from flows.rounds import Turn
from flows.trained import Trained, rewards, score_rows, untaught
from schemas.ids import seed_of, uniform_expr
from schemas.recipe import Recipe
from schemas.sections import Model, Policy
from schemas.tables import POLICIES, SCORES
from warehouse.store import Writer

STAGE = "synthesize"
ANSWER = "answer@1"
CHAT = "chat"
CANDIDATE: dict[str, pl.DataType] = {
    "response_id": pl.String(), "prompt_id": pl.String(), "text_id": pl.String(), "text": pl.String(),
    "author": pl.String(), "policy": pl.String(), "sampling": pl.String(), "logprob_sum": pl.Float64(),
    "n_tokens": pl.Int64(), "parent_id": pl.String(), "call_key": pl.String(), "source": pl.String(),
    "group_id": pl.String(), "asked": pl.String(), "question": pl.String(), "system": pl.String(),
}
"""a response with its prompt: `asked` is the prompt's JSON, `question` its last message, `system` its own"""


@dataclass(frozen=True)
class Candidates:
    """Responses that may be paired, and answers left out."""

    rows: pl.DataFrame
    """columns of CANDIDATE, one row per response_id, sorted by it"""
    discards: pl.DataFrame
    """contract DISCARDS"""


def model_of(turn: Turn, name: str) -> tuple[Model, str]:
    """One of the recipe's models and the identity under which it is served."""
    model = next(m for m in turn.recipe.models if m.name == name)
    return model, turn.engines.identity(name)


def slots(turn: Turn, prompts: pl.DataFrame) -> pl.DataFrame:
    """One row per answer to ask for, keyed as its call: QUESTION, `call_key`, the prompt's columns, policy, sampling.

    `prompts` has prompt_id, source, group_id, system, asked, question. Policies take turns, each prompt beginning
    somewhere else; of more policies than answers each prompt draws its own pool (UltraFeedback), balanced over
    the round. Nothing of it follows from the round's number: what was answered once is known.
    """
    n, k = len(turn.recipe.synthesis.policies), turn.recipe.synthesis.responses_per_prompt
    return _keyed(turn, _pools(prompts, turn.recipe) if n > k else _turns(prompts, turn.recipe))


def standing(writer: Writer, turn: Turn, prompts: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Columns prompt_id: (prompts that lack an answer, prompts that have one), whichever policies a pool drew."""
    n, k = len(turn.recipe.synthesis.policies), turn.recipe.synthesis.responses_per_prompt
    possible = _keyed(turn, _everyone(prompts, turn.recipe) if n > k else _turns(prompts, turn.recipe))
    known = writer.query("answers_known", {"keys": possible.select("call_key").unique()})
    counts = possible.unique(["prompt_id", "call_key"]).join(
        known.with_columns(is_known=True), on="call_key", how="left").group_by("prompt_id").agg(
        n_known=pl.col("is_known").sum(), n_wanted=pl.min_horizontal(pl.len(), k))
    is_lacking, is_begun = pl.col("n_known") < pl.col("n_wanted"), pl.col("n_known") > 0
    return counts.filter(is_lacking).select("prompt_id"), counts.filter(is_begun).select("prompt_id")


def _keyed(turn: Turn, placed: pl.DataFrame) -> pl.DataFrame:
    """Prompts with place and sample, as questions with their call keys."""
    placed = placed.join(_ways(turn), on=["place", "sample"])
    lines = pl.concat_str("policy_system", "system", separator="\n\n", ignore_nulls=True)
    system = pl.struct(role=pl.lit("system"), content=lines).struct.json_encode()
    messages = pl.when(lines == "").then("asked").otherwise(
        pl.concat_str(pl.lit("["), system, pl.lit(","), pl.col("asked").str.slice(1)))
    subject = pl.struct("prompt_id", "policy").struct.json_encode()
    return keyed(placed.with_columns(messages=messages, subject=subject, instrument=pl.lit(ANSWER)), "generate")


def sample(turn: Turn, asked: pl.DataFrame) -> Candidates:
    """Ask for `asked` (of `slots`) whatever is not known, and read the answers.

    A cut-off, failed or empty answer, and one that the same author or another gave already, makes no candidate
    but a row of `discards` under its call.
    """
    calls = ask(turn, "generate", plan_questions(asked, "generate"))
    said = calls.select("call_key", "finish_reason", "logprob_sum", text="response", n_tokens="output_tokens")
    rows = with_response_ids(asked.join(said, on="call_key")).with_columns(parent_id=pl.lit(None, pl.String))
    return read_answers(turn, rows.with_columns(reason=failure()))


def failure() -> pl.Expr:
    """Why an answer makes no response: its finish reason, or `empty`; null for a good one."""
    return pl.when(pl.col("finish_reason") != "stop").then("finish_reason").when(
        pl.col("text").str.strip_chars() == "").then(pl.lit("empty"))


def read_answers(turn: Turn, rows: pl.DataFrame) -> Candidates:
    """Candidates from rows of CANDIDATE with `reason`, null where the answer is good."""
    good = rows.filter(pl.col("reason").is_null()).sort("response_id", "call_key")
    distinct = good.unique("response_id", keep="first", maintain_order=True).select(
        pl.col(name).cast(kind) for name, kind in CANDIDATE.items())
    with turn.store.write(STAGE) as writer:
        stored = writer.query("responses_known", {"wanted": distinct.select("response_id")})
    first = distinct.select("response_id", "call_key").join(
        stored, on="response_id", how="left", suffix="_stored").with_columns(
        first_call=pl.coalesce("call_key_stored", "call_key"))
    repeated = good.join(first.select("response_id", "first_call"), on="response_id").filter(
        pl.col("call_key") != pl.col("first_call"))
    left_out = pl.concat([
        rows.filter(pl.col("reason").is_not_null()).select("reason", row_id="call_key", detail=pl.lit(None, pl.String)),
        repeated.select(reason=pl.lit("same_response"), row_id="call_key", detail="response_id"),
    ])
    return Candidates(distinct, discards(left_out, "response", STAGE, turn.round_id))


def scores_of(turn: Turn, candidates: pl.DataFrame) -> pl.DataFrame | None:
    """Frame `scores` of candidates by the recipe's scorer; None when it is the incumbent and none is promoted yet."""
    scorer = turn.recipe.synthesis.scorer
    return _incumbent_scores(turn, candidates) if scorer == "incumbent" else _served_scores(turn, candidates, scorer)


def policy_rows(turn: Turn, used: dict[str, Model], systems: dict[str, str | None]) -> pl.DataFrame:
    """Frame `policies`, one row per author; `used` is the model and `systems` the system prompt of each."""
    rows = [
        {"policy": author, "model": model.model, "revision": model.revision or None, "system": systems.get(author),
         "licence": model.licence, "may_redistribute": model.may_redistribute}
        for author, model in used.items()
    ]
    return POLICIES.complete(pl.DataFrame(rows, schema=POLICIES.schema).sort("policy"))


def answering_policies(turn: Turn) -> pl.DataFrame:
    """Frame `policies` of the recipe's policies."""
    named = [(p, *model_of(turn, p.model)) for p in turn.recipe.synthesis.policies]
    return policy_rows(turn, {policy_identity(identity, p.system): model for p, model, identity in named},
                       {policy_identity(identity, p.system): p.system for p, _, identity in named})


def _turns(prompts: pl.DataFrame, recipe: Recipe) -> pl.DataFrame:
    """`prompts` once per answer, with `place` of the policy in the recipe and `sample`: policies take turns."""
    n, k = len(recipe.synthesis.policies), recipe.synthesis.responses_per_prompt
    slot = pl.DataFrame({"slot": range(k)}, schema={"slot": pl.Int64})
    start = (uniform_expr(_pool_seed(recipe), ["prompt_id"]) * n).floor().cast(pl.Int64)
    return prompts.join(slot, how="cross").with_columns(
        place=(start + pl.col("slot")) % n, sample=pl.col("slot") // n).drop("slot")


def _everyone(prompts: pl.DataFrame, recipe: Recipe) -> pl.DataFrame:
    """`prompts` once per policy, one sample each."""
    n = len(recipe.synthesis.policies)
    places = pl.DataFrame({"place": range(n), "sample": [0] * n}, schema={"place": pl.Int64, "sample": pl.Int64})
    return prompts.join(places, how="cross")


def _pools(prompts: pl.DataFrame, recipe: Recipe) -> pl.DataFrame:
    """As `_everyone`, but only the policies of each prompt's pool."""
    names = [p.name for p in recipe.synthesis.policies]
    pools = draw_pools(prompts, names, recipe.synthesis.responses_per_prompt, _pool_seed(recipe))
    place = pl.DataFrame({"policy": names, "place": range(len(names))}, schema={"policy": pl.String, "place": pl.Int64})
    drawn = pools.select("prompt_id", "policy").join(place, on="policy").select("prompt_id", "place")
    return _everyone(prompts, recipe).join(drawn, on=["prompt_id", "place"], how="semi")


def _pool_seed(recipe: Recipe) -> int:
    return seed_of(recipe.seed, "policies")


def _ways(turn: Turn) -> pl.DataFrame:
    """One row per policy and sample: voter, identity, policy, policy_system, parameters, sampling."""
    recipe = turn.recipe
    rows = [
        {"place": place, "sample": sample, "voter": policy.model, **_authorship(turn, policy),
         **_parameters(policy, recipe.seed, sample)}
        for place, policy in enumerate(recipe.synthesis.policies)
        for sample in range(recipe.synthesis.responses_per_prompt)
    ]
    return pl.DataFrame(rows, schema_overrides={"policy_system": pl.String})


def _authorship(turn: Turn, policy: Policy) -> dict[str, str | None]:
    identity = turn.engines.identity(policy.model)
    author = policy_identity(identity, policy.system)
    return {"identity": identity, "policy": author, "author": author, "policy_system": policy.system}


def _parameters(policy: Policy, recipe_seed: int, sample: int) -> dict[str, str]:
    # 31 bits: providers take no more. The sample stands in it, so two samples are two questions everywhere.
    seed = seed_of(recipe_seed, "sample", sample) % 2**31
    parameters: dict[str, str | int | float] = {
        "temperature": policy.temperature, "top_p": policy.top_p, "max_tokens": policy.max_tokens, "seed": seed}
    return {"parameters": canonical(parameters), "sampling": canonical({**parameters, "sample": sample})}


def _served_scores(turn: Turn, candidates: pl.DataFrame, scorer: str) -> pl.DataFrame:
    _, identity = model_of(turn, scorer)
    turns = pl.struct(role=pl.lit("assistant"), content=pl.col("text")).struct.json_encode()
    said = pl.concat_str(pl.col("asked").str.head(-1), pl.lit(","), turns, pl.lit("]"))
    system = pl.struct(role=pl.lit("system"), content=pl.col("system")).struct.json_encode()
    messages = pl.when(pl.col("system").is_null()).then(said).otherwise(
        pl.concat_str(pl.lit("["), system, pl.lit(","), said.str.slice(1)))
    questions = keyed(candidates.select(
        "response_id", voter=pl.lit(scorer), identity=pl.lit(identity), instrument=pl.lit(CHAT), messages=messages,
        subject=pl.struct("response_id").struct.json_encode()), "score")
    calls = ask(turn, "score", plan_questions(questions, "score")).filter(pl.col("finish_reason") == "stop")
    read = questions.join(calls.select("call_key", "response"), on="call_key").with_columns(
        score=pl.col("response").str.strip_chars().cast(pl.Float64, strict=False)).filter(pl.col("score").is_finite())
    # What a foreign reward model was trained on is unknown, so no score of it is called out of fold.
    return SCORES.complete(read.select(
        "response_id", "score", model=pl.lit(identity), template=pl.lit(CHAT), is_out_of_fold=pl.lit(False)))


def _incumbent_scores(turn: Turn, candidates: pl.DataFrame) -> pl.DataFrame | None:
    with turn.store.write(STAGE) as writer:
        incumbent = load_incumbent(writer, turn)
    if incumbent is None:
        turn.say(f"{STAGE}: no reward model is promoted yet: pairs are drawn at random")
        return None
    if isinstance(incumbent, Trained):
        return _trained_scores(turn, incumbent, candidates)
    # A response beside itself is a comparison that scores it once.
    alone = candidates.select("group_id", pair_id="response_id", prompt="question", text_a="text", text_b="text")
    scored = score_pairs(incumbent.model, alone)
    return SCORES.complete(scored.select(
        "fold", "is_out_of_fold", response_id="pair_id", score="score_a", model=pl.lit(incumbent.name),
        template=pl.lit(TEMPLATE)))


def _trained_scores(turn: Turn, model: Trained, candidates: pl.DataFrame) -> pl.DataFrame:
    """Frame `scores` by a promoted language model; in sample where it was trained on other responses to the prompt."""
    said = rewards(turn, model, candidates.select("response_id", "system", prompt="asked", response="text"))
    with turn.store.write(STAGE) as writer:
        untrained = untaught(writer, model, candidates.select("response_id", "group_id"))
    is_new = pl.col("response_id").is_in(untrained["response_id"].implode())
    return score_rows(model.name, said).with_columns(is_out_of_fold=is_new)
