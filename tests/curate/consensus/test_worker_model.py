"""The likelihood of votes is what its formulas say, and its gradient is exact."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array

from curate.consensus.worker_bradley_terry import Coordinates
from curate.consensus.worker_model import Ballots, KindVotes, WorkerModel, WorkerPrior, log_normal, log_outcomes, table

SHARES = np.array([0.4, 0.2, 0.4])


def random_ballots(seed: int, n_items: int) -> Ballots:
    """Six pairs, three people and two judges in both orders, soft votes; one pair nobody of a kind voted on."""
    chance = np.random.default_rng(seed)

    def votes(kind: str, rows: list[int], voters: list[int]) -> KindVotes:
        said = chance.random((len(rows), 6 * len(voters))) * (chance.random((len(rows), 6 * len(voters))) < 0.4)
        order = np.tile([1.0, -1.0], len(voters))
        return KindVotes(kind, np.array(rows), csr_array(said), np.repeat(voters, 2), order, SHARES)

    kinds = (votes("human", [0, 1, 2, 4, 5], [0, 1, 2]), votes("judge", [0, 2, 3, 4], [3, 4]))
    first, second = (chance.integers(-1, n_items, 6) if n_items else np.full(6, -1) for _ in range(2))
    return Ballots(kinds, 6, 5, np.array([0, 0, 0, 1, 1]), first, second, n_items, np.array([1, 1, 1, 0.5, 0.5]))


@pytest.mark.parametrize("n_items", [0, 4])
def test_the_gradient_equals_finite_differences(n_items: int) -> None:
    model = WorkerModel(random_ballots(1, n_items), WorkerPrior(n_nodes=17))
    theta = model.centre + 0.4 * np.random.default_rng(2).normal(size=model.layout.size)
    steps = 1e-5 * np.eye(model.layout.size)
    measured = [(model.log_posterior(theta + s)[0] - model.log_posterior(theta - s)[0]) / 2e-5 for s in steps]
    assert np.abs(measured).min() > 1e-4  # every parameter matters here
    np.testing.assert_allclose(model.log_posterior(theta)[1], measured, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("n_items", [0, 4])
def test_coordinates_turn_back_and_take_the_gradient_along(n_items: int) -> None:
    model = WorkerModel(random_ballots(1, n_items), WorkerPrior(n_nodes=17))
    theta = model.centre + 0.4 * np.random.default_rng(2).normal(size=model.layout.size)
    at = Coordinates(model, theta)
    phi = at.phi(theta)
    np.testing.assert_allclose(at.theta(phi), theta, atol=1e-12)
    steps = 1e-5 * np.eye(model.layout.size)
    value = [[model.log_posterior(at.theta(phi + sign * s))[0] for s in steps] for sign in (1, -1)]
    measured = (np.array(value[0]) - np.array(value[1])) / 2e-5
    np.testing.assert_allclose(at.gradient(model.log_posterior(theta)[1]), measured, rtol=1e-6, atol=1e-6)


def test_outcomes_are_davidsons_and_mirror_exactly() -> None:
    z, width = np.array([[0.0, 3.0, -3.0]]), np.array([[0.5]])
    p = np.exp(log_outcomes(z, width))[0]
    whole = np.exp(1.5) + np.exp(0.5) + np.exp(-1.5)
    np.testing.assert_allclose(p[:, 1], [np.exp(1.5) / whole, np.exp(0.5) / whole, np.exp(-1.5) / whole])
    np.testing.assert_array_equal(p[:, 1], p[::-1, 2])


def test_extreme_skills_overflow_nowhere() -> None:
    logs = log_outcomes(np.array([[1e6, -1e6]]), np.array([[-1e5]]))
    assert np.isfinite(logs).all()
    assert np.exp(logs)[0, :, 0].tolist() == [1.0, 0.0, 0.0]


def test_a_voter_that_always_lapses_follows_the_shares_whatever_the_pair() -> None:
    says = table(np.ones(1), np.array([[5.0, 1.0, 0.0, 40.0]]), SHARES, np.array([-3.0, 3.0]))
    np.testing.assert_allclose(np.exp(says.logs[0]), [[0.4, 0.4], [0.2, 0.2], [0.4, 0.4]])


def test_the_marginal_likelihood_of_one_vote_is_the_integral_over_the_latent() -> None:
    nodes = np.linspace(-8, 8, 4001)
    votes = KindVotes("human", np.array([0]), csr_array([[1.0, 0.0, 0.0]]), np.array([0]), np.ones(1), SHARES)
    ballots = Ballots((votes,), 1, 1, np.array([0]), np.array([-1]), np.array([-1]), 0, np.ones(1))
    model = WorkerModel(ballots, WorkerPrior())
    theta = model.centre + 0.3
    says = table(np.ones(1), model.traits(theta), SHARES, nodes).logs[0, 0]
    exact = np.log((np.exp(log_normal(nodes, np.zeros(1), np.ones(1))[0] + says)).sum())
    assert model.beliefs(theta).value == pytest.approx(exact, abs=1e-5)


def test_what_another_kind_sees_costs_as_much_as_summing_both_latents_by_hand() -> None:
    ballots = random_ballots(3, 0)
    model = WorkerModel(ballots, WorkerPrior(n_nodes=9))
    theta = model.centre + 0.2 * np.random.default_rng(4).normal(size=model.layout.size)
    says = zip(ballots.kinds, model.tables(theta), strict=True)
    people, judges = (k.said @ t.logs.reshape(-1, len(model.nodes)) for k, t in says)
    prior, seen = np.exp(model.latent_prior(theta)[0]), model.transitions(theta)[0]
    joint = prior[:, None] * seen * np.exp(people[2][:, None] + judges[1])  # pair 2 is row 2 of people, 1 of judges
    np.testing.assert_allclose(model.beliefs(theta).latent[2], joint.sum(1) / joint.sum())
    np.testing.assert_allclose(model.beliefs(theta).seen[1][1], joint.sum(0) / joint.sum())


def test_a_finer_grid_changes_next_to_nothing() -> None:
    ballots = random_ballots(5, 4)
    coarse, fine = (WorkerModel(ballots, replace(WorkerPrior(), n_nodes=n)) for n in (33, 129))
    assert coarse.beliefs(coarse.centre).value == pytest.approx(fine.beliefs(fine.centre).value, abs=1e-3)
