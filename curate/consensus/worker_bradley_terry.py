"""Consensus of people, judges and reward models: Bradley–Terry with the skill, order bias and tie width of each voter.

The model is in `worker_model`: Davidson's ties (1970) on a latent difference per pair, voters that shrink to their
kind, kinds that see their own version of the pair, latents summed out, the parameters at their maximum a posteriori.

Deviations from the textbook, and why:
- Latents are summed out, not plugged in: a pair with one vote would otherwise be certain.
- A *family* speaks once per pair: its members share its say, as in `opinions`, and their priors too. A random effect
  per family would let an exact copy count for as much as its spread is small; shared say adds exactly nothing.
- Votes can lapse (as in MACE). Davidson alone ties the rate of ties at x = 0 to that of gross errors far from it:
  voters who recognise ties well would never name the wrong side.
- Utilities have unit scale and skills carry the rest, so one prior fits sharp and noisy data.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.optimize import fmin_l_bfgs_b
from scipy.sparse import csr_array

from curate.consensus.opinions import Consensus
from curate.consensus.outcomes import p_b
from curate.consensus.worker_model import N_TRAITS, Ballots, Floats, KindVotes, WorkerModel, WorkerPrior, log_normal
from curate.consensus.worker_model import table as outcome_table
from curate.consensus.worker_prediction import (
    Electorate,
    WorkerFit,
    kind_traits,
    posteriors_frame,
    voter_fits_frame,
)
from schemas.errors import InputError
from schemas.tables import POSTERIORS, VOTER_FITS, VOTER_KINDS

__all__ = ["WorkerFit", "WorkerPrior", "worker_bradley_terry"]

TOLERANCE = 1e-3
"""Largest slope left, per parameter in units of its standard deviation: each is within about that of its optimum.

Posteriors are stored in steps of 1/200. Against a tolerance of 1e-5 they move by at most 3e-5 on UKPConvArg1, 4e-4 on
LLMFAO, 6e-5 on PandaLM and on simulated votes: less than 1/2000. At 3e-3 it is up to 9e-4, at 1e-2 8e-3.
"""

_FIRST_STEPS = 10
"""after which the coordinates are drawn anew from the kinds' means found so far: lapses may then tell much less"""

_GRIDS = 4
"""at most: from 33 nodes two halvings reach the finest, from 17 three"""

_CURVATURE = 0.2
"""Information of a pair about a utility, roughly: only scales the steps."""

_MILLION = 10**6


def worker_bradley_terry(
    votes: pl.DataFrame, voters: pl.DataFrame, *, pairs: pl.DataFrame | None = None,
    prior: WorkerPrior | None = None, start: WorkerFit | None = None, max_iterations: int = 1000,
) -> WorkerFit:
    """Consensus and fits of voters from current votes, one row per vote and order.

    `votes` keep VOTES (`seq` may be there; rows not `cast` and abstentions are no opinions), of one criterion;
    `voters` keeps VOTERS; `pairs` (pair_id, response_a, response_b) makes responses that recur across voted pairs
    share a utility. Soft votes count by their expected log-likelihood. A voter's weights on a pair sum to 1, shared
    over its rows by `n`. `start` is an earlier fit whose parameters are taken up: fewer steps, same optimum.

    Posteriors are what an average *human* voter would say in neutral order (of the first kind in VOTER_KINDS when
    nobody human voted): unlike a latent class, that can be checked against votes held out, and it is what a soft
    label promises a trainer. How sure the model is of it is `p_sd`. Pairs without an opinion are absent.
    Raises InputError for mixed criteria and votes of unknown voters.
    """
    rows = _opinions(votes, voters)
    electorate, oriented = _electorate(rows, voters, pairs)
    ballots = _ballots(oriented, electorate)
    model = WorkerModel(ballots, prior or WorkerPrior())
    theta = _start(model, electorate, start)
    if rows.is_empty():
        empty = Consensus(POSTERIORS.empty(), VOTER_FITS.empty().drop("label_set"))
        return WorkerFit(empty, theta, model, electorate, model.beliefs(theta))
    model, theta, n_iterations, is_converged = _maximise(model, theta, max_iterations)
    beliefs = model.beliefs(theta)
    consensus = Consensus(
        posteriors_frame(model, theta, beliefs, electorate.pairs),
        voter_fits_frame(model, theta, beliefs, electorate.voters), n_iterations, is_converged,
    )
    return WorkerFit(consensus, theta, model, electorate, beliefs)


def _opinions(votes: pl.DataFrame, voters: pl.DataFrame) -> pl.DataFrame:
    """Rows with an opinion: who said what in which order, and its share of the voter's and the family's say."""
    cast = votes.filter(pl.col("status") == "cast", ~pl.col("is_abstention"))
    if cast["criterion"].n_unique() > 1:
        raise InputError(
            f"votes on criteria {cast['criterion'].unique().sort().to_list()}", expected="one criterion",
            next="filter the votes to the recipe's criterion",
        )
    rows = cast.join(voters.select("voter", "kind", "family"), on="voter", how="left")
    unknown = rows.filter(pl.col("kind").is_null())["voter"].unique().sort().to_list()
    if unknown:
        raise InputError(
            f"votes of unknown voters {unknown[:5]}", expected="a row in `voters` for each", next="ingest the voters"
        )
    order = pl.col("shown_first").replace_strict({"a": 1.0, "b": -1.0}, default=0.0, return_dtype=pl.Float64)
    members = pl.col("voter").n_unique().over("pair_id", "family")
    return rows.select(
        "pair_id", "voter", "kind", "criterion", "ballot_id", "p_a", "p_tie",
        p_b(pl.col("p_a"), pl.col("p_tie")).alias("p_b"), order.alias("order"),
        (pl.col("n") / pl.col("n").sum().over("pair_id", "voter")).alias("weight"), (1 / members).alias("share"),
    )


def _electorate(
    rows: pl.DataFrame, voters: pl.DataFrame, pairs: pl.DataFrame | None
) -> tuple[Electorate, pl.DataFrame]:
    """The names of pairs, voters and items, and the rows turned to the model's letters and sorted."""
    known = pl.DataFrame(schema={"pair_id": pl.String, "response_a": pl.String, "response_b": pl.String})
    named = known if pairs is None else pairs.select(known.columns).unique("pair_id", keep="any").sort("pair_id")
    signs = _signs(rows, named)
    is_human = pl.col("voter").filter(pl.col("kind") == "human")
    counts = rows.group_by("pair_id").agg(
        pl.col("voter").n_unique().cast(pl.Int64).alias("n_votes"), is_human.n_unique().cast(pl.Int64).alias("n_human"))
    people = rows.group_by("voter").agg(
        pl.col("kind", "criterion").first(), pl.col("pair_id").n_unique().cast(pl.Int64).alias("n_votes"),
        (pl.col("order") != 0).any().alias("is_ordered"))
    voted = named.join(signs, on="pair_id", how="semi")
    both = pl.concat([voted["response_a"], voted["response_b"]])
    recurring = both.filter(both.is_duplicated()).unique().sort()
    items = pl.DataFrame({"response": recurring, "item": pl.Series(range(len(recurring)), dtype=pl.Int64)})
    electorate = Electorate(
        signs.join(counts, on="pair_id").sort("pair_id"), people.sort("voter"), items, _numbered(named, items),
        dict(voters.select("voter", "kind").iter_rows()),
    )
    return electorate, _oriented(rows, signs)


def _numbered(named: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    for side, name in (("response_a", "first"), ("response_b", "second")):
        number = items.rename({"response": side, "item": name})
        named = named.join(number, on=side, how="left").with_columns(pl.col(name).fill_null(-1))
    return named.select("pair_id", "first", "second").sort("pair_id")


def _signs(rows: pl.DataFrame, named: pl.DataFrame) -> pl.DataFrame:
    """pair_id, sign: which way round the model reads a pair, by what does not depend on the letters.

    By the ids of the responses, else by who voted for which side (in integers, so that swapping the letters swaps
    the sign exactly), else by the slots. Swapped letters thus give the same arithmetic, not only the same optimum.
    """
    rank = pl.col("voter").rank("dense").cast(pl.Int64)
    lean = ((pl.col("p_a") - pl.col("p_b")) * _MILLION).round().cast(pl.Int64)
    by_vote = rows.with_columns(lean=lean * rank, slot=pl.col("order").cast(pl.Int64) * rank).group_by("pair_id").agg(
        pl.col("lean", "slot").sum().sign())
    by_id = (pl.when(pl.col("response_a") < pl.col("response_b")).then(1)
             .when(pl.col("response_a") > pl.col("response_b")).then(-1))
    turn = pl.coalesce(by_id, pl.when(pl.col("lean") != 0).then("lean"), pl.when(pl.col("slot") != 0).then("slot"), 1)
    return by_vote.join(named, on="pair_id", how="left").select("pair_id", turn.cast(pl.Float64).alias("sign"))


def _oriented(rows: pl.DataFrame, signs: pl.DataFrame) -> pl.DataFrame:
    is_ahead = pl.col("sign") > 0
    turned = rows.join(signs, on="pair_id").with_columns(
        pl.when(is_ahead).then("p_a").otherwise("p_b").alias("p_a"),
        pl.when(is_ahead).then("p_b").otherwise("p_a").alias("p_b"), pl.col("order") * pl.col("sign"),
    )
    return turned.sort("pair_id", "voter", "ballot_id", "order", "p_a", "p_tie", "weight").with_columns(
        pair=pl.col("pair_id").rank("dense").cast(pl.Int64) - 1, v=pl.col("voter").rank("dense").cast(pl.Int64) - 1)


def _ballots(rows: pl.DataFrame, electorate: Electorate) -> Ballots:
    kinds = [k for k in VOTER_KINDS if k in set(electorate.voters["kind"])]
    number = {k: g for g, k in enumerate(VOTER_KINDS) if k in kinds}
    place = electorate.voters["kind"].replace_strict(number, return_dtype=pl.Int64).rank("dense").cast(pl.Int64) - 1
    sides = electorate.pairs.join(electorate.unvoted, on="pair_id", how="left", maintain_order="left")
    is_ahead = sides["sign"].to_numpy() > 0
    first, second = (sides[c].fill_null(-1).to_numpy() for c in ("first", "second"))
    shares = rows.group_by("v").agg(pl.col("share").mean()).sort("v")["share"].to_numpy()
    return Ballots(
        tuple(_kind_votes(k, rows.filter(pl.col("kind") == k)) for k in kinds), electorate.pairs.height,
        electorate.voters.height, place.to_numpy(), np.where(is_ahead, first, second),
        np.where(is_ahead, second, first), electorate.items.height, shares,
    )


def _kind_votes(kind: str, rows: pl.DataFrame) -> KindVotes:
    rows = rows.with_columns(
        row=pl.col("pair").rank("dense").cast(pl.Int64) - 1,
        cell=pl.struct("v", "order").rank("dense").cast(pl.Int64) - 1, say=pl.col("weight") * pl.col("share"),
    )
    cells = rows.select("cell", "v", "order").unique().sort("cell")
    numbers = rows["pair"].unique().sort().to_numpy()
    say = rows.select(pl.col("p_a", "p_tie", "p_b") * pl.col("say")).to_numpy()
    column = rows["cell"].to_numpy()[:, None] * 3 + np.arange(3)
    at, is_said = np.repeat(rows["row"].to_numpy(), 3), say.ravel() > 0
    place = (at[is_said], column.ravel()[is_said])
    said = csr_array((say.ravel()[is_said], place), (len(numbers), 3 * cells.height))
    tie = float((say[:, 1].sum() + 0.1) / (say.sum() + 0.3))
    shares = np.array([(1 - tie) / 2, tie, (1 - tie) / 2])
    return KindVotes(kind, numbers, said, cells["v"].to_numpy(), cells["order"].to_numpy(), shares)


def _start(model: WorkerModel, electorate: Electorate, start: WorkerFit | None) -> Floats:
    """Parameters to begin with: of the earlier fit where it has them, else the prior's centre."""
    theta = model.centre.copy()
    if start is None:
        return theta
    names, earlier = _names(model, electorate), _names(start.model, start.electorate)
    for part, width in (("voters", N_TRAITS), ("kinds", N_TRAITS), ("items", 1), ("spreads", 1)):
        new = theta[getattr(model.layout, part)].reshape(-1, width)
        old = start.theta[getattr(start.model.layout, part)].reshape(-1, width)
        _take_up(new, old, names[part], earlier[part])
    return theta


def _names(model: WorkerModel, electorate: Electorate) -> dict[str, pl.Series]:
    """Of the parts of the layout, in its order."""
    kinds = pl.Series([k.kind for k in model.ballots.kinds], dtype=pl.String)
    return {"voters": electorate.voters["voter"], "kinds": kinds, "items": electorate.items["response"],
            "spreads": kinds[1:]}


def _take_up(new: Floats, old: Floats, names: pl.Series, old_names: pl.Series) -> None:
    numbers = pl.DataFrame({"name": old_names}).with_row_index("row")
    row = pl.DataFrame({"name": names}).join(numbers, on="name", how="left", maintain_order="left")["row"]
    is_known = row.is_not_null().to_numpy()
    new[is_known] = old[row.drop_nulls().to_numpy()]


def _maximise(model: WorkerModel, theta: Floats, max_iterations: int) -> tuple[WorkerModel, Floats, int, bool]:
    """L-BFGS in coordinates in which the curvature is about 1 in every direction, on grids that are fine enough."""
    n_iterations, is_converged = 0, False
    for n in (_FIRST_STEPS, *[max_iterations] * _GRIDS):
        left = min(n, max_iterations - n_iterations)
        if is_converged or left <= 0:
            break
        theta, n_taken, is_converged = _climb(model, theta, Coordinates(model, theta), left)
        n_iterations += n_taken
        finer = model.fine_enough(theta)
        model, is_converged = finer, is_converged and finer is model
    return model, theta, n_iterations, is_converged


def _climb(model: WorkerModel, theta: Floats, at: Coordinates, n: int) -> tuple[Floats, int, bool]:
    def loss(phi: Floats) -> tuple[float, Floats]:
        value, gradient = model.log_posterior(at.theta(phi))
        return -value, -at.gradient(gradient)

    found = fmin_l_bfgs_b(loss, at.phi(theta), m=20, factr=10.0, pgtol=TOLERANCE, maxiter=n)
    return at.theta(np.asarray(found[0])), int(found[2]["nit"]), found[2]["warnflag"] == 0


class Coordinates:
    """Parameters in units of their standard deviations, a voter's own freed of what its kind's mean explains.

    With c the information of a voter's votes about a trait and s, S the prior deviations of voter and kind, the
    curvature of a kind's mean and its voters' deviations is an arrow: Σ c + 1/S² for the mean, c + 1/s² for each
    deviation, c between them. Its Cholesky factor, the mean last, is a subtraction and a division; without it the
    mean creeps along a valley, as raising it and lowering every deviation changes next to nothing.
    """

    def __init__(self, model: WorkerModel, theta: Floats) -> None:
        self.layout, self.kind_of_voter = model.layout, model.ballots.kind_of_voter
        told = _information(model, theta)
        own = told + 1 / model.sd[self.layout.voters].reshape(-1, N_TRAITS) ** 2
        self.explained, self.own = told / own, np.sqrt(own)
        mean = 1 / model.sd[self.layout.kinds].reshape(-1, N_TRAITS) ** 2
        self.mean = np.sqrt(mean + self._by_kind(told * (1 - self.explained)))
        self.others = np.sqrt(_other_information(model))

    def theta(self, phi: Floats) -> Floats:
        """Parameters at these coordinates."""
        own, mean, others = self._parts(phi)
        mean = mean / self.mean
        return self._whole(own / self.own - self.explained * mean[self.kind_of_voter], mean, others / self.others)

    def phi(self, theta: Floats) -> Floats:
        """Coordinates of these parameters."""
        own, mean, others = self._parts(theta)
        return self._whole((own + self.explained * mean[self.kind_of_voter]) * self.own, mean * self.mean,
                           others * self.others)  # fmt: skip

    def gradient(self, by_theta: Floats) -> Floats:
        """By the coordinates, of the gradient by the parameters."""
        own, mean, others = self._parts(by_theta)
        return self._whole(own / self.own, (mean - self._by_kind(self.explained * own)) / self.mean,
                           others / self.others)  # fmt: skip

    def _parts(self, x: Floats) -> tuple[Floats, Floats, Floats]:
        """(V, 4) of voters, (G, 4) of kinds, the others."""
        voters, kinds = x[self.layout.voters].reshape(-1, N_TRAITS), x[self.layout.kinds].reshape(-1, N_TRAITS)
        return voters, kinds, x[self.layout.kinds.stop :]

    def _whole(self, own: Floats, mean: Floats, others: Floats) -> Floats:
        return np.concatenate([own.ravel(), mean.ravel(), others])

    def _by_kind(self, of_voters: Floats) -> Floats:
        sums = [np.bincount(self.kind_of_voter, column, self.layout.n_kinds) for column in of_voters.T]
        return np.column_stack(sums).astype(np.float64)


def _information(model: WorkerModel, theta: Floats) -> Floats:
    """(V, 4) about what its votes tell about a voter's traits: that of an average voter of the kind, by its votes."""
    b, told = model.ballots, np.zeros((model.layout.n_voters, N_TRAITS))
    for k in b.kinds:
        n_votes = np.bincount(k.voter, np.asarray(k.said.sum(0)).reshape(-1, 3).sum(1), b.n_voters)
        told += n_votes[:, None] * _information_of_a_vote(model, theta, k)
    return told


def _information_of_a_vote(model: WorkerModel, theta: Floats, votes: KindVotes) -> Floats:
    """(4) Fisher's, in both orders, were the latent seen: in units of ρ for the skill."""
    traits, order = kind_traits(model, theta, votes.kind), np.array([1.0, -1.0])
    says = outcome_table(order, np.vstack([traits, traits]), votes.shares, model.nodes)
    latent = np.exp(log_normal(model.nodes, np.zeros(1), np.ones(1))[0])
    square = says.scores(order, model.nodes) ** 2 * [traits[0] ** 2, 1.0, 1.0, 1.0]
    return np.asarray(np.einsum("k,cok,coki->i", latent, np.exp(says.logs), square) / len(order))


def _other_information(model: WorkerModel) -> Floats:
    """(U + G − 1) about the curvature of utilities and spreads: only scales the steps."""
    b, n = model.ballots, model.layout.n_items + 1
    meetings = np.bincount(np.concatenate([b.first, b.second]) + 1, minlength=n)
    told = np.concatenate([meetings[1:], [len(k.rows) for k in b.kinds[1:]]])
    return np.asarray(1 / model.sd[model.layout.kinds.stop :] ** 2 + _CURVATURE * told)
