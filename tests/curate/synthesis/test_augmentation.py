"""RRM: own beats foreign, two foreign ones tie; a source of its own, declared by nobody human, never of gate gold."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.synthesis.augmentation import Augmented, augment, faults
from schemas.errors import InputError
from schemas.ids import content_id


def labelled(n: int = 12, n_groups: int = 4) -> pl.DataFrame:
    """Ids of responses that sort before and after every hash, in turn, so that own ones are a and b."""
    return pl.DataFrame([
        {"pair_id": f"x{i:02}", "prompt_id": f"p{i}", "group_id": f"g{i % n_groups}",
         "response_a": f"{'-r'[i % 2]}{i}a", "response_b": f"{'-r'[i % 2]}{i}b",
         "text_a": f"good {i}", "text_b": f"bad {i}", "p_a": 0.9, "p_tie": 0.0}
        for i in range(n)])


def augmented(rows: pl.DataFrame, n: int = 99, **options: object) -> Augmented:
    return augment(rows, n, "helpful", 0, **options)  # type: ignore[arg-type]


def test_to_its_own_prompt_a_response_beats_one_that_was_moved_there() -> None:
    found = augmented(labelled(), tie_share=0.0)
    moved = set(found.responses["response_id"])
    for row in found.pairs.join(found.labels, on="pair_id").iter_rows(named=True):
        ends = (row["response_a"], row["response_b"])
        own, foreign = ends if row["p_a"] else ends[::-1]
        assert own.startswith(("r", "-"))
        assert foreign in moved
        assert row["p_tie"] == 0
    assert set(found.labels["p_a"]) == {0.0, 1.0}


def test_two_responses_to_another_prompt_tie() -> None:
    found = augmented(labelled(), tie_share=1.0)
    assert found.labels.select("p_a", "p_tie").unique().rows() == [(0.0, 1.0)]
    parents = found.responses.group_by("prompt_id").agg(pl.col("parent_id").sort().str.join(" "))["parent_id"]
    assert all(a[:-1] == b[:-1] and a[-1] + b[-1] == "ab" for a, b in (p.split() for p in parents))


def test_a_moved_response_keeps_its_text_its_parent_and_no_policy() -> None:
    found = augmented(labelled(), 1, tie_share=0.0)
    row = found.responses.row(0, named=True)
    text = found.texts.filter(text_id=row["text_id"])["text"][0]
    assert row["response_id"] == content_id(row["prompt_id"], text, f"rrm:{row['parent_id']}")
    assert row["policy"] is None
    assert text.split()[1] == row["parent_id"][1:-1] != row["prompt_id"][1:]


def test_the_labels_are_votes_of_one_imported_voter_in_a_source_of_their_own() -> None:
    found = augmented(labelled())
    assert found.voters.select("voter", "kind", "family").rows() == [("rrm", "imported", "rrm")]
    assert found.sources["source"].to_list() == ["helpful+rrm"]
    assert set(found.pairs["source"]) == {"helpful+rrm"}
    assert set(found.pairs["origin"]) == {"augmented:rrm"}
    said = found.votes.join(found.labels, on="pair_id")
    assert said.height == found.pairs.height == 12
    assert said.select("p_a", "p_tie").rows() == said.select("p_a_right", "p_tie_right").rows()
    assert set(found.votes["instrument"]) == {"rrm@1"}
    assert found.instruments["text_id"].is_in(found.texts["text_id"].to_list()).all()


def test_gate_gold_and_undecided_pairs_take_no_part_on_either_side() -> None:
    rows = labelled().with_columns(p_a=pl.when(pair_id="x01").then(0.5).otherwise("p_a"))
    found = augmented(rows, gate_groups={"g0"})
    used = set(found.labels["group_id"]) | set(found.labels["donor_group_id"])
    assert used == {"g1", "g2", "g3"}
    assert "x01" not in {*found.labels["donor_pair_id"], *found.discards["row_id"]}
    assert found.pairs.height == 8


def test_where_all_is_one_group_nothing_is_augmented_and_every_draw_is_told() -> None:
    found = augmented(labelled(5, n_groups=1))
    assert found.pairs.is_empty()
    assert found.discards.select("what", "reason").unique().rows() == [("pair", "no_other_group")]
    assert sorted(found.discards["row_id"]) == [f"x0{i}" for i in range(5)]


def test_equal_texts_are_not_set_against_each_other() -> None:
    rows = labelled().with_columns(text_a=pl.lit("sorry"), text_b=pl.lit("sorry"))
    assert set(augmented(rows).discards["reason"]) == {"identical_text"}


@pytest.mark.slow
@settings(max_examples=4)
@given(st.integers(0, 14), st.integers(1, 5), st.integers(0, 20), st.integers(0, 50))
def test_whatever_comes_in_the_derived_dataset_is_what_it_claims_and_rows_in_are_rows_told(
    n: int, n_groups: int, wanted: int, seed: int
) -> None:
    rows = labelled(14, n_groups).head(n)
    found = augment(rows, wanted, "helpful", seed, gate_groups={"g1"})
    assert faults(found, rows, {"g1"}).is_empty()
    n_pool = rows.filter(pl.col("group_id") != "g1").height
    assert found.pairs.height + found.discards.height == min(n_pool, wanted)
    again = augment(rows[::-1], wanted, "helpful", seed, gate_groups={"g1"})
    assert again.votes.equals(found.votes)
    assert again.discards.equals(found.discards)


def test_the_check_sees_every_fault_that_it_names() -> None:
    rows = labelled()
    good = augmented(rows)
    labels, votes, voters = good.labels, good.votes, good.voters
    broken = {
        "same_group": replace(good, labels=labels.with_columns(donor_group_id="group_id")),
        "gate_group": replace(good, labels=labels.with_columns(donor_group_id=pl.lit("gate"))),
        "human_vote": replace(good, voters=voters.with_columns(kind=pl.lit("human"))),
        "no_vote": replace(good, votes=votes.clear()),
        "not_declared": replace(good, labels=labels.with_columns(p_a=pl.lit(0.7))),
        "own_loses": replace(good, labels=labels.with_columns(p_a=1 - pl.col("p_a"), p_tie=pl.lit(0.0))),
        "moved_at_home": replace(good, responses=good.responses.with_columns(
            parent_id=pl.col("prompt_id").replace_strict(dict(rows.select("prompt_id", "response_a").iter_rows())))),
    }
    assert faults(good, rows, {"gate"}).is_empty()
    for fault, wrong in broken.items():
        assert fault in faults(wrong, rows, {"gate"})["fault"].to_list()


def test_a_share_that_is_none_a_missing_column_and_a_repeated_pair_are_refused() -> None:
    with pytest.raises(InputError, match="tie share"):
        augmented(labelled(), tie_share=2.0)
    with pytest.raises(InputError, match="group_id"):
        augmented(labelled().drop("group_id"))
    with pytest.raises(InputError, match="twice"):
        augmented(pl.concat([labelled(), labelled()]))
