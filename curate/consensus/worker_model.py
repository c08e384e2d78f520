"""Marginal likelihood of votes under worker-aware Bradley–Terry with ties and order bias, and its exact gradient.

Pair i has a latent difference x_i (a over b), normal around u_a − u_b where responses recur and around 0 elsewhere.
A voter v of kind g reads y = x where g is the reference kind (people, if there are any) and y = x + δ_{i,g},
δ ~ N(0, σ_g²), otherwise: one draw per pair and kind, so that judges agree with each other beyond what people see.
With o = +1 where a was shown first, −1 where b was, 0 unknown, the outcomes (a, tie, b) have logits
(z/2, λ_v, −z/2), z = γ_v y + q_v o (Davidson 1970), and with probability ε_v the vote is a lapse: it follows the
outcome shares of the kind, whatever the pair. γ_v = exp(μ_g)(1 + ρ_v); q_v, λ_v and logit ε_v are sums of a kind's
mean and the voter's own deviation.

All latents are summed out on one grid, made finer where voters turn out sharp. Because the grid is shared, what a vote
says at every node is a row of a small table (voter and order by outcome by node): a pair's log-likelihood is a sparse
product with that table and the gradient its transpose, so an evaluation costs two sparse products whatever the number
of parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import expit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

N_TRAITS = 4
"""of a voter and of a kind: skill, order bias, tie width, lapses"""

_SMALLEST = 1e-290

MOST_NODES = 129
"""A grid is not made finer beyond: 1 KB a pair."""

_WIDEST_STEP = 2.0
"""Change of the logit of a typical voter from node to node above which sums no longer stand for integrals: against
257 nodes, probabilities move by up to 6e-5 at 1.3 to 1.6 and 1e-2 at 3 (LLMFAO), and 0.3 at 13 (PandaLM)."""


@dataclass(frozen=True)
class KindVotes:
    """Votes of one kind of voters: C cells (voter, order), R pairs that the kind voted on."""

    kind: str
    rows: Ints
    """(R) numbers of the pairs, ascending"""
    said: csr_array
    """(R, 3 C) weight of outcome k (a, tie, b) said in cell c at column 3 c + k"""
    voter: Ints
    """(C) number of the voter"""
    order: Floats
    """(C) +1: a was shown first, −1: b, 0: unknown"""
    shares: Floats
    """(3) of the outcomes among all votes of the kind, a and b averaged: what a lapse says"""


@dataclass(frozen=True)
class Ballots:
    """All votes of one fit. The reference kind, whose latent is the pair's own, comes first."""

    kinds: tuple[KindVotes, ...]
    n_pairs: int
    n_voters: int
    kind_of_voter: Ints
    """(V) place in `kinds`"""
    first: Ints
    """(P) number of the first response's utility, −1: it has none"""
    second: Ints
    n_items: int
    own_share: Floats
    """(V) mean share of its family's say that is the voter's own: its weight in the prior"""


@dataclass(frozen=True)
class WorkerPrior:
    """Beliefs before the votes. Latent differences have unit scale, so skills are in logits per unit.

    Structure and numbers were chosen by the log-loss of hidden votes on a half of the groups of UKPConvArg1, LLMFAO
    and PandaLM.
    """

    skill: float = 2.0
    """median skill of a kind"""
    kind_skill_sd: float = 1.0
    """of the logarithm of a kind's skill"""
    kind_order_sd: float = 0.5
    kind_tie_sd: float = 2.0
    skill_sd: float = 0.45
    """of a voter's skill, relative to its kind's"""
    order_sd: float = 0.5
    tie_sd: float = 1.0
    lapse: float = 0.05
    """median share of a kind's votes that do not depend on the pair"""
    kind_lapse_sd: float = 1.0
    """of its log odds"""
    lapse_sd: float = 0.4
    tie: float = 1.0
    """median tie width ν of a kind"""
    item_sd: float = 1.0
    """of the utility of a response that recurs"""
    pair_sd: float = 0.4
    """spread of a pair around the difference of its responses' utilities. Fixed: together with plug-in utilities its
    maximum is at 0, and hidden votes are predicted worse there"""
    kind_sd: float = 0.8
    """spread of what another kind of voters sees around what the reference kind sees"""
    kind_log_sd: float = 0.02
    """of its logarithm: next to fixed, since two judges on LLMFAO pull it to 0.1 (marginal likelihood of all votes),
    and then help to predict people as good as nothing (log-loss 0.782, without judges 0.783, at 0.8 0.763)"""
    n_nodes: int = 33
    """of the first grid where responses recur; where none does it is narrower, at the same spacing"""
    reach: float = 4.0
    """the grid spans ± this many standard deviations of x"""


@dataclass(frozen=True)
class Layout:
    """Where the parameters are in one vector."""

    n_voters: int
    n_kinds: int
    n_items: int

    @property
    def voters(self) -> slice:
        """(V, 3) ρ, κ, τ"""
        return slice(0, N_TRAITS * self.n_voters)

    @property
    def kinds(self) -> slice:
        """(G, 3) μ, q, λ"""
        return slice(self.voters.stop, self.voters.stop + N_TRAITS * self.n_kinds)

    @property
    def items(self) -> slice:
        """(U) utilities"""
        return slice(self.kinds.stop, self.kinds.stop + self.n_items)

    @property
    def spreads(self) -> slice:
        """(G − 1) log σ of every kind but the reference"""
        return slice(self.items.stop, self.items.stop + max(self.n_kinds - 1, 0))

    @property
    def size(self) -> int:
        return int(self.spreads.stop)


@dataclass
class Beliefs:
    """What the votes say about the latents at given parameters."""

    value: float
    """log marginal likelihood"""
    prior: Floats
    """(P, K) prior of x on the grid; (1, K) where all pairs have the same"""
    latent: Floats
    """(P, K) posterior of x on the grid"""
    seen: list[Floats]
    """per kind (R, K): posterior of y, what the kind sees, on the pairs that it voted on"""
    joint: list[Floats]
    """per kind but the reference (K, K): summed posterior of (x, y)"""
    tables: list[Table]
    """per kind what each cell says at each node"""


class WorkerModel:
    """Log posterior of the parameters, and beliefs about the pairs."""

    def __init__(self, ballots: Ballots, prior: WorkerPrior) -> None:
        self.ballots, self.prior = ballots, prior
        self.layout = Layout(ballots.n_voters, len(ballots.kinds), ballots.n_items)
        self.nodes: Floats = _grid(prior, has_items=ballots.n_items > 0)
        self.variances = self.variance(ballots.first, ballots.second)
        self.centre, self.sd = _prior_of(self.layout, prior, ballots.own_share)

    def fine_enough(self, theta: Floats) -> WorkerModel:
        """Itself, or on a grid of half the spacing where skills are too sharp for this one; parameters carry over."""
        skills = np.exp(theta[self.layout.kinds].reshape(-1, N_TRAITS)[:, 0])
        n = 2 * self.prior.n_nodes - 1
        if n > MOST_NODES or skills.max() * (self.nodes[1] - self.nodes[0]) <= _WIDEST_STEP:
            return self
        return WorkerModel(self.ballots, replace(self.prior, n_nodes=n))

    def traits(self, theta: Floats) -> Floats:
        """(V, 4) skill γ, order bias q, log tie width λ, log odds of a lapse."""
        own, kind = self._own_and_kind(theta)
        return np.column_stack([np.exp(kind[:, 0]) * (1 + own[:, 0]), kind[:, 1:] + own[:, 1:]])

    def _own_and_kind(self, theta: Floats) -> tuple[Floats, Floats]:
        own = theta[self.layout.voters].reshape(-1, N_TRAITS)
        return own, theta[self.layout.kinds].reshape(-1, N_TRAITS)[self.ballots.kind_of_voter]

    def centres(self, theta: Floats, first: Ints, second: Ints) -> Floats:
        """(n) prior means of x of pairs of these items."""
        utilities = np.append(theta[self.layout.items], 0.0)
        return np.asarray(utilities[first] - utilities[second])

    def variance(self, first: Ints, second: Ints) -> Floats:
        """(n) prior variances of x: a response without a utility brings that of its utility; 1 without any."""
        if not self.layout.n_items:
            return np.ones(len(first))
        n_fresh = (first < 0).astype(np.int64) + (second < 0)
        return np.asarray(self.prior.pair_sd**2 + n_fresh * self.prior.item_sd**2, np.float64)

    def latent_prior(self, theta: Floats) -> Floats:
        """(P, K) log prior of x on the grid; (1, K) without utilities, where all pairs have the same."""
        if not self.layout.n_items:
            return log_normal(self.nodes, np.zeros(1), np.ones(1))
        return log_normal(self.nodes, self.centres(theta, self.ballots.first, self.ballots.second), self.variances)

    def transitions(self, theta: Floats) -> list[Floats]:
        """Per kind but the reference (K, K): probability of y by row of x."""
        variances = np.exp(2 * theta[self.layout.spreads])
        return [np.exp(log_normal(self.nodes, self.nodes, np.full(len(self.nodes), v))) for v in variances]

    def tables(self, theta: Floats) -> list[Table]:
        """Per kind what each cell says at each node."""
        traits = self.traits(theta)
        return [table(k.order, traits[k.voter], k.shares, self.nodes) for k in self.ballots.kinds]

    def beliefs(self, theta: Floats) -> Beliefs:
        """Posterior of the latents and the log marginal likelihood."""
        kinds, prior, tables = self.ballots.kinds, self.latent_prior(theta), self.tables(theta)
        told = [k.said @ t.logs.reshape(-1, len(self.nodes)) for k, t in zip(kinds, tables, strict=True)]
        logs = self._at_all_pairs(told)
        logs += prior
        messages = []
        for k, t, w in zip(kinds[1:], told[1:], self.transitions(theta), strict=True):
            top = t.max(1, keepdims=True)
            likely = np.exp(t - top)
            message = np.maximum(likely @ w.T, _SMALLEST)
            logs[k.rows] += np.log(message) + top
            messages.append((k.rows, likely, message, w))
        value, latent = _normalised(logs)
        seen, joint = [self._of_rows(latent, k.rows) for k in kinds[:1]], []
        for rows, likely, message, w in messages:
            outer = latent[rows] / message
            seen.append(likely * (outer @ w))
            joint.append((outer.T @ likely) * w)
        return Beliefs(value, np.exp(prior), latent, seen, joint, tables)

    def _at_all_pairs(self, told: list[Floats]) -> Floats:
        """(P, K) what the reference kind told, 0 where it said nothing; not copied where it voted on every pair."""
        if told and len(told[0]) == self.ballots.n_pairs:
            return told[0]
        logs = np.zeros((self.ballots.n_pairs, len(self.nodes)))
        if told:
            logs[self.ballots.kinds[0].rows] = told[0]
        return logs

    def _of_rows(self, latent: Floats, rows: Ints) -> Floats:
        return latent if len(rows) == len(latent) else latent[rows]

    def log_posterior(self, theta: Floats) -> tuple[float, Floats]:
        """Log marginal likelihood plus log prior, up to a constant, and its gradient."""
        beliefs = self.beliefs(theta)
        gradient = -(theta - self.centre) / self.sd**2
        value = beliefs.value - 0.5 * float((((theta - self.centre) / self.sd) ** 2).sum())
        self._add_votes(gradient, theta, beliefs)
        self._add_utilities(gradient, beliefs)
        for g, joint in enumerate(beliefs.joint):
            gradient[self.layout.spreads.start + g] += self._spread_slope(joint, theta, g)
        return value, gradient

    def _add_votes(self, gradient: Floats, theta: Floats, beliefs: Beliefs) -> None:
        layout, own = self.layout, gradient[self.layout.voters].reshape(-1, N_TRAITS)
        kinds = gradient[layout.kinds].reshape(-1, N_TRAITS)
        rho = theta[layout.voters].reshape(-1, N_TRAITS)[:, 0]
        scale = np.exp(theta[layout.kinds].reshape(-1, N_TRAITS)[:, 0])
        parts = zip(self.ballots.kinds, beliefs.tables, beliefs.seen, strict=True)
        for g, (k, table, seen) in enumerate(parts):
            slope = self.slopes(k, table, seen)
            by_voter = np.column_stack([np.bincount(k.voter, s, layout.n_voters) for s in slope.T])
            kinds[g] += [scale[g] * ((1 + rho) * by_voter[:, 0]).sum(), *by_voter[:, 1:].sum(0)]
            own += by_voter * [scale[g], 1.0, 1.0, 1.0]

    def slopes(self, votes: KindVotes, table: Table, seen: Floats) -> Floats:
        """(C, 4) derivatives of the log-likelihood by γ, q, λ and the log odds of a lapse of each cell."""
        said = (votes.said.T @ seen).reshape(table.logs.shape)
        heeded = said * table.heeded
        excess = heeded - heeded.sum(1, keepdims=True) * table.davidson
        pull = (excess[:, 0] - excess[:, 2]) / 2
        lapsed = (said - heeded).sum((1, 2)) - table.lapse * said.sum((1, 2))
        return np.column_stack([pull @ self.nodes, pull.sum(1) * votes.order, excess[:, 1].sum(1), lapsed])

    def _add_utilities(self, gradient: Floats, beliefs: Beliefs) -> None:
        if not self.layout.n_items:
            return
        b, n = self.ballots, self.layout.n_items + 1
        pull = ((beliefs.latent - beliefs.prior) @ self.nodes) / self.variances
        gradient[self.layout.items] += (np.bincount(b.first + 1, pull, n) - np.bincount(b.second + 1, pull, n))[1:]

    def _spread_slope(self, joint: Floats, theta: Floats, g: int) -> float:
        variance = np.exp(2 * theta[self.layout.spreads][g])
        square = (self.nodes[:, None] - self.nodes) ** 2 / variance
        expected = (self.transitions(theta)[g] * square).sum(1, keepdims=True)
        return float((joint * (square - expected)).sum())


@dataclass(frozen=True)
class Table:
    """What C cells (voter, order) say at K nodes."""

    logs: Floats
    """(C, 3, K) log probabilities of a, tie, b"""
    davidson: Floats
    """(C, 3, K) the same without lapses"""
    heeded: Floats
    """(C, 3, K) probability that such a vote was no lapse"""
    lapse: Floats
    """(C) share of lapses"""

    def scores(self, order: Floats, nodes: Floats) -> Floats:
        """(C, 3, K, 4) derivatives of the log probabilities by γ, q, λ and the log odds of a lapse."""
        p = self.davidson
        slope = np.array([0.5, 0.0, -0.5])[:, None] - (p[:, 0, None] - p[:, 2, None]) / 2
        is_tie = np.array([0.0, 1.0, 0.0])[:, None]
        z = self.heeded * slope
        lapsed = 1 - self.heeded - self.lapse[:, None, None]
        parts = [z * nodes, z * order[:, None, None], self.heeded * (is_tie - p[:, 1, None]), lapsed]
        return np.stack(parts, axis=-1)


def table(order: Floats, traits: Floats, shares: Floats, nodes: Floats) -> Table:
    """Probabilities of the outcomes for orders (C) and traits (C, 4): Davidson's, mixed with lapses."""
    z = traits[:, 0, None] * nodes + (traits[:, 1] * order)[:, None]
    davidson = np.exp(log_outcomes(z, traits[:, 2, None]))
    lapse: Floats = expit(traits[:, 3])
    attentive = (1 - lapse)[:, None, None] * davidson
    whole = attentive + lapse[:, None, None] * shares[:, None]
    return Table(np.log(whole), davidson, attentive / whole, lapse)


def log_outcomes(z: Floats, width: Floats) -> Floats:
    """(C, 3, K) log probabilities of a, tie, b for z (C, K) and log tie widths (C, 1): Davidson (1970)."""
    half = z / 2
    side, tie = np.abs(half), np.broadcast_to(width, z.shape)
    whole = np.maximum(side, tie)
    whole = whole + np.log(np.exp(side - whole) + np.exp(tie - whole) + np.exp(-side - whole))
    return np.stack([half - whole, tie - whole, -half - whole], axis=1)


def log_normal(nodes: Floats, means: Floats, variances: Floats) -> Floats:
    """(n, K) log of normal densities on the grid, each row normalised to sum 1."""
    logs = -((nodes - means[:, None]) ** 2) / (2 * variances[:, None])
    logs = logs - logs.max(1, keepdims=True)
    return np.asarray(logs - np.log(np.exp(logs).sum(1, keepdims=True)))


def _normalised(logs: Floats) -> tuple[float, Floats]:
    """Sum of the log totals of the rows, and the rows as probabilities (in place)."""
    top = logs.max(1, keepdims=True)
    logs -= top
    np.exp(logs, out=logs)
    total = logs.sum(1, keepdims=True)
    logs /= total
    return float((top + np.log(total)).sum()), logs


def _grid(prior: WorkerPrior, *, has_items: bool) -> Floats:
    """(K) nodes, odd in number so that they mirror about one at 0."""
    widest = float(np.sqrt(prior.pair_sd**2 + 2 * prior.item_sd**2))
    if has_items:
        return np.linspace(-1.0, 1.0, prior.n_nodes) * prior.reach * widest
    n_each = int(np.ceil((prior.n_nodes - 1) / 2 / max(widest, 1.0)))
    return np.linspace(-1.0, 1.0, 2 * n_each + 1) * prior.reach


def _prior_of(layout: Layout, prior: WorkerPrior, own_share: Floats) -> tuple[Floats, Floats]:
    """Means and standard deviations of the normal priors of all parameters."""
    p, (centre, sd) = prior, (np.zeros(layout.size), np.ones(layout.size))
    sd[layout.voters] = np.outer(1 / np.sqrt(own_share), [p.skill_sd, p.order_sd, p.tie_sd, p.lapse_sd]).ravel()
    centre[layout.kinds] = np.tile(kind_centre(prior), layout.n_kinds)
    sd[layout.kinds] = np.tile([p.kind_skill_sd, p.kind_order_sd, p.kind_tie_sd, p.kind_lapse_sd], layout.n_kinds)
    sd[layout.items] = p.item_sd
    centre[layout.spreads], sd[layout.spreads] = np.log(p.kind_sd), p.kind_log_sd
    return centre, sd


def kind_centre(prior: WorkerPrior) -> list[float]:
    """Prior means of a kind: log skill, order bias, log tie width, log odds of a lapse."""
    return [float(np.log(v)) for v in (prior.skill, 1.0, prior.tie, prior.lapse / (1 - prior.lapse))]
