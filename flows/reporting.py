"""The plain-text report: versions, rounds, funnel, voters, models, gate; and what changed between two versions."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from flows.commands import resolve
from flows.pages.comparing import Comparison
from flows.pages.facts import DatasetFacts
from flows.pages.words import outcome
from flows.printing import table
from schemas.errors import InputError
from warehouse.reader import Reader

FEW_GROUPS = 10
MOST_FLIPPED = 20
"""flipped pairs that a text lists"""


def report(root: Path, version: str | None) -> str:
    """Text of the report over all datasets, or over the dataset of one version."""
    dataset, n = resolve(root, version) if version else (None, None)
    with Reader(root) as reader:
        names = reader.query("datasets")["dataset"].to_list()
        shown = [DatasetFacts(reader, name, n) for name in names if dataset in (None, name)]
        return "\n\n".join(_dataset(facts) for facts in shown) or "no round yet; next: tiebreak run"


def compare(root: Path, a: str, b: str) -> str:
    """Text of what changed between two versions of a dataset: counts, then flipped pairs with both labels and why."""
    dataset, n_a, n_b = two_versions(root, a, b)
    with Reader(root) as reader:
        found = Comparison(DatasetFacts(reader, dataset, n_b), n_a, n_b)
        title = " to ".join(found.names)
        counts = pl.DataFrame({"change": list(found.counts), "pairs": list(found.counts.values())})
        flipped = found.examples(n_flipped=MOST_FLIPPED, n_others=0, cut=0)
        parts = [
            f"{title}\n{'=' * len(title)}", f"What changed\n{table(counts)}",
            f"From what to what\n{table(found.transitions)}", *_recipe(found), *_flipped(flipped, found.counts),
            f"next: tiebreak diff {found.names[0]} {found.names[1]} --pairs; tiebreak why PAIR",
        ]
        return "\n\n".join(parts)


def two_versions(root: Path, a: str, b: str) -> tuple[str, int, int]:
    """(dataset, number of a, number of b). Raises InputError for versions of two datasets, or an unknown one."""
    (dataset, n_a), (other, n_b) = resolve(root, a), resolve(root, b)
    if dataset != other:
        raise InputError(f"{a} and {b}", expected="two versions of one dataset", next="tiebreak versions")
    return dataset, n_a, n_b


def _recipe(found: Comparison) -> list[str]:
    if not found.recipe_changes:
        return []
    rows = pl.DataFrame(found.recipe_changes, schema=["field", "before", "after"], orient="row")
    return [f"Recipe\n{table(rows)}"]


def _flipped(examples: list[dict[str, object]], counts: dict[str, int]) -> list[str]:
    """One paragraph per flipped pair: both labels, and why. `table` would cut the reasons."""
    if not examples:
        return ["Flipped pairs\nnone"]
    few = f", {len(examples)} of {counts['flipped']} that moved most" if len(examples) < counts["flipped"] else ""
    lines = [
        line for row in examples for line in (
            f"{row['pair_id']}", f"  was: {outcome(row['p_a_before'], row['p_tie_before'])}",
            f"  is:  {outcome(row['p_a_after'], row['p_tie_after'])}", f"  why: {_plain(str(row['why']))}")
    ]
    return [f"Flipped pairs{few}\n" + "\n".join(lines)]


def _plain(text: str) -> str:
    """Names of voters come from outside: no control character reaches a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _dataset(facts: DatasetFacts) -> str:
    of_version = "the newest version" if facts.is_newest else facts.name
    sections = [
        ("Versions", facts.versions), ("Rounds: budget, what it bought, what it cost", facts.rounds),
        (f"Funnel of {of_version}: why pairs are in or out", facts.funnel), ("Voters", facts.voters),
    ]
    parts = [f"{facts.dataset}\n{'=' * len(facts.dataset)}", *(f"{title}\n{table(rows)}" for title, rows in sections)]
    parts.append(f"Reward models on gate gold\n{table(facts.models)}{_few_groups(facts.models)}")
    parts.append(f"Gate\n{table(facts.gate.drop('reason'))}{_reasons(facts.gate)}")
    if facts.bought.height:
        parts.append(f"What people were asked for, and what it changed\n{table(facts.bought)}")
    parts.append(f"Audit: how often labels were wrong before a person looked\n{_audit(facts)}")
    return "\n\n".join(parts)


def _audit(facts: DatasetFacts) -> str:
    found = facts.audit.found
    if found is None:
        return facts.audit.why_not
    return (
        f"{found.error:.3f} [{found.low:.3f}, {found.high:.3f}] from {found.n_pairs} pairs in {found.n_groups} groups"
        f"{' (descriptive)' if found.is_descriptive else ''}; {found.contradicted:.3f} contradicted, "
        f"people taken to be right {found.human_skill:.2f} of the time"
    )


def _reasons(gate: pl.DataFrame) -> str:
    return "".join(f"\n  round {n}: {reason}" for n, reason in gate.select("round", "reason").iter_rows())


def _few_groups(models: pl.DataFrame) -> str:
    """What a reader must know before believing an interval."""
    least = models["groups"].min()
    if isinstance(least, int) and least < FEW_GROUPS:
        return f"\n  intervals over {least} groups, fewer than {FEW_GROUPS}, are descriptive"
    return ""
