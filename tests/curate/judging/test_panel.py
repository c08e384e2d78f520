"""The panel of judges: folded within each, then across; and what answering less often is worth."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from curate.consensus.folding import fold_orders
from curate.judging.panel import (
    PANEL,
    accuracy_at,
    coverage_curve,
    coverage_of,
    judged,
    majority_of_judges,
    panel_of_judges,
)
from schemas.errors import InputError
from schemas.tables import EVIDENCE, VOTERS, VOTES


def evidence(pair: str = "p", **said: float | None) -> pl.DataFrame:
    """One ballot of each judge on one pair: its p of a, none for an abstention; `x_2` is of the family of `x`."""
    rows = [{"pair_id": pair, "voter": voter, "criterion": "overall", "ballot_id": f"{pair}{voter}", "kind": "judge",
             "family": voter.split("_")[0], "p_a": p, "p_tie": None if p is None else 0.0, "is_abstention": p is None,
             "weight": 0.0 if p is None else 1.0} for voter, p in said.items()]
    return EVIDENCE.complete(pl.DataFrame(rows, schema_overrides={"p_a": pl.Float64, "p_tie": pl.Float64}))


def opinion(frame: pl.DataFrame) -> tuple[float, bool]:
    return frame["p_a"].item(), frame["is_abstention"].item()


def test_the_panel_is_the_mean_of_its_judges() -> None:
    found = panel_of_judges(evidence(x=0.9, y=0.7), 0.1)
    assert found.schema == pl.Schema(PANEL)
    assert opinion(found) == (pytest.approx(0.8), False)


def test_a_copy_of_a_judge_adds_nothing() -> None:
    alone, copied = evidence(x=0.9, y=0.3), evidence(x=0.9, x_2=0.9, x_3=0.9, y=0.3)
    assert opinion(panel_of_judges(alone, 0.0)) == opinion(panel_of_judges(copied, 0.0))
    assert opinion(majority_of_judges(copied)) == (0.75, False), "majority counts heads"


def test_a_judge_that_contradicts_itself_makes_the_panel_less_sure() -> None:
    assert opinion(panel_of_judges(evidence(x=0.9, y=None), 0.0)) == (pytest.approx(0.7), False)


def test_within_the_margin_the_panel_abstains() -> None:
    assert opinion(panel_of_judges(evidence(x=0.8, y=0.3), 0.1)) == (pytest.approx(0.55), True)
    assert opinion(panel_of_judges(evidence(x=0.8, y=0.3), 0.05)) == (pytest.approx(0.55), False)
    assert opinion(panel_of_judges(evidence(x=0.8, y=0.2), 0.0)) == (0.5, True)
    assert opinion(panel_of_judges(evidence(x=None, y=None), 0.0)) == (0.5, True)


def test_judges_that_follow_the_slot_never_make_a_label() -> None:
    rows = [{"vote_id": f"{v}{first}", "ballot_id": v, "pair_id": "p", "voter": v, "p_a": float(first == "a"),
             "p_tie": 0.0, "is_abstention": False, "n": 1, "criterion": "overall", "cost_usd": 0.0, "status": "cast",
             "shown_first": first} for v in "xy" for first in "ab"]
    voters = VOTERS.complete(pl.DataFrame([{"voter": v, "kind": "judge", "family": v, "cost_usd": 0.0} for v in "xy"]))
    folded = fold_orders(VOTES.complete(pl.DataFrame(rows)), voters, 0.1)
    assert opinion(panel_of_judges(folded, 0.0)) == (0.5, True)
    assert opinion(majority_of_judges(folded)) == (0.5, True)


def test_swapping_the_letters_mirrors_the_panel() -> None:
    said = evidence(x=0.9, y=0.35, z=None)
    turned = said.with_columns(p_a=1 - pl.col("p_a"))
    for rule in (lambda e: panel_of_judges(e, 0.1), majority_of_judges):
        assert opinion(rule(said))[0] == pytest.approx(1 - opinion(rule(turned))[0], abs=1e-9)


def test_rows_may_come_in_any_order() -> None:
    said = pl.concat([evidence(p, x=0.61, x_2=0.17, y=0.33, z=0.9) for p in "pqr"])
    mixed = said.sample(fraction=1, shuffle=True, seed=4)
    assert_frame_equal(panel_of_judges(said, 0.1), panel_of_judges(mixed, 0.1), check_exact=True)
    assert_frame_equal(majority_of_judges(said), majority_of_judges(mixed), check_exact=True)


def truth(n: int) -> pl.DataFrame:
    return pl.DataFrame({"pair_id": [f"{i}" for i in range(n)], "group_id": [f"g{i}" for i in range(n)],
                         "p_a": [1.0] * n, "p_tie": [0.0] * n})


def scored() -> pl.DataFrame:
    """Right at 0.4, wrong and right at 0.3, no side on the fourth pair."""
    said = pl.DataFrame({"pair_id": ["0", "1", "2"], "p_a": [0.9, 0.2, 0.8], "p_tie": [0.0, 0.0, 0.0]})
    return judged(said, truth(4))


def test_a_pair_without_an_opinion_counts_one_half() -> None:
    assert scored()["correct"].to_list() == [1.0, 0.0, 1.0, 0.5]
    assert coverage_of(scored()) == 0.75


def test_the_curve_takes_the_surest_first_and_equal_confidence_together() -> None:
    assert coverage_curve(scored()).rows() == [
        (0.25, 1.0), (0.75, pytest.approx(2 / 3)), (1.0, pytest.approx(2.5 / 4))
    ]


def test_between_two_levels_equal_confidence_is_taken_in_equal_parts() -> None:
    at = np.array([0.25, 0.5, 0.75, 1.0, 0.0])
    found = accuracy_at(scored(), at, np.ones((5, 4)))
    assert found[:4] == pytest.approx([1.0, 1.5 / 2, 2 / 3, 2.5 / 4])
    assert np.isnan(found[4])


def test_a_bootstrap_weighs_each_pair_by_how_often_it_was_drawn() -> None:
    drawn = np.array([[0.0, 2.0, 2.0, 0.0]])
    assert accuracy_at(scored(), np.array([0.5]), drawn) == pytest.approx([0.5])


def test_truth_that_is_a_tie_is_left_out_and_a_repeated_pair_refused() -> None:
    ties = truth(2).with_columns(p_a=0.0, p_tie=1.0)
    said = pl.DataFrame({"pair_id": ["0", "0"], "p_a": [0.9, 0.9], "p_tie": [0.0, 0.0]})
    assert judged(said.head(1), ties).height == 0
    with pytest.raises(InputError, match="a pair twice"):
        judged(said, truth(1))
