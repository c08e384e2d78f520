"""Which votes of people a settling leaves out, and why; the votes stay as they are."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from curate.annotating.doubtful import accuracy_on_gold, counted, left_out
from schemas.people import Quality
from schemas.tables import VOTERS, VOTES

VOTERS_KNOWN = VOTERS.complete(pl.DataFrame(
    [{"voter": v, "kind": "human", "family": v, "cost_usd": 0.25} for v in ("ann", "ben")]
    + [{"voter": "judge", "kind": "judge", "family": "judge", "cost_usd": 0.0}]))
GOLD = pl.DataFrame({"pair_id": [f"g{i}" for i in range(8)], "p_a": 1.0, "p_tie": 0.0})
NOT_TESTED = pl.DataFrame(schema={"voter": pl.String, "pair_id": pl.String})


def votes(voter: str, *pairs: str, p_a: float = 1.0, **columns: object) -> pl.DataFrame:
    rows = [{"vote_id": f"{voter} {pair}", "ballot_id": f"{voter} {pair}", "pair_id": pair, "voter": voter, "p_a": p_a,
             "p_tie": 0.0, "is_abstention": False, "n": 1, "criterion": "overall", "cost_usd": 0.25, "status": "cast",
             "round_id": "r1", **columns} for pair in pairs]
    return VOTES.complete(pl.DataFrame(rows, infer_schema_length=None))


def out(said: pl.DataFrame, tested: pl.DataFrame = NOT_TESTED, **quality: object) -> dict[str, str]:
    found = left_out(said, VOTERS_KNOWN, GOLD, tested, Quality.model_validate(quality))
    assert_frame_equal(left_out(said[::-1], VOTERS_KNOWN, GOLD[::-1], tested, Quality.model_validate(quality)), found)
    return dict(found.select("vote_id", "reason").iter_rows())


def test_without_rules_everything_counts() -> None:
    said = votes("ann", *GOLD["pair_id"], p_a=0.0)
    assert out(said) == {}
    none = left_out(said, VOTERS_KNOWN, GOLD, NOT_TESTED, Quality())
    assert_frame_equal(counted(said, none), said)


def test_all_votes_of_an_annotator_who_surely_fails_on_gold_are_left_out() -> None:
    wrong, right = votes("ben", *GOLD["pair_id"], "p", p_a=0.0), votes("ann", *GOLD["pair_id"], "p")
    found = out(pl.concat([wrong, right]), min_gold_accuracy=0.6)
    assert set(found.values()) == {"fails_gold"}
    assert set(found) == set(wrong["vote_id"])
    kept = counted(pl.concat([wrong, right]), pl.DataFrame({"vote_id": list(found)}))
    assert_frame_equal(kept, right)


def test_few_wrong_answers_prove_nothing() -> None:
    assert out(votes("ben", "g0", "g1", p_a=0.0), min_gold_accuracy=0.6) == {}


def test_the_bound_is_that_of_clopper_and_pearson() -> None:
    said = pl.concat([votes("ann", "g0", "g1", "g2"), votes("ann", "g3", "g4", p_a=0.0), votes("ben", "g0")])
    cards = accuracy_on_gold(said, GOLD).rows(named=True)
    assert [(c["voter"], c["n"], c["n_right"]) for c in cards] == [("ann", 5, 3), ("ben", 1, 1)]
    assert cards[0]["upper"] == pytest.approx(0.9235, abs=5e-4)  # 3 of 5, one-sided 95 %
    assert cards[1]["upper"] == 1.0
    none_right = accuracy_on_gold(votes("ben", "g0", "g1", p_a=0.0), GOLD)
    assert none_right["upper"].to_list() == pytest.approx([1 - 0.05**0.5], abs=1e-9)  # exact for 0 of n


def test_votes_count_once_the_onboarding_is_passed() -> None:
    said = pl.concat([votes("ann", "g0", "g1", "p"), votes("ben", "g0", "p")])
    tested = pl.DataFrame({"voter": ["ann", "ann", "ben"], "pair_id": ["g0", "g1", "g0"]})
    assert out(said, tested, onboarding_tasks=2) == {"ben g0": "onboarding", "ben p": "onboarding"}
    failed = pl.concat([votes("ann", "g0", p_a=0.0), votes("ann", "g1", "p")])
    assert set(out(failed, tested, onboarding_tasks=2, min_gold_accuracy=0.8).values()) == {"onboarding"}


def test_a_cap_leaves_out_the_same_votes_whatever_came_first_and_both_orders_of_a_ballot_together() -> None:
    said = votes("ann", *"pqrstu")
    assert len(out(said, max_votes_per_annotator=4)) == 2
    other_round = votes("ann", *"vw", round_id="r2")
    assert len(out(pl.concat([said, other_round]), max_votes_per_annotator=4)) == 2
    second_order = said.with_columns(vote_id=pl.col("vote_id") + "'", shown_first=pl.lit("b"))
    found = out(pl.concat([said, second_order]), max_votes_per_annotator=4)
    assert len(found) == 4
    assert {name.rstrip("'") for name in found} == {name for name in found if not name.endswith("'")}


def test_imported_votes_and_judges_are_nobody_s_work_here() -> None:
    imported = votes("ben", *GOLD["pair_id"], p_a=0.0, round_id=None)
    judge = votes("judge", *GOLD["pair_id"], p_a=0.0)
    assert out(pl.concat([imported, judge]), min_gold_accuracy=0.9, onboarding_tasks=1, max_votes_per_annotator=1) == {}
