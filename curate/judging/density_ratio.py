"""The log-density ratio of a strong and a weak model as a reward that needs no training.

    r(x, y) = log pi_strong(y | x) - log pi_weak(y | x)

In the manner of Dr. SoW (density ratio of strong over weak models, Xu et al. 2024) and CDR; only their abstracts were
read. Assumed here: sums over the response, as in the formula (a difference of sums is not the length bias that one
sum has); per byte as an option, because tokens of two models differ and bytes do not. The stronger the contrast in
alignment between the two, the better the reward: an aligned model over its base, not a large one over a small one.
"""

from __future__ import annotations

import polars as pl

from curate.judging.likelihoods import log_likelihoods, said_by_assistant
from curate.questions import PLAN, keyed

INSTRUMENT = "log-density-ratio@1"
DENSITY_LINKS = ("call_key", "response_id", "role", "n_bytes")


def density_voter(strong: str, weak: str) -> str:
    """Name of the voter, from both identities."""
    return f"density-ratio/{strong}/{weak}"


def density_questions(
    responses: pl.DataFrame, strong: tuple[str, str], weak: tuple[str, str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(plan, links): the log-likelihood of each response under both models (name, identity); kind `likelihood`.

    `responses` has response_id, prompt (JSON of messages), system (or null), response. Links have DENSITY_LINKS, two
    per response. An empty response has no likelihood and is not asked about.
    """
    models = pl.DataFrame(
        [("strong", *strong), ("weak", *weak)], orient="row",
        schema={"role": pl.String, "voter": pl.String, "identity": pl.String},
    )
    asked = responses.filter(pl.col("response") != "").with_columns(
        said_by_assistant(pl.col("response")), pl.lit(INSTRUMENT).alias("instrument"),
        pl.struct("response_id").struct.json_encode().alias("subject"),
        pl.col("response").str.len_bytes().cast(pl.Int64).alias("n_bytes"),
    ).drop("prompt").join(models, how="cross").sort("response_id", "role")
    questions = keyed(asked, "likelihood")
    plan = questions.select(PLAN).unique("call_key", keep="first", maintain_order=True)
    return plan, questions.select(DENSITY_LINKS)


def density_scores(calls: pl.DataFrame, links: pl.DataFrame, *, is_per_byte: bool = False) -> pl.DataFrame:
    """(response_id, score, call_key), sorted: nats, or nats per byte; null where a model gave no number."""
    said = links.join(log_likelihoods(calls), on="call_key").sort("response_id", "role")
    of = {role: pl.col("log_p").filter(pl.col("role") == role).first() for role in ("strong", "weak")}
    length = pl.col("n_bytes").first() if is_per_byte else pl.lit(1)
    return said.group_by("response_id", maintain_order=True).agg(
        ((of["strong"] - of["weak"]) / length).alias("score"), pl.col("call_key").first()
    ).sort("response_id")
