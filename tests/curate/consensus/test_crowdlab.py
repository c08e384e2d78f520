"""CROWDLAB: the numbers of cleanlab with a classifier, its parts by hand without one, ties between outcomes shared."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from curate.consensus.crowdlab import crowdlab, fit_crowdlab
from schemas.errors import InputError
from schemas.tables import EVIDENCE

SAID = {"v": "aatbbt", "w": "abtba ", "x": "aatbba", "y": "ba bbt"}
"""votes of four voters on the pairs p0 to p5; a blank is none; no two outcomes tie on a pair"""
CLASSIFIER = pl.DataFrame({
    "pair_id": [f"p{i}" for i in range(6)], "p_a": [0.6, 0.5, 0.3, 0.1, 0.5, 0.2],
    "p_tie": [0.2, 0.1, 0.4, 0.1, 0.2, 0.5]})
CLEANLAB = [0.6395526718078289, 0.6190843548550263, 0.6075167773246245, 0.810716622983699, 0.529312476973072,
            0.5325729977970716]
"""consensus_quality_score by get_label_quality_multiannotator of cleanlab 2.9.0 on SAID and CLASSIFIER"""
QUALITY = [0.8226931416085519, 0.5694403262720418, 0.7142437757824134, 0.6788646876447701]
"""annotator_quality of the same call"""


def evidence(said: dict[str, str]) -> pl.DataFrame:
    rows = [(f"p{i}", voter, float(vote == "a"), float(vote == "t"))
            for voter, votes in said.items() for i, vote in enumerate(votes) if vote != " "]
    frame = pl.DataFrame(rows, schema=["pair_id", "voter", "p_a", "p_tie"], orient="row")
    return EVIDENCE.complete(frame.with_columns(
        criterion=pl.lit("overall"), ballot_id=pl.concat_str("pair_id", "voter"), kind=pl.lit("human"),
        family=pl.col("voter"), is_abstention=pl.lit(False), is_flipped=None, weight=pl.lit(1.0)))


def test_with_a_classifier_the_quality_of_the_consensus_is_that_of_cleanlab() -> None:
    fit = fit_crowdlab(evidence(SAID), CLASSIFIER)
    assert fit.truth.max(axis=1) == pytest.approx(np.array(CLEANLAB), abs=1e-12)
    assert fit.truth.argmax(axis=1).tolist() == [0, 0, 1, 2, 2, 1]


def test_skill_is_cleanlabs_quality_of_the_voter_but_for_half_a_vote_each_way() -> None:
    assert crowdlab(evidence(SAID), CLASSIFIER).voter_fits["skill"].to_list() == pytest.approx(QUALITY, abs=0.06)


def test_without_a_classifier_a_vote_counts_by_its_voters_agreement_with_the_others() -> None:
    """Both pairs are shared: P = (1 + 2/3) / 2. v, w agree with 3 of 4 others' votes, x with 2 of 4; of the
    majorities one is a and one b, so the commonest outcome errs on 1/2: weights 1/2, 1/2 and 10⁻⁶."""
    p = crowdlab(evidence({"v": "ab", "w": "ab", "x": "aa"})).posteriors
    assert p["p_a"].to_list() == pytest.approx([5 / 6, 1 / 12], abs=1e-5)
    assert p["p_tie"].to_list() == pytest.approx([1 / 12, 1 / 12], abs=1e-12)


def test_two_votes_for_two_outcomes_leave_the_pair_even() -> None:
    p = crowdlab(evidence({"v": "aab", "w": "bab"})).posteriors.row(0, named=True)
    assert p["p_a"] == pytest.approx((1 - p["p_tie"]) / 2)


def test_a_classifier_that_misses_a_pair_is_refused() -> None:
    with pytest.raises(InputError, match="5 of 6 pairs"):
        crowdlab(evidence(SAID), CLASSIFIER.head(5))
