"""What every demo does: run the rounds that are missing, then compare labels with a truth the pipeline never saw."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from curate.routing.purchase import truth_votes
from flows.calling import thread_fan_out
from flows.commands import only_runner, run_turn
from flows.engines import Engines
from flows.printing import table
from flows.rounds import Say, open_round
from flows.settings import n_workers
from schemas.recipe import Recipe, parse_recipe
from warehouse.reader import Reader
from warehouse.store import Store

# In a wheel the examples lie inside the package, in a checkout beside it.
_HERE = Path(__file__).resolve().parent
EXAMPLES = _HERE / "examples" if (_HERE / "examples").is_dir() else _HERE.parent / "examples"


def example(name: str) -> Recipe:
    """One of the recipes in `examples/`."""
    return parse_recipe((EXAMPLES / name).read_text(encoding="utf-8"), origin=name)


def run_missing_rounds(store: Store, engines: Engines, recipe: Recipe, rounds: int, say: Say) -> None:
    """Run rounds until `rounds` of the dataset are closed. The Prefect server that this starts is left running."""
    n_closed = _n_closed(store, recipe.dataset)
    if n_closed >= rounds:
        closed = "1 round is" if n_closed == 1 else f"{n_closed} rounds are"
        say(f"{recipe.dataset}: {closed} closed already: nothing to run, nothing to pay")
        return
    with only_runner(store, recipe.dataset):
        for _ in range(rounds - n_closed):
            turn = open_round(store, engines, recipe, thread_fan_out(n_workers()), say)
            run_turn(turn, is_direct=False, say=say)


def _n_closed(store: Store, dataset: str) -> int:
    """Closed rounds, asked of the writer: what is published may lag behind a process that was killed."""
    with store.write("demo") as writer:
        writer.publish()
        return int(writer.query("n_closed_rounds", dataset=dataset).item())


def label_accuracy(store: Store, engines: Engines, recipe: Recipe) -> str:
    """How often labels of each version agree with what the pipeline never saw, as a table; the newest is the last."""
    with Reader(store.workspace.root) as reader:
        versions = reader.query("versions_of", dataset=recipe.dataset)["n"].to_list()
        measured = [_measured(reader, engines, recipe, n) for n in versions]
    rows = pl.concat(measured)
    if rows.is_empty():
        return "no truth outside the pipeline to compare labels with"
    return f"Kept labels against truth that the pipeline never saw (decided pairs)\n{table(rows)}"


def _measured(reader: Reader, engines: Engines, recipe: Recipe, n: int) -> pl.DataFrame:
    """(version, labels, longer_wins, random, pairs), one row: shares of decided pairs; no row without a truth."""
    members = reader.query("version_members", dataset=recipe.dataset, n=n).filter(pl.col("action") != "drop")
    labelled = members.with_columns(expected_win=pl.col("p_a") + pl.col("p_tie") / 2)
    decided = labelled.join(_truth(reader, engines, recipe, labelled), on="pair_id").filter(
        (pl.col("truth") != 0.5) & (pl.col("expected_win") != 0.5)
    )
    longer = pl.col("text_a").str.len_chars() > pl.col("text_b").str.len_chars()
    is_a = pl.col("truth") > 0.5
    rows = decided.select(
        version=pl.lit(f"{recipe.dataset}@{n}"), labels=((pl.col("expected_win") > 0.5) == is_a).mean(),
        longer_wins=(longer == is_a).mean(), random=pl.lit(0.5), pairs=pl.len(),
    )
    return rows if decided.height else rows.clear()


def _truth(reader: Reader, engines: Engines, recipe: Recipe, labelled: pl.DataFrame) -> pl.DataFrame:
    """(pair_id, truth): share of a in the votes that were never for sale, or the world's own truth."""
    if engines.world is not None:
        gap = engines.world.quality(labelled["text_a"]) - engines.world.quality(labelled["text_b"])
        return labelled.select("pair_id", truth=(gap.sign() + 1) / 2)
    recorded = reader.query("recorded_votes", criterion=recipe.criterion, sources=list(recipe.sources))
    sold = reader.query("sold_votes")
    unsold = truth_votes(recorded, recipe.people.share_for_sale, recipe.seed).join(sold, on="vote_id", how="anti")
    win = (pl.col("p_a") + pl.col("p_tie") / 2).mean()
    return unsold.filter(~pl.col("is_abstention")).group_by("pair_id").agg(truth=win).sort("pair_id")
