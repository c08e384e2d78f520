"""An expert's vote is the label."""

from __future__ import annotations

import polars as pl
from polars.testing import assert_frame_equal

from curate.consensus.adjudication import adjudicated
from schemas.recipe import Filtering
from schemas.tables import LABELS


def label(pair: str, **columns: object) -> dict[str, object]:
    return {"label_set": "", "pair_id": pair, "p_a": 0.6, "p_tie": 0.1, "p_sd": 0.2, "strength": 1.0, "n_votes": 3,
            "action": "keep", "reason": "", "weight": 1.0, **columns}


LABELLED = LABELS.complete(pl.DataFrame([
    label("p"), label("q", action="drop", reason="preference_strength", weight=0.0), label("r"),
    label("same", p_a=0.0, p_tie=1.0, strength=0.0, action="drop", reason="identical_text", weight=0.0),
])).drop("label_set")


def final(*rows: tuple[str, float | None, float | None]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), orient="row",
                        schema={"pair_id": pl.String, "p_a": pl.Float64, "p_tie": pl.Float64})


def outcome(labels: pl.DataFrame, pair: str) -> tuple[object, ...]:
    return labels.filter(pair_id=pair).select("p_a", "p_tie", "p_sd", "strength", "action", "reason", "weight").row(0)


def test_the_expert_s_outcome_replaces_the_consensus_whatever_the_filter_made_of_it() -> None:
    labels = adjudicated(LABELLED, final(("p", 0.0, 0.0), ("q", 1.0, 0.0)), Filtering())
    assert outcome(labels, "p") == (0.0, 0.0, 0.0, -3.0, "keep", "adjudicated", 1.0)
    assert outcome(labels, "q") == (1.0, 0.0, 0.0, 3.0, "keep", "adjudicated", 1.0)
    assert_frame_equal(labels.filter(pair_id="r"), LABELLED.filter(pair_id="r"))
    assert labels["pair_id"].to_list() == LABELLED["pair_id"].to_list()
    assert labels["n_votes"].to_list() == LABELLED["n_votes"].to_list()


def test_a_tie_of_an_expert_teaches_no_order() -> None:
    labels = adjudicated(LABELLED, final(("p", 0.0, 1.0)), Filtering())
    assert outcome(labels, "p") == (0.0, 1.0, 0.0, 0.0, "drop", "tie", 0.0)
    kept = adjudicated(LABELLED, final(("p", 0.0, 1.0)), Filtering(drop_ties_above=1.0))
    assert outcome(kept, "p")[4:] == ("keep", "adjudicated", 1.0)


def test_equal_texts_stay_a_tie_and_an_abstaining_expert_changes_nothing() -> None:
    assert_frame_equal(adjudicated(LABELLED, final(("same", 1.0, 0.0), ("p", None, None)), Filtering()), LABELLED)
    assert_frame_equal(adjudicated(LABELLED, final(), Filtering()), LABELLED)


def test_several_experts_on_one_pair_count_alike() -> None:
    labels = adjudicated(LABELLED, final(("p", 1.0, 0.0), ("p", 0.0, 0.0), ("p", 1.0, 0.0)), Filtering())
    assert outcome(labels, "p")[:2] == (0.665, 0.0)  # wins are rounded, here up and down, the tie takes the rest


def test_swapping_the_letters_mirrors_the_label() -> None:
    one = adjudicated(LABELLED, final(("p", 0.8, 0.1)), Filtering())
    other = adjudicated(LABELLED, final(("p", 0.1, 0.1)), Filtering())
    assert outcome(one, "p")[:2] == (0.8, 0.1)
    assert outcome(other, "p")[:2] == (0.1, 0.1)
    assert outcome(one, "p")[3] == -outcome(other, "p")[3]  # type: ignore[operator]
