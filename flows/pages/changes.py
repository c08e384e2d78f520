"""Sections about what changed between two versions: counts, example pairs with their texts, recipes."""

from __future__ import annotations

import polars as pl

from flows.pages import charts
from flows.pages.charts import KEPT, OTHER, OUT, Mark
from flows.pages.comparing import Comparison
from flows.pages.facts import DatasetFacts, Row
from flows.pages.markup import code, esc, figure, fine, grid, name, note, passage, section, shown, table, whole
from flows.pages.words import count, outcome

WORDS = {"flipped": "another winner", "added": "new", "removed": "no longer kept",
         "strength_changed": "same winner, other strength", "label_changed": "same winner, other probability",
         "unchanged": "as before"}
COLOURS = {"flipped": charts.MODELS, "added": KEPT, "removed": OUT, "unchanged": OTHER}


def changes(facts: DatasetFacts) -> str:
    """What changed since the parent version."""
    place = f"{facts.dataset}-changes"
    if facts.parent is None:
        lead = "What changed since the version before."
        return section(place, "What changed", lead, note("This is the first version: all of it is new."))
    return compared(Comparison(facts, facts.parent, facts.n))


def compared(found: Comparison) -> str:
    """Counts, transitions and example pairs from one version to another."""
    before, after = (esc(one) for one in found.names)
    lead = (f"From {before} to {after}, both states compared pair by pair. Flipped pairs have another winner now; "
            "they are shown first.")
    rows = found.transitions.with_columns(pl.col("change").replace(WORDS).alias("words"))
    told = table(rows, "From what to what", {
        "words": ("change", shown), "before": ("was", shown), "after": ("is", shown), "pairs": ("pairs", whole)})
    marks = [Mark(WORDS[change], n, f"{n:,}", colour=COLOURS.get(change, OTHER)) for change, n in found.counts.items()]
    picture = figure(charts.bars(marks, f"Pairs by change from {before} to {after}"), "Pairs by change", _moved(found))
    return section(f"{found.facts.dataset}-changes", "What changed", lead, grid(picture, told), _recipe(found),
                   _examples(found))


def _moved(found: Comparison) -> str:
    kept = sum(n for change, n in found.counts.items() if change not in ("added", "removed"))
    return (f"Of {count(kept, 'pair')} in both versions, {found.counts['flipped']:,} have another winner; "
            f"{found.counts['added']:,} are new, {found.counts['removed']:,} no longer kept.")


def _recipe(found: Comparison) -> str:
    if not found.recipe_changes:
        return note("Both versions have the same recipe: new pairs and new votes made the difference.")
    rows = pl.DataFrame(found.recipe_changes, schema=["field", "before", "after"], orient="row")
    return table(rows, "The recipe differs", {
        "field": ("field", shown), "before": ("was", _short), "after": ("is", _short)})


def _short(value: object) -> str:
    text = shown(value)
    return text if len(text) <= 200 else f"{text[:199]}…"


def _examples(found: Comparison) -> str:
    examples = found.examples()
    if not examples:
        return note("No pair changed.")
    cards = "".join(_card(row, is_open=not i or row["change"] == "flipped") for i, row in enumerate(examples))
    return f"<h4>Example pairs</h4><p class=dim>{count(len(examples), 'pair')} that moved most; all of them: " \
           f"{code(f'tiebreak diff {found.names[0]} {found.names[1]} --pairs')}</p>{cards}"


def _card(row: Row, *, is_open: bool) -> str:
    was = f"{row['action_before'] or 'not there'}, {outcome(row['p_a_before'], row['p_tie_before'])}"
    now = f"{row['action_after'] or 'not there'}, {outcome(row['p_a_after'], row['p_tie_after'])}"
    turns = int(str(row["n_messages"] or 1)) - 1
    earlier = f" <span class=dim>(after {count(turns, 'earlier message')})</span>" if turns > 0 else ""
    system = "" if row["system"] is None else \
        f"<h6>System prompt</h6>{passage(row['system'], len(str(row['system'])), 'System prompt')}"
    return (
        f"<details class=pair{' open' if is_open else ''}>"
        f"<summary><b>{WORDS[str(row['change'])]}</b> {code(row['pair_id'])}</summary>"
        f"<dl class=facts><div><dt>was</dt><dd>{esc(was)}</dd></div>"
        f"<div><dt>is</dt><dd>{esc(now)}</dd></div><div><dt>why</dt><dd>{name(row['why'])}</dd></div></dl>"
        f"<h6>Prompt{earlier}</h6>{system}{passage(row['question'], _n(row['n_question']), 'Prompt')}"
        f"<div class=sides>{_side(row, 'a')}{_side(row, 'b')}</div></details>"
    )


def _side(row: Row, side: str) -> str:
    author = f" <span class=dim>{name(row[f'author_{side}'])}</span>" if row[f"author_{side}"] else ""
    text = passage(row[f"text_{side}"], _n(row[f"n_{side}"]), f"Response {side}")
    return f"<div><h6>Response {side}{author}</h6>{text}</div>"


def _n(value: object) -> int:
    return int(str(value or 0))


def state(found: Comparison) -> str:
    """Both versions side by side: size, votes read, accuracy of the model trained on each."""
    log = found.facts.log.filter(pl.col("n").is_in([found.a, found.b]))
    models = found.facts.metrics.filter(pl.col("rank") == 1).group_by("trained_on").agg(
        pl.col("model").first(), pl.col("accuracy", "low", "high").first())
    rows = log.select("n", "n_pairs", "as_of", "fingerprint", "recipe_fingerprint").join(
        models, left_on="n", right_on="trained_on", how="left").sort("n").with_columns(
        version=pl.lit(f"{found.facts.dataset}@") + pl.col("n").cast(pl.String))
    told = table(rows, "Size, votes and model of each", {
        "version": ("version", shown), "n_pairs": ("pairs", whole), "as_of": ("votes up to", whole),
        "model": ("model trained on it", shown), "accuracy": ("accuracy on gate gold", fine), "low": ("low", fine),
        "high": ("high", fine), "recipe_fingerprint": ("recipe", shown), "fingerprint": ("content", shown)})
    lead = "Accuracy is that of the reward model trained on a version, on the newest gate gold."
    return section(f"{found.facts.dataset}-both", "Both versions", lead, told)
