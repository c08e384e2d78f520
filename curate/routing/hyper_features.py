"""Features by which HyPER tells apart the pairs worth a person: bins with frozen edges, and tags.

Miranda et al. 2024, "Hybrid Preferences: Learning to Route Instances for Human vs. AI Feedback" (arXiv 2410.19133).
The edges are constants: a pair has the same features whatever other pairs are beside it, and a value on an edge is
in exactly one bin. (The published code ranks lengths anew inside each subset and cuts closed intervals, so there a
value on an edge is in two bins.) Stand-ins, all offline: BERTScore matches words by hashed character n-grams instead
of a language model's vectors, entities are capitalised spans and numbers, and tags are rules unless judges gave them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer

from curate.rewards.style import WORD
from curate.routing.retrieval import embedded
from schemas.errors import InputError

Floats = npt.NDArray[np.float64]

EDGES: dict[str, tuple[float, float]] = {
    "entity_overlap": (0.1, 0.5), "bert_score": (0.55, 0.7), "bert_score_penalised": (0.2, 0.5),
    "cosine": (0.55, 0.72), "rouge_1": (0.35, 0.55), "length_difference": (13.0, 65.0),
    "prompt_length": (17.0, 27.0), "shorter": (23.0, 90.0), "longer": (60.0, 185.0),
}
"""Two edges per measure make three bins. Terciles of the 726 pairs of tulu1_human_eval, rounded; lengths in words."""
BINS = ("low", "middle", "high")
MOST_WORDS = 128
"""distinct words of a response that BERTScore's stand-in looks at, the first ones (BERT itself reads 512 tokens)"""
BLOCK = 128
"""pairs whose word similarities are held at a time: 128 · 128² numbers, 8 MB"""
_WORD_VECTORS = HashingVectorizer(n_features=256, analyzer="char_wb", ngram_range=(2, 4), norm="l2")
_SENTENCE_START = r"(?:^|[.!?:\n][\s\-*•\d.)\"'(]*)\p{Lu}[\p{L}\p{M}'\u2019-]*"
_ENTITY = r"\p{Lu}[\p{L}\p{M}\d'\u2019-]*(?:[ ]\p{Lu}[\p{L}\p{M}\d'\u2019-]*)*|\d+(?:[.,]\d+)*"

_TAGS: dict[str, tuple[tuple[str, str], ...]] = {
    "expertise": (
        ("code", r"(?i)```|\b(code|python|javascript|java|sql|html|css|regex|api|function|algorithm|compile|bug)\b"),
        ("mathematics", r"(?i)\b(equation|integral|theorem|prove|probability|algebra|geometry|calculate|solve)\b"),
        ("profession", r"(?i)\b(medical|disease|symptom|diagnos\w+|legal|law|contract|tax|invest\w*|clinical)\b"),
        ("science", r"(?i)\b(physics|chemi\w+|biolog\w+|quantum|molecul\w+|protein|genetic\w*|astronom\w+)\b"),
    ),
    "open_endedness": (("high", r"(?i)\b(story|poem|song|essay|imagine|creative|brainstorm|opinion|ideas|joke|"
                                r"suggest\w*|recommend\w*|describe|write (a|an|me))\b"),),
    "safety_concern": (("yes", r"(?i)\b(kill\w*|murder|weapons?|bombs?|suicide|drugs?|hack\w*|illegal|steal\w*|"
                               r"racis\w+|sexual|abuse|poison|porn\w*)\b"),),
    "in_context_material": (("yes", r"(?is)```|\b(passage|article|context|input|text|paragraph|table)\s*:|"
                                    r"\bfollowing\b.{0,80}:\s"),),
    "format_constraints": (("yes", r"(?i)\b(bullets?|bullet points?|json|yaml|xml|csv|markdown|table|numbered list|"
                                   r"(\d+|one|two|three|four|five|ten)[ -](words?|sentences?|lines?|paragraphs?|"
                                   r"items?|points?|steps?))\b"),),
}
"""per tag the value and the pattern in the prompt that gives it, the first that matches; otherwise "none\""""
_INTENTS, _COMPLEX = r"[.!?;\n]+(\s|$)|\b(?i:and|then|also)\b", (2, 5)


def hyper_features(texts: pl.DataFrame, tags: pl.DataFrame | None = None) -> pl.DataFrame:
    """One row per pair, sorted by pair_id: a Boolean column `name=value` for every bin and every tag.

    `texts` has pair_id, prompt, text_a, text_b. `tags` is (pair_id, key, value) from judges, who replace the rule of
    the same key on the pairs they tagged and may bring keys of their own. Of each measure exactly one bin is true.
    Swapping a and b changes nothing. Raises InputError for a missing column or a pair twice.
    """
    rows = _checked(texts)
    binned = binned_measures(measures(rows))
    given = pl.DataFrame(schema={"pair_id": pl.String, "key": pl.String, "value": pl.String}) if tags is None else tags
    known = given.select("pair_id", "key", "value").join(rows, on="pair_id", how="semi")
    by_rule = rule_tags(rows).join(known, on=["pair_id", "key"], how="anti")
    return binned.join(_one_hot(pl.concat([by_rule, known])), on="pair_id", how="left").sort("pair_id")


def binned_measures(measured: pl.DataFrame) -> pl.DataFrame:
    """pair_id and one Boolean per bin, from pair_id and the columns of EDGES; rows in order.

    Bins are [−∞, e₁), [e₁, e₂), [e₂, ∞]: every number is in one, an edge in the bin that it opens.
    """
    bins = [
        (pl.col(name) < low, pl.col(name).is_between(low, high, closed="left"), pl.col(name) >= high)
        for name, (low, high) in EDGES.items()
    ]
    return measured.select("pair_id", *(
        is_in.alias(f"{name}={at}") for name, in_bin in zip(EDGES, bins, strict=True)
        for at, is_in in zip(BINS, in_bin, strict=True)
    ))


def measures(texts: pl.DataFrame) -> pl.DataFrame:
    """pair_id and a Float64 column for each measure of EDGES; rows in order.

    entity_overlap: Jaccard index of capitalised spans (not at the start of a sentence) and numbers, 1 where neither
    has one. rouge_1: F1 of word counts. bert_score: F1 of greedy word matching (Zhang et al. 2020), penalised by
    exp(1 − longer/shorter) (the brevity penalty of BLEU). cosine: of hashed n-grams. Lengths are words.
    """
    words = texts.select(_words("text_a").alias("a"), _words("text_b").alias("b"), _words("prompt").alias("prompt"))
    n_a, n_b, n_prompt = (pl.col(c).list.len().cast(pl.Float64) for c in ("a", "b", "prompt"))
    shorter, longer = pl.min_horizontal(n_a, n_b), pl.max_horizontal(n_a, n_b)
    matched = pl.Series("bert_score", word_matching(words["a"], words["b"]))
    penalty = (1 - longer / shorter.clip(1)).exp()
    return words.with_columns(matched, texts.select(_entity_overlap()).to_series()).select(
        texts["pair_id"], "entity_overlap", "bert_score",
        (pl.col("bert_score") * penalty).alias("bert_score_penalised"),
        pl.Series("cosine", _cosines(texts)), pl.Series("rouge_1", _rouge_1(words)),
        (longer - shorter).alias("length_difference"), n_prompt.alias("prompt_length"), shorter.alias("shorter"),
        longer.alias("longer"),
    )


def rule_tags(texts: pl.DataFrame) -> pl.DataFrame:
    """(pair_id, key, value): tags read off the prompt by the patterns of this module, one row per pair and key."""
    n = pl.col("prompt").str.count_matches(_INTENTS)
    middle, many = _COMPLEX
    complexity = pl.when(n < middle).then(pl.lit("low")).when(n < many).then(pl.lit("middle")).otherwise(pl.lit("high"))
    return texts.select(
        "pair_id", complexity.alias("complexity"), *(_first_match(options).alias(key) for key, options in _TAGS.items())
    ).unpivot(index="pair_id", variable_name="key", value_name="value")


def word_matching(a: pl.Series, b: pl.Series) -> Floats:
    """(n,) F1 of greedy matching between two lists of words per row, in 0..1; 0 where a list is empty.

    Precision is the mean over a's distinct words of the best cosine with a word of b, recall the reverse.
    """
    vocabulary = pl.concat([a.explode(), b.explode()]).drop_nulls().unique().sort()
    if vocabulary.is_empty():
        return np.zeros(len(a))
    vectors = np.vstack([_WORD_VECTORS.transform(vocabulary.to_list()).toarray(), np.zeros((1, 256))])
    vectors = vectors.astype(np.float32)
    rows = [_padded(side, vocabulary) for side in (a, b)]
    starts = range(0, len(a), BLOCK)
    return np.concatenate([_matched(vectors, *(side[s : s + BLOCK] for side in rows)) for s in starts])


def _matched(vectors: npt.NDArray[np.float32], a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> Floats:
    """F1 of one block; a padded place holds −1, whose vector is zero."""
    similar = np.clip(vectors[a] @ vectors[b].transpose(0, 2, 1), 0, 1).astype(np.float64)
    n_a, n_b = (np.maximum((side >= 0).sum(axis=1), 1) for side in (a, b))
    precision, recall = similar.max(axis=2).sum(axis=1) / n_a, similar.max(axis=1).sum(axis=1) / n_b
    return np.asarray((2 * precision * recall / np.maximum(precision + recall, 1e-12)).round(6), np.float64)


def _padded(words: pl.Series, vocabulary: pl.Series) -> npt.NDArray[np.int64]:
    """(n, MOST_WORDS) places in the vocabulary of each row's first distinct words, then −1."""
    places = pl.DataFrame({"word": vocabulary, "place": np.arange(len(vocabulary))})
    distinct = words.list.unique(maintain_order=True).list.head(MOST_WORDS)
    rows = pl.DataFrame({"row": np.arange(len(words)), "word": distinct})
    long = rows.explode("word").drop_nulls().join(places, on="word", how="left", maintain_order="left")
    at = long.select(pl.int_range(pl.len()).over("row").alias("at"))["at"].to_numpy()
    found = np.full((len(words), MOST_WORDS), -1)
    found[long["row"].to_numpy(), at] = long["place"].to_numpy()
    return found


def _checked(texts: pl.DataFrame) -> pl.DataFrame:
    needed = ("pair_id", "prompt", "text_a", "text_b")
    missing = [c for c in needed if c not in texts.columns]
    if missing or texts["pair_id"].is_duplicated().any():
        seen = f"texts without {missing}" if missing else "texts with a pair twice"
        raise InputError(seen, expected=f"{needed}, one row per pair", next="mend the frame")
    return texts.select(needed).sort("pair_id")


def _words(column: str) -> pl.Expr:
    return pl.col(column).str.to_lowercase().str.extract_all(WORD)


def _entity_overlap() -> pl.Expr:
    a, b = (
        pl.col(c).str.replace_all(_SENTENCE_START, ". ").str.extract_all(_ENTITY).list.unique()
        for c in ("text_a", "text_b")
    )
    union = a.list.set_union(b).list.len()
    shared = a.list.set_intersection(b).list.len()
    return pl.when(union > 0).then(shared / union).otherwise(1.0).alias("entity_overlap")


def _cosines(texts: pl.DataFrame) -> Floats:
    a, b = (embedded(texts[c].to_list()) for c in ("text_a", "text_b"))
    return np.asarray(np.asarray(a.multiply(b).sum(axis=1), np.float64).round(9).ravel())


def _rouge_1(words: pl.DataFrame) -> Floats:
    """2 · words in common, with multiplicity, over the words of both; 0 where neither has one."""
    a, b = (_counted(words[side]) for side in "ab")
    shared = np.asarray(a.minimum(b).sum(axis=1)).ravel()
    whole = np.asarray(a.sum(axis=1)).ravel() + np.asarray(b.sum(axis=1)).ravel()
    return np.asarray(2 * shared / np.maximum(whole, 1.0), np.float64)


def _counted(words: pl.Series) -> sparse.csr_array:
    """(n, 2^20) counts of hashed words."""
    counter = HashingVectorizer(n_features=2**20, analyzer=_as_is, norm=None, alternate_sign=False)
    return sparse.csr_array(counter.transform(words.to_list()))


def _as_is(words: Sequence[str]) -> Sequence[str]:
    return words


def _first_match(options: tuple[tuple[str, str], ...]) -> pl.Expr:
    found = [pl.when(pl.col("prompt").str.contains(pattern)).then(pl.lit(value)) for value, pattern in options]
    return pl.coalesce(*found, pl.lit("none"))


def _one_hot(tags: pl.DataFrame) -> pl.DataFrame:
    named = tags.select("pair_id", pl.concat_str("key", pl.lit("="), "value").alias("feature")).unique()
    names = named["feature"].unique().sort().to_list()
    features = pl.col("feature").implode()
    return named.group_by("pair_id").agg(features.alias("has")).select(
        "pair_id", *(pl.col("has").list.contains(name).alias(name) for name in names)
    )
