"""Facts of what changed from one version to another: counts, examples with their texts, and why each changed."""

from __future__ import annotations

import json
from functools import cached_property

import polars as pl

from flows.pages.facts import DatasetFacts, Row

MOST_FLIPPED, MOST_OTHERS = 8, 2
"""example pairs: flips, and of each other change"""
CUT = 3_000
"""characters of a text that a page holds"""
CHANGES = ("flipped", "added", "removed", "strength_changed", "label_changed", "unchanged")
"""in the order in which they are told; pairs in neither version are not counted"""


class Comparison:
    """From version `a` to version `b` of the dataset that `facts` are about."""

    def __init__(self, facts: DatasetFacts, a: int, b: int) -> None:
        self.facts, self.a, self.b = facts, a, b
        self._between: dict[str, object] = {"dataset": facts.dataset, "n_a": a, "n_b": b}

    @property
    def names(self) -> tuple[str, str]:
        """`helpful@6` and `helpful@7`."""
        return f"{self.facts.dataset}@{self.a}", f"{self.facts.dataset}@{self.b}"

    @cached_property
    def transitions(self) -> pl.DataFrame:
        """change, before, after (action and reason), pairs."""
        rows = self.facts.reader.query("report_diff_counts", **self._between)
        return rows.filter(pl.col("change") != "in_neither")

    @cached_property
    def counts(self) -> dict[str, int]:
        """Pairs per change, all of CHANGES."""
        found = dict(self.transitions.group_by("change").agg(pl.col("pairs").sum()).iter_rows())
        return {change: int(found.get(change, 0)) for change in CHANGES}

    def examples(self, n_flipped: int = MOST_FLIPPED, n_others: int = MOST_OTHERS, cut: int = CUT) -> list[Row]:
        """Pairs that moved most, flips first: labels before and after, texts cut after `cut` characters, `why`."""
        rows = self.facts.reader.query(
            "report_diff_examples", **self._between, n_flipped=n_flipped, n_others=n_others)
        pairs = rows["pair_id"].to_list()
        texts = self.facts.reader.query("report_pair_texts", pairs=pairs, cut=cut)
        whole = rows.join(texts, on="pair_id", how="left", maintain_order="left")
        said = self._said_between(pairs)
        return [{**row, "why": self._why(row, said.get(str(row["pair_id"]), []))} for row in whole.to_dicts()]

    @cached_property
    def recipe_changes(self) -> list[tuple[str, str, str]]:
        """(field, before, after) of each field of the recipe that differs, as JSON; "-" where it has none."""
        before, after = (_flat(json.loads(self.facts.recipe_of(n))) for n in (self.a, self.b))
        fields = sorted(before.keys() | after.keys())
        told = [(field, before.get(field, "-"), after.get(field, "-")) for field in fields]
        return [(field, was, now) for field, was, now in told if was != now]

    def _said_between(self, pairs: list[str]) -> dict[str, list[Row]]:
        """What voters said of each pair after the earlier version and up to the later one, in seq."""
        first, last = sorted((self.facts.as_of(self.a), self.facts.as_of(self.b)))
        rows = self.facts.reader.query("report_diff_votes", pairs=pairs, after=first, upto=last)
        parts = rows.partition_by("pair_id", as_dict=True, maintain_order=True)
        return {str(key[0]): part.to_dicts() for key, part in parts.items()}

    def _why(self, row: Row, said: list[Row]) -> str:
        """In words: the votes between, else what else can move a label."""
        reason = str(row["reason_after"] or "")
        parts = [f"now {row['action_after']}: {reason}"] if reason and row["reason_before"] != reason else []
        if row["action_before"] is None:
            parts.append("labelled for the first time")
        if said:
            between = "between them" if self.a < self.b else f"that only {self.names[0]} has read"
            parts.append(f"votes {between}: {', '.join(_vote(vote) for vote in said)}")
        elif row["action_before"] is not None:
            parts.append("no vote of its own between them" + (
                "; the recipe differs" if self.recipe_changes else
                "; other votes changed how far each voter is trusted, or how strengths compare"))
        return "; ".join(parts)


def _vote(vote: Row) -> str:
    times = f" ×{vote['n']}" if int(str(vote["n"])) > 1 else ""
    return f"{vote['voter']} ({str(vote['kind']).replace('_', ' ')}) {vote['said']}{times}"


def _flat(value: object, path: str = "") -> dict[str, str]:
    """Leaves of nested objects by dotted path; lists are leaves."""
    if not isinstance(value, dict):
        return {path: json.dumps(value, sort_keys=True, ensure_ascii=False)}
    parts = [_flat(inner, f"{path}.{key}" if path else str(key)) for key, inner in value.items()]
    return {key: leaf for part in parts for key, leaf in part.items()}
