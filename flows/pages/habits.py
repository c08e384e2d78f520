"""Section of the audits (METHODS F): what labels and voters prefer besides quality."""

from __future__ import annotations

import polars as pl

from flows.pages import charts
from flows.pages.audits import AuditFacts
from flows.pages.charts import MODELS, OTHER, PEOPLE, Mark, Series
from flows.pages.facts import DatasetFacts
from flows.pages.markup import between, decimal, figure, grid, note, section, shown, table, whole
from flows.pages.version import COLOURS, SHAPES
from flows.pages.words import KINDS, count

TRAITS = {"prefer_longer": "the longer one", "prefer_list": "the one with a list",
          "prefer_markdown": "the one with markdown"}
HABITS = {"prefer_first": ("What is shown first", "expected win of the response shown first"),
          "prefer_longer": ("What is longer", "expected win of the longer response")}
MOST_POLICIES = 8


def audits(facts: DatasetFacts, found: AuditFacts) -> str:
    """Length, lists, markdown, first slot, length correlation and win rates of policies."""
    lead = ("Each point is how often the side with a trait wins, over pairs where just one side has it. 0.5 is no "
            "preference. One need not be wrong (longer answers can be better), but it should not surprise you.")
    return section(
        f"{facts.dataset}-audits", "Audits: what labels and voters prefer besides quality", lead,
        grid(_traits(found), *(_habit(found, audit) for audit in HABITS)), _correlation(found), _policies(found))


def _traits(found: AuditFacts) -> str:
    rows = found.traits
    if rows.is_empty():
        return note("No kept pair has a longer side, a list or markdown on just one side.")
    n_sources = rows["source"].n_unique() - 1
    told = rows.filter(pl.col("source").is_null() | pl.lit(n_sources > 1))
    marks = [
        Mark(TRAITS[str(row["audit"])] + ("" if row["source"] is None else f" · {shown(row['source'])}"), row["value"],
             f"{decimal(row['value'])} {between(row['low'], row['high'])}", row["low"], row["high"],
             charts.KEPT if row["source"] is None else OTHER, "circle" if row["source"] is None else "diamond")
        for row in told.iter_rows(named=True)]
    numbers = table(rows.with_columns(pl.col("audit").replace(TRAITS), pl.col("source").fill_null("all")), "Labels", {
        "audit": ("which side wins", shown), "source": ("source", shown), **_NUMBERS})
    picture = charts.intervals(marks, "How often labels prefer the longer side, lists and markdown", domain=(0.0, 1.0),
                               title="expected win of that side", reference=0.5)
    return figure(picture, "The labels", "Which side do they prefer?", numbers)


_NUMBERS = {"value": ("wins", decimal), "low": ("low", decimal), "high": ("high", decimal), "n": ("opinions", whole),
            "n_groups": ("groups", whole)}


def _habit(found: AuditFacts, audit: str) -> str:
    rows = found.habits.filter(pl.col("audit") == audit)
    if rows.is_empty():
        return ""
    title, axis = HABITS[audit]
    marks = [
        Mark(shown(row["voter"]), row["value"], f"{decimal(row['value'])} {between(row['low'], row['high'])}",
             row["low"], row["high"], COLOURS.get(row["kind"], OTHER), SHAPES.get(row["kind"], "cross"))
        for row in rows.iter_rows(named=True)]
    numbers = table(rows.with_columns(pl.col("kind").replace(KINDS)), f"{title}, by voter", {
        "voter": ("voter", shown), "kind": ("kind", str), **_NUMBERS})
    picture = charts.intervals(marks, f"{title}: expected win by voter", domain=(0.0, 1.0), title=axis, reference=0.5)
    clear = [shown(row["voter"]) for row in rows.iter_rows(named=True)
             if not row["is_descriptive"] and row["low"] is not None and (row["low"] > 0.5 or row["high"] < 0.5)]
    verdict = f"{count(len(clear), 'voter')} clearly off 0.5." if clear else "No voter is clearly off 0.5."
    return figure(picture, title, f"By voter. {verdict}", numbers)


def _correlation(found: AuditFacts) -> str:
    rows = found.length_correlation
    if rows.is_empty():
        return ""
    return table(rows, "Do margins follow length? Rank correlation with the difference in length (0: not at all)", {
        "what": ("margins of", shown), "value": ("Spearman's ρ", decimal), "n": ("pairs", whole)})


def _policies(found: AuditFacts) -> str:
    rows = found.policies
    if rows.is_empty():
        return note("No kept pair has responses of two named policies, so there are no win rates to compare.")
    kinds = [kind for kind in KINDS if kind in rows["kind"].to_list()]
    names = list(dict.fromkeys(rows["policy"].to_list()))[:MOST_POLICIES]
    series = [Series(KINDS[kind], {"human": PEOPLE, "judge": MODELS}.get(kind, OTHER), SHAPES.get(kind, "cross"))
              for kind in kinds]
    points = [(shown(row["policy"]), KINDS[row["kind"]], row["by_votes"])
              for row in rows.filter(pl.col("policy").is_in(names)).iter_rows(named=True)]
    picture = charts.dots(points, series, "Win rate of each policy, by kind of voter", domain=(0.0, 1.0),
                          title="win rate of the policy", reference=0.5)
    widest = rows.with_columns(gap=(pl.col("by_votes") - pl.col("by_labels")).abs()).sort("gap", descending=True)
    row = widest.row(0, named=True)
    numbers = table(rows.with_columns(pl.col("kind").replace(KINDS), gap=pl.col("by_votes") - pl.col("by_labels")),
                    "Win rates by votes of a kind, and by labels of the same pairs", {
        "policy": ("policy", shown), "kind": ("kind", str), "by_votes": ("by votes", decimal),
        "by_labels": ("by labels", decimal), "gap": ("difference", decimal), "pairs": ("pairs", whole)})
    caption = (f"Points far apart show voters who favour or slight a policy. Widest gap to the labels: "
               f"{KINDS[row['kind']]}, {decimal(row['gap'])}.")
    return grid(figure(picture, "Who writes well, by whom one asks", caption), numbers)
