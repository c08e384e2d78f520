"""Cycles among the responses to one prompt: how much of what the voters say no ranking can hold, and where to ask.

The share by the Hodge decomposition of the vote graph (Jiang, Lim, Yao and Ye 2011, "Statistical ranking and
combinatorial Hodge theory"), the weakest pair of a cycle by widest paths (Schulze 2011).
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, csr_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from curate.consensus.opinions import Floats
from curate.consensus.outcomes import DECIMALS, expected_win
from schemas.errors import InputError

Ints = NDArray[np.int64]


def cyclic_share(pairs: pl.DataFrame, posteriors: pl.DataFrame) -> pl.DataFrame:
    """(prompt_id, n_responses, n_pairs, cyclic_share) of every prompt with a posterior, sorted by prompt_id.

    `pairs` has pair_id, prompt_id, response_a, response_b, `posteriors` keeps the contract POSTERIORS (InputError for
    one whose pair is unknown). A pair's flow is the log odds of its expected win with half a vote added to each side,
    its weight the number of votes: under Bradley–Terry flows are differences of strengths, and the share is 0. It is
    the weighted square of what the best strengths leave over, as a share of the weighted square of all flows: 0 for a
    ranking or no flow at all, 1 where everything goes in circles. Votes are noisy: with few per pair a share above 0
    is no proof of a cycle. Where responses meet in pairs only, nothing can be cyclic.
    """
    flows = _flows(pairs, posteriors)
    left = flows.with_columns(left=pl.Series(_residual(flows), dtype=pl.Float64))
    whole = (pl.col("weight") * pl.col("flow") ** 2).sum()
    cyclic = (pl.col("weight") * pl.col("left") ** 2).sum()
    n_responses = pl.concat([pl.col("response_a"), pl.col("response_b")]).n_unique()
    return left.sort("prompt_id", "pair_id").group_by("prompt_id", maintain_order=True).agg(
        n_responses.cast(pl.Int64).alias("n_responses"), pl.len().cast(pl.Int64).alias("n_pairs"),
        pl.when(whole > 0).then(cyclic / whole).otherwise(0.0).clip(0, 1).round(DECIMALS).alias("cyclic_share"),
    )


def weakest_pairs(pairs: pl.DataFrame, posteriors: pl.DataFrame) -> pl.DataFrame:
    """(pair_id, prompt_id, lead, cycle_lead): each pair that is the weakest of some cycle of wins, sorted by pair_id.

    A pair is won by the side that leads in expected win, by `lead` in (0, 1/2]; even pairs are won by nobody. A cycle
    is a round of wins within a prompt. `cycle_lead` is the least lead among the other pairs of the strongest such
    cycle: at least `lead`. Every cycle has a row; several of equal lead in one cycle all have. Inputs are
    those of `cyclic_share`.
    """
    wins = _wins(_flows(pairs, posteriors))
    rows = [_weakest(part) for part in wins.partition_by("part", maintain_order=True)]
    empty = wins.clear().select("pair_id", "prompt_id", "lead", cycle_lead="lead")
    return pl.concat([empty, *rows]).sort("pair_id")


def _flows(pairs: pl.DataFrame, posteriors: pl.DataFrame) -> pl.DataFrame:
    rows = posteriors.join(pairs.select("pair_id", "prompt_id", "response_a", "response_b"), on="pair_id", how="left")
    unknown = rows.filter(pl.col("prompt_id").is_null())["pair_id"].sort().to_list()
    if unknown:
        raise InputError(
            f"posteriors of {len(unknown)} unknown pairs, first {unknown[:3]}", expected="a row in `pairs` for each",
            next="read pairs and votes at the same moment",
        )
    win, n = expected_win(pl.col("p_a"), pl.col("p_tie")), pl.col("n_votes").cast(pl.Float64)
    # A difference of logs, not the log of a quotient: swapping the letters changes the sign alone.
    flow = (win * n + 0.5).log() - ((1 - win).round(12) * n + 0.5).log()
    return rows.filter(pl.col("n_votes") > 0).sort("pair_id").with_columns(
        flow=flow, weight=n, lead=(win - 0.5).round(DECIMALS))


def _residual(flows: pl.DataFrame) -> Floats:
    """(E) flow of each pair less the difference of the best strengths: weighted least squares, each part by itself."""
    names = pl.concat([flows["response_a"], flows["response_b"]]).rank("dense").cast(pl.Int64).to_numpy() - 1
    if not names.size:
        return np.zeros(0)
    first, second = np.split(names, 2)
    n, e = int(names.max()) + 1, flows.height
    signs = (np.repeat([1.0, -1.0], e), (np.tile(np.arange(e), 2), names))
    difference, weight = csr_array(coo_array(signs, (e, n))), flows["weight"].to_numpy()
    flow = flows["flow"].to_numpy()
    strengths = splu(_held(difference, weight, first, second)).solve(difference.T @ (weight * flow))
    return np.asarray(flow - difference @ strengths, np.float64)


def _held(difference: csr_array, weight: Floats, first: Ints, second: Ints) -> csc_array:
    """The weighted Laplacian, one response of each connected part held in place: the data leaves its origin free."""
    n = difference.shape[1]
    met = csr_array((np.ones(len(first)), (first, second)), (n, n))
    part = connected_components(met, directed=False)[1]
    held = np.unique(part, return_index=True)[1]
    corner = coo_array((np.ones(len(held)), (held, held)), (n, n))
    weighed = coo_array((weight, (np.arange(len(weight)), np.arange(len(weight)))))
    return csc_array(difference.T @ csr_array(weighed) @ difference + corner)


def _wins(flows: pl.DataFrame) -> pl.DataFrame:
    """Pairs won within one strong part of three or more responses, which is where cycles are: winner, loser, part."""
    is_a = pl.col("lead") > 0
    won = flows.filter(pl.col("lead") != 0).select(
        "pair_id", "prompt_id", pl.col("lead").abs(),
        winner=pl.struct("prompt_id", response=pl.when(is_a).then("response_a").otherwise("response_b")),
        loser=pl.struct("prompt_id", response=pl.when(is_a).then("response_b").otherwise("response_a")),
    )
    names = pl.concat([won["winner"], won["loser"]]).rank("dense").cast(pl.Int64).to_numpy() - 1
    winner, loser = np.split(names, 2)
    n = int(names.max()) + 1 if names.size else 0
    graph = csr_array((np.ones(len(winner)), (winner, loser)), (n, n))
    part = connected_components(graph, connection="strong")[1] if n else winner
    numbered = won.with_columns(winner=pl.Series(winner), loser=pl.Series(loser), part=pl.Series(part[winner]))
    return numbered.filter(pl.Series(part[winner] == part[loser], dtype=pl.Boolean))


def _weakest(wins: pl.DataFrame) -> pl.DataFrame:
    """Wins of one part whose loser comes back to the winner along wins that are no weaker."""
    _, places = np.unique(wins.select("winner", "loser").to_numpy(), return_inverse=True)
    winner, loser = places.reshape(-1, 2).T
    widest = np.zeros((places.max() + 1, places.max() + 1))
    np.maximum.at(widest, (winner, loser), wins["lead"].to_numpy())
    for k in range(len(widest)):
        widest = np.maximum(widest, np.minimum(widest[:, k, None], widest[None, k, :]))
    back = wins.with_columns(cycle_lead=pl.Series(widest[loser, winner]))
    return back.filter(pl.col("cycle_lead") >= pl.col("lead")).select("pair_id", "prompt_id", "lead", "cycle_lead")
