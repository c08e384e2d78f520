"""The whole page: head, in short, sections per dataset, foot."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from importlib.resources import files

import polars as pl

from curate.auditing.clustered import LEAST_GROUPS
from flows.pages import changes, habits, loop, version
from flows.pages.audits import AuditFacts
from flows.pages.comparing import Comparison
from flows.pages.facts import DatasetFacts
from flows.pages.findings import findings
from flows.pages.markup import decimal, esc, name, note, section, tiles
from flows.pages.words import headline, share, standing, usd

HEAD = (
    '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
    'img-src data:">'
    '<meta name="referrer" content="no-referrer"><meta name="color-scheme" content="light dark">'
)
ENTRIES = (("look", "Worth a look"), ("rounds", "Rounds"), ("funnel", "Funnel"), ("votes", "Votes"),
           ("agreement", "Agreement"),
           ("certainty", "Certainty"), ("routing", "Routing"), ("changes", "Changes"), ("models", "Models"),
           ("audits", "Audits"), ("lineage", "Lineage"), ("again", "Again"))


def whole_page(datasets: Sequence[DatasetFacts], published_at: float, n_hidden: int = 0) -> str:
    """HTML over datasets; of an empty workspace, what to do next. Equal published files give equal bytes."""
    title = ", ".join(facts.name for facts in datasets) if len(datasets) <= 3 else f"{len(datasets)} datasets"
    body = "".join(_dataset(facts, is_alone=len(datasets) == 1) for facts in datasets)
    if not datasets:
        title, body = "Nothing to report yet", note("No round yet. Next: <code>tiebreak run</code>")
    hidden = note(f"{n_hidden} more datasets: <code>tiebreak report DATASET@N --html FILE</code>") if n_hidden else ""
    contents = "".join(f'<li><a href="#{esc(facts.dataset)}">{esc(facts.name)}</a></li>' for facts in datasets)
    nav = f'<nav aria-label="Datasets"><ul>{contents}</ul></nav>' if len(datasets) > 1 else ""
    return _html(title, nav + body + hidden, published_at)


def comparison_page(found: Comparison, published_at: float) -> str:
    """HTML of what changed from one version to another."""
    before, after = found.names
    counts = found.counts
    numbers = tiles([
        (f"{counts['flipped']:,}", "another winner", "kept in both"),
        (f"{counts['added']:,}", "new pairs", f"only in {after}"),
        (f"{counts['removed']:,}", "no longer kept", f"only in {before}"),
        (f"{counts['strength_changed'] + counts['label_changed']:,}", "other numbers", "same winner"),
        (f"{counts['unchanged']:,}", "as before", "kept in both"),
    ])
    body = f"<h2>In short</h2>{numbers}{changes.state(found)}{changes.compared(found)}"
    return _html(f"{before} → {after}", f"<article>{body}</article>", published_at)


def _html(title: str, body: str, published_at: float) -> str:
    style = (files("flows.pages") / "style.css").read_text(encoding="utf-8")
    return (
        f'<!doctype html>\n<html lang="en"><head>{HEAD}<title>{esc(title)} · Tiebreak</title>\n<style>\n{style}</style>'
        f'</head>\n<body><a class=skip href="#main">To the report</a><header><p class=brand>Tiebreak report</p>'
        f"<h1>{esc(title)}</h1>\n{_as_of(published_at)}\n</header><main id=main>{body}</main>"
        "<footer><p>Made from published files only; it holds no script and loads nothing. Texts of prompts and "
        "responses are shown as they came: they are data, not statements of whoever made this page.</p></footer>"
        "</body></html>\n"
    )


def _as_of(published_at: float) -> str:
    """The only line that another publishing of the same rows changes."""
    if not published_at:
        return "<p class=dim>Nothing was published yet.</p>"
    when = dt.datetime.fromtimestamp(published_at, dt.UTC)
    told = f'<time datetime="{when:%Y-%m-%dT%H:%M:%SZ}">{when:%Y-%m-%d at %H:%M} UTC</time>'
    return f"<p class=dim>As published on {told}</p>"


def _dataset(facts: DatasetFacts, *, is_alone: bool) -> str:
    place, title = esc(facts.dataset), "In short" if is_alone else esc(facts.name)
    in_short = "".join(f"<p>{esc(sentence)}</p>" for sentence in headline(facts))
    in_short += "".join(note(esc(remark)) for remark in standing(facts))
    sections = _sections(facts)
    entries = "".join(f'<li><a href="#{place}-{key}">{word}</a></li>' for key, word in ENTRIES
                      if any(f'<section id="{place}-{key}"' in part for part in sections))
    return (
        f'<article id="{place}" aria-labelledby="{place}-h"><h2 id="{place}-h">{title}</h2>'
        f"<div class=top><div class=short>{in_short}</div>{_tiles(facts)}</div>"
        f'<nav aria-label="Sections of {place}"><ul>{entries}</ul></nav>\n' + "\n".join(sections) + "</article>\n"
    )


def _worth(facts: DatasetFacts, found: AuditFacts) -> str:
    told = findings(facts, found)
    lead = "What stands out in this version, by fixed rules; the sections below have the numbers."
    items = "".join(f"<li>{name(sentence)}</li>" for sentence in told)
    return section(f"{facts.dataset}-look", "Worth a look", lead, f"<ul>{items}</ul>" if told else note("Nothing."))


def _sections(facts: DatasetFacts) -> list[str]:
    if facts.version is None:
        return [loop.rounds(facts), loop.models(facts)]
    found = AuditFacts(facts)
    of_facts: list[Callable[[DatasetFacts], str]] = [
        lambda of: _worth(of, found), loop.rounds, version.funnel, version.votes,
        lambda of: version.agreement(of, found), version.certainty, loop.routing, changes.changes, loop.models,
        lambda of: habits.audits(of, found), version.lineage, version.reproduce,
    ]
    return [part(facts) for part in of_facts]


def _tiles(facts: DatasetFacts) -> str:
    if facts.version is None:
        return ""
    sizes, money = facts.sizes, facts.money.filter(pl.col("round") <= facts.last_round)
    spent = float(money["cost_usd"].sum())
    kept, seen = sizes["n_kept"], sizes["n_with_people"]
    people = int(facts.kinds.filter(pl.col("kind") == "human")["votes"].sum())
    each = f"{usd(spent / kept)} a pair" if kept and spent else "nothing was paid"
    rows = [
        (f"{kept:,}", "pairs kept", f"of {sizes['n_labelled']:,}"),
        (f"{people:,}", "votes of people", f"on {share(seen / kept) if kept else '–'} of pairs"),
        (usd(spent), "spent", each), *_accuracy_tile(facts),
    ]
    return tiles(rows)


def _accuracy_tile(facts: DatasetFacts) -> list[tuple[str, str, str]]:
    own = facts.metrics.filter((pl.col("rank") == 1) & (pl.col("trained_on") == facts.n))
    if own.is_empty():
        return [("–", "right on gate gold", "not measured")]
    row = own.row(0, named=True)
    interval = "" if row["low"] is None else f"95 %: {decimal(row['low'])} to {decimal(row['high'])}"
    if row["groups"] < LEAST_GROUPS:
        interval = f"{row['groups']} groups only: descriptive"
    return [(share(row["accuracy"]), "right on gate gold", interval)]
