"""Skill is recovered, an adversary is read backwards, a copy adds nothing, letters and row order carry nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.consensus.majority import majority
from curate.consensus.one_coin import Prior, one_coin
from curate.consensus.opinions import Consensus, unlabelled
from schemas.errors import InputError
from schemas.tables import EVIDENCE, POSTERIORS, VOTER_FITS

FITS: list[Callable[[pl.DataFrame], Consensus]] = [majority, one_coin]
Row = tuple[str, str, float, float]


def evidence(rows: Sequence[Row], families: dict[str, str] | None = None, kind: str = "human") -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=["pair_id", "voter", "p_a", "p_tie"], orient="row")
    return EVIDENCE.complete(frame.with_columns(
        pl.col("p_a", "p_tie").cast(pl.Float64), criterion=pl.lit("overall"),
        ballot_id=pl.concat_str("pair_id", "voter"), kind=pl.lit(kind),
        family=pl.col("voter").replace(families or {}), is_abstention=pl.col("p_a").is_null(), is_flipped=None,
        weight=pl.col("p_a").is_not_null().cast(pl.Float64)))


def simulated(skills: Sequence[float], n_items: int, votes_per_item: int, tie_share: float, seed: int
              ) -> tuple[pl.DataFrame, list[str]]:
    """Votes of voters who name the true outcome with their skill and else err evenly, and the truth by pair."""
    chance = np.random.default_rng(seed)
    truth = chance.choice(3, n_items, p=[(1 - tie_share) / 2, tie_share, (1 - tie_share) / 2])
    who = chance.permuted(np.tile(np.arange(len(skills)), (n_items, 1)), axis=1)[:, :votes_per_item]
    is_right = chance.random(who.shape) < np.asarray(skills)[who]
    wrong = 2 - truth[:, None] if tie_share == 0 else (truth[:, None] + chance.integers(1, 3, who.shape)) % 3
    vote = np.where(is_right, truth[:, None], wrong)
    rows = [(f"p{i:05}", f"v{v}", float(k == 0), float(k == 1))
            for i in range(n_items) for v, k in zip(who[i], vote[i], strict=True)]
    return evidence(rows), [("a", "tie", "b")[t] for t in truth]


def accuracy(consensus: Consensus, truth: list[str]) -> float:
    win = consensus.posteriors.select(pl.col("p_a") + pl.col("p_tie") / 2 - 0.5).to_series()
    said = pl.Series([{"a": 1, "tie": 0, "b": -1}[t] for t in truth])
    return float(((win.round(9).sign() == said) + 0.5 * (win.round(9) == 0)).mean())


def test_majority_is_the_share_of_votes() -> None:
    fit = majority(evidence([("p", "v", 1, 0), ("p", "w", 1, 0), ("p", "x", 0, 1), ("p", "y", 0, 0)]))
    assert fit.posteriors.select("p_a", "p_tie", "n_votes", "n_human").row(0) == (0.5, 0.25, 4, 4)


def test_one_coin_beats_majority_when_one_of_eight_voters_is_adversarial() -> None:
    votes, truth = simulated([0.8, 0.75, 0.7, 0.65, 0.65, 0.6, 0.9, 0.1], 2000, 4, 0.0, 1)
    by_coin, by_count = accuracy(one_coin(votes), truth), accuracy(majority(votes), truth)
    assert by_count < 0.80
    assert by_coin > by_count + 0.08


def test_skills_are_recovered_within_their_intervals() -> None:
    skills = [0.9, 0.8, 0.7, 0.6, 0.5, 0.75, 0.85, 0.65]
    votes, _ = simulated(skills, 2000, 4, 0.2, 2)
    fits = one_coin(votes).voter_fits.with_columns(true=pl.Series(skills))
    assert fits.select((pl.col("skill") - pl.col("true")).abs().max()).item() < 0.06
    assert fits["skill"].rank().to_list() == fits["true"].rank().to_list()
    assert fits["true"].is_between(fits["skill_low"], fits["skill_high"]).sum() >= 7
    assert fits.select((pl.col("skill_high") - pl.col("skill_low")).max()).item() < 0.2


def test_an_adversarial_voter_gets_a_low_skill() -> None:
    votes, _ = simulated([0.85, 0.8, 0.8, 0.75, 0.05], 300, 4, 0.0, 3)
    assert one_coin(votes).voter_fits.filter(voter="v4")["skill_high"].item() < 0.25


def test_the_fit_converges_and_says_so() -> None:
    votes, _ = simulated([0.9, 0.7, 0.8], 100, 3, 0.2, 4)
    assert one_coin(votes).is_converged
    cut_short = one_coin(votes, max_iterations=1)
    assert (cut_short.is_converged, cut_short.n_iterations) == (False, 1)


def test_one_voter_alone_is_believed_as_much_as_the_prior_says() -> None:
    fit = one_coin(evidence([(f"p{i}", "v", float(i % 2), 0) for i in range(40)]), Prior(skill=0.8))
    assert fit.voter_fits["skill"].item() == pytest.approx(0.8, abs=0.03)
    assert fit.posteriors.filter(pair_id="p1")["p_a"].item() == pytest.approx(0.8, abs=0.03)
    assert fit.voter_fits["skill_high"].item() - fit.voter_fits["skill_low"].item() > 0.3


@pytest.mark.parametrize("fit", FITS)
def test_an_exact_copy_of_a_judge_in_its_family_changes_no_posterior(fit: Callable[[pl.DataFrame], Consensus]) -> None:
    votes, _ = simulated([0.8, 0.7, 0.75, 0.6], 60, 3, 0.2, 5)
    copies = votes.filter(voter="v1").with_columns(voter=pl.lit("copy"), ballot_id=pl.col("ballot_id") + "copy")
    before, after = fit(votes).posteriors, fit(pl.concat([votes, copies])).posteriors
    for column in ("p_a", "p_tie", "p_sd"):
        assert (before[column] - after[column]).abs().max() < 5e-3
    tight = [f.posteriors["p_a"] for f in (fit(votes), fit(pl.concat([votes, copies])))]
    loose = fit(pl.concat([votes, copies.with_columns(family=pl.lit("other"))])).posteriors["p_a"]
    assert (tight[0] - tight[1]).abs().max() < (tight[0] - loose).abs().max() / 10


@pytest.mark.parametrize("fit", FITS)
def test_more_agreement_makes_a_posterior_surer(fit: Callable[[pl.DataFrame], Consensus]) -> None:
    rows = [("p", "v", 1, 0), ("q", "v", 1, 0), ("q", "w", 1, 0), ("q", "x", 1, 0)]
    sd = fit(evidence(rows)).posteriors["p_sd"]
    assert sd.item(1) < sd.item(0)


@pytest.mark.parametrize("fit", FITS)
def test_a_pair_of_abstentions_alone_has_no_posterior_and_is_listed_with_a_reason(
    fit: Callable[[pl.DataFrame], Consensus]
) -> None:
    rows = evidence([("p", "v", 1, 0), ("q", "v", None, None), ("q", "w", None, None)])
    assert fit(rows).posteriors["pair_id"].to_list() == ["p"]
    assert unlabelled(rows).row(0) == ("q", 2, "abstentions")


@pytest.mark.parametrize("fit", FITS)
def test_no_evidence_gives_empty_frames_that_keep_their_contracts(fit: Callable[[pl.DataFrame], Consensus]) -> None:
    empty = fit(EVIDENCE.empty())
    assert POSTERIORS.complete(empty.posteriors).is_empty()
    assert VOTER_FITS.complete(empty.voter_fits.with_columns(label_set=pl.lit("s"))).is_empty()


@pytest.mark.parametrize("fit", FITS)
def test_two_criteria_at_once_are_refused(fit: Callable[[pl.DataFrame], Consensus]) -> None:
    rows = evidence([("p", "v", 1, 0)])
    with pytest.raises(InputError, match="criteria"):
        fit(pl.concat([rows, rows.with_columns(criterion=pl.lit("style"))]))


def test_a_prior_that_no_vote_could_move_is_refused() -> None:
    with pytest.raises(InputError, match="Prior"):
        one_coin(EVIDENCE.empty(), Prior(skill=1.0))


OPINION = st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 200), st.integers(0, 200))


@pytest.mark.slow
@pytest.mark.parametrize("fit", FITS)
@settings(max_examples=25, deadline=None)
@given(drawn=st.lists(OPINION, min_size=1, max_size=12, unique_by=lambda o: o[:2]))
def test_swapped_letters_mirror_the_posteriors_and_shuffled_rows_change_no_bit(
    fit: Callable[[pl.DataFrame], Consensus], drawn: list[tuple[int, int, int, int]]
) -> None:
    steps = [(f"p{p}", f"v{v}", min(x, y), abs(x - y)) for p, v, x, y in drawn]
    rows = evidence([(p, v, a / 200, t / 200) for p, v, a, t in steps], {"v0": "f", "v1": "f"})
    mirrored = evidence([(p, v, (200 - a - t) / 200, t / 200) for p, v, a, t in steps], {"v0": "f", "v1": "f"})
    straight, swapped = fit(rows), fit(mirrored)
    assert fit(rows[::-1]).posteriors.equals(straight.posteriors)
    assert swapped.posteriors.select("p_tie", "p_sd").equals(straight.posteriors.select("p_tie", "p_sd"))
    p_b = 1 - straight.posteriors["p_a"] - straight.posteriors["p_tie"]
    assert (swapped.posteriors["p_a"] - p_b).abs().max() < 1e-12
    assert swapped.voter_fits.equals(straight.voter_fits)


def test_a_voter_nobody_else_voted_beside_has_a_skill_that_says_nothing() -> None:
    fits = majority(evidence([("p1", "alone", 1.0, 0), ("p2", "x", 1.0, 0), ("p2", "y", 1.0, 0)])).voter_fits
    skills = {row["voter"]: (row["skill"], row["skill_high"] - row["skill_low"]) for row in fits.to_dicts()}
    assert skills["alone"][0] == 0.5
    assert skills["alone"][1] > 0.99
    assert skills["x"][0] == 0.75
