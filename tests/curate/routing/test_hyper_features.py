"""Every value is in exactly one bin, whatever other pairs are beside it, and the letters do not matter."""

from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.routing.hyper_features import BINS, EDGES, binned_measures, hyper_features, measures, rule_tags
from schemas.errors import InputError


def texts(prompt: str = "Say hello.", a: str = "hello there", b: str = "good morning to you") -> pl.DataFrame:
    return pl.DataFrame({"pair_id": ["p"], "prompt": [prompt], "text_a": [a], "text_b": [b]})


def measured(a: str, b: str) -> dict[str, float]:
    return measures(texts(a=a, b=b)).row(0, named=True)


def tags(prompt: str) -> dict[str, str]:
    return dict(rule_tags(texts(prompt)).select("key", "value").iter_rows())


def bins_of(value: float) -> list[list[str]]:
    """The true bins of each measure when every measure has this value."""
    row = binned_measures(pl.DataFrame({"pair_id": ["p"]} | {m: [value] for m in EDGES})).row(0, named=True)
    return [[at for at in BINS if row[f"{m}={at}"]] for m in EDGES]


def test_a_value_on_an_edge_is_in_exactly_one_bin() -> None:
    for name, (low, high) in EDGES.items():
        place = list(EDGES).index(name)
        assert bins_of(low)[place] == ["middle"]
        assert bins_of(high)[place] == ["high"]
        assert bins_of(math.nextafter(low, -math.inf))[place] == ["low"]


@given(st.one_of(st.floats(allow_nan=False), st.sampled_from([e for edges in EDGES.values() for e in edges])))
def test_every_number_is_in_exactly_one_bin(value: float) -> None:
    assert [len(found) for found in bins_of(value)] == [1] * len(EDGES)


def test_bins_do_not_depend_on_the_other_pairs() -> None:
    sizes = (1, 9, 99)
    many = pl.concat([texts(a="word " * n, b="other " * 3 * n).with_columns(pair_id=pl.lit(f"p{n}")) for n in sizes])
    whole, alone = hyper_features(many), hyper_features(many.head(1))
    assert whole.select(alone.columns).head(1).equals(alone)


def test_equal_words_match_fully_and_foreign_ones_not_at_all() -> None:
    same, other = measured("the red fox", "the red fox"), measured("abc", "xyz")
    assert [same[m] for m in ("rouge_1", "cosine", "bert_score")] == pytest.approx([1, 1, 1])
    assert [other[m] for m in ("rouge_1", "cosine", "bert_score")] == pytest.approx([0, 0, 0], abs=0.05)


def test_rouge_1_by_hand() -> None:
    """"a a b" and "a c": one a in common, 2 · 1 / (3 + 2)."""
    assert measured("a a b", "a c")["rouge_1"] == pytest.approx(0.4)


def test_word_matching_forgives_an_ending_where_rouge_does_not() -> None:
    found = measured("walking", "walked")
    assert found["rouge_1"] == 0
    assert 0.2 < found["bert_score"] < 1


def test_the_length_penalty_is_that_of_the_longer_over_the_shorter() -> None:
    found = measured("one", "one one")
    assert found["bert_score_penalised"] == pytest.approx(found["bert_score"] * math.exp(1 - 2), abs=1e-6)


def test_lengths_are_words() -> None:
    found = measured("one two", "one two three four five")
    assert [found[m] for m in ("shorter", "longer", "length_difference", "prompt_length")] == [2, 5, 3, 2]


def test_entities_are_capitalised_spans_and_numbers_but_not_first_words() -> None:
    """{New York, 1999} and {New York}; "The" and "We" begin sentences."""
    assert measured("The city of New York in 1999.", "We saw New York")["entity_overlap"] == pytest.approx(0.5)
    assert measured("nothing here", "nor there")["entity_overlap"] == 1


@pytest.mark.parametrize(("prompt", "key", "value"), [
    ("Write a python function", "expertise", "code"), ("Which symptom is this?", "expertise", "profession"),
    ("Hello", "expertise", "none"), ("Write a poem", "open_endedness", "high"),
    ("How to hack it", "safety_concern", "yes"),
    ("Answer in three sentences", "format_constraints", "yes"), ("Text: it rains.", "in_context_material", "yes"),
    ("Hello", "complexity", "low"), ("Do this. And then that; also sum up.", "complexity", "high"),
])  # fmt: skip
def test_a_rule_reads_a_tag_off_the_prompt(prompt: str, key: str, value: str) -> None:
    assert tags(prompt)[key] == value


def test_a_judges_tag_replaces_the_rule_and_may_be_new() -> None:
    said = pl.DataFrame(
        {"pair_id": ["p", "p", "q"], "key": ["complexity", "mood", "mood"], "value": ["odd", "kind", "sad"]}
    )
    found = hyper_features(texts(), said)
    assert [c for c in found.columns if c.startswith(("complexity", "mood"))] == ["complexity=odd", "mood=kind"]


def test_the_letters_do_not_matter() -> None:
    one = texts(a="Paris has 2 rivers, or so", b="- rivers: 3\n- Lyon")
    swapped = one.rename({"text_a": "text_b", "text_b": "text_a"})
    assert hyper_features(one).equals(hyper_features(swapped))


@pytest.mark.parametrize("empty", ["", "   ", "!?", "\u2603"])
def test_texts_without_words_have_features_too(empty: str) -> None:
    row = measures(texts(empty, empty, "a word")).row(0, named=True)
    assert all(math.isfinite(row[m]) for m in EDGES)
    assert row["bert_score"] == 0


@pytest.mark.parametrize("bad", [texts().drop("prompt"), pl.concat([texts(), texts()])])
def test_texts_that_do_not_keep_the_form_are_refused(bad: pl.DataFrame) -> None:
    with pytest.raises(InputError, match="texts"):
        hyper_features(bad)
