"""HyPER: a model of what a mix of human and AI labels is worth tells which pairs go to people.

Miranda et al. 2024, "Hybrid Preferences" (arXiv 2410.19133; code read). On pairs that have both labels, many mixes
are drawn: a random number of pairs keeps its human label, chosen feature by feature, the others take the AI's. A
reward model is trained on each mix and measured on human labels of other groups. A ridge regression from the mix's
features to that performance then says what one more human label with given features is worth. Unlike the published
code it reads *shares* of features among the human-routed rows, after what the size of the budget explains, and is
linear: a second degree without a penalty fits 200 mixes with a thousand terms. Its gains can be checked against
themselves shuffled (`permuted`): a router whose shuffled gains do as well has learned nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.stats import rankdata

from curate.rewards.features import PairFeatures, pair_features
from curate.rewards.heads import fit_head
from curate.rewards.linear import pair_loss
from curate.routing.hyper_features import hyper_features
from schemas.errors import InputError, RefusedError
from schemas.ids import fold_of_expr, seed_of, uniform_expr
from schemas.people import HyPER

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

N_FOLDS = 2
"""halves of the groups: each mix trains on one and is measured on the other"""
LEAST_PAIRS = 20
"""pairs with both labels, on each side of the split; on fewer a mix measures chance"""
HEAD_L2 = 1.0
SIZE = "human_share"
_LABELLED = ("pair_id", "group_id", "prompt", "text_a", "text_b", "p_ai", "p_human")
_ABOUT = ("mix", "fold", "performance", SIZE)
_GRID = 1e9


@dataclass(frozen=True)
class Performance:
    """What the mixes taught."""

    weights: pl.DataFrame
    """feature, weight: rise of performance when the feature's share among human labels rises by 1; sorted"""
    n_mixes: int
    rank_correlation: float
    """Spearman's, of performance beyond the budget's and what mixes of the other fold foresee; 0: nothing learned"""


def draw_mixes(features: pl.DataFrame, n: int, seed: int) -> Bools:
    """(n, rows): who keeps the human label in each of `n` mixes; `features` as of `hyper_features`, sorted.

    A mix has a random budget, 1 to the number of rows, and a random order of features; it takes rows that have the
    first feature, in random order, then those with the second, until the budget is spent.
    """
    has = features.drop("pair_id").to_numpy().astype(bool)
    n_rows, n_features = has.shape
    random = np.random.default_rng(seed_of("hyper mixes", seed))
    order = random.permuted(np.tile(np.arange(n_features, dtype=np.float64), (n, 1)), axis=1)
    turn = np.stack([np.where(has, places, n_features).min(axis=1) for places in order])
    queue = rankdata(turn + random.random((n, n_rows)), axis=1, method="ordinal")
    return np.asarray(queue <= random.integers(1, n_rows + 1, n)[:, None], np.bool_)


def measured_mixes(labelled: pl.DataFrame, features: pl.DataFrame, rule: HyPER, seed: int) -> pl.DataFrame:
    """One row per mix: mix, fold, performance, human_share, and the share of every feature among its human rows.

    `labelled` has pair_id, group_id, prompt, text_a, text_b, p_ai and p_human (expected wins of a, 0..1), one row
    per pair with both labels; `features` as of `hyper_features` on the same pairs. Mixes take turns: half are
    drawn from, and trained on, one half of the groups, and measured on the other. `performance` is the mean
    log-likelihood of p_human, in nats, of a linear head on style features: with some hundred pairs accuracy moves
    in steps too coarse. Raises RefusedError under 20 pairs in either half, InputError on missing columns.
    """
    rows = _checked(labelled)
    own = rows.select("pair_id").join(features, on="pair_id", how="left")
    if own.height != features.height or any(own.null_count().row(0)):
        raise InputError("features of other pairs than those labelled", expected="one row for each", next="join them")
    fold, texts = _folds(rows), pair_features(rows, ["style"])
    ends = np.linspace(0, rule.n_mixes, N_FOLDS + 1).astype(int)
    parts = [_measured(rows, own, texts, fold == k, (int(ends[k]), int(ends[k + 1])), seed) for k in range(N_FOLDS)]
    return pl.concat(part.with_columns(fold=pl.lit(k, dtype=pl.Int64)) for k, part in enumerate(parts)).select(
        *_ABOUT, *features.drop("pair_id").columns)


def fit_performance(mixes: pl.DataFrame, l2: float) -> Performance:
    """Ridge regression of performance on shares of features, from a frame of `measured_mixes`.

    Minimises |y − X w|² + l2 |w|² over residuals: what the fold and a parabola in human_share explain is taken out
    of y and X first, since a fold's difficulty or a budget's size is no merit of a feature. (With shuffled human
    labels the rank correlation was 0.70 on pandalm_test when the size was an ordinary regressor.) Raises InputError
    for an l2 that is not positive, RefusedError for fewer than four mixes in a fold.
    """
    if not l2 > 0:
        raise InputError(f"l2 = {l2}", expected="above 0: features overlap and their shares are collinear")
    names = [c for c in mixes.columns if c not in _ABOUT]
    ordered = mixes.sort("fold", "mix")
    fold, y = ordered["fold"].to_numpy(), ordered["performance"].to_numpy()
    if len(fold) == 0 or np.unique(fold, return_counts=True)[1].min() < 4:
        raise RefusedError(f"{mixes.height} mixes", expected="four or more measured in each fold", next="draw more")
    both = _beyond_budget(np.column_stack([y, ordered.select(names).to_numpy()]), ordered[SIZE].to_numpy(), fold)
    x, y = both[:, 1:], both[:, 0]
    foreseen = np.zeros(len(y))
    for k in np.unique(fold):
        foreseen[fold == k] = x[fold == k] @ _ridge(x[fold != k], y[fold != k], l2)
    weights = pl.DataFrame({"feature": names, "weight": _ridge(x, y, l2)}).sort("feature")
    return Performance(weights, len(y), _rank_correlation(foreseen, y, fold))


def scores(features: pl.DataFrame, performance: Performance) -> pl.DataFrame:
    """(pair_id, score), sorted: a pair's gain, the sum of the weights of its features.

    Predicted performance of k human labels is linear in the mean of their rows, so the k pairs of highest gain are
    the best mix of k that the model knows (`simulated_mixes` never find a better one). Features that no mix
    had count nothing.
    """
    known = performance.weights.filter(pl.col("feature").is_in(features.columns))
    gain = features.select(pl.col(known["feature"].to_list())).to_numpy() @ known["weight"].to_numpy()
    return features.select("pair_id", pl.Series("score", (gain * _GRID).round() / _GRID + 0.0)).sort("pair_id")


def simulated_mixes(features: pl.DataFrame, performance: Performance, k: int, n: int, seed: int) -> pl.DataFrame:
    """(mix, predicted, pair_ids) of `n` simulated mixes of `k` pairs each, best first: the paper's other way to route.

    `predicted` is performance over that of the mean pair. Raises InputError for a k beyond the pairs.
    """
    if not 0 < k <= features.height:
        raise InputError(f"{k} pairs of {features.height}", expected="at least one, at most all")
    rows = features.sort("pair_id")
    gain = scores(rows, performance)["score"].to_numpy()
    random = np.random.default_rng(seed_of("hyper simulated", seed))
    turn = draw_mixes(rows, n, seed) + random.random((n, rows.height))
    chosen = np.sort(np.argsort(-turn, axis=1, kind="stable")[:, :k], axis=1)
    predicted = (gain[chosen].mean(axis=1) - gain.mean()).round(9)
    ids = rows["pair_id"].to_numpy()[chosen].tolist()
    found = pl.DataFrame({"mix": np.arange(n), "predicted": predicted, "pair_ids": ids})
    return found.sort("predicted", "mix", descending=[True, False])


def permuted(scores: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The control: the same scores handed to other pairs, at random by content hash."""
    draw = uniform_expr(seed, [pl.lit("permuted gain"), "pair_id"])
    shuffled = scores.sort(draw, "pair_id")["score"]
    return scores.sort("pair_id").with_columns(shuffled)


def route_by_hyper(
    texts: pl.DataFrame, labelled: pl.DataFrame, rule: HyPER, seed: int, tags: pl.DataFrame | None = None
) -> pl.DataFrame:
    """(pair_id, score) of every pair in `texts`, from the pairs in `labelled` that have both labels; sorted.

    `texts` has pair_id, prompt, text_a, text_b; `labelled` is (pair_id, group_id, p_ai, p_human), `tags` as of
    `hyper_features`. Raises RefusedError where `measured_mixes` does: the caller then has no scores yet.
    """
    features = hyper_features(texts, tags)
    return scores(features, learned(texts, features, labelled, rule, seed))


def learned(
    texts: pl.DataFrame, features: pl.DataFrame, labelled: pl.DataFrame, rule: HyPER, seed: int
) -> Performance:
    """The performance model of the pairs in `labelled` (pair_id, group_id, p_ai, p_human) with known features."""
    both = labelled.select("pair_id", "group_id", "p_ai", "p_human").join(
        texts.select("pair_id", "prompt", "text_a", "text_b"), on="pair_id").sort("pair_id")
    mixes = measured_mixes(both, features.join(both, on="pair_id", how="semi").sort("pair_id"), rule, seed)
    return fit_performance(mixes, rule.l2)


def _checked(labelled: pl.DataFrame) -> pl.DataFrame:
    missing = [c for c in _LABELLED if c not in labelled.columns]
    if missing or labelled["pair_id"].is_duplicated().any():
        seen = f"labelled pairs without {missing}" if missing else "a pair labelled twice"
        raise InputError(seen, expected=f"{_LABELLED}, one row per pair", next="mend the frame")
    return labelled.select(_LABELLED).sort("pair_id")


def _folds(rows: pl.DataFrame) -> npt.NDArray[np.int64]:
    """(n,) half of each pair's group, a group's by its id alone."""
    fold = rows.select(fold_of_expr("group_id", N_FOLDS)).to_series().to_numpy()
    smallest = int(np.bincount(fold, minlength=N_FOLDS).min())
    if smallest < LEAST_PAIRS:
        raise RefusedError(
            f"{rows.height} pairs with both labels, {smallest} in the smaller half of the groups",
            expected=f"{LEAST_PAIRS} in each half", next="buy more votes, by the audit or at random",
        )
    return fold.astype(np.int64)


def _measured(
    rows: pl.DataFrame, features: pl.DataFrame, texts: PairFeatures, trains: Bools, numbers: tuple[int, int], seed: int
) -> pl.DataFrame:
    """Mixes number `numbers[0]` to `numbers[1]` − 1, trained on the rows of `trains` and measured on the others."""
    own, first = features.filter(trains), numbers[0]
    mixes = draw_mixes(own, numbers[1] - first, seed_of("mixes", seed, first))
    shares = (mixes @ own.drop("pair_id").to_numpy().astype(np.float64)) / mixes.sum(axis=1, keepdims=True)
    found = pl.DataFrame(shares, schema=own.columns[1:], orient="row")
    return found.with_columns(
        pl.Series("mix", np.arange(first, numbers[1])), pl.Series(SIZE, mixes.mean(axis=1)),
        pl.Series("performance", list(_performances(rows, texts, trains, mixes))),
    )


def _performances(rows: pl.DataFrame, texts: PairFeatures, trains: Bools, mixes: Bools) -> Iterator[float]:
    inside, outside = texts.take(trains), texts.take(~trains)
    p_ai, p_human = rows["p_ai"].to_numpy(), rows["p_human"].to_numpy()
    weights, n_out = np.ones(int(trains.sum())), np.ones(int((~trains).sum()))
    for mix in mixes:
        head = fit_head("linear", inside, np.where(mix, p_human[trains], p_ai[trains]), weights, HEAD_L2, 0)
        loss, _ = pair_loss(outside.margins(head.score(texts.items)), p_human[~trains], n_out)
        yield -loss / len(n_out)


def _beyond_budget(x: Floats, size: Floats, fold: npt.NDArray[np.int64]) -> Floats:
    """Residuals of the columns of `x` on 1, size, size², within each fold."""
    left = np.empty_like(x)
    for k in np.unique(fold):
        basis = np.linalg.qr(np.vander(size[fold == k], 3))[0]
        left[fold == k] = x[fold == k] - basis @ (basis.T @ x[fold == k])
    return left


def _ridge(x: Floats, y: Floats, l2: float) -> Floats:
    return np.asarray(np.linalg.solve(x.T @ x + l2 * np.eye(x.shape[1]), x.T @ y), np.float64)


def _rank_correlation(foreseen: Floats, y: Floats, fold: npt.NDArray[np.int64]) -> float:
    """Spearman's, ranks taken within a fold and centred; 0 where nothing varies."""
    ranks = np.zeros((len(y), 2))
    for k in np.unique(fold):
        mine = np.column_stack([rankdata(foreseen[fold == k]), rankdata(y[fold == k])])
        ranks[fold == k] = mine - mine.mean(axis=0)
    x, z = ranks.T
    scale = float(np.sqrt((x @ x) * (z @ z)))
    return float(x @ z) / scale if scale > 0 else 0.0
