"""What the writer makes of answers: contrasts, perturbations that fool the reward model, attributes of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from curate.synthesis.attributes import MATERIAL, material, tags_of
from curate.synthesis.contrasts import contrasts, rewrite_messages
from curate.synthesis.failures import failures, perturbed_pairs, to_perturb
from curate.synthesis.instruments import ATTRIBUTES, CONTRAST, DEGRADE, PRESERVE, Instrument
from curate.synthesis.lineage import discards, merged
from flows.candidates import STAGE, model_of, policy_rows
from flows.matching import Matched, with_texts
from flows.reward_models import Incumbent, load_incumbent, score_pairs
from flows.rounds import Turn
from flows.trained import Trained
from flows.writing import answered, rewritten, written
from schemas.ids import seed_of
from schemas.tables import COMPARISONS, MARGINS, PAIRS

MIN_CERTAINTY = 0.8
"""certainty of a label from which failure mining trusts its order"""
SPOKEN = ("response_id", "prompt_id", "group_id", "asked", "text", "text_id")
"""a response with its prompt, as `flows.matching.with_texts` reads it"""


@dataclass(frozen=True)
class Written:
    """Rows that the writer added."""

    frames: dict[str, pl.DataFrame] = field(default_factory=dict)
    """by table: `pairs`, `responses`, `texts`, `discards`"""
    spoken: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=dict.fromkeys(SPOKEN, pl.String)))
    """columns SPOKEN: both sides of every pair in `frames`"""
    instruments: tuple[Instrument, ...] = ()


def contrasted(turn: Turn, candidates: pl.DataFrame, paired: Matched) -> Written:
    """Controlled contrasts of each prompt's best candidate; without scores its first one by id."""
    declared = turn.recipe.synthesis.contrasts
    if not declared or candidates.is_empty():
        return Written()
    told = pl.DataFrame([{"attribute": c.attribute, "instruction": c.instruction,
                          "max_length_change": c.max_length_change} for c in declared])
    best = _best(candidates, paired.scores).select(
        "prompt_id", "source", parent_id="response_id", original="text", prompt="asked")
    asked = rewrite_messages(best.join(told, how="cross"))
    good, failed = rewritten(turn, answered(turn, asked, [(CONTRAST, pl.lit(True))], temperature=0.7))
    made = contrasts(good)
    frames = {"responses": made.responses, "texts": made.texts, "pairs": made.pairs,
              "discards": pl.concat([failed, discards(made.discards, "response", STAGE, turn.round_id)])}
    asked_of = candidates.select("prompt_id", "group_id", "asked").unique("prompt_id")
    new = made.responses.join(made.texts, on="text_id").join(asked_of, on="prompt_id")
    return Written(frames, pl.concat([candidates.select(SPOKEN), new.select(SPOKEN)]), (CONTRAST,))


def mined(turn: Turn, labelled: pl.DataFrame) -> Written:
    """Failure mining: perturbed responses of `labelled` pairs whose known order the promoted reward model reverses."""
    n = turn.recipe.synthesis.n_failures
    with turn.store.write(STAGE) as writer:
        incumbent = load_incumbent(writer, turn) if n else None
    if n and (incumbent is None or labelled.is_empty()):
        turn.say(f"{STAGE}: no failures to mine before a reward model is promoted on labels of this dataset")
    if isinstance(incumbent, Trained):
        # What is mined is made of pairs that it was trained on, and it has no head that did not see them.
        turn.say(f"{STAGE}: no failures to mine: {incumbent.name} is a language model and scores nothing out of fold")
    if incumbent is None or isinstance(incumbent, Trained) or labelled.is_empty():
        return Written()
    wanted = to_perturb(labelled, n, MIN_CERTAINTY, seed_of(turn.recipe.seed, "failures", turn.n))
    kinds = [(PRESERVE, pl.col("kind") == "preserve"), (DEGRADE, pl.lit(True))]
    good, failed = rewritten(turn, answered(turn, wanted, kinds, temperature=0.7))
    made = perturbed_pairs(good)
    margins = _margins(incumbent, made.pairs, labelled)
    found = failures(made.pairs, margins, incumbent.name, MIN_CERTAINTY)
    turn.say(f"{STAGE}: {found.pairs.height:,} of {wanted.height:,} perturbed responses fool {incumbent.name}")
    left_out = [(made.discards, "response"), (found.discards, "pair")]
    frames = {"responses": made.responses, "texts": made.texts, "pairs": found.pairs, "discards": pl.concat(
        [failed, *(discards(rows, what, STAGE, turn.round_id) for rows, what in left_out)])}
    return Written(frames, _spoken(labelled, made.responses.join(made.texts, on="text_id")), (PRESERVE, DEGRADE))


def attributed(turn: Turn, made: Sequence[tuple[pl.DataFrame, pl.DataFrame]]) -> dict[str, pl.DataFrame]:
    """Frames `pair_tags` and `discards`: Skywork's five of each pair of `made`, (pairs, their sides as SPOKEN)."""
    pairs = pl.concat([with_texts(pairs, spoken.unique("response_id")) for pairs, spoken in made]).unique("pair_id")
    if not turn.recipe.synthesis.has_attributes or pairs.is_empty():
        return {}
    answers = written(turn, ATTRIBUTES, material(pairs.sort("pair_id")), MATERIAL, temperature=0.0)
    tags, failed = tags_of(answers, model_of(turn, turn.recipe.synthesis.writer)[1])
    if failed.height:
        turn.say(f"{STAGE}: {failed.height:,} of {pairs.height:,} pairs got no attributes")
    return {"pair_tags": tags, "discards": discards(failed, "pair", STAGE, turn.round_id)}


def writing_policy(turn: Turn) -> dict[str, pl.DataFrame]:
    """Frame `policies` of the writer: it is the author of what it rewrote."""
    name = turn.recipe.synthesis.writer
    if not name:
        return {}
    model, identity = model_of(turn, name)
    return {"policies": policy_rows(turn, {identity: model}, {})}


def _best(candidates: pl.DataFrame, scores: pl.DataFrame | None) -> pl.DataFrame:
    known = scores.select("response_id", "score") if scores is not None else pl.DataFrame(
        schema={"response_id": pl.String, "score": pl.Float64})
    ranked = candidates.join(known, on="response_id", how="left").sort("prompt_id", -pl.col("score"), "response_id",
                                                                       nulls_last=True)
    return ranked.unique("prompt_id", keep="first", maintain_order=True)


def _margins(incumbent: Incumbent, pairs: pl.DataFrame, labelled: pl.DataFrame) -> pl.DataFrame:
    """Frame `margins` of the promoted model on perturbed pairs, out of fold where it was trained on their group."""
    is_a = pl.col("winner") < pl.col("loser")
    asked = labelled.select("prompt_id", "group_id", prompt="question").unique("prompt_id")
    texts = pairs.join(asked, on="prompt_id").select(
        "pair_id", "group_id", "prompt", text_a=pl.when(is_a).then("text_winner").otherwise("text_loser"),
        text_b=pl.when(is_a).then("text_loser").otherwise("text_winner"))
    blank = texts.sort("pair_id").with_columns(p_a=pl.lit(0.5), p_tie=pl.lit(0.0), weight=pl.lit(1.0))
    scored = score_pairs(incumbent.model, texts.sort("pair_id").filter(
        incumbent.model.can_score(COMPARISONS.complete(blank))))
    return MARGINS.complete(scored.select(
        "pair_id", "is_out_of_fold", scorer=pl.lit(incumbent.name), margin=pl.col("score_a") - pl.col("score_b")))


def _spoken(labelled: pl.DataFrame, perturbed: pl.DataFrame) -> pl.DataFrame:
    sides = [labelled.select("prompt_id", "group_id", asked="prompt", response_id=f"response_{x}", text=f"text_{x}",
                             text_id=pl.lit("")) for x in "ab"]
    asked = labelled.select("prompt_id", "group_id", asked="prompt").unique("prompt_id")
    new = perturbed.join(asked, on="prompt_id")
    return pl.concat([frame.select(SPOKEN) for frame in (*sides, new)]).unique("response_id")


def all_pairs(made: Sequence[Written]) -> list[tuple[pl.DataFrame, pl.DataFrame]]:
    """(pairs, their sides) of everything written."""
    return [(one.frames.get("pairs", PAIRS.empty()), one.spoken) for one in made]


def together(made: Sequence[Written]) -> dict[str, pl.DataFrame]:
    """Frames of everything written, by table."""
    return merged([one.frames for one in made])
