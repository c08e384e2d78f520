"""What a worker-aware Bradley–Terry fit says: posteriors of pairs, traits of voters with intervals, future votes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from curate.consensus.opinions import WIN_OF, Consensus
from curate.consensus.worker_model import (
    N_TRAITS,
    Beliefs,
    Floats,
    Ints,
    KindVotes,
    Table,
    WorkerModel,
    kind_centre,
    log_normal,
)
from curate.consensus.worker_model import table as outcome_table
from schemas.errors import InputError
from schemas.tables import POSTERIORS, VOTER_FITS

_CHUNK = 20_000
"""Votes whose scores at every node are held at once: 20 MB."""

_ORDERS = {"a": 1.0, "b": -1.0}
_UNKNOWN_SHARES = np.full(3, 1 / 3)


@dataclass(frozen=True)
class Electorate:
    """The names behind the numbers of a fit."""

    pairs: pl.DataFrame
    """(P) pair_id, sign (−1: the model's a is the pair's b), n_votes, n_human; sorted by pair_id"""
    voters: pl.DataFrame
    """(V) voter, kind, criterion, n_votes, is_ordered (whether any order is known); sorted by voter"""
    items: pl.DataFrame
    """(U) response, item"""
    unvoted: pl.DataFrame
    """pair_id, first, second: pairs without a vote, by the items of their responses"""
    kinds: dict[str, str]
    """kind by voter, of all known voters"""


@dataclass(frozen=True)
class WorkerFit:
    """A fitted model: its consensus, and predictions of votes not yet cast."""

    consensus: Consensus
    theta: Floats
    """parameters, as `WorkerModel.layout` places them"""
    model: WorkerModel
    electorate: Electorate
    beliefs: Beliefs

    @property
    def n_iterations(self) -> int:
        return self.consensus.n_iterations

    @property
    def is_converged(self) -> bool:
        return self.consensus.is_converged

    def predict(
        self, pair_id: Sequence[str] | pl.Series, voter: Sequence[str] | pl.Series,
        shown_first: Sequence[str | None] | pl.Series,
    ) -> Floats:
        """(n, 3) probabilities of a, tie, b of a future vote of each voter on each pair in each order.

        A voter without votes is its kind's mean, one that `voters` did not name the reference kind's. A pair
        without votes is read from its responses' utilities where they have any, else from the prior. `shown_first`
        is "a", "b" or null. Raises InputError for lists of different lengths.
        """
        if not len(pair_id) == len(voter) == len(shown_first):
            raise InputError(
                f"{len(pair_id)} pairs, {len(voter)} voters, {len(shown_first)} orders", expected="as many of each"
            )
        pairs, voters = pl.Series(pair_id, dtype=pl.String), pl.Series(voter, dtype=pl.String)
        row, latent, sign = self._latents(pairs)
        order = pl.Series(shown_first, dtype=pl.String).replace_strict(_ORDERS, default=0.0, return_dtype=pl.Float64)
        kinds = voters.replace_strict(self.electorate.kinds, default=self._reference, return_dtype=pl.String)
        found = np.zeros((len(pairs), 3))
        for kind in kinds.unique().sort():
            at = (kinds == kind).to_numpy().nonzero()[0]
            read = self._as_seen(kind, row[at], latent[at])
            says = self._says(kind, voters.gather(at), (order.to_numpy() * sign)[at])
            found[at] = np.einsum("nok,nk->no", says, read)
        return np.where(sign[:, None] > 0, found, found[:, ::-1])

    @property
    def _reference(self) -> str:
        return self.model.ballots.kinds[0].kind if self.model.ballots.kinds else "human"

    def _latents(self, pair_id: pl.Series) -> tuple[Ints, Floats, Floats]:
        """Row of each pair (−1: no votes), its latent on the grid (n, K), and its sign."""
        known, asked = self.electorate.pairs.with_row_index("row"), pair_id.alias("pair_id").to_frame()
        joined = asked.join(known, on="pair_id", how="left", maintain_order="left").join(
            self.electorate.unvoted, on="pair_id", how="left", maintain_order="left"
        )
        row = joined["row"].cast(pl.Int64).fill_null(-1).to_numpy()
        first, second = (joined[c].fill_null(-1).to_numpy() for c in ("first", "second"))
        latent = np.exp(self._prior_of(first, second))
        latent[row >= 0] = self.beliefs.latent[row[row >= 0]]
        return row, latent, joined["sign"].fill_null(1.0).to_numpy()

    def _prior_of(self, first: Ints, second: Ints) -> Floats:
        spread = np.append(item_variances(self.model, self.beliefs), 0.0)
        variance = self.model.variance(first, second) + spread[first] + spread[second]
        return log_normal(self.model.nodes, self.model.centres(self.theta, first, second), variance)

    def _as_seen(self, kind: str, row: Ints, latent: Floats) -> Floats:
        """(n, K) belief about what the kind sees: its own posterior where it voted, else x with its spread."""
        names = [k.kind for k in self.model.ballots.kinds]
        if kind not in names[1:]:
            return latent
        g = names.index(kind)
        votes = self.model.ballots.kinds[g]
        blurred = latent @ self.model.transitions(self.theta)[g - 1]
        place = np.searchsorted(votes.rows, row)
        has_voted = np.append(votes.rows, -2)[place] == row
        blurred[has_voted] = self.beliefs.seen[g][place[has_voted]]
        return np.asarray(blurred)

    def _says(self, kind: str, voter: pl.Series, order: Floats) -> Floats:
        """(n, 3, K) probabilities of the outcomes."""
        known = self.electorate.voters.select("voter").with_row_index("row")
        row = voter.alias("voter").to_frame().join(known, on="voter", how="left", maintain_order="left")["row"]
        traits = np.vstack([self.model.traits(self.theta), kind_traits(self.model, self.theta, kind)])
        shares = next((k.shares for k in self.model.ballots.kinds if k.kind == kind), _UNKNOWN_SHARES)
        place = row.cast(pl.Int64).fill_null(-1).to_numpy()
        return np.exp(outcome_table(order, traits[place], shares, self.model.nodes).logs)


def kind_traits(model: WorkerModel, theta: Floats, kind: str) -> Floats:
    """(4) traits of an average voter of the kind; the prior's, where the kind did not vote."""
    means = theta[model.layout.kinds].reshape(-1, N_TRAITS)
    names = [k.kind for k in model.ballots.kinds]
    mean = means[names.index(kind)] if kind in names else np.array(kind_centre(model.prior))
    return np.append(np.exp(mean[0]), mean[1:])


def posteriors_frame(model: WorkerModel, theta: Floats, beliefs: Beliefs, pairs: pl.DataFrame) -> pl.DataFrame:
    """POSTERIORS: what an average voter of the reference kind would say in neutral order.

    `p_sd` is the posterior standard deviation of the expected win over the latent difference, and over the
    utilities it is centred on (delta method).
    """
    kind = model.ballots.kinds[0]
    says = outcome_table(np.zeros(1), kind_traits(model, theta, kind.kind)[None], kind.shares, model.nodes).logs
    p = beliefs.latent @ np.exp(says[0]).T
    ahead = pairs["sign"].to_numpy() > 0
    return POSTERIORS.complete(pairs.drop("sign").with_columns(
        pl.Series("p_a", np.clip(np.where(ahead, p[:, 0], p[:, 2]), 0, 1)), pl.Series("p_tie", np.clip(p[:, 1], 0, 1)),
        pl.Series("p_sd", _win_sd(model, beliefs, np.exp(says[0]).T @ WIN_OF))))


def _win_sd(model: WorkerModel, beliefs: Beliefs, win: Floats) -> Floats:
    latent, x, b = beliefs.latent, model.nodes, model.ballots
    mean = latent @ win
    variance = np.maximum(latent @ win**2 - mean**2, 0.0)
    if b.n_items:
        slope = (latent @ (win * x) - mean * (latent @ x)) / model.variances
        spread = np.append(item_variances(model, beliefs), 0.0)
        variance += slope**2 * (spread[b.first] + spread[b.second])
    return np.asarray(np.sqrt(variance))


def item_variances(model: WorkerModel, beliefs: Beliefs) -> Floats:
    """(U) posterior variance of each utility, the others held fixed."""
    b, n = model.ballots, model.layout.n_items + 1
    if n == 1:
        return np.zeros(0)
    spread = beliefs.latent @ model.nodes**2 - (beliefs.latent @ model.nodes) ** 2
    told = np.maximum(1 - spread / model.variances, 0.0) / model.variances
    met = np.bincount(b.first + 1, told, n) + np.bincount(b.second + 1, told, n)
    return np.asarray(1 / (1 / model.prior.item_sd**2 + met[1:]))


def voter_fits_frame(model: WorkerModel, theta: Floats, beliefs: Beliefs, voters: pl.DataFrame) -> pl.DataFrame:
    """VOTER_FITS less label_set: `skill` is γ (logits per unit of the latent difference, negative for an adversary)
    with the central 95 % of its normal approximation, `order_bias` is q (logits towards the first slot, null where
    no order is known), `tie_width` is λ = log ν.
    """
    traits = model.traits(theta)
    reach = 1.959963984540054 * np.sqrt(_trait_variances(model, theta, beliefs)[:, 0])
    known = pl.col("is_ordered")
    return VOTER_FITS.complete(voters.with_columns(
        pl.lit("").alias("label_set"), pl.Series("skill", traits[:, 0]),
        pl.Series("skill_low", traits[:, 0] - reach), pl.Series("skill_high", traits[:, 0] + reach),
        pl.when(known).then(pl.Series("order_bias", traits[:, 1])).alias("order_bias"),
        pl.Series("tie_width", traits[:, 2])).drop("kind", "is_ordered")).drop("label_set")


def _trait_variances(model: WorkerModel, theta: Floats, beliefs: Beliefs) -> Floats:
    """(V, 4) posterior variances of a voter's traits: inverse of its observed information (Louis 1982), which is
    what its votes would tell if the latents were seen less what is missing because they are not; with the prior.
    Other voters and kind means are held fixed, so intervals are a little narrow where voters are few.
    """
    n = model.ballots.n_voters
    told = np.zeros((n, N_TRAITS, N_TRAITS))
    for k, says, seen in zip(model.ballots.kinds, beliefs.tables, beliefs.seen, strict=True):
        told += _told(model, k, says, seen)
    values, vectors = np.linalg.eigh(told)
    told = (vectors * np.maximum(values, 0.0)[:, None]) @ vectors.transpose(0, 2, 1)
    scale = np.ones((n, N_TRAITS))
    scale[:, 0] = np.exp(theta[model.layout.kinds].reshape(-1, N_TRAITS)[model.ballots.kind_of_voter, 0])
    sd = model.sd[model.layout.voters].reshape(-1, N_TRAITS) * scale
    told[:, np.arange(N_TRAITS), np.arange(N_TRAITS)] += 1 / sd**2
    return np.asarray(np.linalg.inv(told).diagonal(axis1=1, axis2=2))


def _told(model: WorkerModel, votes: KindVotes, says: Table, seen: Floats) -> Floats:
    """(V, 4, 4) observed information of the votes of one kind."""
    scores = says.scores(votes.order, model.nodes)
    weight = (votes.said.T @ seen).reshape(says.logs.shape).sum(1)
    complete = np.einsum("ck,cok,coki,cokj->cij", weight, np.exp(says.logs), scores, scores, optimize=True)
    found = np.zeros((model.ballots.n_voters, N_TRAITS, N_TRAITS))
    np.add.at(found, votes.voter, complete)
    for voter, missing in _missing(votes, scores.reshape(-1, *scores.shape[2:]), seen):
        np.add.at(found, voter, -missing)
    return found


def _missing(votes: KindVotes, scores: Floats, seen: Floats) -> Iterator[tuple[Ints, Floats]]:
    """(n) voters and (n, 4, 4) posterior covariances of their scores on a pair, a chunk of votes at a time."""
    said = votes.said.tocoo()
    voter = votes.voter[said.coords[1] // 3]
    is_new = np.diff(said.coords[0], prepend=-1).astype(bool) | np.diff(voter, prepend=-1).astype(bool)
    starts = is_new.nonzero()[0]
    for begin in range(0, len(starts), _CHUNK):
        own = starts[begin : begin + _CHUNK]
        end = starts[begin + _CHUNK] if begin + _CHUNK < len(starts) else len(voter)
        part = slice(own[0], end)
        score = np.add.reduceat(scores[said.coords[1][part]] * said.data[part, None, None], own - own[0])
        belief = seen[said.coords[0][own]]
        mean = np.einsum("nk,nki->ni", belief, score)
        second = (score * belief[..., None]).transpose(0, 2, 1) @ score
        yield voter[own], second - mean[:, :, None] * mean[:, None]
