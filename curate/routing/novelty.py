"""How unlike the others a prompt is: where the judges and what was learned about them have seen least."""

from __future__ import annotations

import math

import polars as pl


def novelty(texts: pl.DataFrame) -> pl.DataFrame:
    """(pair_id, novelty in 0..1), sorted by pair_id, of `texts` (pair_id, prompt).

    The mean inverse document frequency of the prompt's distinct words (Spärck Jones 1972) over the largest there is,
    log N / n over log N, each distinct prompt one of N documents: 1 where no word occurs in another prompt, 0 where
    every word occurs in all, where there is no word, and where there is one prompt alone.
    """
    prompts = texts.select("prompt").unique()
    words = prompts.select("prompt", word=pl.col("prompt").str.to_lowercase().str.extract_all(r"\w+").list.unique())
    each = words.explode("word", empty_as_null=False, keep_nulls=False)
    rarity = 1 - pl.len().over("word").log() / math.log(prompts.height) if prompts.height > 1 else pl.lit(0.0)
    mean = each.with_columns(rarity=rarity).group_by("prompt").agg(novelty=pl.col("rarity").mean().round(9))
    return texts.select("pair_id", "prompt").join(mean, on="prompt", how="left").select(
        "pair_id", pl.col("novelty").fill_null(0.0).clip(0, 1)
    ).sort("pair_id")
