"""What is worth a look: the few numbers of a version that ask for something to be done, each with what."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from flows.pages.audits import AuditFacts
from flows.pages.facts import DatasetFacts
from flows.pages.markup import decimal, shown
from flows.pages.words import count, share

LOW_ALPHA = 0.4
"""below it people agree little: Landis and Koch (1977) call 0.41 to 0.6 moderate"""
FAR = 0.05
"""how far from ½ a preference must be, its interval aside, to be told"""
WIDE = 0.3
"""an audit whose interval is wider says little"""
FEWEST_ANSWERS = 20
"""of people, before what they brought is told"""
MOST = 8
_TRAITS = {"prefer_longer": "the longer response", "prefer_list": "the response with a list",
           "prefer_markdown": "the response with markdown", "prefer_first": "the response shown first"}


def findings(facts: DatasetFacts, audits: AuditFacts) -> list[str]:
    """Sentences, MOST at most; what stands first weighs most. Empty where nothing stands out."""
    told = (*_gate(facts), *_agreement(audits), *_audit(facts), *_gain(facts), *_labels(audits), *_voters(audits),
            *_calls(facts), *_people(facts), *_licences(facts))
    return list(told)[:MOST]


def _gate(facts: DatasetFacts) -> Iterator[str]:
    newest = facts.gate.tail(1)
    if newest.height and newest["verdict"][0] == "undecided" and newest["needed"][0] is not None:
        yield (f"The gate could not decide about {shown(newest['candidate'][0])}: it has "
               f"{count(newest['pairs'][0], 'gold pair')} and needs about {newest['needed'][0]:,}.")


def _agreement(audits: AuditFacts) -> Iterator[str]:
    found = next(alpha.found for alpha in audits.alphas if alpha.kind == "human")
    if found is not None and found.alpha < LOW_ALPHA:
        yield (f"People agree little beyond chance (α {decimal(found.alpha)} over {count(found.n_pairs, 'pair')}): "
               "the guideline may be unclear, or the pairs that people were asked about are hard.")


def _audit(facts: DatasetFacts) -> Iterator[str]:
    found = facts.audit.found
    if found is not None and found.high - found.low > WIDE:
        yield (f"The audit says little yet: {share(found.low)} to {share(found.high)} of labels were wrong before a "
               f"person looked. More rounds, or a larger audit_share, narrow it.")


def _gain(facts: DatasetFacts) -> Iterator[str]:
    if facts.bought.is_empty():
        return
    newest = facts.bought.filter(pl.col("round") == pl.col("round").max())
    expected, reached = float(newest["expected_gain"].sum()), float(newest["realised_gain"].sum())
    if newest["n_votes"].sum() >= FEWEST_ANSWERS and reached < expected / 2:
        yield (f"In round {newest['round'][0]} people's votes brought {share(reached / expected)} of the gain that was "
               "expected of them: the router is too hopeful there.")


def _labels(audits: AuditFacts) -> Iterator[str]:
    for row in _off(audits.traits.filter(pl.col("source").is_null())).iter_rows(named=True):
        word = "prefer" if row["value"] > 0.5 else "disfavour"
        yield f"Labels {word} {_TRAITS[row['audit']]}: it wins {share(row['value'])} of the time."


def _voters(audits: AuditFacts) -> Iterator[str]:
    for row in _off(audits.habits.filter(pl.col("audit") == "prefer_first")).iter_rows(named=True):
        word = "prefers" if row["value"] > 0.5 else "disfavours"
        yield f"{shown(row['voter'])} {word} {_TRAITS[row['audit']]}: it wins {share(row['value'])} of the time."


def _off(rows: pl.DataFrame) -> pl.DataFrame:
    """Preferences whose interval leaves ½ out and that are FAR from it, farthest first."""
    distance = (pl.col("value") - 0.5).abs()
    is_clear = (pl.col("low") > 0.5) | (pl.col("high") < 0.5)
    told = rows.filter(is_clear & (distance > FAR) & ~pl.col("is_descriptive"))
    return told.sort(distance, descending=True, maintain_order=True)


def _calls(facts: DatasetFacts) -> Iterator[str]:
    calls = facts.money.filter(pl.col("what") != "people")
    n, failed = int(calls["n"].sum()), int(calls["n_failed"].sum())
    if n and failed / n > 0.01:
        yield f"{share(failed / n)} of {count(n, 'call')} to models failed and made no vote."


def _people(facts: DatasetFacts) -> Iterator[str]:
    if facts.sizes["n_kept"] and not facts.sizes["n_with_people"]:
        yield "No person has voted on a kept pair: every label rests on models alone."


def _licences(facts: DatasetFacts) -> Iterator[str]:
    unknown = facts.sources.filter(pl.col("licence").is_null())["source"].to_list()
    if unknown:
        more = " and others" if len(unknown) > 3 else ""
        yield f"No licence is on record for {', '.join(map(shown, unknown[:3]))}{more}."
