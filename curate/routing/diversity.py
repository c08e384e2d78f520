"""Near-identical pairs: what is learned on one is half known of the next."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from schemas.ids import uniform_expr

CHOSEN = {"cluster": pl.String(), "n_chosen": pl.Int64()}
SHINGLE, N_BANDS, BAND_ROWS = 3, 8, 4
"""words per shingle; bands and rows of MinHash: texts are joined with probability ½ at a Jaccard index of 0.54,
with 99 % at 0.81 and 1 % at 0.19"""


def clusters(texts: pl.DataFrame) -> pl.DataFrame:
    """(pair_id, cluster) of pairs that share near-identical responses, sorted by pair_id.

    `texts` has pair_id, text_a, text_b. Both responses are taken as one bag of three-word shingles,
    whatever their letters; pairs whose MinHash signatures agree in a whole band are joined (Broder
    1997; Leskovec et al. 2020, ch. 3), and joined pairs are one cluster, named by its smallest
    pair_id. Time and memory are linear in the words, n log n in the pairs.
    """
    pairs = texts.select("pair_id").unique().sort("pair_id").with_row_index("row")
    keys = _bands(_shingles(texts)).join(pairs, on="pair_id").sort("row")
    first = pl.col("row").first().over("band", "key")
    edges = keys.select(start="row", end=first)
    n, ones = pairs.height, np.ones(edges.height, dtype=np.int8)
    graph = coo_array((ones, (edges["start"].to_numpy(), edges["end"].to_numpy())), shape=(n, n))
    _, of_pair = connected_components(graph, directed=False)
    named = pairs.with_columns(pl.Series("component", of_pair)).sort("pair_id")
    return named.select("pair_id", pl.col("pair_id").first().over("component").alias("cluster"))


def _shingles(texts: pl.DataFrame) -> pl.DataFrame:
    """(pair_id, shingle), distinct; a text of fewer words is one shingle of what it has."""
    sides = pl.concat([texts.select("pair_id", text=side) for side in ("text_a", "text_b")])
    words = pl.col("text").str.to_lowercase().str.extract_all(r"\w+")
    listed = sides.select("pair_id", words=words).with_columns(n=pl.col("words").list.len().cast(pl.Int64))
    starts = pl.int_ranges(0, (pl.col("n") - SHINGLE + 1).clip(lower_bound=1))
    each = listed.with_columns(start=starts).explode("start")
    shingle = pl.col("words").list.slice("start", SHINGLE).list.join(" ")
    return each.select("pair_id", shingle=shingle).unique()


def _bands(shingles: pl.DataFrame) -> pl.DataFrame:
    """(pair_id, band, key): the least draws of each pair's shingles, four to a key."""
    distinct = shingles.select("shingle").unique()
    draws = distinct.with_columns(
        uniform_expr(k, [pl.lit("minhash"), "shingle"]).alias(f"draw_{k}") for k in range(N_BANDS * BAND_ROWS)
    )
    least = shingles.join(draws, on="shingle").group_by("pair_id").agg(pl.col("^draw_.*$").min())
    def key(band: int) -> pl.Expr:
        return pl.struct(pl.col(f"draw_{band * BAND_ROWS + r}").alias(f"least_{r}") for r in range(BAND_ROWS))

    return pl.concat([least.select("pair_id", band=pl.lit(b), key=key(b)) for b in range(N_BANDS)])


def discounted(slots: pl.DataFrame, share: float, chosen: pl.DataFrame | None = None) -> pl.DataFrame:
    """Slots whose expected_gain and information fall by `share` for each better pair of their cluster.

    Within a cluster pairs are ranked by their first vote's gain, then information, chance and pair_id;
    the k-th is worth (1 − share)^k of its own; pairs that were `chosen` before, (cluster, n_chosen), come first and
    have no slot here. Greedy over these values is greedy over the diminishing ones, because what a pair loses depends
    only on how many better ones of its cluster there are.
    Without clusters or with share 0 slots come back as they are.
    """
    if share == 0 or slots["cluster"].is_null().all():
        return slots
    before = pl.DataFrame(schema=CHOSEN) if chosen is None else chosen
    best = slots.group_by("pair_id").agg(
        pl.col("cluster", "chance").first(), pl.col("expected_gain", "information").max()
    )
    ranked = best.filter(pl.col("cluster").is_not_null()).sort(
        "expected_gain", "information", "chance", "pair_id", descending=[True, True, False, False]
    ).join(before, on="cluster", how="left", maintain_order="left").select(
        "pair_id", place=pl.int_range(pl.len()).over("cluster") + pl.col("n_chosen").fill_null(0))
    kept = pl.lit(1 - share).pow(pl.col("place").fill_null(0))
    joined = slots.join(ranked, on="pair_id", how="left", maintain_order="left")
    return joined.with_columns(pl.col("expected_gain", "information") * kept).drop("place")
