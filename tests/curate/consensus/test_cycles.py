"""A ranking has no cyclic share, a circle has nothing else, and every cycle shows its weakest pair."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.consensus.cycles import cyclic_share, weakest_pairs
from schemas.errors import InputError
from schemas.tables import POSTERIORS

Row = tuple[str, str, float]


def graph(rows: list[Row], n_votes: int = 10, prompt: str = "q") -> tuple[pl.DataFrame, pl.DataFrame]:
    """Pairs and posteriors without ties of (a, b, p_a)."""
    frame = pl.DataFrame(rows, schema=["response_a", "response_b", "p_a"], orient="row").with_columns(
        pair_id=pl.concat_str("response_a", "response_b"), prompt_id=pl.lit(prompt))
    posteriors = POSTERIORS.complete(frame.select(
        "pair_id", "p_a", p_tie=0.0, p_sd=0.1, n_votes=pl.lit(n_votes), n_human=pl.lit(n_votes)))
    return frame.drop("p_a"), posteriors


def test_a_circle_is_all_cyclic_and_a_chain_not_at_all() -> None:
    circle, chain = [("x", "y", 0.8), ("y", "z", 0.8), ("x", "z", 0.2)], [("x", "y", 0.8), ("y", "z", 0.7)]
    assert cyclic_share(*graph(circle)).row(0) == ("q", 3, 3, 1.0)
    assert cyclic_share(*graph(chain)).row(0) == ("q", 3, 2, 0.0)


def test_flows_that_are_differences_of_strengths_leave_no_cyclic_share() -> None:
    strength = {"w": 1.0, "x": 0.5, "y": -0.3, "z": -1.2}
    names = sorted(strength)
    odds = [(a, b, 1 / (1 + np.exp(strength[b] - strength[a]))) for i, a in enumerate(names) for b in names[i + 1:]]
    assert cyclic_share(*graph(odds, n_votes=10**9))["cyclic_share"].item() < 1e-6


def test_two_wins_and_an_even_pair_are_two_thirds_cyclic() -> None:
    """Flows f, f, 0 on x→y, y→z, z→x: what goes round is their mean, 2f/3 on each; 3 · 4/9 of the square 2."""
    rows = [("x", "y", 0.8), ("y", "z", 0.8), ("x", "z", 0.5)]
    assert cyclic_share(*graph(rows))["cyclic_share"].item() == pytest.approx(2 / 3)


def test_the_weakest_pair_of_a_circle_is_named_with_the_strength_of_the_rest() -> None:
    rows = [("x", "y", 0.9), ("y", "z", 0.8), ("x", "z", 0.4), ("z", "zz", 0.9)]
    found = weakest_pairs(*graph(rows))
    assert found.select("pair_id", "prompt_id", "lead", "cycle_lead").rows() == [("xz", "q", 0.1, 0.3)]


def test_pairs_of_equal_lead_in_a_circle_are_all_the_weakest() -> None:
    rows = [("x", "y", 0.7), ("y", "z", 0.7), ("x", "z", 0.3)]
    assert weakest_pairs(*graph(rows))["pair_id"].to_list() == ["xy", "xz", "yz"]


def test_a_pair_can_be_weakest_in_one_cycle_and_not_in_another() -> None:
    inner = [("w", "x", 0.6), ("x", "y", 0.9), ("w", "y", 0.1), ("y", "z", 0.55), ("x", "z", 0.1)]
    assert weakest_pairs(*graph(inner))["pair_id"].to_list() == ["wx", "yz"]


def test_prompts_do_not_mix() -> None:
    one, other = graph([("x", "y", 0.8), ("y", "z", 0.8)]), graph([("x", "z", 0.2)], prompt="r")
    pairs, posteriors = pl.concat([one[0], other[0]]), pl.concat([one[1], other[1]])
    assert weakest_pairs(pairs, posteriors).is_empty()


def test_nothing_voted_gives_empty_frames() -> None:
    pairs, posteriors = graph([("x", "y", 0.8)])
    assert cyclic_share(pairs, posteriors.clear()).is_empty()
    assert weakest_pairs(pairs, posteriors.clear()).is_empty()


def test_a_posterior_of_an_unknown_pair_is_refused() -> None:
    pairs, posteriors = graph([("x", "y", 0.8)])
    with pytest.raises(InputError, match="unknown"):
        cyclic_share(pairs.clear(), posteriors)


EDGES = [(a, b) for i, a in enumerate("vwxyz") for b in "vwxyz"[i + 1:]]


@pytest.mark.slow
@given(shares=st.lists(st.integers(0, 10), min_size=len(EDGES), max_size=len(EDGES)))
def test_swapped_letters_and_shuffled_rows_change_nothing_and_without_the_weakest_pairs_no_cycle_is_left(
    shares: list[int]
) -> None:
    rows = [(a, b, s / 10) for (a, b), s in zip(EDGES, shares, strict=True)]
    pairs, posteriors = graph(rows)
    turned = pairs.rename({"response_a": "response_b", "response_b": "response_a"})
    mirrored = posteriors.with_columns(p_a=(1 - pl.col("p_a")).round(12))
    found, share = weakest_pairs(pairs, posteriors), cyclic_share(pairs, posteriors)
    assert weakest_pairs(turned, mirrored[::-1]).equals(found)
    assert cyclic_share(turned, mirrored[::-1]).equals(share)
    kept = posteriors.join(found, on="pair_id", how="anti")
    assert weakest_pairs(pairs, kept).is_empty()
