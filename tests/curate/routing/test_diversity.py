"""Near-identical pairs are found, and the second of them is worth less."""

from __future__ import annotations

import polars as pl
import pytest

from curate.routing.diversity import clusters, discounted

STORY = "the quick brown fox jumps over the lazy dog and runs away from the old grey wolf in the dark wood"
OTHER = "prices rose in spring because the harvest was poor and the roads to the market were closed by snow"
NEW = "an octave holds twelve equal steps and a fifth is seven of them which is nearly three to two"


def texts(*rows: tuple[str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["pair_id", "text_a", "text_b"], orient="row")


def cluster_of(frame: pl.DataFrame) -> dict[str, str]:
    return dict(clusters(frame).iter_rows())


@pytest.mark.slow
def test_near_identical_pairs_share_a_cluster_and_others_do_not() -> None:
    found = cluster_of(texts(
        ("p1", STORY, OTHER), ("p2", STORY + " tonight", OTHER), ("p3", OTHER, STORY), ("p4", NEW, NEW + " again"),
    ))
    assert found == {"p1": "p1", "p2": "p1", "p3": "p1", "p4": "p4"}


def test_short_and_empty_texts_are_compared_as_they_are() -> None:
    assert cluster_of(texts(("p1", "yes", "no"), ("p2", "no", "yes"), ("p3", "", ""), ("p4", "maybe", "never"))) == {
        "p1": "p1", "p2": "p1", "p3": "p3", "p4": "p4",
    }


@pytest.mark.slow
def test_the_order_of_rows_names_no_cluster() -> None:
    frame = texts(("p1", STORY, NEW), ("p2", STORY, NEW), ("p3", OTHER, OTHER))
    assert clusters(frame).equals(clusters(frame.reverse()))


def slots(**changes: list[object]) -> pl.DataFrame:
    """Three pairs of one cluster and one on its own, one vote each."""
    return pl.DataFrame({
        "pair_id": ["p1", "p2", "p3", "p4"], "cluster": ["c", "c", "c", None], "chance": 0.5,
        "expected_gain": [0.2, 0.4, 0.1, 0.3], "information": [0.0, 0.0, 0.0, 0.8],
    } | changes)


def test_each_better_pair_of_the_cluster_takes_its_share() -> None:
    assert discounted(slots(), 0.5)["expected_gain"].to_list() == [pytest.approx(x) for x in (0.1, 0.4, 0.025, 0.3)]


def test_with_everything_lost_only_the_best_pair_of_a_cluster_is_worth_asking() -> None:
    assert discounted(slots(), 1.0)["expected_gain"].to_list() == [0.0, 0.4, 0.0, 0.3]


def test_without_clusters_or_without_a_share_nothing_changes() -> None:
    assert discounted(slots(), 0.0).equals(slots())
    alone = slots().with_columns(cluster=pl.lit(None, dtype=pl.String))
    assert discounted(alone, 0.5).equals(alone)
