"""Probes: pairs in which one side was made to be no answer, or to be the same one."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from curate.judging.probes import KINDS, PROBE_COLUMNS, PROBES, SLOT_WORDS, probe_pairs
from schemas.errors import InputError
from schemas.ids import text_id


def gold(n: int, good: str = "a good answer") -> pl.DataFrame:
    """`n` prompts with one pair each; a is better on even ones, b on odd ones."""
    is_a = [i % 2 == 0 for i in range(n)]
    return pl.DataFrame({
        "pair_id": [f"{i:03}" for i in range(n)], "prompt_id": [f"p{i}" for i in range(n)],
        "group_id": [f"g{i}" for i in range(n)], "prompt_text_id": [text_id(f"question {i}") for i in range(n)],
        "prompt": [f"question {i}" for i in range(n)],
        "text_a": [f"{good} {i}" if a else f"poor {i}" for i, a in enumerate(is_a)],
        "text_b": [f"poor {i}" if a else f"{good} {i}" for i, a in enumerate(is_a)],
        "p_a": [float(a) for a in is_a], "p_tie": [0.0] * n,
    })


def made_and_good(probes: pl.DataFrame) -> list[tuple[str, str]]:
    """(probe text, text beside it)."""
    is_a = pl.col("probe_side") == "a"
    return probes.select(
        pl.when(is_a).then("text_a").otherwise("text_b"), pl.when(is_a).then("text_b").otherwise("text_a").alias("x")
    ).rows()


@pytest.mark.slow
def test_every_kind_stands_beside_the_good_response_of_real_prompts() -> None:
    probes = probe_pairs(gold(30), seed=1, n_per_kind=20)
    assert probes.columns == list(PROBE_COLUMNS)
    assert dict(probes.group_by("probe").len().iter_rows()) == dict.fromkeys(KINDS, 20)
    for kind in ("empty", "punctuation", "opener", "injection"):
        for made, good in made_and_good(probes.filter(pl.col("probe") == kind)):
            assert good.startswith("a good answer ")
            assert "good answer" not in made


def test_wordings_take_turns() -> None:
    probes = probe_pairs(gold(60), seed=1, n_per_kind=60)
    said = {kind: {made for made, _ in made_and_good(probes.filter(pl.col("probe") == kind))} for kind in PROBES}
    assert said["opener"] == set(PROBES["opener"])
    assert said["empty"] == set(PROBES["empty"])
    assert said["punctuation"] == set(PROBES["punctuation"])
    assert len(said["injection"]) == len(PROBES["injection"]) * len(SLOT_WORDS)
    assert not any("{slot}" in text for text in said["injection"])


def test_openers_are_of_several_languages() -> None:
    assert {"Thought process:", "解", "かいせつ", "Respuesta"} <= set(PROBES["opener"])


@pytest.mark.slow
def test_the_copy_differs_by_a_blank_and_the_padding_holds_the_whole_response() -> None:
    for good in ("two words", "word"):
        probes = probe_pairs(gold(1, good).with_columns(text_a=pl.lit(good)), seed=1)
        copy, original = made_and_good(probes.filter(pl.col("probe") == "position"))[0]
        assert copy != original
        assert copy.split() == original.split()
    padded, original = made_and_good(probes.filter(pl.col("probe") == "padding"))[0]
    assert f"\n\n{original}\n\n" in padded


def test_ids_are_those_of_the_texts_and_no_real_pairs() -> None:
    probes = probe_pairs(gold(5), seed=1)
    assert probes["text_id_a"].to_list() == [text_id(text) for text in probes["text_a"]]
    assert probes["pair_id"].n_unique() == probes.height
    assert (probes["text_id_a"] != probes["text_id_b"]).all()


def test_a_probe_keeps_the_system_prompt_and_another_one_makes_another_probe() -> None:
    twice = pl.concat([
        gold(1).with_columns(system=pl.lit(system, pl.String), prompt_id=pl.lit(f"p{i}"), pair_id=pl.lit(f"{i}"))
        for i, system in enumerate(("Be brief.", "Be kind.", None))
    ])
    probes = probe_pairs(twice, seed=1)
    assert probes["pair_id"].n_unique() == probes.height == 3 * len(KINDS)
    assert set(probes["system"]) == {"Be brief.", "Be kind.", None}


def test_the_probe_has_either_letter_about_as_often() -> None:
    share = probe_pairs(gold(40), seed=1, n_per_kind=40).select((pl.col("probe_side") == "a").mean()).item()
    assert 0.4 < share < 0.6


@pytest.mark.slow
def test_probes_depend_on_seed_and_gold_alone() -> None:
    assert_frame_equal(probe_pairs(gold(30), 1), probe_pairs(gold(30).reverse(), 1))
    assert set(probe_pairs(gold(30), 1)["pair_id"]) != set(probe_pairs(gold(30), 2)["pair_id"])


def test_gold_without_a_side_or_with_an_empty_winner_makes_no_probe() -> None:
    assert probe_pairs(gold(3).with_columns(p_a=0.25, p_tie=0.5), 1).height == 0
    assert probe_pairs(gold(1).with_columns(text_a=pl.lit(" ")), 1).height == 0
    with pytest.raises(InputError, match="gold without \\['prompt'\\]"):
        probe_pairs(gold(3).drop("prompt"), 1)
