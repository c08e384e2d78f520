"""Item strengths at the maximum-likelihood solution: Bradley–Terry (1952) and Davidson's ties (1970).

Both are log-linear, hence convex in (strengths, log nu): Newton steps with a sparse Laplacian reach the
solution to machine precision. With x = s_i − s_j, the outcomes i, tie, j have logits x/2, log nu, −x/2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, csr_array, diags_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from schemas.errors import InputError, RefusedError

Floats = NDArray[np.float64]

LARGEST_DENSE = 3000
"""Standard errors need a dense inverse: 72 MB and 2 s at 3,000 items. Beyond it they are null."""


@dataclass(frozen=True)
class Davidson:
    """Strengths and the tie parameter: P(i beats j) : P(tie) : P(j beats i) = π_i : ν √(π_i π_j) : π_j."""

    strengths: pl.DataFrame
    """item, strength, se"""
    nu: float


@dataclass(frozen=True)
class Meetings:
    """Comparisons summed per unordered pair of items: E edges among n items."""

    items: pl.Series
    difference: csr_array
    """(E, n): +1 at the first item, −1 at the second"""
    wins: Floats
    """(E) won by the first"""
    losses: Floats
    ties: Floats
    has_ties: bool
    """whether a tie is an outcome of its own (Davidson) or half a win each (Bradley–Terry)"""


def fit_bradley_terry(wins: pl.DataFrame, l2: float = 0.0) -> pl.DataFrame:
    """Strengths (natural log odds) of items: item, strength, se; sorted by item.

    `wins` has winner, loser, weight (>= 0) and perhaps is_tie: a tie is half a win each. Maximises
    Σ w log σ(s_winner − s_loser) − l2/2 Σ s². Without `l2` strengths sum to 0 and the maximum exists only if
    every item can be reached from every other along wins (Ford 1957): RefusedError otherwise, disconnected
    graphs included, since strengths of parts that never met are not comparable. With `l2` > 0 any graph is
    fitted, each part around 0. `se` is from the inverse Hessian, null above 3,000 items.
    Raises InputError for a bad weight, an item against itself or l2 < 0.
    """
    return _fit(read_meetings(wins, has_ties=False), l2).strengths


def fit_davidson(wins: pl.DataFrame, l2: float = 0.0) -> Davidson:
    """As `fit_bradley_terry`, ties an outcome of their own: needs the column is_tie.

    Without any tie `nu` is 0 and the strengths are Bradley–Terry's; ties alone are refused (RefusedError).
    """
    if "is_tie" not in wins.columns:
        raise InputError("wins without is_tie", expected="a boolean column is_tie", next="use fit_bradley_terry")
    return _fit(read_meetings(wins, has_ties=True), l2)


def loss_and_gradient(theta: Floats, meetings: Meetings, l2: float) -> tuple[float, Floats]:
    """Penalised negative log-likelihood and its gradient at theta = (strengths, log nu), log nu absent without ties."""
    parts = _Parts(theta, meetings)
    m, n = meetings, len(meetings.items)
    loss = parts.n * parts.log_whole - (m.wins - m.losses) * parts.x / 2 - (m.ties * parts.log_nu if m.has_ties else 0)
    slope = parts.n * (parts.p_first - parts.p_second) / 2 - (m.wins - m.losses) / 2
    strengths = theta[:n]
    gradient = m.difference.T @ slope + l2 * strengths
    penalised = float(loss.sum() + l2 / 2 * strengths @ strengths)
    if not m.has_ties:
        return penalised, gradient
    return penalised, np.append(gradient, (parts.n * parts.p_tie - m.ties).sum())


class _Parts:
    def __init__(self, theta: Floats, meetings: Meetings) -> None:
        m = meetings
        self.n = m.wins + m.losses + (m.ties if m.has_ties else 0.0)
        self.x: Floats = m.difference @ theta[: len(m.items)]
        self.log_nu = float(theta[-1]) if m.has_ties else -np.inf
        self.log_whole = np.logaddexp(np.logaddexp(self.x / 2, -self.x / 2), self.log_nu)
        self.p_first = np.exp(self.x / 2 - self.log_whole)
        self.p_second = np.exp(-self.x / 2 - self.log_whole)
        self.p_tie = np.exp(self.log_nu - self.log_whole)


def read_meetings(wins: pl.DataFrame, *, has_ties: bool) -> Meetings:
    """Rows of `wins` summed per pair of items, in the order of the ids; InputError and RefusedError as the fits say."""
    rows = _checked(wins)
    items = pl.concat([rows["winner"], rows["loser"]]).unique().sort().alias("item")
    is_straight = pl.col("winner") < pl.col("loser")
    half = 0.0 if has_ties else 0.5
    won = pl.col("weight") * pl.when("is_tie").then(half).otherwise(is_straight.cast(pl.Float64))
    lost = pl.col("weight") * pl.when("is_tie").then(half).otherwise((~is_straight).cast(pl.Float64))
    tied = pl.col("weight") * (pl.col("is_tie") & pl.lit(has_ties))
    named = rows.select(
        pl.min_horizontal("winner", "loser").alias("first"), pl.max_horizontal("winner", "loser").alias("second"),
        won.alias("won"), lost.alias("lost"), tied.alias("tied"),
    ).sort(pl.all()).group_by("first", "second", maintain_order=True).agg(pl.all().implode())
    edges = named.with_columns(pl.col("won", "lost", "tied").list.sum())
    wins_, losses_, ties_ = (edges[c].to_numpy() for c in ("won", "lost", "tied"))
    return Meetings(items, _incidence(edges, items), wins_, losses_, ties_, has_ties)


def _checked(wins: pl.DataFrame) -> pl.DataFrame:
    rows = wins if "is_tie" in wins.columns else wins.with_columns(pl.lit(False).alias("is_tie"))
    is_bad = ~pl.col("weight").is_finite() | (pl.col("weight") < 0) | (pl.col("winner") == pl.col("loser"))
    if rows.filter(is_bad.fill_null(True)).height:
        raise InputError(
            "a weight that is negative or no number, or an item against itself", expected="weights >= 0, two items",
            next="filter those rows",
        )
    weighed = rows.filter(pl.col("weight") > 0)
    if weighed.is_empty():
        raise RefusedError("no comparisons", expected="at least one with a weight above 0", next="collect votes")
    return weighed


def _incidence(edges: pl.DataFrame, items: pl.Series) -> csr_array:
    place = pl.DataFrame({"item": items, "place": np.arange(len(items))})
    columns = [edges.join(place, left_on=c, right_on="item", how="left", maintain_order="left")["place"].to_numpy()
               for c in ("first", "second")]
    row = np.arange(edges.height)
    signs = np.repeat([1.0, -1.0], edges.height)
    return csr_array(coo_array((signs, (np.tile(row, 2), np.concatenate(columns))), (edges.height, len(items))))


def _fit(meetings: Meetings, l2: float) -> Davidson:
    if l2 < 0:
        raise InputError(f"l2 = {l2}", expected="0 or more", next="mend it")
    if meetings.has_ties and not meetings.ties.any():
        plain = Meetings(meetings.items, meetings.difference, meetings.wins, meetings.losses, meetings.ties, False)
        return _fit(plain, l2)
    _check_maximum(meetings, l2)
    theta = _newton(meetings, l2)
    n = len(meetings.items)
    strengths = theta[:n] if l2 else theta[:n] - theta[:n].mean()
    frame = pl.DataFrame({"item": meetings.items, "strength": strengths, "se": _errors(theta, meetings, l2)})
    nu = float(np.exp(theta[-1])) if meetings.has_ties else 0.0
    return Davidson(frame.with_columns(pl.col("se").fill_nan(None)), nu)


def _check_maximum(meetings: Meetings, l2: float) -> None:
    if meetings.has_ties and not (meetings.wins.any() or meetings.losses.any()):
        raise RefusedError("ties alone", expected="at least one win", next="collect more votes")
    if l2 > 0:
        return
    first, second = (meetings.difference > 0).nonzero()[1], (meetings.difference < 0).nonzero()[1]
    beats, loses = meetings.wins + meetings.ties > 0, meetings.losses + meetings.ties > 0
    start = np.concatenate([first[beats], second[loses]])
    end = np.concatenate([second[beats], first[loses]])
    n = len(meetings.items)
    n_parts = connected_components(csr_array((np.ones(len(start)), (start, end)), (n, n)), connection="strong")[0]
    if n_parts > 1:
        raise RefusedError(
            f"{n} items in {n_parts} parts that never lost to, or never met, the rest",
            expected="every item reachable from every other along wins", next="fit each part alone, or set l2 > 0",
        )


def _newton(meetings: Meetings, l2: float) -> Floats:
    theta = np.zeros(len(meetings.items) + meetings.has_ties)
    loss, gradient = loss_and_gradient(theta, meetings, l2)
    for _ in range(200):
        step = splu(_hessian(theta, meetings, l2)).solve(gradient)
        theta, lower, gradient = _backtrack(theta, step, loss, meetings, l2)
        if loss - lower <= 1e-14 * (1 + abs(lower)) and np.abs(step).max() < 1e-8:
            return theta
        loss = lower
    raise RefusedError("no maximum after 200 Newton steps", expected="convergence", next="set l2 > 0")


def _backtrack(
    theta: Floats, step: Floats, loss: float, meetings: Meetings, l2: float
) -> tuple[Floats, float, Floats]:
    scale = 1.0
    while True:
        trial = theta - scale * step
        lower, gradient = loss_and_gradient(trial, meetings, l2)
        # Near the optimum the loss moves by less than its rounding: a full step must not be halved for that.
        if lower <= loss + 1e-12 * (1 + abs(loss)) or scale < 1e-12:
            return trial, lower, gradient
        scale /= 2


def _hessian(theta: Floats, meetings: Meetings, l2: float) -> csc_array:
    """Second derivatives. Without l2 a corner term holds the first item in place: the data leaves the origin free."""
    parts, b, n = _Parts(theta, meetings), meetings.difference, len(meetings.items)
    sides = parts.p_first + parts.p_second
    curve = parts.n * (sides - (parts.p_first - parts.p_second) ** 2) / 4
    laplacian = b.T @ diags_array(curve) @ b + diags_array(np.full(n, l2))
    if not l2:
        corner = coo_array(([curve.sum() / len(curve)], ([0], [0])), (n, n))
        laplacian = laplacian + corner
    if not meetings.has_ties:
        return csc_array(laplacian)
    cross = b.T @ (-parts.n * parts.p_tie * (parts.p_first - parts.p_second) / 2)
    own = float((parts.n * parts.p_tie * (1 - parts.p_tie)).sum())
    return _bordered(laplacian, cross, own)


def _bordered(square: csr_array, edge: Floats, corner: float) -> csc_array:
    n = len(edge)
    inner = coo_array(square)
    rows = np.concatenate([inner.coords[0], np.arange(n), np.full(n, n), [n]])
    columns = np.concatenate([inner.coords[1], np.full(n, n), np.arange(n), [n]])
    return csc_array((np.concatenate([inner.data, edge, edge, [corner]]), (rows, columns)), (n + 1, n + 1))


def _errors(theta: Floats, meetings: Meetings, l2: float) -> Floats:
    n = len(meetings.items)
    if n > LARGEST_DENSE:
        return np.full(n, np.nan)
    covariance = np.linalg.inv(_hessian(theta, meetings, l2).toarray())[:n, :n]
    if not l2:
        covariance = covariance - covariance.mean(0) - covariance.mean(1)[:, None] + covariance.mean()
    return np.asarray(np.sqrt(np.diag(covariance)), np.float64)
