"""Order effects: what the two orders of one ballot say about a judge, counted by hand."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from curate.judging.order_effects import (
    METRICS,
    ballot_marks,
    flip_rates,
    order_effects,
    share_interval,
    true_side,
    wilson,
)
from schemas.errors import InputError
from schemas.tables import VOTES

P = {"a": (1.0, 0.0), "b": (0.0, 0.0), "tie": (0.0, 1.0), None: (None, None)}


def ballots(*said: tuple[str | None, str | None], voter: str = "j") -> pl.DataFrame:
    """One ballot per entry, on pairs 0, 1, …: the verdict shown a first, and shown b first."""
    rows = [
        {"vote_id": f"{voter}{i}{first}", "ballot_id": f"{voter}{i}", "pair_id": f"{i}", "voter": voter,
         "p_a": P[one][0], "p_tie": P[one][1], "is_abstention": one is None, "n": 1, "criterion": "overall",
         "cost_usd": 0.0, "status": "cast", "shown_first": first}
        for i, both in enumerate(said) for first, one in zip("ab", both, strict=True)
    ]
    return VOTES.complete(pl.DataFrame(rows, infer_schema_length=None))


def pairs(n: int, truth: str = "a", groups: int | None = None) -> pl.DataFrame:
    p_a, p_tie = P[truth]
    return pl.DataFrame({
        "pair_id": [str(i) for i in range(n)], "group_id": [f"g{i % (groups or n)}" for i in range(n)],
        "p_a": [p_a] * n, "p_tie": [p_tie] * n,
    }, schema_overrides={"p_a": pl.Float64, "p_tie": pl.Float64})


def values(effects: pl.DataFrame) -> dict[str, float]:
    return dict(effects.select("metric", "value").iter_rows())


def test_a_judge_that_follows_the_slot_keeps_nothing_and_is_right_half_the_time() -> None:
    seen = values(order_effects(ballots(("a", "b"), ("a", "b")), pairs(2)))
    assert seen == {
        "kept": 0.0, "flipped": 1.0, "first": 1.0, "second": 0.0, "tie": 0.0, "failed": 0.0, "accuracy": 0.5
    }


def test_kept_ties_are_kept_and_half_right() -> None:
    seen = values(order_effects(ballots(("tie", "tie")), pairs(1)))
    assert (seen["kept"], seen["tie"], seen["accuracy"]) == (1.0, 1.0, 0.5)


def test_an_answer_without_a_verdict_equals_nothing_and_is_no_flip() -> None:
    votes = ballots(("a", "a"), ("a", None), (None, None), ("a", "b"))
    seen = values(order_effects(votes, pairs(4)))
    assert seen["kept"] == 1 / 4
    assert seen["flipped"] == 1 / 2, "of the two ballots with a verdict in each order"
    assert seen["failed"] == 3 / 8
    assert seen["first"] + seen["second"] + seen["tie"] + seen["failed"] == pytest.approx(1)
    assert seen["accuracy"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert seen["flipped"] == flip_rates(votes)["flip_rate"].item()


def test_a_pair_whose_truth_is_a_tie_or_unknown_says_nothing_about_accuracy() -> None:
    unknown = pairs(1).with_columns(p_a=pl.lit(None, pl.Float64), p_tie=pl.lit(None, pl.Float64))
    for truth in (pairs(1, "tie"), unknown):
        assert "accuracy" not in values(order_effects(ballots(("a", "a")), truth))
    assert true_side_of(0.4, 0.2) is None, "even"
    assert true_side_of(0.4, 0.5) is None, "a tie is likelier"
    assert true_side_of(0.2, 0.3) == "b"


def true_side_of(p_a: float, p_tie: float) -> str | None:
    frame = pl.DataFrame({"p_a": [p_a], "p_tie": [p_tie]})
    said: str | None = frame.select(true_side(pl.col("p_a"), pl.col("p_tie"))).item()
    return said


def test_ballots_seen_in_one_order_are_left_out() -> None:
    assert order_effects(ballots(("a", "b")).filter(pl.col("shown_first") == "a"), pairs(1)).is_empty()


def test_several_samples_of_one_order_are_one_answer() -> None:
    votes = ballots(("a", "a"))
    more = votes.with_columns(vote_id=pl.col("vote_id") + "x", p_a=pl.lit(0.2), p_tie=pl.lit(0.6))
    marks = ballot_marks(pl.concat([votes, more]), pairs(1))
    assert marks.height == 1
    assert marks["first"].item() == 0.5, "mean p is 0.6, 0.3, 0.1: still a in both orders"


def test_swapping_the_letters_changes_no_number() -> None:
    votes = ballots(("a", "b"), ("b", "b"), ("tie", "a"))
    turned = votes.with_columns(
        p_a=1 - pl.col("p_a") - pl.col("p_tie"), shown_first=pl.col("shown_first").replace({"a": "b", "b": "a"})
    )
    assert_frame_equal(order_effects(votes, pairs(3, "a")), order_effects(turned, pairs(3, "b")))


def test_rows_may_come_in_any_order() -> None:
    votes = pl.concat([ballots(("a", "b"), ("a", "a"), ("b", "tie"), voter=v) for v in ("j", "k")])
    truth = pairs(3, groups=2)
    assert_frame_equal(
        order_effects(votes, truth), order_effects(votes.sample(fraction=1, shuffle=True, seed=3), truth.reverse())
    )


def test_wilson_is_the_textbooks_interval() -> None:
    assert wilson(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)  # Agresti & Coull 1998
    assert wilson(0.0, 0) == (0.0, 1.0)
    low, high = wilson(1.0, 20)
    assert (low, high) == (pytest.approx(20 / (20 + 1.959964**2), abs=1e-6), 1.0)


def test_all_right_in_a_few_groups_is_not_certain() -> None:
    rows = pl.DataFrame({"group_id": ["g", "g", "h", "h"], "x": [1.0, 1.0, 1.0, 1.0]})
    found = share_interval(rows, "x")
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(wilson(1.0, 2)[0])


def test_groups_that_agree_within_widen_the_interval() -> None:
    x = [1.0] * 40 + [0.0] * 40
    clustered = share_interval(pl.DataFrame({"group_id": [f"g{i // 8}" for i in range(80)], "x": x}), "x")
    alone = share_interval(pl.DataFrame({"group_id": [f"g{i}" for i in range(80)], "x": x}), "x")
    assert clustered.low is not None
    assert alone.low is not None
    assert clustered.low < alone.low - 0.1


def test_no_rows_say_nothing() -> None:
    nothing = share_interval(pl.DataFrame(schema={"group_id": pl.String, "x": pl.Float64}), "x")
    assert (nothing.value, nothing.low, nothing.high, nothing.n) == (0.0, 0.0, 1.0, 0)


def test_a_vote_on_an_unknown_pair_is_refused() -> None:
    with pytest.raises(InputError, match="1 pairs without a group"):
        order_effects(ballots(("a", "a"), ("a", "a")), pairs(1))


def test_metrics_come_in_their_order() -> None:
    assert order_effects(ballots(("a", "a")), pairs(1))["metric"].to_list() == list(METRICS)
