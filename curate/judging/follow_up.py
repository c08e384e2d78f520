"""How likely a person is to go on contentedly: follow-up likelihood as a reward that needs no training.

    r(x, y) = mean over positive f of log p(f | x, y) - mean over negative f of log p(f | x, y)

In the manner of FLR (Zhang et al. 2024); only its abstract was read. Assumed here: the follow-ups are a fixed list of
ours, so their version is part of the voter; the model is asked to write the person's next message, so that what is
scored is an assistant's message, as the likelihood call has it; the system
prompt is left out; means, so that lists of unequal length weigh the same.
"""

from __future__ import annotations

import polars as pl

from curate.judging.likelihoods import log_likelihoods
from curate.judging.rendering import conversation
from curate.questions import PLAN, chat, keyed

INSTRUMENT = "follow-ups@1"
POSITIVE = (
    "Thank you, that is exactly what I needed.",
    "Great answer, that solves my problem.",
    "That makes sense now, thanks for explaining it so well.",
    "Perfect. I have no further questions.",
)
NEGATIVE = (
    "That is not what I asked for.",
    "I think this is wrong. Please check it again.",
    "This does not help me at all.",
    "I don't understand what you mean. You left out the most important part.",
)
TASK = (
    "You are given a conversation between a person and an assistant as JSON. Write the next message of the person, as "
    "this person would write it after the assistant's last message. Write that message only."
)
FOLLOW_UP_LINKS = ("call_key", "response_id", "sign")


def follow_up_voter(identity: str) -> str:
    """Name of the voter, from the model's identity."""
    return f"follow-up/{identity}"


def follow_up_questions(responses: pl.DataFrame, model: tuple[str, str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(plan, links): the log-likelihood of each follow-up after each response; kind `likelihood`.

    `responses` has response_id, prompt (JSON of messages), response; `model` is (name, identity). Links have
    FOLLOW_UP_LINKS, one per response and follow-up; `sign` is 1 or -1.
    """
    said = [(text, sign) for texts, sign in ((POSITIVE, 1), (NEGATIVE, -1)) for text in texts]
    follow_ups = pl.DataFrame(said, schema={"follow_up": pl.String, "sign": pl.Int64}, orient="row")
    name, identity = model
    asked = _with_turns(responses).join(follow_ups, how="cross").with_columns(
        chat(("system", pl.lit(TASK)), ("user", _dialogue()), ("assistant", pl.col("follow_up"))),
        pl.struct("response_id", "follow_up").struct.json_encode().alias("subject"),
        pl.lit(name).alias("voter"), pl.lit(identity).alias("identity"), pl.lit(INSTRUMENT).alias("instrument"),
    )
    questions = keyed(asked.drop("prompt").sort("response_id", "sign", "follow_up"), "likelihood")
    plan = questions.select(PLAN).unique("call_key", keep="first", maintain_order=True)
    return plan, questions.select(FOLLOW_UP_LINKS)


def follow_up_scores(calls: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
    """(response_id, score, call_key) in nats, sorted; null where any follow-up has no likelihood."""
    said = links.join(log_likelihoods(calls), on="call_key").sort("response_id", "call_key")
    means = [pl.col("log_p").filter(pl.col("sign") == sign).mean() for sign in (1, -1)]
    is_whole = pl.col("log_p").is_not_null().all() & (pl.len() == len(POSITIVE) + len(NEGATIVE))
    score = pl.when(is_whole).then(means[0] - means[1]).alias("score")
    return said.group_by("response_id", maintain_order=True).agg(score, pl.col("call_key").first()).sort("response_id")


def _with_turns(responses: pl.DataFrame) -> pl.DataFrame:
    """`responses` with `turns`: the conversation as a list of {speaker, says}; distinct prompts are read once."""
    form = pl.List(pl.Struct({"speaker": pl.String, "says": pl.String}))
    distinct = responses.select("prompt").unique(maintain_order=True)
    turns = [[{"speaker": _SPEAKER.get(role, role), "says": content} for role, content in conversation(prompt)]
             for prompt in distinct["prompt"]]
    read = distinct.with_columns(pl.Series("turns", turns, dtype=form))
    return responses.join(read, on="prompt", how="left", maintain_order="left")


_SPEAKER = {"user": "person", "assistant": "assistant"}


def _dialogue() -> pl.Expr:
    """The conversation with its response, as JSON: no text in it can pose as a turn."""
    last = pl.concat_list(pl.struct(speaker=pl.lit("assistant"), says="response"))
    return pl.struct(conversation=pl.col("turns").list.concat(last)).struct.json_encode()
