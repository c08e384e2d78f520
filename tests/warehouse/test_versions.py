"""Versions: a delta log that reads as if each version were stored whole, and fingerprints that find any change."""

from __future__ import annotations

import polars as pl
import pytest
from small_rows import NOW, labels, world

from schemas.errors import InputError
from schemas.tables import VERSIONS
from warehouse.store import Store, Writer
from warehouse.versions import (
    base_rows,
    label_set_fingerprint,
    parse_version,
    settle_labels,
    version_fingerprint,
)


@pytest.fixture(autouse=True)
def four_pairs(store: Store) -> None:
    with store.write("test") as writer:
        writer.append(world(4))


def release(writer: Writer, frame: pl.DataFrame, n: int) -> str:
    """Settle and release `frame` as version n of `d`; returns its fingerprint."""
    delta = settle_labels(writer, frame, "d", n - 1, "recipe")
    writer.append({"labels": delta.labels})
    made = label_set_fingerprint(writer, "d", n - 1, delta.label_set)
    row = {"dataset": "d", "n": n, "label_set": delta.label_set, "recipe_fingerprint": delta.label_set,
           "recipe": "{}", "as_of": 0, "n_pairs": made.n_pairs, "counts": "{}", "fingerprint": made.root,
           "code_commit": "", "released_at": NOW}
    writer.append({"versions": VERSIONS.complete(pl.DataFrame([row]))})
    writer.append({"version_bases": base_rows(writer, "d", n, delta.label_set)})
    return made.root


def state(writer: Writer, n: int) -> dict[str, tuple[float, str]]:
    members = writer.query("version_members", dataset="d", n=n)
    return {row["pair_id"]: (row["p_a"], row["action"]) for row in members.iter_rows(named=True)}


@pytest.mark.slow
def test_only_what_differs_from_the_parent_is_stored(store: Store) -> None:
    pairs = world(4)["pairs"]
    with store.write("test") as writer:
        release(writer, labels(pairs), 1)
        is_first = pl.col("pair_id") == pairs["pair_id"][0]
        changed = labels(pairs).with_columns(p_a=pl.when(is_first).then(0.2).otherwise("p_a"))
        delta = settle_labels(writer, changed, "d", 1, "recipe")
        assert delta.labels["pair_id"].to_list() == [pairs["pair_id"][0]]
        assert settle_labels(writer, labels(pairs), "d", 1, "recipe").labels.height == 0


@pytest.mark.service
def test_a_pair_that_loses_its_label_is_withdrawn_not_forgotten(store: Store) -> None:
    pairs = world(4)["pairs"]
    with store.write("test") as writer:
        release(writer, labels(pairs), 1)
        release(writer, labels(pairs[1:]), 2)
        gone = writer.query("version_members", dataset="d", n=2).filter(pl.col("pair_id") == pairs["pair_id"][0])
        assert gone.select("action", "reason").row(0) == ("drop", "withdrawn")
        assert settle_labels(writer, labels(pairs[1:]), "d", 2, "recipe").labels.height == 0


@pytest.mark.service
def test_old_versions_stay_what_they_were_across_stored_bases(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warehouse.versions.BASE_EVERY", 3)
    pairs = world(4)["pairs"]
    with store.write("test") as writer:
        roots = {n: release(writer, labels(pairs, p_a=0.5 + n / 100), n) for n in range(1, 8)}
        for n, root in roots.items():
            assert version_fingerprint(writer, "d", n).root == root
            assert {p for p, _ in state(writer, n).values()} == {0.5 + n / 100}
        bases = writer.query("version_bases_of", dataset="d")
    assert bases["n"].to_list() == [3, 6]
    assert len(set(roots.values())) == len(roots)


@pytest.mark.slow
def test_a_fingerprint_ignores_the_order_of_rows_and_sees_every_value(store: Store) -> None:
    pairs = world(4)["pairs"]
    with store.write("test") as writer:
        base = labels(pairs)
        first = settle_labels(writer, base, "d", 0, "recipe").label_set
        assert settle_labels(writer, base.reverse(), "d", 0, "recipe").label_set == first
        for change in (
            {"p_a": 0.895}, {"p_tie": 0.005}, {"strength": 1.0}, {"action": "soften"}, {"reason": "r"},
            {"weight": 0.5}, {"n_votes": 2},
        ):
            changed = base.with_columns(
                pl.when(pl.col("pair_id") == pairs["pair_id"][2]).then(pl.lit(v)).otherwise(k).alias(k)
                for k, v in change.items()
            )
            assert settle_labels(writer, changed, "d", 0, "recipe").label_set != first, change


@pytest.mark.service
def test_two_equal_labels_on_two_pairs_do_not_cancel_in_a_fingerprint(store: Store) -> None:
    pairs = world(4)["pairs"]
    with store.write("test") as writer:
        four = settle_labels(writer, labels(pairs), "d", 0, "r")
        writer.append({"labels": four.labels})
        two = settle_labels(writer, labels(pairs[:2]), "d", 0, "r")
        writer.append({"labels": two.labels})
        roots = {label_set_fingerprint(writer, "d", 0, s.label_set).root for s in (four, two)}
    assert len(roots) == 2


@pytest.mark.service
def test_a_diff_compares_states_and_not_operations(store: Store) -> None:
    pairs = world(4)["pairs"]
    ids = pairs["pair_id"].to_list()
    with store.write("test") as writer:
        release(writer, labels(pairs[:3]), 1)
        release(writer, labels(pairs[:3], p_a=0.1, strength=-2.0), 2)
        third = pl.concat([labels(pairs[:1]), labels(pairs[1:2], p_a=0.2), labels(pairs[3:])])
        release(writer, third, 3)
        changes = writer.query("version_diff", dataset="d", n_a=1, n_b=3)
    assert dict(zip(changes["pair_id"], changes["change"], strict=True)) == {
        ids[0]: "unchanged", ids[1]: "flipped", ids[2]: "removed", ids[3]: "added",
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["helpful", "helpful@", "helpful@x", "@"])
def test_a_version_that_cannot_be_read_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        parse_version(name)
