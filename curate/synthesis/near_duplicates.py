"""Near-duplicate texts: Jaccard similarity of word 5-grams, exact, without comparing every two texts.

Tokens are lower-case words, single characters of scripts written without blanks, and punctuation marks.
A text of fewer than 5 words is cut into character 5-grams instead (the whole text when it is shorter
still), so short texts are near-duplicates only if they are nearly equal character by character.

Candidates share one of the rarest shingles: two sets of Jaccard similarity >= t have in common one of the
first n - ceil(t n) + 1 shingles in any fixed order (prefix filtering: Chaudhuri et al. 2006; Bayardo et al.
2007). No pair is missed and none is kept by chance, unlike MinHash, and no similarity depends on the hash.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from curate.synthesis.selection import Kept, checked, discarded
from schemas.errors import InputError

STAGE, REASON = "near_duplicates", "near_duplicate"
N = 5
"""tokens, or characters, in a shingle"""
MAX_CANDIDATES = 200_000
"""pairs of texts compared in one go: bounds memory, not the result (200,000 pairs of 200 shingles: 0.6 GB)"""
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD = rf"[{_UNSPACED}]|[[\p{{L}}\p{{N}}\p{{M}}_]--[{_UNSPACED}]]+"
_SLACK = 1e-9  # 0.7 * 10 is 7.000000000000001: rounding must not shorten a prefix

Ints = NDArray[np.int64]


def near_duplicate_responses(responses: pl.DataFrame, threshold: float) -> Kept:
    """Responses without near-duplicates among the responses to the same prompt.

    `responses` has response_id, prompt_id, text. Of each cluster (similar responses, transitively) the
    smallest response_id stays; the others are discarded as `near_duplicate`, `detail` naming the one that
    stays. Raises InputError for a threshold outside (0, 1], a missing column or a repeated response.
    """
    rows = checked(responses, ("response_id", "prompt_id", "text"), "responses").select(responses.columns)
    named = rows.select(id="response_id", block="prompt_id", text="text", is_known=pl.lit(False))
    return _told_apart(rows, "response_id", clusters(named, threshold), "response")


def near_duplicate_prompts(prompts: pl.DataFrame, threshold: float, *, known: pl.DataFrame | None = None) -> Kept:
    """Prompts without near-duplicates among themselves and `known`, prompts that are stored already.

    Both have prompt_id and text: what is asked, as `spoken` takes it from messages. As
    `near_duplicate_responses`, but a cluster that holds a known prompt keeps none of the new ones and names
    the smallest known one. A prompt that is itself known stays.
    """
    rows = checked(prompts, ("prompt_id", "text"), "prompts").select(prompts.columns)
    named = rows.select(id="prompt_id", text="text", is_known=pl.lit(False))
    if known is not None:
        stored = known.select(id="prompt_id", text="text", is_known=pl.lit(True)).unique("id", keep="any")
        named = pl.concat([named.join(stored, on="id", how="anti"), stored])
    return _told_apart(rows, "prompt_id", clusters(named.with_columns(block=pl.lit("")), threshold), "prompt")


def spoken(messages: pl.Expr) -> pl.Expr:
    """Text of the contents of JSON messages, without roles and braces, which all prompts share."""
    turns = messages.str.json_decode(pl.List(pl.Struct({"role": pl.String, "content": pl.String})))
    return turns.list.eval(pl.element().struct.field("content")).list.join("\n").alias("text")


def similarity(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    """Jaccard similarity of the shingles of two text columns, row by row, in [0, 1]."""
    return _jaccard(shingles(left), shingles(right)).alias("similarity")


def shingles(text: pl.Expr) -> pl.Expr:
    """List of the distinct shingles of each text, as 64-bit hashes.

    Of 10^7 distinct shingles any two share a hash with probability 3e-6.
    """
    plain = text.str.to_lowercase().str.strip_chars().str.replace_all(r"\s+", " ")
    words = _grams(plain.str.extract_all(rf"{_WORD}|\S"), "\x1f")
    short = pl.when(plain.str.len_chars() < N).then(pl.concat_list(plain)).otherwise(_grams(plain.str.split(""), ""))
    chosen = pl.when(plain.str.count_matches(_WORD) >= N).then(words).otherwise(short)
    return chosen.list.eval(pl.element().hash(seed=0)).list.unique()


def clusters(texts: pl.DataFrame, threshold: float, *, max_candidates: int = MAX_CANDIDATES) -> pl.DataFrame:
    """(id, keeper, n_in_cluster) of texts (id, block, text, is_known): similar ones within a block, transitively.

    The keeper of a cluster is its smallest known id, else its smallest id; a known text keeps itself.
    Raises InputError for a threshold outside (0, 1].
    """
    if not 0 < threshold <= 1:
        raise InputError(f"near-duplicate threshold {threshold}", expected="above 0, at most 1")
    ordered = texts.sort("block", "id").with_columns(shingles(pl.col("text")).alias("set")).with_row_index("at")
    labels = _components(ordered.select(pl.col("at").cast(pl.Int64), "block", "set"), threshold, max_candidates)
    member = ordered.select("id", "is_known", pl.Series("cluster", labels))
    first = pl.col("id").sort_by(~pl.col("is_known"), "id").first().over("cluster")
    keeper = pl.when("is_known").then("id").otherwise(first).alias("keeper")
    return member.with_columns(keeper, pl.len().over("cluster").alias("n_in_cluster")).select(
        "id", "keeper", "n_in_cluster").sort("id")


def _told_apart(rows: pl.DataFrame, key: str, clustered: pl.DataFrame, what: str) -> Kept:
    mine = clustered.join(rows, left_on="id", right_on=key, how="semi")
    others = mine.filter(pl.col("keeper") != pl.col("id"))
    left_out = others.select(row_id="id", reason=pl.lit(REASON), detail="keeper")
    kept = rows.join(others, left_on=key, right_on="id", how="anti")
    return Kept(kept.sort(key), discarded(left_out, what, STAGE))


def _grams(tokens: pl.Expr, separator: str) -> pl.Expr:
    steps = [pl.element().shift(-k) for k in range(N)]
    return tokens.list.eval(pl.concat_str(steps, separator=separator)).list.drop_nulls()


def _components(texts: pl.DataFrame, threshold: float, max_candidates: int) -> Ints:
    """Number of the cluster of each text (at, block, set)."""
    n = texts.height
    sets = texts.with_columns(pl.col("set").list.sort().hash(seed=0).alias("whole"))
    equal = sets.select("at", pl.col("at").first().over("block", "whole").alias("other"))
    labels = _joined(n, np.arange(n), equal.to_numpy())
    one_each = sets.unique(["block", "whole"], keep="first", maintain_order=True).drop("whole")
    postings = _postings(one_each, threshold)
    for part in _parts(_stars(postings), max_candidates):
        labels = _joined(n, labels, _similar(part.select("at", "other").unique(), one_each, threshold))
    for part in _parts(postings, max_candidates):
        # What is connected already need not be compared: most of a cluster of k texts costs k comparisons, not k².
        found = _candidates(part, postings, labels)
        labels = _joined(n, labels, _similar(found, one_each, threshold))
    return labels


def _postings(texts: pl.DataFrame, threshold: float) -> pl.DataFrame:
    """(at, key, n_before): each text under the shingles of its prefix, rarest first."""
    exploded = texts.with_columns(pl.col("set").list.len().alias("size")).explode("set", empty_as_null=False)
    rarity = pl.len().over("block", "set")
    ranked = exploded.with_columns(rarity.alias("rarity")).sort("at", "rarity", "set")
    prefix = pl.col("size") - (threshold * pl.col("size") - _SLACK).ceil() + 1
    first = ranked.filter(pl.int_range(pl.len()).over("at") < prefix)
    keyed = first.select("at", pl.struct("block", "set").hash(seed=1).alias("key")).sort("key", "at")
    return keyed.with_columns(pl.int_range(pl.len()).over("key").alias("n_before")).filter(pl.len().over("key") > 1)


def _stars(postings: pl.DataFrame) -> pl.DataFrame:
    """(at, other, n_before): each text beside the first one of each of its shingles."""
    first = postings.with_columns(pl.col("at").first().over("key").alias("other"), n_before=pl.lit(1))
    return first.filter(pl.col("at") != pl.col("other"))


def _parts(postings: pl.DataFrame, max_candidates: int) -> Iterator[pl.DataFrame]:
    """The postings in pieces whose texts meet at most about `max_candidates` earlier ones."""
    piece = (pl.col("n_before").cum_sum() // max_candidates).alias("piece")
    yield from (p.drop("piece") for p in postings.with_columns(piece).partition_by("piece", maintain_order=True))


def _candidates(part: pl.DataFrame, postings: pl.DataFrame, labels: Ints) -> pl.DataFrame:
    cluster = pl.DataFrame({"at": np.arange(len(labels)), "cluster": labels})
    reach = part.group_by("key").agg(pl.col("n_before").max().alias("reach"))
    here = postings.join(reach, on="key").filter(pl.col("n_before") <= pl.col("reach")).join(cluster, on="at")
    open_lists = here.filter(pl.col("cluster").n_unique().over("key") > 1).drop("reach")
    met = part.join(cluster, on="at").join(open_lists, on="key", suffix="_other")
    new = met.filter(pl.col("n_before_other") < pl.col("n_before"), pl.col("cluster") != pl.col("cluster_other"))
    return new.select("at", other="at_other").unique()


def _similar(found: pl.DataFrame, texts: pl.DataFrame, threshold: float) -> Ints:
    """(k, 2) rows of candidates that are similar enough."""
    sets = texts.select("at", "set", pl.col("set").list.len().cast(pl.Float64).alias("size"))
    both = found.join(sets, on="at").join(sets.rename({"at": "other"}), on="other", suffix="_other")
    least, most = pl.min_horizontal("size", "size_other"), pl.max_horizontal("size", "size_other")
    hopeful = both.filter(least >= threshold * most - _SLACK)
    close = hopeful.filter(_jaccard(pl.col("set"), pl.col("set_other")) >= threshold - _SLACK)
    return close.select("at", "other").cast(pl.Int64).to_numpy()


def _jaccard(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    common = left.list.set_intersection(right).list.len().cast(pl.Int64)
    return common / (left.list.len().cast(pl.Int64) + right.list.len().cast(pl.Int64) - common)


def _joined(n: int, labels: Ints, edges: Ints) -> Ints:
    """Clusters after joining those that an edge connects."""
    ends = np.concatenate([np.column_stack([np.arange(n), labels]), edges.reshape(-1, 2)])
    # a label is the number of a text, so that labels and edges connect the same nodes
    graph = coo_array((np.ones(len(ends), dtype=np.int8), (ends[:, 0], ends[:, 1])), shape=(n, n))
    _, component = connected_components(graph, directed=False)
    first = np.full(n, n, dtype=np.int64)
    np.minimum.at(first, component, np.arange(n))
    return np.asarray(first[component], dtype=np.int64)
