"""ActiveLab by hand, and what its authors promise: few and contradicting votes come first."""

from __future__ import annotations

import polars as pl
import pytest

from curate.routing.active_lab import scores
from schemas.tables import EVIDENCE


def evidence(people: dict[str, str], judges: dict[str, float]) -> pl.DataFrame:
    """`people`: pair → letters of the voters v0, v1, … ("-": nobody); `judges`: pair → p_a of one judge, no ties."""
    rows = [(pair, f"v{k}", "human", float(letter == "a"), 0.0)
            for pair, text in people.items() for k, letter in enumerate(text) if letter != "-"]
    rows += [(pair, "judge", "judge", p, 0.0) for pair, p in judges.items()]
    frame = pl.DataFrame(rows, schema=["pair_id", "voter", "kind", "p_a", "p_tie"], orient="row")
    return EVIDENCE.complete(frame.with_columns(
        criterion=pl.lit("overall"), ballot_id="voter", family="voter", is_abstention=pl.lit(False),
        weight=pl.lit(1.0),
    ))


def scored(people: dict[str, str], judges: dict[str, float]) -> dict[str, float]:
    pairs = pl.DataFrame({"pair_id": sorted({*people, *judges})})
    return dict(scores(pairs, evidence(people, judges)).iter_rows())


def test_without_people_it_is_the_judges_doubt_shrunk_towards_chance() -> None:
    """Equal weights of model and prior vote: s = (p + 1/3) / 2."""
    found = scored({}, {"p1": 0.9, "p2": 0.6})
    assert found["p1"] == pytest.approx(1 - (0.9 + 1 / 3) / 2)
    assert found["p2"] == pytest.approx(1 - (0.6 + 1 / 3) / 2)


def test_a_pair_nobody_knows_comes_first() -> None:
    found = scored({"p1": "a"}, {"p1": 0.9, "p2": 0.9, "p3": 1 / 3})
    assert found["p3"] > found["p2"] > found["p1"]


def test_weights_and_quality_by_hand() -> None:
    """Two pairs with two voters each, aa and bb; the judge is right on both.

    Everybody agrees: s_j = P = 1, A = ½, so w_j = 1 and w_M = √2. The judge gives 0.8 to the label:
    q = (0.8 √2 + 2) / (√2 + 2), and with one more vote of weight 1 at 1/3: s = (0.8 √2 + 2 + 1/3) / (√2 + 3).
    """
    found = scored({"p1": "aa", "p2": "bb"}, {"p1": 0.8, "p2": 0.2})
    root = 2**0.5
    assert found == {p: pytest.approx(1 - (0.8 * root + 2 + 1 / 3) / (root + 3)) for p in ("p1", "p2")}


def test_people_who_contradict_each_other_are_asked_again_before_those_who_agree() -> None:
    people = {"p1": "aaa", "p2": "bbb", "p3": "aab", "p4": "bba", "p5": "bbb"}
    found = scored(people, dict.fromkeys(people, 0.5))
    assert min(found["p3"], found["p4"]) > max(found["p1"], found["p2"], found["p5"])


def test_the_order_of_rows_and_the_letters_change_nothing() -> None:
    people, judges = {"p1": "aab", "p2": "bb", "p3": "a"}, {"p1": 0.7, "p2": 0.4, "p3": 0.9}
    told = evidence(people, judges)
    swapped = told.with_columns(p_a=(1 - pl.col("p_a")).round(12))
    pairs = pl.DataFrame({"pair_id": ["p1", "p2", "p3"]})
    once = scores(pairs, told)
    assert once.equals(scores(pairs.reverse(), told.reverse()))
    assert scores(pairs, swapped)["score"].to_list() == pytest.approx(once["score"].to_list())
