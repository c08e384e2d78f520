"""Tournament: n - 1 matches, seeds meet late, ties go to the higher seed, every response is told."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.synthesis.tournament import (
    first_matches,
    next_matches,
    played,
    standings,
    to_judge,
    tournament_pairs,
)
from schemas.errors import InputError

Verdict = Callable[[str, str], float | None]


def responses(letters: str, prompt_id: str = "p") -> pl.DataFrame:
    return pl.DataFrame({"response_id": list(letters), "prompt_id": prompt_id, "text_id": list(letters.upper())})


def by_alphabet(letters: str) -> pl.DataFrame:
    """`a` has the best score."""
    return pl.DataFrame({"response_id": list(letters), "score": [-float(ord(c)) for c in letters]})


def play(level: pl.DataFrame, p_a: Verdict) -> pl.DataFrame:
    """All levels, judged by p of response a over response b."""
    levels = []
    while level.height:
        pairs = to_judge(level)
        opinions = [p_a(a, b) for a, b in pairs.select("response_a", "response_b").iter_rows()]
        said = pl.Series("p_a", opinions, pl.Float64)
        levels.append(played(level, pairs.select("pair_id", said, p_tie=pl.lit(0.0))))
        level = next_matches(levels[-1])
    return pl.concat(levels)


def nobody_knows(a: str, b: str) -> None:
    return None


def later_is_better(a: str, b: str) -> float:
    return float(a > b)


def test_the_best_seed_meets_the_worst_and_the_two_best_only_meet_in_the_final() -> None:
    done = play(first_matches(responses("abcdefgh"), by_alphabet("abcdefgh"), 0).matches, nobody_knows)
    assert done.select("level", "high", "low").rows() == [
        (1, "a", "h"), (1, "b", "g"), (1, "c", "f"), (1, "d", "e"), (2, "a", "d"), (2, "b", "c"), (3, "a", "b")]


def test_missing_seeds_are_byes_for_the_highest() -> None:
    matches = first_matches(responses("abcde"), by_alphabet("abcde"), 0).matches
    assert matches.select("high", "low").rows() == [("a", None), ("b", None), ("c", None), ("d", "e")]
    assert to_judge(matches).select("response_a", "response_b", "origin").rows() == [("d", "e", "tournament")]


@pytest.mark.slow
@settings(max_examples=6)
@given(st.integers(2, 17), st.integers(0, 5))
def test_n_responses_play_n_minus_1_matches_and_all_have_a_rank_of_their_own(n: int, seed: int) -> None:
    letters = "".join(chr(ord("a") + i) for i in range(n))
    done = play(first_matches(responses(letters), None, seed).matches, later_is_better)
    ranks = standings(done)
    assert done.filter(pl.col("low").is_not_null()).height == n - 1
    assert sorted(ranks["response_id"]) == list(letters)
    assert ranks["rank"].to_list() == list(range(1, n + 1))
    assert ranks["response_id"][0] == letters[-1]


def test_a_tie_an_abstention_and_a_missing_verdict_go_to_the_higher_seed() -> None:
    for p_a in (0.5, None):
        done = play(first_matches(responses("ab"), by_alphabet("ab"), 0).matches, lambda a, b, p=p_a: p)  # type: ignore[misc]
        assert standings(done)["response_id"].to_list() == ["a", "b"]
    matches = first_matches(responses("ab"), by_alphabet("ab"), 0).matches
    unasked = played(matches, pl.DataFrame(schema={"pair_id": pl.String, "p_a": pl.Float64, "p_tie": pl.Float64}))
    assert standings(unasked)["response_id"].to_list() == ["a", "b"]


def test_the_verdict_counts_for_the_response_not_for_its_letter_or_its_seed() -> None:
    scores = pl.DataFrame({"response_id": ["a", "b"], "score": [0.0, 1.0]})
    for p_a, champion in ((0.9, "a"), (0.1, "b")):
        done = play(first_matches(responses("ab"), scores, 0).matches, lambda a, b, p=p_a: p)  # type: ignore[misc]
        assert done["high"].to_list() == ["b"]
        assert standings(done)["response_id"][0] == champion


def test_half_a_tie_counts_for_either_side() -> None:
    matches = first_matches(responses("ab"), by_alphabet("ab"), 0).matches
    verdict = to_judge(matches).select("pair_id", p_a=pl.lit(0.2), p_tie=pl.lit(0.4))
    assert played(matches, verdict)["p_high"].to_list() == pytest.approx([0.4])


def test_brackets_of_different_sizes_end_by_themselves() -> None:
    both = pl.concat([responses("abcde"), responses("xy", "q")])
    done = play(first_matches(both, by_alphabet("abcdexy"), 0).matches, nobody_knows)
    assert standings(done).filter(rank=1).select("prompt_id", "response_id").rows() == [("p", "a"), ("q", "x")]


@pytest.mark.slow
def test_champions_meet_those_they_beat_then_losers_of_the_first_level() -> None:
    done = play(first_matches(responses("abcdefgh"), by_alphabet("abcdefgh"), 0).matches, nobody_knows)

    def rivals(n: int) -> set[str]:
        pairs = tournament_pairs(done, n).pairs
        return set(pairs["response_b"]) if set(pairs["response_a"]) == {"a"} else set()

    assert [rivals(n) for n in (1, 2, 3, 4, 9)] == [
        {"b"}, {"b", "d"}, {"b", "d", "h"}, {"b", "d", "h", "g"}, {"b", "d", "h", "g", "f", "e"}]


def test_every_response_is_in_a_pair_or_discarded_with_its_rank() -> None:
    same = responses("yz", "r").with_columns(text_id=pl.lit("Y"))
    rows = pl.concat([responses("abcdefgh"), responses("x", "q"), same])
    draw = first_matches(rows, by_alphabet("abcdefghxyz"), 0)
    result = tournament_pairs(play(draw.matches, nobody_knows), 1)
    assert draw.discards.select("row_id", "reason", "detail").sort("row_id").rows() == [
        ("x", "alone", None), ("y", "alone", None), ("z", "identical_text", "y")]
    assert result.discards.filter(row_id="c")["detail"].to_list() == ["rank 3"]
    told = [*draw.discards["row_id"], *result.discards["row_id"], *result.pairs["response_a"],
            *result.pairs["response_b"]]
    assert sorted(told) == sorted(rows["response_id"])


def test_without_scores_the_seed_draws_and_the_order_of_rows_decides_nothing() -> None:
    rows = responses("abcdefgh")
    drawn = first_matches(rows, None, 3).matches
    assert first_matches(rows[::-1], None, 3).matches.equals(drawn)
    assert not first_matches(rows, None, 4).matches.equals(drawn)
    one_scored = pl.DataFrame({"response_id": ["e", "f"], "score": [-5.0, float("nan")]})
    assert first_matches(rows, one_scored, 3).matches["high"][0] == "e"


def test_no_pairs_wanted_two_verdicts_and_unplayed_matches_are_refused() -> None:
    matches = first_matches(responses("ab"), by_alphabet("ab"), 0).matches
    verdict = to_judge(matches).select("pair_id", p_a=pl.lit(0.5), p_tie=pl.lit(0.0))
    with pytest.raises(InputError, match="two verdicts"):
        played(matches, pl.concat([verdict, verdict]))
    with pytest.raises(InputError, match="p_high"):
        next_matches(matches)
    with pytest.raises(InputError, match="n_pairs = 0"):
        tournament_pairs(played(matches, verdict), 0)


def test_a_column_of_the_caller_s_never_stands_in_for_a_computed_one() -> None:
    crowded = responses("ab").with_columns(score=pl.Series([0.0, 1.0]), seed=pl.lit(7), n=pl.lit(9), place=pl.lit(3))
    scores = by_alphabet("ab")
    assert first_matches(crowded, scores, 0).matches.equals(first_matches(responses("ab"), scores, 0).matches)


def test_no_responses_play_no_matches() -> None:
    assert first_matches(responses("ab").clear(), None, 0).matches.is_empty()
