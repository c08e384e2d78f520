"""From the votes as they were said to the consensus of the recipe: calibrated, slight long wins tied, combined."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from curate.consensus.crowdlab import crowdlab
from curate.consensus.dawid_skene import dawid_skene
from curate.consensus.mace import mace
from curate.consensus.majority import majority
from curate.consensus.one_coin import one_coin
from curate.consensus.opinions import Consensus
from curate.consensus.worker_bradley_terry import worker_bradley_terry
from curate.judging.calibration import apply_calibration, fit_calibration, votes_on_gold
from curate.judging.verdicts import tie_long_slight_wins
from flows.rating import INSTRUMENT as RATING
from schemas.sections import Judging

COUNTING: dict[str, Callable[[pl.DataFrame], Consensus]] = {
    "majority": majority, "one_coin": one_coin, "dawid_skene": dawid_skene, "mace": mace, "crowdlab": crowdlab,
}
"""methods that read folded evidence"""


def consensus_of(
    evidence: pl.DataFrame, method: str, *, votes: pl.DataFrame, voters: pl.DataFrame, pairs: pl.DataFrame | None = None
) -> Consensus:
    """Posteriors and voter fits by a method of the recipe, of EVIDENCE or of the votes it was folded from.

    A method that knows of order reads both orders as they were said. `pairs` (pair_id, response_a, response_b) lets
    it learn from responses that recur. Always fitted from the beginning: a warm start ends within a tolerance of the
    same optimum, and equal votes are to give equal rows.
    """
    if method == "worker_bradley_terry":
        return worker_bradley_terry(votes, voters, pairs=pairs).consensus
    return COUNTING[method](evidence)


def read_as_told(
    votes: pl.DataFrame, voters: pl.DataFrame, gold: pl.DataFrame, texts: pl.DataFrame, judging: Judging
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(votes as a settling reads them, calibration fits): the same rows, only p changes, and only of judges.

    A judge's verdicts on pairs and the votes that its ratings make are calibrated apart. `gold` are calibrate-gold
    pairs (pair_id, group_id, p_a, p_tie), `texts` has pair_id, text_a, text_b. Without calibration and
    `longer_tie_chars` the votes are as they were said.
    """
    fits = fit_calibration(votes_on_gold(votes, voters, gold), judging.calibration)
    calibrated = apply_calibration(votes, fits) if judging.calibration != "none" else votes
    if judging.longer_tie_chars == 0:
        return calibrated, fits
    lengths = texts.select(
        "pair_id", n_chars_a=pl.col("text_a").str.len_chars(), n_chars_b=pl.col("text_b").str.len_chars()
    )
    of_judges = calibrated.join(voters.filter(pl.col("kind") == "judge"), on="voter", how="semi")
    tied = tie_long_slight_wins(of_judges, lengths, more_than=judging.longer_tie_chars)
    rest = calibrated.join(of_judges.select("vote_id"), on="vote_id", how="anti")
    return pl.concat([rest, tied]).sort("vote_id"), fits


def with_calibration(voter_fits: pl.DataFrame, fits: pl.DataFrame) -> pl.DataFrame:
    """Frame `voter_fits` with `calibration`: each judge's temperature, null where none was fitted.

    A voter has one: that of the pairs it was asked about, not of its ratings; of several such questions (imported
    judges) that with the most gold.
    """
    is_rating = pl.col("instrument").fill_null("").str.starts_with(f"{RATING}/")
    asked = fits.filter(~is_rating).sort("voter", -pl.col("n_pairs"), "instrument")
    known = asked.unique("voter", keep="first").select("voter", calibration="temperature")
    return voter_fits.drop("calibration", strict=False).join(known, on="voter", how="left", maintain_order="left")
