"""Error-driven retrieval: label next what resembles the gold pairs that the current reward model gets wrong.

Stage 1 of Skywork-Reward-V2 (Liu et al. 2025, arXiv 2507.01352). With p = σ(Δ), Δ the model's margin towards
the known winner, a gold pair calls up k = 8 unverified pairs where p <= 1/2 and ⌈8 (1 − p)⌉ elsewhere, by
similarity of (prompt, attributes). The paper embeds with a language model; here an embedding is hashed words and
characters, with nothing fitted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import sparse
from scipy.special import expit
from sklearn.feature_extraction.text import HashingVectorizer

from curate.rewards.crossfit import require_out_of_fold
from schemas.errors import InputError, RefusedError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST = 8
"""pairs that a gold pair calls up when the model is wrong about it"""
GOLD_BLOCK, PAIR_BLOCK = 256, 8192
"""similarities held at a time: 2 M numbers, 16 MB, whatever the number of pairs"""
STEPS = 10**6
"""similarities are compared in steps of 1e-6, so that rounding never decides who is asked"""
LINKS: dict[str, pl.DataType] = {
    "gold_pair_id": pl.String(), "pair_id": pl.String(), "rank": pl.Int64(), "similarity": pl.Float64(),
    "p": pl.Float64(),
}
_PLACES = 2**40
"""a similarity and a place share one integer, so that of equal similarities the smaller id wins"""
_USES = ("calibrate", "steer")
_VECTORIZERS = (
    HashingVectorizer(n_features=2**18, ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]", norm="l2"),
    HashingVectorizer(n_features=2**18, analyzer="char_wb", ngram_range=(3, 5), norm="l2"),
)


def embedded(texts: Sequence[str]) -> sparse.csr_array:
    """(n, 2^19) rows whose products are cosines: half from words and pairs of words, half from 3 to 5 characters."""
    blocks = [sparse.csr_array(v.transform(texts)) for v in _VECTORIZERS]
    return sparse.csr_array(sparse.hstack(blocks, format="csr") * np.sqrt(0.5))


def n_wanted(p: Floats) -> Ints:
    """Pairs to retrieve at probability `p` of the known winner: 8 up to one half, ⌈8 (1 − p)⌉ beyond."""
    return np.where(p <= 0.5, MOST, np.ceil((MOST * (1 - p)).round(9))).astype(np.int64)


def confidence_on_gold(gold: pl.DataFrame, margins: pl.DataFrame) -> pl.DataFrame:
    """(pair_id, p) of the decided gold pairs that have a margin, sorted: p = σ(mean margin towards the winner).

    `gold` has pair_id, p_a, p_tie; a pair whose expected win is one half has no winner and is left out. `margins`
    keeps MARGINS, all out of fold: a model agrees with gold it was trained on. Raises RefusedError otherwise.
    """
    mean = require_out_of_fold(margins).sort("pair_id", "scorer").group_by("pair_id", maintain_order=True).agg(
        pl.col("margin").mean())
    side = (2 * pl.col("p_a") + pl.col("p_tie") - 1).round(9).sign().alias("side")
    rows = gold.select("pair_id", side).filter(pl.col("side") != 0).join(mean, on="pair_id").sort("pair_id")
    return rows.select("pair_id", pl.Series("p", expit((rows["side"] * rows["margin"]).to_numpy())))


def retrieve(gold: pl.DataFrame, confidence: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """(gold_pair_id, pair_id, rank, similarity, p): the pairs each gold pair calls up, the most similar first.

    `gold` has pair_id, use and prompt, `pairs` (unverified ones) pair_id and prompt; both may have `attributes`, a
    text that counts like words of the prompt. `confidence` is (pair_id, p) of gold. A gold pair itself is never
    called up, nor a pair that shares nothing with it. Raises RefusedError for gold of another use than steer or
    calibrate, InputError for a missing column, a pair twice or a p outside 0..1.
    """
    _check(gold, confidence, pairs)
    asking = gold.join(confidence, on="pair_id").sort("pair_id")
    shelf = pairs.join(gold, on="pair_id", how="anti").sort("pair_id")
    if not (asking.height and shelf.height):
        return pl.DataFrame(schema=LINKS)
    return pl.concat(_links(asking, shelf)).sort("gold_pair_id", "rank")


def retrieval_scores(links: pl.DataFrame) -> pl.DataFrame:
    """(pair_id, score), sorted by id: the sum over gold pairs of (1 − p) · similarity, of every pair called up.

    The paper labels the union of what was called up; a budget needs an order, and a pair that many bad
    errors point at comes first. Pairs nobody called up have no row.
    """
    pull = ((1 - pl.col("p")) * pl.col("similarity") * 1e9).round().cast(pl.Int64)
    return links.group_by("pair_id").agg((pull.sum() / 1e9).alias("score")).sort("pair_id")


def _check(gold: pl.DataFrame, confidence: pl.DataFrame, pairs: pl.DataFrame) -> None:
    for name, frame, needed in (("gold", gold, ("pair_id", "prompt", "use")), ("pairs", pairs, ("pair_id", "prompt"))):
        missing = [c for c in needed if c not in frame.columns]
        if missing or frame["pair_id"].is_duplicated().any():
            seen = f"without {missing}" if missing else "with a pair twice"
            raise InputError(f"{name} {seen}", expected=f"{needed}, one row per pair", next="mend the frame")
    others = sorted(set(gold["use"].unique()) - set(_USES))
    if others:
        raise RefusedError(
            f"{others} gold", expected=f"gold of use {' or '.join(_USES)}: what measures must not steer",
            next="filter the gold by its use",
        )
    if confidence.filter(~pl.col("p").is_between(0, 1).fill_null(False)).height:
        raise InputError("a p outside 0..1", expected="probabilities of the known winner", next="mend the frame")


def _links(asking: pl.DataFrame, shelf: pl.DataFrame) -> Iterator[pl.DataFrame]:
    for start in range(0, asking.height, GOLD_BLOCK):
        block = asking.slice(start, GOLD_BLOCK)
        places, similarity = _nearest(embedded(_described(block)), shelf)
        wanted = n_wanted(block["p"].to_numpy())[:, None]
        row, rank = np.nonzero((np.arange(places.shape[1]) < wanted) & (similarity > 0))
        yield pl.DataFrame({
            "gold_pair_id": block["pair_id"].gather(row), "pair_id": shelf["pair_id"].gather(places[row, rank]),
            "rank": rank, "similarity": similarity[row, rank], "p": block["p"].gather(row),
        }, schema=LINKS)


def _nearest(asking: sparse.csr_array, shelf: pl.DataFrame) -> tuple[Ints, Floats]:
    """Places in `shelf` of the nearest 8 and their cosines, (g, <= 8) each, the nearest first."""
    best: Ints = np.zeros((asking.shape[0], 0), np.int64)
    for start in range(0, shelf.height, PAIR_BLOCK):
        block = embedded(_described(shelf.slice(start, PAIR_BLOCK)))
        steps = np.rint((asking @ block.T).toarray() * STEPS).astype(np.int64)
        keys = np.hstack([best, steps * _PLACES - (start + np.arange(block.shape[0]))])
        best = _largest(keys)
    steps = -(-best // _PLACES)
    return steps * _PLACES - best, steps / STEPS


def _largest(keys: Ints) -> Ints:
    """The 8 largest of each row, the largest first; all of them where there are fewer."""
    top = np.partition(keys, -MOST, axis=1)[:, -MOST:] if keys.shape[1] > MOST else keys
    return np.asarray(-np.sort(-top, axis=1), np.int64)


def _described(rows: pl.DataFrame) -> list[str]:
    parts = ["prompt", "attributes"] if "attributes" in rows.columns else ["prompt"]
    return rows.select(pl.concat_str(parts, separator="\n", ignore_nulls=True)).to_series().to_list()
