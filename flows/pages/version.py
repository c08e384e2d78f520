"""Sections about one version: the funnel, votes, agreement and skill, certainty, lineage, how to make it again."""

from __future__ import annotations

import json

import polars as pl

from flows.pages import charts
from flows.pages.audits import MOST_PAIRS, AuditFacts
from flows.pages.charts import KEPT, MODELS, OTHER, OUT, PEOPLE, Mark, Series
from flows.pages.facts import DatasetFacts
from flows.pages.markup import (
    between,
    code,
    commands,
    decimal,
    esc,
    figure,
    grid,
    name,
    note,
    section,
    shown,
    table,
    whole,
)
from flows.pages.words import KINDS, REASONS, count, share, usd

COLOURS = {"human": PEOPLE, "judge": MODELS, "reward_model": MODELS}
SHAPES = {"human": "circle", "judge": "square", "reward_model": "triangle-up", "verifier": "diamond"}
MOST_REASONS = 12
MOST_VOTERS = 14


def funnel(facts: DatasetFacts) -> str:
    """From all pairs to those that are kept, with the reason of each that is not."""
    lead = ("Every pair of responses ends with an action and a reason; nothing is thrown away, and a later version may "
            "take it up.")
    sizes = facts.sizes
    n, held = sizes["n_pairs"], sizes["n_pairs"] - sizes["n_in_scope"]
    waiting = max(sizes["n_in_scope"] - sizes["n_labelled"], 0)
    marks = [Mark(f"pairs of {count(sizes['n_prompts'], 'prompt')}", n, f"{n:,}")]
    for label, lost in (("held out as gate gold and its groups", held), ("not settled in this version", waiting),
                        *((f"left out: {reason}", lost) for reason, lost in _dropped(facts))):
        if lost:
            marks.append(Mark(label, n, f"−{lost:,}", n - lost, colour=OUT))
            n -= lost
    marks.append(Mark(f"kept in {facts.name}", sizes["n_kept"], f"{sizes['n_kept']:,}", colour=KEPT))
    told = table(_with_words(facts.funnel), "Action and reason of every settled pair", {
        "action": ("action", shown), "reason": ("reason", shown), "words": ("in words", shown),
        "pairs": ("pairs", whole)})
    extra = (f"Of the {sizes['n_kept']:,} kept, {sizes['n_decided']:,} have a winner and {sizes['n_with_people']:,} "
             f"were seen by a person.")
    title = "From all pairs to those kept"
    return section(f"{facts.dataset}-funnel", "Funnel: which pairs are in, and why the others are not", lead,
                   grid(figure(charts.bars(marks, title), title, extra), told), _refusals(facts))


def _dropped(facts: DatasetFacts) -> list[tuple[str, int]]:
    """Reasons of dropped pairs, most first; those beyond MOST_REASONS together."""
    rows = facts.funnel.filter(pl.col("action") == "drop").select("reason", "pairs").rows()
    told = [(shown(reason), int(n)) for reason, n in rows]
    rest = sum(n for _, n in told[MOST_REASONS:])
    return told[:MOST_REASONS] + ([("other reasons", rest)] if rest else [])


def _with_words(funnel_: pl.DataFrame) -> pl.DataFrame:
    words = pl.col("reason").str.split(":").list.first().replace_strict(REASONS, default="", return_dtype=pl.String)
    return funnel_.with_columns(words=words)


def _refusals(facts: DatasetFacts) -> str:
    if facts.refusals.is_empty():
        return ""
    told = table(facts.refusals, "Left out before there was a pair", {
        "stage": ("stage", shown), "what": ("what", shown), "reason": ("reason", shown), "n": ("rows", whole)})
    return f"<details><summary>Left out before there was a pair</summary>{told}</details>"


def votes(facts: DatasetFacts) -> str:
    """Votes by kind and cost."""
    lead = ("Every opinion is a vote, whoever has it: a person, a model that reads both responses (judge), a reward "
            "model, a program. First slot is how often the response shown first won; without a habit it is near 50 %.")
    if facts.kinds.is_empty():
        return section(f"{facts.dataset}-votes", "Votes by kind and cost", lead, note("No vote on these pairs."))
    rows = facts.kinds.with_columns(
        named=pl.col("kind").replace(KINDS),
        each=pl.when(pl.col("cost_usd") > 0).then(pl.col("cost_usd") / pl.col("votes")))
    told = table(rows, f"Current votes on the pairs of {facts.name}", {
        "named": ("kind", str), "voters": ("voters", whole), "votes": ("votes", whole), "pairs": ("pairs", whole),
        "abstentions": ("abstentions", whole), "ties": ("ties", whole), "first_slot": ("first slot", _share),
        "cost_usd": ("USD", decimal), "each": ("USD a vote", lambda v: f"{float(str(v)):.4f}")})
    marks = [
        Mark(row["named"], row["votes"], f"{row['votes']:,} votes, {usd(row['cost_usd'])}",
             colour=COLOURS.get(row["kind"], OTHER))
        for row in rows.iter_rows(named=True)]
    drawn = charts.bars(marks, "Votes by kind of voter")
    picture = figure(drawn, "Who voted", "Votes of each kind, and what they cost.")
    return section(f"{facts.dataset}-votes", "Votes by kind and cost", lead, grid(picture), told)


def agreement(facts: DatasetFacts, audits: AuditFacts) -> str:
    """Who agrees with whom, and each voter's skill."""
    lead = ("Krippendorff's α is agreement beyond chance: 1 is full agreement, 0 is chance. Skill is how well a voter "
            "names what the consensus holds true; the line is its 95 % interval, narrow where there are many votes.")
    return section(f"{facts.dataset}-agreement", "Agreement and skill", lead, _alphas(audits),
                   grid(_skill(facts), _agreement_table(audits)))


def _alphas(audits: AuditFacts) -> str:
    items = []
    for alpha in audits.alphas:
        who, found = KINDS[alpha.kind].capitalize(), alpha.found
        if found is None:
            items.append(f"<li>{who}: no α, because {esc(alpha.why_not)}.</li>")
            continue
        few = ", descriptive" if found.is_descriptive else ""
        drawn = ", a random draw" if found.n_pairs >= MOST_PAIRS else ""
        items.append(f"<li>{who}: α = <b>{decimal(found.alpha)}</b> {between(found.low, found.high)} over "
                     f"{count(found.n_pairs, 'pair')} with two or more of them{drawn} ({count(found.n_groups, 'group')}"
                     f"{few}).</li>")
    return f"<ul>{''.join(items)}</ul>"


def _skill(facts: DatasetFacts) -> str:
    rows = facts.skill.drop_nulls("skill").head(3 * MOST_VOTERS)
    if rows.is_empty():
        return note("This consensus knows no skill of voters.")
    marks = [
        Mark(shown(row["voter"]), row["skill"], f"{decimal(row['skill'])} {between(row['low'], row['high'])}",
             row["low"], row["high"], COLOURS.get(row["kind"], OTHER), SHAPES.get(row["kind"], "cross"))
        for row in rows.group_by("kind", maintain_order=True).head(MOST_VOTERS).iter_rows(named=True)]
    ends = [end for mark in marks for end in (mark.low, mark.high, mark.value) if end is not None]
    told = table(rows, "Voters in the fit of this version", {
        "voter": ("voter", shown), "kind": ("kind", str), "votes": ("votes", whole), "skill": ("skill", decimal),
        "low": ("low", decimal), "high": ("high", decimal), "order_bias": ("order bias", decimal)})
    of_kinds = rows.group_by("kind").agg(pl.col("n_of_kind").first())["n_of_kind"]
    hidden = int((of_kinds - MOST_VOTERS).clip(lower_bound=0).sum())
    more = f" {count(hidden, 'voter')} with fewer votes not shown." if hidden else ""
    picture = charts.intervals(
        marks, "Skill of each voter with its interval", domain=(min(0.0, *ends), max(1.0, *ends)),
        title=f"skill ({facts.recipe.consensus.method})")
    return figure(picture, "Skill", f"● people, ■ judges, ▲ reward models, ◆ verifiers.{more}", told)


def _agreement_table(audits: AuditFacts) -> str:
    rows = audits.kind_agreement.with_columns(pl.col("kind", "other").replace(KINDS))
    if rows.is_empty():
        return ""
    return table(rows, "How often two kinds name the same outcome (a, b or tie) of a pair", {
        "kind": ("kind", str), "other": ("same as", str), "agree": ("agree", _share), "pairs": ("pairs", whole)})


def certainty(facts: DatasetFacts) -> str:
    """Histograms of certainty and strength."""
    lead = ("Certainty is the probability of the likeliest outcome, strength how much better the winner is on a scale "
            "to 3. A trainer gets both, as soft label and margin.")
    series = [Series("kept", KEPT), Series("left out", OUT)]
    parts = []
    for measure, domain in (("certainty", (0.3, 1.0)), ("strength", (0.0, 3.0))):
        rows = facts.histograms.filter(pl.col("measure") == measure).with_columns(
            fate=pl.when("is_kept").then(pl.lit("kept")).otherwise(pl.lit("left out")))
        if rows.is_empty():
            continue
        picture = charts.histogram(rows.select("low", "high", "fate", "pairs").rows(), series,
                                   f"Pairs by {measure}", domain=domain, title=measure)
        told = table(rows, f"Pairs by {measure}", {
            "low": ("from", decimal), "high": ("to", decimal), "fate": ("fate", str), "pairs": ("pairs", whole)})
        parts.append(figure(picture, measure.capitalize(), f"Pairs by {measure} of their label.", told))
    return section(f"{facts.dataset}-certainty", "How certain and how strong labels are", lead, grid(*parts))


def lineage(facts: DatasetFacts) -> str:
    """Where the version comes from: recipe, parent, votes, commit, sources and licences."""
    version = facts.version or {}
    rows = [
        ("version", esc(facts.name) + (f" (tags: {esc(', '.join(facts.tags))})" if facts.tags else "")),
        ("parent", esc(f"{facts.dataset}@{facts.parent}") if facts.parent else "none: the first"),
        ("content fingerprint", code(version["fingerprint"])),
        ("recipe fingerprint", code(version["recipe_fingerprint"])), ("votes up to number", f"{version['as_of']:,}"),
        ("code", code(version["code_commit"] or "unknown")),
    ]
    facts_ = "".join(f"<div><dt>{what}</dt><dd>{value}</dd></div>" for what, value in rows)
    recipe = json.dumps(json.loads(str(version["recipe"])), indent=1, sort_keys=True, ensure_ascii=False)
    sources = table(facts.sources, "Sources of the kept pairs", {
        "source": ("source", shown), "pairs": ("pairs", whole), "licence": ("licence", shown),
        "may_redistribute": ("may be passed on", _yes), "revision": ("revision", shown), "terms": ("terms", shown)})
    authors = table(facts.authors, "Who wrote the responses", {
        "policy": ("policy", shown), "responses": ("responses", whole), "model": ("model", shown),
        "revision": ("revision", shown), "licence": ("licence", shown), "may_redistribute": ("may be passed on", _yes)})
    lead = "Equal recipe and equal votes give the same content fingerprint, on any machine of the same kind."
    return section(
        f"{facts.dataset}-lineage", "Lineage", lead, f"<dl class=facts>{facts_}</dl>", _unknown_licences(facts),
        grid(sources, authors),
        f"<details><summary>The whole recipe</summary><pre class=text>{esc_lines(recipe)}</pre></details>")


def esc_lines(text: str) -> str:
    """Lines of text, each escaped."""
    return "\n".join(esc(line) for line in text.split("\n"))


def _unknown_licences(facts: DatasetFacts) -> str:
    unknown = facts.sources.filter(pl.col("licence").is_null())
    barred = facts.sources.filter(~pl.col("may_redistribute"))
    told = [f"{name(', '.join(rows['source'].to_list()))} {said}" for rows, said in (
        (unknown, "has no licence on record: ask before you pass this version on."),
        (barred, "must not be passed on.")) if rows.height]
    return note("<br>".join(told)) if told else ""


def reproduce(facts: DatasetFacts) -> str:
    """Commands that make the version, its page and its export again."""
    lines = [
        (f"tiebreak verify {facts.name} --recompute", "settle the same votes again and compare"),
        (f"tiebreak report {facts.name} --html report.html", "this page"),
        (f"tiebreak export {facts.name} --format trl --out {facts.dataset}-{facts.n}", "take it to a trainer"),
        (f"tiebreak card {facts.name}", "its data card"),
        ("tiebreak why PAIR", "everything known about one pair"),
        (f"tiebreak sql \"SELECT * FROM preferences WHERE dataset = '{facts.dataset}' ORDER BY certainty LIMIT 10\"",
         "the kept pairs that are least certain, in the newest version"),
    ]
    if facts.parent:
        before = f"{facts.dataset}@{facts.parent}"
        lines.insert(3, (f"tiebreak diff {before} {facts.name} --pairs", "what changed, pair by pair"))
    lead = "With TIEBREAK_WORKSPACE set to the workspace that this page was made from."
    return section(f"{facts.dataset}-again", "How to make it again, and look further", lead, commands(lines))


def _share(value: object) -> str:
    return share(float(str(value)))


def _yes(value: object) -> str:
    return "yes" if value else "no"
