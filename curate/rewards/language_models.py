"""Language models as reward models: what they read, what they are asked, what their rewards say of pairs.

A reward is one raw number per conversation. Only differences within a prompt mean something, and
sigma(difference / scale) is a probability; the scale was fitted on groups that the model was not trained on.
"""

from __future__ import annotations

import polars as pl

from curate.judging.likelihoods import said_by_assistant
from curate.questions import keyed
from schemas.ids import content_id
from schemas.recipe import Tuning
from schemas.tables import LESSONS, READINGS

TEMPLATE = "chat@1"
"""the conversation under the chat template that lies beside the weights"""
LAST_TURN = ',{"role":"assistant","content":""}]'
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1}
"""by which two programs' rewards of the same weights may differ, per unit of the larger reward, at least of 1.

bfloat16 keeps 8 bits, and the order of sums differs between programs; other weights or another template are off by
the spread of the rewards.
"""


def lessons_of(rows: pl.DataFrame) -> pl.DataFrame:
    """Frame LESSONS from rows with pair_id, group_id, prompt (JSON of messages), system, texts, labels and weight."""
    # A conversation less its last turn: how prompts and system prompts are read is spelled in one place.
    whole = rows.with_columns(said_by_assistant(pl.lit("")))
    asked = pl.concat_str(pl.col("messages").str.strip_suffix(LAST_TURN), pl.lit("]"))
    return LESSONS.complete(whole.with_columns(asked.alias("messages")).select(*LESSONS.schema).sort("pair_id"))


def readings_of(rows: pl.DataFrame) -> pl.DataFrame:
    """Frame READINGS from rows with response_id, prompt (JSON of messages), system, response."""
    read = rows.with_columns(said_by_assistant(pl.col("response"))).select(*READINGS.schema)
    return READINGS.complete(read.unique("response_id").sort("response_id"))


def reward_questions(readings: pl.DataFrame, voter: str, identity: str) -> pl.DataFrame:
    """Questions of kind `score`, keyed, one row per reading (frame READINGS): `response_id`, and columns of a plan."""
    subject = pl.struct("response_id").struct.json_encode()
    return keyed(readings.with_columns(
        subject.alias("subject"), voter=pl.lit(voter), identity=pl.lit(identity), instrument=pl.lit(TEMPLATE)), "score")


def rewards_from(questions: pl.DataFrame, calls: pl.DataFrame) -> pl.DataFrame:
    """(response_id, score), sorted, of calls that were answered with a finite number; others have none."""
    score = pl.col("response").str.strip_chars().cast(pl.Float64, strict=False)
    said = calls.filter(pl.col("finish_reason") == "stop").select("call_key", score.alias("score"))
    read = questions.join(said, on="call_key").filter(pl.col("score").is_finite())
    return read.select("response_id", "score").sort("response_id")


def side_scores(pairs: pl.DataFrame, rewards: pl.DataFrame) -> pl.DataFrame:
    """(pair_id, score_a, score_b), sorted, of pairs (pair_id, response_a, response_b); null: no reward is known."""
    of = {side: rewards.select("response_id", score=pl.col("score")).rename(
        {"response_id": f"response_{side}", "score": f"score_{side}"}) for side in ("a", "b")}
    both = pairs.join(of["a"], on="response_a", how="left").join(of["b"], on="response_b", how="left")
    return both.select("pair_id", "score_a", "score_b").sort("pair_id")


def log_odds(scores: pl.DataFrame, scale: float) -> pl.DataFrame:
    """(pair_id, margin) from `side_scores`, in log-odds. A pair with an unread side has margin 0: half a point."""
    gap = (pl.col("score_a") - pl.col("score_b")) / scale
    return scores.select("pair_id", margin=gap.fill_null(0.0))


def unlike(recorded: pl.DataFrame, said: pl.DataFrame, dtype: str) -> str:
    """In words, how rewards (response_id, score) differ from recorded ones beyond rounding; empty: they do not.

    A recorded reward that was not said is a difference too.
    """
    both = recorded.join(said, on="response_id", how="left", suffix="_said").sort("response_id")
    allowed = TOLERANCE[dtype] * pl.max_horizontal(pl.lit(1.0), pl.col("score").abs())
    is_off = ((pl.col("score") - pl.col("score_said")).abs() > allowed).fill_null(True)
    off = both.filter(is_off)
    if off.is_empty():
        return ""
    _, before, now = off.select("response_id", "score", "score_said").row(0)
    shown = "none" if now is None else f"{now:.4f}"
    return f"{off.height} of {both.height} rewards are others, the first {shown} where {before:.4f} is recorded"


def model_name(dataset: str, n: int, fingerprint: str, tuning: Tuning, seed: int) -> str:
    """Name of the model that a tuning makes of a version: equal content, equal name."""
    return f"{dataset}-{n}-{content_id(fingerprint, tuning.model_dump_json(), seed)[:8]}"
