"""What the labels of a version say of whole prompts: circles in which no ranking of the responses holds."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from curate.consensus.cycles import cyclic_share, weakest_pairs
from flows.commands import resolve
from warehouse.reader import Reader


def cycles(root: Path, version: str) -> pl.DataFrame:
    """(prompt_id, n_responses, cyclic_share, weakest_pair, lead, cycle_lead) of a version's cycles of wins.

    What no ranking of the responses can hold, the most cyclic prompt first; a cycle ends where its weakest pair turns.
    """
    dataset, n = resolve(root, version)
    with Reader(root) as reader:
        graph = reader.query("version_graph", dataset=dataset, n=n)
    weakest = weakest_pairs(graph, graph).join(cyclic_share(graph, graph), on="prompt_id")
    return weakest.select(
        "prompt_id", "n_responses", "cyclic_share", pl.col("pair_id").alias("weakest_pair"), "lead", "cycle_lead"
    ).sort("cyclic_share", "prompt_id", "weakest_pair", descending=[True, False, False])
