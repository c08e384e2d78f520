"""The plain-text report: versions, rounds, funnel, voters, models, gate."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from curate.consensus.folding import fold_orders
from curate.routing.audit import audit_estimate, audits, second_opinions
from curate.routing.ledger import ledger
from curate.routing.skill import human_skill
from flows.commands import resolve
from flows.printing import table
from schemas.errors import NotThereYetError
from schemas.tables import ROUTES, VOTES
from warehouse.reader import Reader

FEW_GROUPS = 10
FEWEST_AUDITS = 10
LEDGER_ROUNDS = 10
"""newest versions whose routes are looked at: each reads all labels of a version"""


def report(root: Path, version: str | None) -> str:
    """Text of the report over all datasets, or over the dataset of one version."""
    dataset = resolve(root, version)[0] if version else None
    with Reader(root) as reader:
        names = reader.query("datasets")["dataset"].to_list()
        shown = [name for name in names if dataset in (None, name)]
        return "\n\n".join(_dataset(reader, name) for name in shown) or "no round yet; next: tiebreak run"


def compare(root: Path, a: str, b: str) -> str:
    """Text of what changed between two versions."""
    raise NotThereYetError("`tiebreak report --compare` is not there yet", next=f"tiebreak diff {a} {b}")


def _dataset(reader: Reader, dataset: str) -> str:
    sections = [
        ("Versions", "report_versions"), ("Rounds: budget, what it bought, what it cost", "report_rounds"),
        ("Funnel of the newest version: why pairs are in or out", "report_funnel"),
        ("Voters", "report_voters"), ("Reward models on gate gold", "report_models"), ("Gate", "report_gate"),
    ]
    parts = [f"{dataset}\n{'=' * len(dataset)}"]
    for title, query in sections:
        rows = reader.query(query, dataset=dataset)
        shown = rows.drop("reason") if query == "report_gate" else rows
        parts.append(f"{title}\n{table(shown)}{_remarks(query, rows)}")
    bought = _bought(reader, dataset)
    if bought.height:
        parts.append(f"What people were asked for, and what it changed\n{table(bought)}")
    parts.append(f"Audit: how often labels were wrong before a person looked\n{_audit(reader, dataset)}")
    return "\n\n".join(parts)


def _bought(reader: Reader, dataset: str) -> pl.DataFrame:
    """The routing ledger by round and reason, of the rounds that released a version: only there labels are known."""
    released = reader.query("versions_of", dataset=dataset).tail(LEDGER_ROUNDS)
    routes = reader.query("routes_with_votes", dataset=dataset).join(released, on="round_id", how="semi")
    if routes.is_empty():
        return routes
    after = pl.concat([
        reader.query("version_members", dataset=dataset, n=n).select(
            "pair_id", "p_a", "p_tie", round_id=pl.lit(round_id))
        for n, round_id in released.select("n", "round_id").iter_rows()
    ])
    came = routes.drop_nulls("paid_usd").select("route_id", "seconds", cost_usd="paid_usd")
    found = ledger(routes.select(*ROUTES.schema), came, after)
    rounds = routes.select("round_id", "round").unique()
    return found.join(rounds, on="round_id").sort("round", "reason").select(
        "round", "reason", "n_routes", "n_votes", pl.col("cost_usd").round(2),
        pl.when(pl.col("seconds") > 0).then(pl.col("seconds") / 3600).alias("hours"),  # recorded votes carry no time
        pl.col("n_changed").round(1), pl.col("expected_gain").round(2), pl.col("realised_gain").round(2))


def _audit(reader: Reader, dataset: str) -> str:
    """Error of the labels by the random audit, corrected for people's own errors."""
    answered = reader.query("answered_routes", dataset=dataset)
    routed, said = answered.select(*ROUTES.schema), answered.select("route_id", p_a="said_p_a", p_tie="said_p_tie")
    seen, seconds = audits(routed, said), second_opinions(routed, said)
    if seen.height < FEWEST_AUDITS:
        return f"{seen.height} audit votes so far; an estimate needs {FEWEST_AUDITS}"
    people = reader.query("human_votes", dataset=dataset)
    skill = human_skill(fold_orders(VOTES.complete(people), reader.query("all_voters"), 0.0))
    if seen["group_id"].n_unique() < 2 or skill <= 1 / 3:
        return f"no estimate from {seen.height} audit votes: one group only, or people agree no more than by chance"
    found = audit_estimate(seen, skill, seconds=seconds)
    return (
        f"{found.error:.3f} [{found.low:.3f}, {found.high:.3f}] from {found.n_pairs} pairs in {found.n_groups} groups"
        f"{' (descriptive)' if found.is_descriptive else ''}; {found.contradicted:.3f} contradicted, "
        f"people taken to be right {found.human_skill:.2f} of the time"
    )


def _remarks(query: str, rows: pl.DataFrame) -> str:
    """What a reader must know before believing a number."""
    if query == "report_gate":
        return "".join(f"\n  round {n}: {reason}" for n, reason in rows.select("round", "reason").iter_rows())
    if query == "report_models" and rows.height and rows["groups"].min() is not None:
        least = rows["groups"].min()
        if isinstance(least, int) and least < FEW_GROUPS:
            return f"\n  intervals over {least} groups, fewer than {FEW_GROUPS}, are descriptive"
    return ""
