"""Voters are seen through, copies add nothing, letters and row order carry nothing, hidden votes are predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import choix
import evalica
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from curate.consensus.dawid_skene import dawid_skene
from curate.consensus.folding import fold_orders
from curate.consensus.majority import majority
from curate.consensus.opinions import Consensus
from curate.consensus.worker_bradley_terry import WorkerFit, WorkerPrior, worker_bradley_terry
from curate.consensus.worker_model import WorkerModel
from schemas.errors import InputError
from schemas.tables import POSTERIORS, VOTER_FITS, VOTERS, VOTES

Row = tuple[str, str, float | None, float | None, str | None]
Floats = NDArray[np.float64]


def votes_of(rows: Sequence[Row]) -> pl.DataFrame:
    """(pair, voter, p_a, p_tie, shown first): one ballot per voter and pair."""
    text = dict.fromkeys(("pair_id", "voter", "shown_first"), pl.String)
    schema = {**text, "p_a": pl.Float64, "p_tie": pl.Float64}
    frame = pl.DataFrame(rows, schema={c: schema[c] for c in ("pair_id", "voter", "p_a", "p_tie", "shown_first")},
                         orient="row")  # fmt: skip
    return VOTES.complete(frame.with_columns(
        pl.format("vote {}", pl.int_range(pl.len())).alias("vote_id"), pl.format("{} {}", "pair_id", "voter").alias(
            "ballot_id"), pl.col("p_a").is_null().alias("is_abstention"), n=pl.lit(1), criterion=pl.lit("overall"),
        cost_usd=pl.lit(0.0), status=pl.lit("cast")))


def people(*names: str, kind: str = "human", family: str | None = None) -> pl.DataFrame:
    voter = pl.Series("voter", list(names), dtype=pl.String)
    return VOTERS.complete(voter.to_frame().with_columns(
        kind=pl.lit(kind), family=pl.lit(family) if family else pl.col("voter"), cost_usd=pl.lit(0.0)))


def simulated(
    traits: Sequence[tuple[float, float, float]], n_pairs: int, n_each: int, seed: int, kind: str = "human"
) -> tuple[pl.DataFrame, pl.DataFrame, Floats]:
    """Votes of voters with (skill, order bias, log tie width), the voters v00…, and the latents of the pairs."""
    chance = np.random.default_rng(seed)
    x, names = chance.normal(size=n_pairs), [f"{kind[0]}{v:02}" for v in range(len(traits))]
    rows: list[Row] = []
    for i in range(n_pairs):
        for v in chance.choice(len(traits), n_each, replace=False):
            skill, bias, width = traits[v]
            order = int(chance.integers(0, 2)) * 2 - 1
            z = skill * x[i] + bias * order
            odds = np.exp([z / 2, width, -z / 2])
            said = chance.choice(3, p=odds / odds.sum())
            rows.append((f"p{i:05}", names[v], float(said == 0), float(said == 1), "a" if order > 0 else "b"))
    return votes_of(rows), people(*names, kind=kind), x


def mirrored(votes: pl.DataFrame) -> pl.DataFrame:
    return votes.with_columns((1 - pl.col("p_a") - pl.col("p_tie")).round(12).alias("p_a"),
                              pl.col("shown_first").replace({"a": "b", "b": "a"}))


def moved(one: WorkerFit, other: WorkerFit) -> float:
    """Largest change of a probability."""
    both = one.consensus.posteriors.join(other.consensus.posteriors, on="pair_id", validate="1:1")
    gaps = [(pl.col(c) - pl.col(f"{c}_right")).abs().max().alias(c) for c in ("p_a", "p_tie")]
    return max(both.select(gaps).row(0))


def share_right(consensus: Consensus, truth: NDArray[np.int64]) -> float:
    says_a = consensus.posteriors.sort("pair_id").select(pl.col("p_a") + pl.col("p_tie") / 2 > 0.5).to_series()
    return float((says_a.to_numpy() == truth).mean())


MIXED = [(3.0, 0.0, 0.0), (2.5, 0.5, 0.5), (2.0, -0.5, -0.5), (3.5, 0.3, 0.0), (1.5, 0.0, 1.0), (2.5, -0.3, -1.0)]


@pytest.fixture(scope="module")
def crowd() -> tuple[pl.DataFrame, pl.DataFrame, Floats]:
    return simulated(MIXED, 300, 3, 1)


def test_one_vote_moves_a_pair_its_way_but_is_not_believed_outright() -> None:
    fit = worker_bradley_terry(votes_of([("p", "v", 1.0, 0.0, None)]), people("v"))
    p_a, p_tie, p_sd = fit.consensus.posteriors.select("p_a", "p_tie", "p_sd").row(0)
    assert 0.5 < p_a < 0.9
    assert p_a > 1 - p_a - p_tie
    assert p_sd > 0.1


def test_no_votes_give_no_posteriors_and_predictions_from_the_prior() -> None:
    fit = worker_bradley_terry(votes_of([]), people("v"))
    assert fit.consensus.posteriors.schema == POSTERIORS.empty().schema
    assert fit.consensus.voter_fits.schema == VOTER_FITS.empty().drop("label_set").schema
    a, tie, b = fit.predict(["p"], ["v"], [None])[0]
    assert a == pytest.approx(b)
    assert a + tie + b == pytest.approx(1)


def test_abstentions_and_retracted_votes_are_no_opinions() -> None:
    votes = votes_of([("p", "v", 1.0, 0.0, None), ("q", "v", None, None, None), ("r", "v", 1.0, 0.0, None)])
    gone = votes.with_columns(pl.when(pl.col("pair_id") == "r").then(pl.lit("retracted")).otherwise("status").alias(
        "status"))
    assert worker_bradley_terry(gone, people("v")).consensus.posteriors["pair_id"].to_list() == ["p"]


def test_mixed_criteria_and_unknown_voters_are_refused() -> None:
    votes = votes_of([("p", "v", 1.0, 0.0, None), ("q", "v", 1.0, 0.0, None)])
    with pytest.raises(InputError, match="criteria"):
        worker_bradley_terry(votes.with_columns(criterion=pl.Series(["overall", "style"])), people("v"))
    with pytest.raises(InputError, match="unknown voters"):
        worker_bradley_terry(votes, people("w"))


def test_votes_that_are_all_ties_give_ties() -> None:
    rows: list[Row] = [(f"p{i}", v, 0.0, 1.0, None) for i in range(5) for v in ("v", "w")]
    fit = worker_bradley_terry(votes_of(rows), people("v", "w"))
    p = fit.consensus.posteriors
    assert (p["p_tie"] > 0.7).all()
    assert p.select(((1 - pl.col("p_tie")) / 2 - pl.col("p_a")).abs().max()).item() < 1e-9


def test_parts_that_share_no_voter_and_no_pair_are_fitted_side_by_side() -> None:
    here, there = votes_of([("p", "v", 1.0, 0.0, None)]), votes_of([("q", "w", 0.0, 0.0, None)])
    fit = worker_bradley_terry(pl.concat([here, there]), people("v", "w"))
    p = dict(fit.consensus.posteriors.select("pair_id", "p_a").iter_rows())
    assert fit.is_converged
    assert p["p"] > 0.5 > p["q"]


def test_judges_alone_are_a_consensus_too() -> None:
    votes, judges, x = simulated(MIXED, 200, 4, 3, kind="judge")
    fit = worker_bradley_terry(votes, judges)
    assert np.corrcoef(fit.consensus.posteriors["p_a"], x)[0, 1] > 0.75
    assert fit.consensus.posteriors["n_human"].sum() == 0


@pytest.mark.service
def test_swapping_the_letters_mirrors_everything(crowd: tuple[pl.DataFrame, pl.DataFrame, Floats]) -> None:
    votes, voters, _ = crowd
    number = pl.int_range(pl.len())
    pairs = pl.DataFrame({"pair_id": votes["pair_id"].unique().sort()}).with_columns(
        response_a=pl.format("r{}", number % 17), response_b=pl.format("r{}", number % 23))
    turned = pairs.select("pair_id", response_a="response_b", response_b="response_a")
    for given, swapped in ((None, None), (pairs, turned)):
        fit = worker_bradley_terry(votes, voters, pairs=given)
        back = worker_bradley_terry(mirrored(votes), voters, pairs=swapped)
        here, there = (f.consensus.posteriors.sort("pair_id") for f in (fit, back))
        assert (here["p_a"] - (1 - there["p_a"] - there["p_tie"])).abs().max() < 1e-9
        assert (here["p_sd"] - there["p_sd"]).abs().max() < 1e-9
        gap = fit.consensus.voter_fits.drop("voter", "criterion", "calibration") - back.consensus.voter_fits.drop(
            "voter", "criterion", "calibration")
        assert max(abs(v) for v in gap.max().row(0) + gap.min().row(0)) < 1e-9
        p, q = fit.predict(["p00000"], ["h00"], ["a"]), back.predict(["p00000"], ["h00"], ["b"])
        np.testing.assert_allclose(p, q[:, ::-1], atol=1e-9)


@pytest.mark.slow
def test_row_order_changes_no_bit_and_names_of_voters_change_nothing(
    crowd: tuple[pl.DataFrame, pl.DataFrame, Floats],
) -> None:
    votes, voters, _ = crowd
    fit = worker_bradley_terry(votes, voters)
    shuffled = worker_bradley_terry(votes.sample(fraction=1, shuffle=True, seed=3), voters.reverse())
    assert shuffled.consensus.posteriors.equals(fit.consensus.posteriors)
    assert shuffled.consensus.voter_fits.equals(fit.consensus.voter_fits)
    other = {name: f"{9 - i} {name}" for i, name in enumerate(voters["voter"])}
    renamed = worker_bradley_terry(votes.with_columns(pl.col("voter").replace(other)),
                                   voters.with_columns(pl.col("voter", "family").replace(other)))  # fmt: skip
    assert moved(fit, renamed) < 1e-3


@pytest.mark.service
def test_skills_order_biases_and_tie_widths_are_recovered_within_their_intervals() -> None:
    chance = np.random.default_rng(5)
    traits = [(chance.normal(2.5, 1.2), chance.normal(0, 0.6), chance.normal(0, 0.7)) for _ in range(40)]
    votes, voters, _ = simulated(traits, 3000, 5, 6)
    fits = worker_bradley_terry(votes, voters).consensus.voter_fits
    true = np.array(traits)
    for column, at, least in (("skill", 0, 0.9), ("order_bias", 1, 0.9), ("tie_width", 2, 0.9)):
        assert np.corrcoef(fits[column], true[:, at])[0, 1] > least
    covered = (fits["skill_low"].to_numpy() < true[:, 0]) & (true[:, 0] < fits["skill_high"].to_numpy())
    assert 0.85 <= covered.mean() <= 1.0


@pytest.mark.slow
def test_a_lazy_an_adversarial_and_a_first_slot_voter_are_found() -> None:
    good = [(3.0, 0.0, -1.0)] * 5
    votes, voters, _ = simulated([*good, (0.0, 0.0, 0.0), (-3.0, 0.0, -1.0), (0.3, 4.0, -1.0)], 500, 4, 7)
    fits = worker_bradley_terry(votes, voters).consensus.voter_fits
    skill, bias = fits["skill"].to_numpy(), fits["order_bias"].to_numpy()
    lazy, adversary, first_slot = 5, 6, 7
    assert abs(skill[lazy]) < 0.3 * skill[:5].min()
    assert fits["skill_high"][adversary] < 0
    assert bias[first_slot] > 2 > 1 > np.abs(bias[:5]).max()


@pytest.mark.service
def test_an_adversary_among_eight_voters_costs_no_more_than_under_dawid_and_skene() -> None:
    """2,000 pairs, 4 of 8 voters each, no ties, one adversary. Over eight draws both are right on 0.899."""
    chance = np.random.default_rng(1)
    accuracy = np.array([0.8, 0.75, 0.7, 0.65, 0.65, 0.6, 0.9, 0.1])
    truth, rows = chance.integers(0, 2, 2000), []
    for i, is_a in enumerate(truth):
        for v in chance.choice(8, 4, replace=False):
            rows.append((f"p{i:05}", f"v{v}", float(is_a == (chance.random() < accuracy[v])), 0.0, None))
    votes, voters = votes_of(rows), people(*(f"v{v}" for v in range(8)))
    seen = fold_orders(votes, voters, 0.0)
    ours, theirs, plain = (
        share_right(consensus, truth)
        for consensus in (worker_bradley_terry(votes, voters).consensus, dawid_skene(seen), majority(seen)))
    print(f"right: ours {ours:.4f}, Dawid-Skene {theirs:.4f}, majority {plain:.4f}")
    assert ours >= theirs > plain + 0.1


@pytest.mark.service
def test_an_exact_copy_of_a_judge_moves_no_posterior() -> None:
    votes, voters, _ = simulated(MIXED[:3], 120, 2, 8)
    heard, _, _ = simulated([(2.0, 1.0, -1.0)], 120, 1, 8, kind="judge")
    copy = heard.with_columns(pl.lit("copy").alias("voter"), pl.format("{} again", "vote_id").alias("vote_id"))
    judge = people("j00", kind="judge", family="model")
    one = worker_bradley_terry(pl.concat([votes, heard]), pl.concat([voters, judge]))
    both = people("j00", "copy", kind="judge", family="model")
    two = worker_bradley_terry(pl.concat([votes, heard, copy]), pl.concat([voters, both]))
    assert moved(one, two) < 1e-3 < one.consensus.posteriors["p_sd"].min()


def test_both_orders_of_a_judge_count_as_one_vote() -> None:
    once: list[Row] = [("p", "j", 1.0, 0.0, None), ("q", "j", 0.0, 0.0, None)]
    twice: list[Row] = [(p, v, a, t, o) for p, v, a, t, _ in once for o in ("a", "b")]
    voters = people("j", kind="judge")
    assert moved(worker_bradley_terry(votes_of(once), voters), worker_bradley_terry(votes_of(twice), voters)) < 0.05


@pytest.mark.service
def test_judges_who_agree_on_something_else_do_not_outvote_people() -> None:
    """Three judges see a latent of their own; what people see must be learned from people."""
    votes, voters, x = simulated([(3.0, 0.0, -1.0)] * 6, 300, 3, 9)
    heard, judges, other = simulated([(4.0, 0.0, -1.0)] * 3, 300, 3, 10, kind="judge")
    alone = worker_bradley_terry(votes, voters).consensus.posteriors
    fit = worker_bradley_terry(pl.concat([votes, heard]), pl.concat([voters, judges])).consensus.posteriors
    assert abs(np.corrcoef(x, other)[0, 1]) < 0.15
    assert np.corrcoef(fit["p_a"], x)[0, 1] > np.corrcoef(alone["p_a"], x)[0, 1] - 0.02


@pytest.mark.slow
def test_a_warm_start_takes_fewer_steps_to_the_same_optimum(crowd: tuple[pl.DataFrame, pl.DataFrame, Floats]) -> None:
    votes, voters, _ = crowd
    before = worker_bradley_terry(votes.filter(pl.col("pair_id") < "p00290"), voters)
    cold, warm = worker_bradley_terry(votes, voters), worker_bradley_terry(votes, voters, start=before)
    assert cold.is_converged
    assert warm.is_converged
    assert warm.n_iterations < cold.n_iterations
    assert moved(cold, warm) < 2e-3


@pytest.mark.service
def test_means_of_kinds_do_not_creep_when_many_voters_hang_on_them() -> None:
    chance = np.random.default_rng(12)
    traits = [(chance.normal(2.5, 1.0), chance.normal(0.2, 0.5), chance.normal(0, 0.7)) for _ in range(100)]
    fit = worker_bradley_terry(*simulated(traits, 4000, 3, 13)[:2])
    assert fit.is_converged
    assert fit.n_iterations <= 35  # 51 in units of each parameter alone


@pytest.mark.slow
def test_sharp_voters_get_a_finer_grid_on_which_probabilities_are_those_of_a_very_fine_one() -> None:
    votes, voters, _ = simulated([(20.0, 0.0, 1.0)] * 6, 150, 3, 14)
    fit = worker_bradley_terry(votes, voters)
    fine = worker_bradley_terry(votes, voters, prior=replace(WorkerPrior(), n_nodes=513))
    assert len(fit.model.nodes) > len(WorkerModel(fit.model.ballots, WorkerPrior()).nodes)
    assert fit.is_converged
    assert moved(fit, fine) < 2e-3


def test_predictions_know_the_voter_the_order_and_the_pair(crowd: tuple[pl.DataFrame, pl.DataFrame, Floats]) -> None:
    votes, voters, _ = crowd
    fit = worker_bradley_terry(votes, voters)
    pair = fit.consensus.posteriors.sort((pl.col("p_a") - 0.6).abs())["pair_id"][0]
    p = fit.predict([pair] * 5, ["h01", "h01", "h04", "stranger", "h01"], ["a", "b", "a", None, None])
    np.testing.assert_allclose(p.sum(1), 1)
    assert p[0, 0] > p[4, 0] > p[1, 0]  # h01 leans to the first slot
    assert p[2, 1] > p[0, 1]  # h04 says tie more often
    expected = fit.consensus.posteriors.filter(pl.col("pair_id") == pair).select("p_a", "p_tie").row(0)
    np.testing.assert_allclose(p[3, :2], expected)  # a stranger is an average person
    with pytest.raises(InputError, match="1 pairs, 2 voters"):
        fit.predict(["p"], ["v", "w"], [None])


def test_a_pair_without_votes_is_read_from_responses_that_won_elsewhere() -> None:
    rows: list[Row] = [(f"p{i}", "v", 1.0, 0.0, None) for i in range(4)]
    ids = [f"p{i}" for i in range(4)] + ["asked"]
    worse = ["bad", "bad", "poor", "poor", "bad"]
    pairs = pl.DataFrame({"pair_id": ids, "response_a": ["good"] * 5, "response_b": worse})
    fit = worker_bradley_terry(votes_of(rows), people("v"), pairs=pairs)
    p = fit.predict(["asked", "never"], ["v"] * 2, [None] * 2)
    assert p[0, 0] > 0.6 > p[1, 0]
    assert p[1, 0] == pytest.approx(p[1, 2])


@pytest.mark.service
def test_with_one_voter_no_ties_and_flat_priors_utilities_are_those_of_choix_and_evalica() -> None:
    """Plain Bradley–Terry: one voter of fixed skill 1 that never lapses, no ties, pairs exactly at u_a − u_b."""
    chance = np.random.default_rng(11)
    strength, rows, met = np.linspace(-0.9, 0.9, 5), [], []
    for i in range(5):
        for j in range(i + 1, 5):
            wins = chance.random(60) < 1 / (1 + np.exp(strength[j] - strength[i]))
            met += [(i, j) if w else (j, i) for w in wins]
            rows += [(f"{i}{j} {k}", "v", float(w), 0.0, None) for k, w in enumerate(wins)]
    ids = [r[0] for r in rows]
    pairs = pl.DataFrame({"pair_id": ids, "response_a": [p[0] for p in ids], "response_b": [p[1] for p in ids]})
    rigid = WorkerPrior(skill=1.0, kind_skill_sd=1e-4, skill_sd=1e-4, kind_tie_sd=1e-4, tie_sd=1e-4, order_sd=1e-4,
                        kind_order_sd=1e-4, lapse=1e-9, kind_lapse_sd=1e-4, lapse_sd=1e-4, pair_sd=0.02, n_nodes=601,
                        item_sd=10.0, reach=0.3, tie=1e-9)  # fmt: skip
    fit = worker_bradley_terry(votes_of(rows), people("v"), pairs=pairs, prior=rigid)
    ours = fit.theta[fit.model.layout.items]
    theirs = choix.ilsr_pairwise(5, met)
    np.testing.assert_allclose(ours - ours.mean(), theirs - theirs.mean(), atol=2e-3)
    scores = evalica.bradley_terry([str(w) for w, _ in met], [str(n) for _, n in met], [evalica.Winner.X] * len(met),
                                   tolerance=1e-12).scores  # fmt: skip
    logs = np.log(scores[[str(i) for i in range(5)]].to_numpy())
    np.testing.assert_allclose(ours - ours.mean(), logs - logs.mean(), atol=2e-3)


def test_the_prior_can_be_replaced_and_matters() -> None:
    votes = votes_of([("p", "v", 1.0, 0.0, None)])
    dull, sharp = (worker_bradley_terry(votes, people("v"), prior=replace(WorkerPrior(), skill=s)) for s in (0.5, 8.0))
    assert dull.consensus.posteriors["p_a"][0] < sharp.consensus.posteriors["p_a"][0]
