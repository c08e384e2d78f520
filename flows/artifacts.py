"""What a round shows in Prefect's UI: progress while it asks and trains, then one page of what came of it.

Prefect renders artifacts as Markdown. Whatever came from data is escaped: it shows as the text it is.
"""

from __future__ import annotations

import re
import threading
from typing import Any

import polars as pl

from flows.rounds import Turn
from flows.stages import STAGES
from warehouse.reader import Reader

LONGEST = 200
"""characters of a value; the rest is in the warehouse"""
MONEY = ["budget_votes", "n_routes", "n_audits", "n_bought", "human_usd", "n_calls", "call_usd"]
GATE = ["verdict", "d", "low", "n_gold", "reason"]
_PLAIN = re.compile(r"(?!.*www\.)[^\W_][\w ,.()%=+':/-]*(?<!_)(?<! )", re.ASCII)
"""what no Markdown takes for markup, in the pages of either of Prefect's UIs"""


class Progress:
    """How far long work is: one artifact per kind of work, told from any thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._guard = threading.Lock()
        self._made: dict[str, Any] = {}

    def calls(self, kind: str, done: int, total: int) -> None:
        """`done` of `total` calls of a kind are recorded."""
        share = 100 * done / total if total else 100.0
        self.tell(f"{kind}-calls", share, f"{done:,} of {total:,} {kind} calls")

    def tell(self, what: str, share: float, said: str) -> None:
        """`what` is `share` percent done, and `said` says so in words."""
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        with self._guard:
            if what in self._made:
                update_progress_artifact(self._made[what], share, said)
            else:
                key = artifact_key(self._name, what)
                self._made[what] = create_progress_artifact(share, key=key, description=said)


def show_round(turn: Turn) -> None:
    """The round's page as an artifact of the flow run; one key per dataset, so that its rounds stand in a row."""
    from prefect.artifacts import create_markdown_artifact

    described = f"round {turn.n} of {turn.recipe.dataset}"
    create_markdown_artifact(round_page(turn), key=artifact_key(turn.recipe.dataset, "round"), description=described)


def round_page(turn: Turn) -> str:
    """Markdown: stages, calls and money, funnel, the gate's verdict, where to look further."""
    dataset = turn.recipe.dataset
    with Reader(turn.store.workspace.root) as reader:
        summary = reader.sql("FROM round_summary").filter(dataset=dataset, n=turn.n)
        calls = reader.sql("FROM ledger").filter(dataset=dataset, round=turn.n).drop("dataset", "round")
        funnel = reader.sql("FROM funnel").filter(dataset=dataset).drop("dataset")
        stages = reader.query("finished_stages", round_id=turn.round_id)
    version = summary["version"][0] if summary.height else None
    parts = [
        f"# Round {turn.n} of {escaped(dataset)}", _released(dataset, version),
        "## Votes and money", markdown_table(summary.select(MONEY)), "## Calls", markdown_table(calls),
        "## Stages", markdown_table(_in_order(stages)),
        "## Funnel of the newest version", markdown_table(funnel),
        "## Gate", markdown_table(summary.select(GATE).drop_nulls("verdict")),
        "## Further", _further(turn, version),
    ]
    return "\n\n".join(parts)


def markdown_table(rows: pl.DataFrame) -> str:
    """A frame as a Markdown table, every value escaped."""
    if rows.is_empty():
        return "none"
    lines = [[_cell(name) for name in rows.columns], ["---"] * rows.width]
    lines += [[_cell(value) for value in row] for row in rows.iter_rows()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escaped(text: str) -> str:
    """Text as Markdown that shows just this text: no markup, no HTML, no link, one line, at most 200 characters.

    Anything but plain words is put as code: Prefect's first UI shows entities as they are written, its second makes
    links of escaped addresses, and both leave code alone.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text[:LONGEST]).split())
    shown = line + ("…" if len(text) > LONGEST else "")
    if not shown or (_PLAIN.fullmatch(line) and "://" not in line and "__" not in line):
        return shown
    fence = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    return f"{fence} {shown} {fence}" if "`" in line else f"{fence}{shown}{fence}"


def artifact_key(*words: str) -> str:
    """A key as Prefect wants it: small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(words).lower()).strip("-")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:,.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else f"{value:,}"
    # A bar ends a cell, in code too. Parsers disagree on a backslash before an escaped bar: a blank keeps them apart.
    return escaped(str(value)).replace("\\|", "\\ |").replace("|", "\\|")


def _in_order(stages: pl.DataFrame) -> pl.DataFrame:
    order = pl.DataFrame({"stage": list(STAGES), "at": range(len(STAGES))}, schema_overrides={"at": pl.Int64})
    rows = stages.join(order, on="stage").sort("at")
    return rows.select("stage", rows="n_rows", finished=pl.col("finished_at").dt.strftime("%Y-%m-%d %H:%M:%S UTC"))


def _released(dataset: str, version: int | None) -> str:
    return f"Released: **{escaped(dataset)}@{version}**" if version else "No new version."


def _further(turn: Turn, version: int | None) -> str:
    """Commands and folders, as code: a page in a browser can open neither a file nor a terminal of that machine."""
    dataset, root = turn.recipe.dataset, turn.store.workspace.root
    named = f"{dataset}@{version}" if version else ""
    commands = [f"tiebreak report {named} --html report.html".replace("  ", " ")]
    if version:
        commands += [f"tiebreak versions; tiebreak card {named}"]
        commands += [f"tiebreak diff {dataset}@{version - 1} {named}"] if version > 1 else []
    where = [f"Workspace: {escaped(str(root.resolve()))}"]
    return "\n".join([*where, "", *(f"    {command}" for command in commands)])
