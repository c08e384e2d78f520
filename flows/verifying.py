"""Verify: a version is what it was, and, with recompute, what its recipe makes of its votes here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from flows.calling import thread_fan_out
from flows.engines import engines_of
from flows.redacting import erasures
from flows.release import ground_of, settled
from flows.rounds import Turn
from schemas.errors import RefusedError
from schemas.recipe import parse_recipe
from warehouse.store import Store
from warehouse.versions import version_fingerprint


def verify_version(root: Path, dataset: str, n: int, *, is_recomputed: bool) -> dict[str, object]:
    """Fingerprint recomputed from stored labels; with `is_recomputed`, the labels settled again too.

    Raises RefusedError when the stored labels no longer have the version's fingerprint.
    """
    store = Store(root)
    with store.write("verify") as writer:
        row = writer.query("versions_of", dataset=dataset).filter(pl.col("n") == n).row(0, named=True)
        found = version_fingerprint(writer, dataset, n)
        gone = list(erasures(writer.query("tombstones_of", version=f"{dataset}@{n}")))
    if found.root != row["fingerprint"]:
        raise RefusedError(
            f"{dataset}@{n} has fingerprint {found.root}", expected=str(row["fingerprint"]), next="restore a backup"
        )
    facts: dict[str, object] = {"version": f"{dataset}@{n}", "fingerprint": found.root, "labels": found.n_labels,
                                "kept pairs": found.n_pairs, "stored": "equal"}
    if gone:
        facts["erased since"] = "; ".join(gone)
    return {**facts, **_recomputed(store, row)} if is_recomputed else facts


def _recomputed(store: Store, row: dict[str, object]) -> dict[str, object]:
    """How many labels differ, and by how much at most, when the recipe settles the same votes again.

    As of the version: gold and examinations that came later are not read.
    """
    recipe = parse_recipe(str(row["recipe"]))
    dataset, n = str(row["dataset"]), int(str(row["n"]))
    engines = engines_of(recipe).for_round(0.0)
    turn = Turn(store, engines, recipe, str(row["round_id"]), n, n - 1, thread_fan_out(1))
    with store.write("verify") as writer:
        settled_at = writer.query("settled_at", label_set=row["label_set"]).item()
        ground = ground_of(turn, writer, turn.current_votes(writer, int(str(row["as_of"]))), settled_at)
        members = writer.query("version_members", dataset=dataset, n=n)
    # Pairs that joined the scope since are no part of the version.
    kept = ("scope", "texts", "pairs")
    parts = {name: getattr(ground, name).join(members, on="pair_id", how="semi") for name in kept}
    _, labels = settled(turn, replace(ground, **parts))
    return _compared(members.filter(pl.col("reason") != "withdrawn"), labels)


def _compared(stored: pl.DataFrame, again: pl.DataFrame) -> dict[str, object]:
    """How many labels differ in anything that a fingerprint sees, and by how much in p_a at most."""
    values = ["p_a", "p_tie", "strength", "n_votes", "action", "reason", "weight"]
    both = stored.select("pair_id", *values).join(again, on="pair_id", suffix="_again", how="full", coalesce=True)
    differs = pl.any_horizontal(pl.col(c).ne_missing(pl.col(f"{c}_again")) for c in values)
    n, most = both.select(differs.sum(), (pl.col("p_a") - pl.col("p_a_again")).abs().max().alias("most")).row(0)
    return {"recomputed labels that differ": n, "largest difference in p_a": most}
