"""`tiebreak demo`: the whole loop, on a simulated world or on recorded votes, to a result a person can look at."""

from __future__ import annotations

import json
import time
from pathlib import Path

import polars as pl

from curate.adapters.simulated_world import SimulatedWorld
from curate.importing.convert import convert
from curate.importing.raw import ROW, RawSource
from curate.routing.purchase import truth_votes
from flows.calling import thread_fan_out
from flows.commands import only_runner, run_turn
from flows.engines import Engines, engines_of
from flows.ingest import append_ingested, ingest
from flows.printing import table
from flows.reporting import report
from flows.rounds import Say, open_round
from flows.server import stop_server
from flows.settings import meter_path, n_workers
from schemas.errors import NotThereYetError
from schemas.recipe import Recipe, parse_recipe
from schemas.tables import GOLD
from warehouse.reader import Reader
from warehouse.store import Store
from warehouse.workspace import Workspace

# In a wheel the examples lie inside the package, in a checkout beside it.
_HERE = Path(__file__).resolve().parent
EXAMPLES = _HERE / "examples" if (_HERE / "examples").is_dir() else _HERE.parent / "examples"


def run(root: Path, data: list[Path], rounds: int, say: Say, *, world: str = "simulated") -> None:
    """Run up to `rounds` rounds in a workspace of its own, then print report and accuracy.

    Started again, it pays for nothing again: closed rounds stay closed, recorded calls and bought
    votes are known. The Prefect server it started is stopped at the end.
    """
    if world == "corpus":
        raise NotThereYetError("`tiebreak demo --world corpus` is not there yet", next="tiebreak demo")
    started = time.monotonic()
    recipe = _recipe(data)
    workspace = Workspace(root / f"demo-{recipe.dataset}-{recipe.fingerprint[:8]}")
    workspace.create()
    store, engines = Store(workspace.root), engines_of(recipe, meter_path())
    _fill(store, engines, recipe, data, say)
    _run_missing_rounds(store, engines, recipe, rounds, say)
    say("\n" + report(workspace.root, None))
    say("\n" + _label_accuracy(store, engines, recipe))
    say(f"\nworkspace: {workspace.root}   {time.monotonic() - started:.0f} s")
    say(f"look further: tiebreak --workspace {workspace.root} sql 'SELECT * FROM round_summary'")


def _recipe(data: list[Path]) -> Recipe:
    """The example recipe; on recorded votes the dataset is named after its folders."""
    if not data:
        return parse_recipe((EXAMPLES / "simulated.toml").read_text(encoding="utf-8"), origin="simulated.toml")
    base = parse_recipe((EXAMPLES / "recorded-votes.toml").read_text(encoding="utf-8"), origin="recorded-votes.toml")
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


def _run_missing_rounds(store: Store, engines: Engines, recipe: Recipe, rounds: int, say: Say) -> None:
    n_closed = _n_closed(store, recipe.dataset)
    if n_closed >= rounds:
        say(f"{n_closed} rounds are closed already: nothing to run, nothing to pay")
        return
    with only_runner(store, recipe.dataset):
        try:
            for _ in range(rounds - n_closed):
                turn = open_round(store, engines, recipe, thread_fan_out(n_workers()), say)
                run_turn(turn, is_direct=False, say=say)
        finally:
            stop_server(store.workspace)


def _n_closed(store: Store, dataset: str) -> int:
    """Closed rounds, asked of the writer: what is published may lag behind a process that was killed."""
    with store.write("demo") as writer:
        writer.publish()
        return int(writer.query("n_closed_rounds", dataset=dataset).item())


def _label_accuracy(store: Store, engines: Engines, recipe: Recipe) -> str:
    """How often labels of the newest version agree with what the pipeline never saw."""
    with Reader(store.workspace.root) as reader:
        labelled = reader.sql("SELECT * FROM preferences WHERE dataset = $d", d=recipe.dataset)
        truth = _truth(store, reader, engines, recipe, labelled)
    if truth.height == 0:
        return "no truth outside the pipeline to compare labels with"
    decided = labelled.with_columns(pl.col("pair_id").cast(pl.String)).join(truth, on="pair_id").filter(
        (pl.col("truth") != 0.5) & (pl.col("expected_win") != 0.5)
    )
    longer = pl.col("text_a").str.len_chars() > pl.col("text_b").str.len_chars()
    is_a = pl.col("truth") > 0.5
    rows = decided.select(
        labels=((pl.col("expected_win") > 0.5) == is_a).mean(), longer_wins=(longer == is_a).mean(), pairs=pl.len()
    ).with_columns(random=pl.lit(0.5)).select("labels", "longer_wins", "random", "pairs")
    return f"Kept labels against truth that the pipeline never saw (decided pairs)\n{table(rows)}"


def _truth(store: Store, reader: Reader, engines: Engines, recipe: Recipe, labelled: pl.DataFrame) -> pl.DataFrame:
    """(pair_id, truth): share of a in the votes that were never for sale, or the world's own truth."""
    if engines.world is not None:
        gap = engines.world.quality(labelled["text_a"]) - engines.world.quality(labelled["text_b"])
        return labelled.select(pl.col("pair_id").cast(pl.String), truth=(gap.sign() + 1) / 2)
    recorded = reader.query("recorded_votes", criterion=recipe.criterion, sources=list(recipe.sources))
    sold = reader.query("sold_votes")
    unsold = truth_votes(recorded, recipe.people.share_for_sale, recipe.seed).join(sold, on="vote_id", how="anti")
    win = (pl.col("p_a") + pl.col("p_tie") / 2).mean()
    return unsold.filter(~pl.col("is_abstention")).group_by("pair_id").agg(truth=win).sort("pair_id")

