"""A scale says what each token of an answer means, and is as kind to one slot as to the other."""

from __future__ import annotations

import json
import math

import polars as pl
import pytest

from curate.judging.scales import (
    THREE_WORDS,
    Scale,
    check_mirrored,
    check_tokens,
    expected_level,
    is_graded,
    level_of,
    side_shares,
    token_said,
)
from schemas.errors import InputError

SEVEN: Scale = {"A": 3, "B": 2, "C": 1, "D": 0, "E": -1, "F": -2, "G": -3, "X": None}


def measured(scale: Scale, token: str | None, logs: dict[str, float] | None) -> dict[str, float]:
    frame = pl.DataFrame({"token": [token], "logs": [json.dumps(logs) if logs is not None else None]},
                         schema={"token": pl.String, "logs": pl.String})
    token_, logs_ = pl.col("token"), pl.col("logs")
    return frame.select(*side_shares(scale, logs_, token_), expected_level(scale, logs_, token_)).row(0, named=True)


def test_mass_on_seven_levels_is_summed_by_side_and_averaged_by_level() -> None:
    # By hand: shares A .4, B .2, C .1, D .1, F .2; for the first .7, for the second .2; 3·.4 + 2·.2 + .1 - 2·.2 = 1.3
    shares = {"A": 0.4, "B": 0.2, "C": 0.1, "D": 0.1, "F": 0.2}
    seen = measured(SEVEN, "A", {token: math.log(share) for token, share in shares.items()})
    assert seen == pytest.approx({"p_first": 0.7, "p_second": 0.2, "level": 1.3})


def test_mass_on_cannot_judge_is_left_out_and_the_rest_renormalised() -> None:
    shares = {"A": 0.25, "D": 0.25, "X": 0.5}
    seen = measured(SEVEN, "A", {token: math.log(share) for token, share in shares.items()})
    assert seen == pytest.approx({"p_first": 0.5, "p_second": 0.0, "level": 1.5})


def test_without_log_probabilities_all_mass_lies_on_the_token() -> None:
    assert measured(SEVEN, "F", None) == {"p_first": 0.0, "p_second": 1.0, "level": -2.0}
    assert measured(SEVEN, "D", None) == {"p_first": 0.0, "p_second": 0.0, "level": 0.0}


@pytest.mark.parametrize("token", [None, "X"])
def test_no_verdict_and_cannot_judge_have_no_level(token: str | None) -> None:
    assert measured(SEVEN, token, None)["level"] is None


def test_tokens_are_read_without_regard_to_case_and_surrounding_blanks() -> None:
    said = pl.DataFrame({"said": [" a\n", "A", "TIE", "", "AB", "A."]})
    assert said.select(token_said(SEVEN, pl.col("said")))["said"].to_list() == ["A", "A", None, None, None, None]
    assert said.select(token_said(THREE_WORDS, pl.col("said")))["said"].to_list()[2] == "tie"


def test_a_level_is_that_of_its_token() -> None:
    tokens = pl.DataFrame({"token": ["A", "G", "X", None]})
    assert tokens.select(level_of(SEVEN, pl.col("token")))["token"].to_list() == [3.0, -3.0, None, None]


def test_a_scale_is_graded_when_a_side_has_more_than_one_level() -> None:
    assert is_graded(SEVEN)
    assert not is_graded(THREE_WORDS)


@pytest.mark.parametrize(("scale", "why"), [
    ({"a": 1, "A": -1}, "case"), ({"$.x": 1, "y": -1}, "letters"), ({"A": 1, "B": 1}, "each once"),
    ({"A": 1, "B": None}, "two levels"), ({"A": 1, "B": -1, "C": None, "D": None}, "two levels"),
])
def test_tokens_that_could_be_confused_and_levels_that_say_nothing_are_refused(scale: Scale, why: str) -> None:
    with pytest.raises(InputError, match=why):
        check_tokens(scale)


@pytest.mark.parametrize("scale", [{"A": 2, "B": -1}, {"A": 4, "B": -4}, {"A": 1, "B": 0}])
def test_a_pairwise_scale_that_favours_a_slot_or_leaves_the_range_is_refused(scale: Scale) -> None:
    with pytest.raises(InputError, match="mirror"):
        check_mirrored(scale)
    check_mirrored(SEVEN)
