"""Few-shot gold: for each pair, the calibrate-gold pairs of the most similar prompts, as judged examples.

Skywork-Reward-V2 (Liu et al. 2025) retrieves up to eight verified pairs by similarity of prompt and attributes and
calls their responses "Candidate 1/2", in random order. Here similarity is the cosine of hashed words and characters,
with nothing fitted: another gold pair changes the examples, and so the paid-for calls, only of the pairs that it is
similar to.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer

from curate.consensus.outcomes import verdict
from curate.judging.rendering import conversation, parts_of
from schemas.errors import InputError, RefusedError
from schemas.ids import content_id_expr

MAX_SHOTS = 8
BLOCK = 256
"""prompts compared with all gold at a time"""
_SHOT = {"pair_id": pl.String(), "gold_pair_id": pl.String(), "rank": pl.Int64(), "similarity": pl.Float64()}
_STEPS = 10**6
_VECTORIZERS = (
    HashingVectorizer(n_features=2**18, ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]", norm="l2"),
    HashingVectorizer(n_features=2**18, analyzer="char_wb", ngram_range=(3, 5), norm="l2"),
)
_NEEDED = ("pair_id", "prompt", "group_id")
_ABOUT = ("about", "prompt", "group_id")

IntArray = npt.NDArray[np.int64]


def choose_shots(pairs: pl.DataFrame, gold: pl.DataFrame, n: int) -> pl.DataFrame:
    """(pair_id, gold_pair_id, rank, similarity): up to `n` gold pairs for each pair, the most similar first.

    `pairs` has pair_id, prompt and group_id, `gold` these and `use`; both may have `attributes` (a text, nulls
    allowed), which then count like words of the prompt. A gold pair of the pair's own group or prompt is never
    chosen, nor one that shares nothing with it; ties go to the smaller id. Similarity is a cosine in steps of
    1e-6. Raises RefusedError for gold of a use other than calibrate, InputError for n beyond 0..8.
    """
    _check(pairs, gold, n)
    asked, known = _described(pairs), _described(gold).sort("pair_id")
    if not (n and asked.height and known.height):
        return pl.DataFrame(schema=_SHOT)
    questions = asked.select(_ABOUT).unique().sort(_ABOUT)
    shots = pl.concat(_nearest(questions, known, n))
    return asked.join(shots, on=_ABOUT).select(_SHOT.keys()).sort("pair_id", "rank")


def examples_of(shots: pl.DataFrame, gold: pl.DataFrame) -> pl.DataFrame:
    """(pair_id, examples): context for `verdicts.plan_served`, one row per pair that has shots, sorted by id.

    `shots` come from `choose_shots`, `gold` has pair_id, prompt, text_a, text_b, p_a, p_tie and perhaps system. An
    example shows its conversation and Candidate 1 and 2, in an order fixed by a hash of their texts, and ends with the
    known verdict.
    """
    rows = gold.join(shots.select(pair_id="gold_pair_id").unique(), on="pair_id", how="semi").sort("pair_id")
    shown = pl.DataFrame({"gold_pair_id": rows["pair_id"], "parts": pl.Series(_parts(rows), dtype=pl.List(pl.String))})
    listed = shots.sort("pair_id", "rank").join(shown, on="gold_pair_id", maintain_order="left").explode("parts")
    return listed.group_by("pair_id", maintain_order=True).agg(pl.col("parts").alias("examples"))


def _check(pairs: pl.DataFrame, gold: pl.DataFrame, n: int) -> None:
    if not 0 <= n <= MAX_SHOTS:
        raise InputError(f"{n} examples", expected=f"0 to {MAX_SHOTS}", next="choose a number between")
    for name, frame, needed in (("pairs", pairs, _NEEDED), ("gold", gold, (*_NEEDED, "use"))):
        missing = [c for c in needed if c not in frame.columns]
        if missing or frame["pair_id"].is_duplicated().any():
            seen = f"without {missing}" if missing else "with a pair twice"
            raise InputError(f"{name} {seen}", expected=f"{needed}, one row per pair", next="mend the frame")
    other = sorted(set(gold["use"].unique()) - {"calibrate"})
    if other:
        raise RefusedError(
            f"examples from {other} gold", expected="calibrate gold only: what measures must not be shown",
            next="filter gold by use = 'calibrate'",
        )


def _described(rows: pl.DataFrame) -> pl.DataFrame:
    """pair_id and _ABOUT: `about` is what similarity reads, all turns of the prompt and its attributes."""
    distinct = rows["prompt"].unique(maintain_order=True)
    said = ["\n".join(content for _, content in conversation(prompt)) for prompt in distinct]
    words = pl.DataFrame({"prompt": distinct, "about": said}, schema_overrides={"about": pl.String})
    tags = pl.col("attributes") if "attributes" in rows.columns else pl.lit(None, pl.String)
    about = pl.concat_str("about", tags, separator="\n", ignore_nulls=True)
    return rows.join(words, on="prompt", maintain_order="left").select("pair_id", about, "prompt", "group_id")


def _nearest(questions: pl.DataFrame, known: pl.DataFrame, n: int) -> Iterator[pl.DataFrame]:
    """_ABOUT, gold_pair_id, rank, similarity of each block of questions."""
    texts = known["about"].unique().sort()
    vectors, where = _vectors(texts).T.tocsc(), texts.search_sorted(known["about"]).to_numpy()
    codes = [_codes(questions[c], known[c]) for c in ("group_id", "prompt")]
    for at in range(0, questions.height, BLOCK):
        block = questions.slice(at, BLOCK)
        similarity = (_vectors(block["about"]) @ vectors).toarray()[:, where]
        is_barred = sum(asked[at : at + BLOCK, None] == gold[None, :] for asked, gold in codes) > 0
        rows, columns, rank, steps = _top(np.rint(similarity * _STEPS).astype(np.int64), is_barred, n)
        yield block[rows].with_columns(
            known["pair_id"][columns].alias("gold_pair_id"), pl.Series("rank", rank),
            pl.Series("similarity", steps / _STEPS),
        )


def _top(steps: IntArray, is_barred: npt.NDArray[np.bool_], n: int) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """(row, column, rank from 1, steps) of the n largest of each row; equal ones by column, barred and <= 0 never."""
    size = steps.shape[1]
    keys = np.where(is_barred | (steps <= 0), 0, steps * size + np.arange(size)[::-1])  # all different: one answer
    n = min(n, size)
    best = np.argpartition(keys, size - n, axis=1)[:, size - n :]
    best = np.take_along_axis(best, np.argsort(-np.take_along_axis(keys, best, axis=1), axis=1), axis=1)
    rows, ranks = np.nonzero(np.take_along_axis(keys, best, axis=1))
    columns = best[rows, ranks]
    return rows, columns, ranks + 1, steps[rows, columns]


def _codes(asked: pl.Series, known: pl.Series) -> tuple[IntArray, IntArray]:
    """Equal integers for equal texts of the two columns."""
    names = pl.concat([asked, known]).unique().sort()
    found = (names.search_sorted(column).to_numpy().astype(np.int64) for column in (asked, known))
    return next(found), next(found)


def _vectors(texts: pl.Series) -> sparse.csr_array:
    """(n, features) of length one: words and characters count half each."""
    halves = [sparse.csr_array(v.transform(texts.to_list())) * np.sqrt(0.5) for v in _VECTORIZERS]
    stacked: sparse.csr_array = sparse.hstack(halves, format="csr")
    return stacked


def _parts(gold: pl.DataFrame) -> list[list[str]]:
    """What is shown of each gold pair; its letters decide nothing."""
    first = pl.when(_mark("text_a") <= _mark("text_b")).then(pl.lit("a")).otherwise(pl.lit("b"))
    told = gold.select(
        pl.col("system") if "system" in gold.columns else pl.lit(None, pl.String).alias("system"),
        "prompt", pl.when(first == "a").then("text_a").otherwise("text_b").alias("first"),
        pl.when(first == "a").then("text_b").otherwise("text_a").alias("second"),
        pl.when(_truth() == "tie").then(pl.lit("both are equally good"))
        .when(_truth() == first).then(pl.lit("Candidate 1 is better")).otherwise(pl.lit("Candidate 2 is better"))
        .alias("verdict"),
    )
    return [
        [*parts_of("Judged example", prompt, system), f"Judged example, Candidate 1 ===\n{one}",
         f"Judged example, Candidate 2 ===\n{two}", f"Judged example, known verdict: {said} ==="]
        for system, prompt, one, two, said in told.iter_rows()
    ]


def _mark(text: str) -> pl.Expr:
    return content_id_expr([pl.lit("candidate"), "pair_id", text])


def _truth() -> pl.Expr:
    return verdict(pl.col("p_a"), pl.col("p_tie"))
