"""Seconds and memory of the worker-aware Bradley–Terry consensus on many votes, beside crowd-kit's Dawid–Skene.

Both read the same simulated votes: voters of varying skill, order bias and tie width, pairs with a normal latent.
crowd-kit is no dependency of ours: `--peer PYTHON` names an interpreter that has it (pip install crowd-kit==1.4.2
pyarrow) and runs it there on the same votes. Each side is timed from its frame in memory to its answer, by the clock
and in seconds of CPU (Polars reads on all cores).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench._measuring import beside, markdown, peak_rss_mb, timed
from curate.consensus.worker_bradley_terry import worker_bradley_terry
from schemas.errors import InputError, TiebreakError
from schemas.tables import VOTERS, VOTES

PEER = """
import json, resource, sys, time
import pandas as pd
from crowdkit.aggregation import DawidSkene
votes = pd.read_csv(sys.argv[1], dtype=str)
began, busy = time.perf_counter(), time.process_time()
model = DawidSkene(n_iter=100, tol=1e-5)
said = model.fit_predict(votes)
seconds, cpu = time.perf_counter() - began, time.process_time() - busy
said.to_csv(sys.argv[2])
print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "n_iterations": len(model.loss_history_),
                  "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6}))
"""


def simulated(n_votes: int, n_voters: int, n_pairs: int, seed: int) -> tuple[pl.DataFrame, pl.DataFrame, pl.Series]:
    """VOTES, VOTERS and whether a is truly ahead, by pair. Nobody votes twice on a pair."""
    chance = np.random.default_rng(seed)
    pair, voter = _seats(chance, n_votes, n_voters, n_pairs)
    x, order = chance.normal(size=n_pairs), chance.choice([-1.0, 1.0], len(pair))
    skill, bias, width = (chance.normal(m, s, n_voters)[voter] for m, s in ((2.5, 1.0), (0.2, 0.5), (0.0, 0.7)))
    z = skill * x[pair] + bias * order
    odds = np.exp(np.column_stack([z / 2, width, -z / 2]))
    said = (chance.random(len(pair))[:, None] > np.cumsum(odds / odds.sum(1, keepdims=True), 1)).sum(1)
    frame = pl.DataFrame({"p": pair, "v": voter, "said": said, "order": order})
    return _votes(frame), _voters(n_voters), pl.Series(x > 0)


def _seats(
    chance: np.random.Generator, n_votes: int, n_voters: int, n_pairs: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    each = -(-n_votes // n_pairs)
    first = chance.integers(0, n_voters, n_pairs)
    # A stride that shares no factor with the number of voters visits each at most once.
    voter = (first[:, None] + np.arange(each) * (n_voters // 3 | 1)) % n_voters
    pair = np.repeat(np.arange(n_pairs), each)
    kept = np.sort(chance.permutation(len(pair))[:n_votes])
    return pair[kept], voter.ravel()[kept]


def _votes(rows: pl.DataFrame) -> pl.DataFrame:
    return VOTES.complete(rows.select(
        pl.format("{}/{}", "p", "v").alias("vote_id"), pl.format("{}/{}", "p", "v").alias("ballot_id"),
        pl.format("pair {}", "p").alias("pair_id"), pl.format("voter {}", "v").alias("voter"),
        (pl.col("said") == 0).cast(pl.Float64).alias("p_a"), (pl.col("said") == 1).cast(pl.Float64).alias("p_tie"),
        pl.when(pl.col("order") > 0).then(pl.lit("a")).otherwise(pl.lit("b")).alias("shown_first"),
        pl.lit(False).alias("is_abstention"), pl.lit(1).alias("n"), pl.lit("overall").alias("criterion"),
        pl.lit(0.0).alias("cost_usd"), pl.lit("cast").alias("status")))


def _voters(n: int) -> pl.DataFrame:
    names = pl.Series("voter", [f"voter {v}" for v in range(n)])
    return VOTERS.complete(names.to_frame().with_columns(
        kind=pl.lit("human"), family=pl.col("voter"), cost_usd=pl.lit(0.0)))


def ours(votes: pl.DataFrame, voters: pl.DataFrame, ahead: pl.Series) -> dict[str, object]:
    """Seconds of a cold fit and of a warm one after the last 1 % of the votes arrived; side accuracy."""
    busy = time.process_time()
    with timed() as cold:
        fit = worker_bradley_terry(votes, voters)
    cpu = time.process_time() - busy
    peak, says_a = peak_rss_mb(), 2 * pl.col("p_a") + pl.col("p_tie") > 1
    said = fit.consensus.posteriors.select(_number(), says_a.alias("a"))
    before = worker_bradley_terry(votes.head(votes.height * 99 // 100), voters)
    with timed() as warm:
        again = worker_bradley_terry(votes, voters, start=before)
    return {"seconds": cold.taken, "cpu_seconds": cpu, "rss_mb": peak, "n_iterations": fit.n_iterations,
            "is_converged": fit.is_converged, "accuracy": (said["a"] == ahead.gather(said["p"])).mean(),
            "warm_seconds": warm.taken, "warm_iterations": again.n_iterations}  # fmt: skip


def crowdkit(votes: pl.DataFrame, ahead: pl.Series, python: Path) -> dict[str, object]:
    """The same of crowd-kit's DawidSkene in another interpreter; a tie is half right."""
    label = pl.when(pl.col("p_a") == 1).then(pl.lit("a")).when(pl.col("p_tie") == 1).then(pl.lit("tie"))
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder) / "votes.csv", Path(folder) / "labels.csv"
        votes.select(task="pair_id", worker="voter", label=label.otherwise(pl.lit("b"))).write_csv(given)
        command = [str(python), "-c", PEER, str(given), str(answer)]
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        if told.returncode:
            raise InputError(f"crowd-kit failed: {told.stderr.strip()[-200:]}", expected="an interpreter that has it",
                             next="pip install crowd-kit==1.4.2 there")  # fmt: skip
        labels = pl.read_csv(answer, new_columns=["pair_id", "label"])
    said = labels.select(_number(), "label")
    is_right = (said["label"] == "a") == ahead.gather(said["p"])
    score = pl.select(pl.when(said["label"] == "tie").then(0.5).otherwise(is_right.cast(pl.Float64))).to_series()
    return {**json.loads(told.stdout), "accuracy": score.mean()}


def _number() -> pl.Expr:
    return pl.col("pair_id").str.strip_prefix("pair ").cast(pl.Int64).alias("p")


def report(found: dict[str, dict[str, object]], size: str) -> str:
    """Markdown."""
    columns = ["method", "seconds", "CPU s", "peak MB", "iterations", "side accuracy"]
    keys = ("seconds", "cpu_seconds", "rss_mb", "n_iterations", "accuracy")
    mine = found["ours"]
    lines = [
        f"## Consensus: {size}", "",
        markdown(columns, [[name, *(r[k] for k in keys)] for name, r in found.items()]), "",
        f"Warm after the last 1 % of the votes: {mine['warm_seconds']:.1f} s, {mine['warm_iterations']} iterations.",
    ]  # fmt: skip
    if "crowd-kit" in found:
        wall, cpu = (float(str(mine[k])) / float(str(found["crowd-kit"][k])) for k in ("seconds", "cpu_seconds"))
        lines.append(f"Ours takes {wall:.2f} × the seconds of crowd-kit's Dawid–Skene ({cpu:.2f} × of CPU).")
    return "\n".join([*lines, beside()])


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: print Markdown, or JSON with --json."""
    parser = argparse.ArgumentParser(description="Seconds of the worker-aware Bradley–Terry consensus.")
    for name, default in (("votes", 1_000_000), ("voters", 5_000), ("pairs", 300_000), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--peer", type=Path, help="interpreter with crowd-kit")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    votes, voters, ahead = simulated(asked.votes, asked.voters, asked.pairs, asked.seed)
    found = {"ours": ours(votes, voters, ahead)}
    try:
        if asked.peer:
            found["crowd-kit"] = crowdkit(votes, ahead, asked.peer)
    except TiebreakError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    size = f"{asked.votes:,} votes, {asked.voters:,} voters, {asked.pairs:,} pairs"
    print(json.dumps(found) if asked.json else report(found, size))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
