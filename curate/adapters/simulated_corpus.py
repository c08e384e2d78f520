"""The demo corpus as simulated voters see it: how good each of its texts is.

The project's own texts lie in `examples/corpus` (in a wheel: inside `flows`), one file of responses per kind of task.
The author wrote four responses to each prompt and said of each what it is; `QUALITY` turns the word into a number.
Nothing here reaches a table: the pipeline meets a quality only as the opinion of a voter that may err.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import polars as pl

from schemas.errors import InputError
from schemas.ids import content_id

QUALITY: Mapping[str, float] = {"best": 1.5, "good": 0.5, "flawed": -0.5, "bad": -1.5}
"""the author's word → latent quality; one step is one unit of a simulated voter's skill"""
TAGS = ("number", "mention", "mention_too", "max_words", "json_type", "element", "answer_language", "tests")
"""columns of `questions.jsonl` from which verifiers take what they look for"""
_ROOT = Path(__file__).resolve().parents[2]


def corpus_folder() -> Path:
    """Where the corpus lies. Raises InputError when it was not installed."""
    for folder in (_ROOT / "flows" / "examples" / "corpus", _ROOT / "examples" / "corpus"):
        if folder.is_dir():
            return folder
    raise InputError("no demo corpus", expected="a folder examples/corpus", next="tiebreak demo --world simulated")


@cache
def corpus_quality() -> Mapping[str, float]:
    """Text of every response → its latent quality. Raises InputError for a word that is no quality."""
    rows = corpus_responses().select("response", "quality").rows()
    unknown = sorted({word for _, word in rows} - set(QUALITY))
    if unknown:
        raise InputError(f"qualities {unknown} in the demo corpus", expected=f"one of {list(QUALITY)}")
    return {text: QUALITY[word] for text, word in rows}


@cache
def corpus_id() -> str:
    """Id of all texts and qualities: another corpus is another world, whose voters are asked anew."""
    return content_id(json.dumps(sorted(corpus_quality().items()), ensure_ascii=False))


def corpus_responses() -> pl.DataFrame:
    """(question_id, model, response, quality, why), one row per response, sorted by question_id and model."""
    files = sorted(f for f in corpus_folder().glob("*.jsonl") if f.stem not in ("questions", "votes"))
    return pl.concat([pl.read_ndjson(file) for file in files]).sort("question_id", "model")


def corpus_questions() -> pl.DataFrame:
    """(question_id, category, text, and the columns TAGS, null where a question has no such tag)."""
    return pl.read_ndjson(corpus_folder() / "questions.jsonl", infer_schema_length=None)
