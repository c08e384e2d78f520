"""MACE: the numbers of crowd-kit, a spammer's habit is found, and a competence cannot fall below none."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from curate.consensus.mace import Prior, fit_mace, mace
from schemas.errors import InputError
from schemas.tables import EVIDENCE

SAID = {"v": "aatbbt", "w": "abtba ", "x": "aatbba", "y": "ba bbt"}
"""votes of four voters on the pairs p0 to p5; a blank is none"""
CROWD_KIT = [[0.996925, 0.000361, 0.002714], [0.999448, 0.000135, 0.000417], [0.000307, 0.999386, 0.000307],
             [0.000044, 0.000044, 0.999912], [0.000420, 0.000136, 0.999444], [0.012519, 0.986188, 0.001292]]
"""probabilities of a, tie, b by crowdkit.aggregation.MACE(n_restarts=1, n_iter=3000) of crowd-kit 1.4.2 on SAID, rows
sorted by label and voter: in other orders it mixes up the voters' habits, whose counts it sorts and whose votes not"""


def evidence(said: dict[str, str]) -> pl.DataFrame:
    rows = [(f"p{i}", voter, float(vote == "a"), float(vote == "t"))
            for voter, votes in said.items() for i, vote in enumerate(votes) if vote != " "]
    frame = pl.DataFrame(rows, schema=["pair_id", "voter", "p_a", "p_tie"], orient="row")
    return EVIDENCE.complete(frame.with_columns(
        criterion=pl.lit("overall"), ballot_id=pl.concat_str("pair_id", "voter"), kind=pl.lit("human"),
        family=pl.col("voter"), is_abstention=pl.lit(False), is_flipped=None, weight=pl.lit(1.0)))


def test_posteriors_are_those_of_crowd_kit() -> None:
    assert fit_mace(evidence(SAID), tolerance=1e-12, max_iterations=5000).truth == pytest.approx(
        np.array(CROWD_KIT), abs=2e-6)


def test_a_voter_that_always_says_a_is_a_spammer_with_that_habit() -> None:
    chance = np.random.default_rng(1)
    truth = chance.choice(list("atb"), 200)
    honest = {v: "".join(np.where(chance.random(200) < 0.85, truth, chance.choice(list("atb"), 200))) for v in "vwx"}
    fit = fit_mace(evidence({**honest, "spam": "a" * 200}))
    skill = dict(fit.consensus.voter_fits.select("voter", "skill").iter_rows())
    assert skill["spam"] < 0.45 < 0.8 < min(skill[v] for v in "vwx")
    of_spam = fit.emission[fit.consensus.voter_fits["voter"].to_list().index("spam")]
    assert of_spam[:, 0].min() > 0.8


def test_an_adversary_is_read_as_a_spammer_never_backwards() -> None:
    said = {"v": "ab" * 30, "w": "ab" * 30, "x": "ab" * 30, "opposite": "ba" * 30}
    fit = fit_mace(evidence({**said, "also": "ab" * 29}))
    of_opposite = fit.emission[fit.consensus.voter_fits["voter"].to_list().index("opposite")]
    assert of_opposite[0, 0] >= of_opposite[2, 0]
    assert mace(evidence(said)).voter_fits.filter(voter="opposite")["skill"].item() > 0.4


def test_a_prior_without_pseudo_votes_is_refused() -> None:
    with pytest.raises(InputError, match="Prior"):
        mace(EVIDENCE.empty(), Prior(habit=0.0))
