"""`tiebreak demo`: the whole loop, on the demo corpus, a simulated world or recorded votes, to a result to look at."""

from __future__ import annotations

import json
import time
from pathlib import Path

import polars as pl

from curate.adapters.simulated_world import SimulatedWorld
from curate.importing.convert import convert
from curate.importing.raw import ROW, RawSource
from flows.demo_corpus import run_corpus
from flows.demo_rounds import example, label_accuracy, run_missing_rounds
from flows.engines import Engines, engines_of
from flows.ingest import append_ingested, ingest
from flows.reporting import report
from flows.rounds import Say
from flows.server import stop_server
from flows.settings import meter_path
from schemas.recipe import Recipe, parse_recipe
from schemas.tables import GOLD
from warehouse.store import Store
from warehouse.workspace import Workspace


def run(root: Path, data: list[Path], rounds: int, say: Say, *, world: str = "simulated") -> None:
    """Run up to `rounds` rounds in a workspace of its own, then print report and accuracy.

    Started again, it pays for nothing again: closed rounds stay closed, recorded calls and bought
    votes are known. The Prefect server it started is stopped at the end.
    """
    if world == "corpus" and not data:
        run_corpus(root, rounds, say)
        return
    started = time.monotonic()
    recipe = _recipe(data)
    workspace = Workspace(root / f"demo-{recipe.dataset}-{recipe.fingerprint[:8]}")
    workspace.create()
    store, engines = Store(workspace.root), engines_of(recipe, meter_path())
    _fill(store, engines, recipe, data, say)
    try:
        run_missing_rounds(store, engines, recipe, rounds, say)
    finally:
        stop_server(workspace)
    say("\n" + report(workspace.root, None))
    say("\n" + label_accuracy(store, engines, recipe))
    say(f"\nworkspace: {workspace.root}   {time.monotonic() - started:.0f} s")
    say(f"look further: tiebreak --workspace {workspace.root} sql 'SELECT * FROM round_summary'")


def _recipe(data: list[Path]) -> Recipe:
    """The example recipe; on recorded votes the dataset is named after its folders."""
    if not data:
        return example("simulated.toml")
    base = example("recorded-votes.toml")
    names = sorted(folder.resolve().name for folder in data)
    dataset = "".join(c if c.isalnum() else "_" for c in "_".join(names).lower())[:60]
    return parse_recipe(json.dumps({**base.model_dump(mode="json"), "dataset": f"d_{dataset}"}), origin="demo")


def _fill(store: Store, engines: Engines, recipe: Recipe, data: list[Path], say: Say) -> None:
    """Take in the recorded votes, or the world's gate gold."""
    for folder in data:
        for line in ingest(store, str(folder), is_recorded=True).lines():
            say(line)
    if engines.world is not None and recipe.world is not None and recipe.world.n_gold:
        added = record_gold(store, engines.world, recipe.world.n_gold, recipe.criterion)
        say(f"gate gold of the simulated world: {added.get('gold', 0)} pairs new")


def record_gold(store: Store, world: SimulatedWorld, n: int, criterion: str) -> dict[str, int]:
    """Append `n` pairs of known truth as gate gold; returns rows new per table."""
    gold = world.gold(n).with_row_index(ROW, offset=1).with_columns(pl.col(ROW).cast(pl.Int64))
    asked = gold.select(ROW, "prompt", "response_a", "response_b", "group")
    ingested = convert(RawSource("simulated-gold", {"gold.parquet": asked}), group_by="group")
    frames = ingested.frames
    marked = _gold_rows(gold, frames["pairs"], frames["responses"], frames["texts"], criterion)
    added = append_ingested(store, ingested)
    with store.write("gold") as writer:
        added |= writer.append({"gold": marked})
        writer.publish()
    return added


def _gold_rows(
    gold: pl.DataFrame, pairs: pl.DataFrame, responses: pl.DataFrame, texts: pl.DataFrame, criterion: str
) -> pl.DataFrame:
    """Truth by pair id: the letters of a pair follow its ids, so the truth turns with them."""
    said = responses.join(texts, on="text_id").select("response_id", "text")
    lettered = pairs.join(said.rename({"response_id": "response_a", "text": "text_a"}), on="response_a").join(
        said.rename({"response_id": "response_b", "text": "text_b"}), on="response_b"
    )
    truth = gold.select("response_a", "response_b", "p_a", "p_tie")
    same = lettered.join(truth, left_on=["text_a", "text_b"], right_on=["response_a", "response_b"])
    turned = lettered.join(truth, left_on=["text_b", "text_a"], right_on=["response_a", "response_b"]).with_columns(
        p_a=1 - pl.col("p_a") - pl.col("p_tie")
    )
    rows = pl.concat([f.select("pair_id", "p_a", "p_tie", "source") for f in (same, turned)]).unique("pair_id")
    constant = {"why": "true by construction", "use": "gate", "criterion": criterion}
    return GOLD.complete(rows.with_columns(pl.lit(v).alias(k) for k, v in constant.items()).sort("pair_id"))
