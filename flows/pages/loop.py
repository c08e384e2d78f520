"""Sections about the loop: rounds and their money, what routing bought, reward models and the gate."""

from __future__ import annotations

import polars as pl

from flows.pages import charts
from flows.pages.charts import MODELS, OTHER, PEOPLE, Mark, Series
from flows.pages.facts import DatasetFacts
from flows.pages.markup import between, decimal, esc, figure, fine, grid, name, note, section, shown, table, whole
from flows.pages.words import CALLS, LONGER_WINS, count, points, share, usd, verdicts

MOST_ROUNDS = 16
"""newest rounds in a picture; tables hold MOST_ROWS"""
MOST_ROWS = 40
MOST_MODELS = 8
BASELINES = (LONGER_WINS, "random")
VERDICTS = {"promoted": "triangle-up", "refused": "triangle-down", "undecided": "circle"}


def rounds(facts: DatasetFacts) -> str:
    """Rounds with money and votes."""
    rows = facts.rounds.tail(MOST_ROWS)
    lead = ("A round asks models and people, settles all votes into labels, releases a version if a label changed, "
            "trains a reward model on it and lets a gate decide about it.")
    told = table(rows, "Rounds", {
        "round": ("round", whole), "state": ("state", str), "budget": ("budget, votes", whole),
        "asked": ("asked", whole), "audit": ("of them at random", whole), "bought": ("answered", whole),
        "human_usd": ("people, USD", decimal), "calls": ("model calls", whole), "call_usd": ("models, USD", decimal),
        "version": ("version", whole)})
    return section(f"{facts.dataset}-rounds", "Rounds, money and votes", lead,
                   grid(_money(facts), _growth(facts)), told)


def _money(facts: DatasetFacts) -> str:
    last = facts.money.filter(pl.col("round") > pl.col("round").max() - MOST_ROUNDS)
    if not last["cost_usd"].sum():
        return note("Nothing was paid in these rounds: votes were free, or nobody said what they cost.")
    by = last.with_columns(who=pl.when(pl.col("what") == "people").then(pl.lit("people")).otherwise(pl.lit("models")))
    sums = by.group_by("round", "who").agg(pl.col("cost_usd").sum()).sort("round", "who", descending=[False, True])
    picture = charts.columns(
        [(str(n), str(who), float(usd_)) for n, who, usd_ in sums.iter_rows()],
        [Series("people", PEOPLE), Series("models", MODELS)], "Money per round in USD: people, models", title="round")
    numbers = table(last.with_columns(pl.col("what").replace(CALLS)), "What was paid for", {
        "round": ("round", whole), "what": ("what", str), "n": ("votes or calls", whole),
        "n_failed": ("failed", whole), "cost_usd": ("USD", decimal)})
    total = usd(float(last["cost_usd"].sum()))
    return figure(picture, "Where the money went", f"USD by round, {total} in all.", numbers)


def _growth(facts: DatasetFacts) -> str:
    rows = facts.log.tail(MOST_ROUNDS).select("n", "n_pairs")
    if rows.height < 2:
        return ""
    picture = charts.columns(
        [(f"@{n}", "pairs kept", float(n_pairs)) for n, n_pairs in rows.iter_rows()],
        [Series("pairs kept", charts.KEPT)], "Pairs kept, version by version", title="version")
    return figure(picture, "How the dataset grew", "Pairs that each version keeps.")


def routing(facts: DatasetFacts) -> str:
    """What the routing budget bought, and the audit's estimate."""
    lead = ("People are asked where their vote is expected to change a label most; a share of them is asked at random, "
            "which is the audit.")
    place, title = f"{facts.dataset}-routing", "What the budget for people bought"
    if facts.bought.is_empty():
        nothing = note("People were asked nothing in the rounds that released these versions.")
        return section(place, title, lead, nothing, _audit(facts))
    told = table(facts.bought, "Routes by round and reason", {
        "round": ("round", whole), "reason": ("reason", shown), "n_routes": ("asked", whole),
        "n_votes": ("answered", whole), "cost_usd": ("USD", decimal), "hours": ("hours", decimal),
        "n_changed": ("labels changed", lambda v: f"{float(str(v)):.1f}"),
        "expected_gain": ("expected gain", decimal), "realised_gain": ("reached", decimal)})
    return section(place, title, lead, grid(_gain(facts), _audit(facts)), told)


def _gain(facts: DatasetFacts) -> str:
    sums = facts.bought.group_by("round").agg(pl.col("expected_gain", "realised_gain", "n_changed", "n_votes").sum())
    sums = sums.sort("round").tail(LAST_GAINS)
    rows = [(f"round {n}: {changed:.0f} labels changed by {count(int(votes), 'answer')}", series, float(value))
            for n, gain, got, changed, votes in sums.iter_rows()
            for series, value in (("expected", gain), ("reached", got))]
    top = max((value for _, _, value in rows), default=1.0) or 1.0
    picture = charts.dots(
        rows, [Series("expected", OTHER, "diamond"), Series("reached", PEOPLE)], "Gain expected and reached, by round",
        domain=(0.0, 1.05 * top), title="labels' worth of certainty")
    return figure(picture, "Was it worth asking?", "Gain is how much likelier the new label is than the old one, "
                  "summed over the pairs people answered. Far less than expected: the router was too hopeful.")


LAST_GAINS = 8


def _audit(facts: DatasetFacts) -> str:
    found = facts.audit.found
    if found is None:
        return note(f"Audit: {esc(facts.audit.why_not)}.")
    few = " So few groups describe these pairs and promise nothing of others." if found.is_descriptive else ""
    mark = Mark("wrong before a person looked", found.error, f"{share(found.error)} [{share(found.low)}, "
                f"{share(found.high)}]", found.low, found.high, PEOPLE)
    picture = charts.intervals([mark], "Share of labels that were wrong before a person looked", domain=(0.0, 1.0),
                               title="share of labels")
    return figure(picture, "The audit", f"Of {count(found.n_pairs, 'pair')} drawn at random, people contradicted "
                  f"{share(found.contradicted)} of the labels. People err too: they are taken to be right "
                  f"{share(found.human_skill)} of the time. Corrected for that, this share of labels was wrong.{few}")


def models(facts: DatasetFacts) -> str:
    """Reward models before and after, beside baselines, and the gate's verdicts."""
    lead = ("A reward model gives a response a number; it is right when the better one gets the higher. It is "
            "measured on gate gold: pairs of known truth that nothing else reads. <b>longer-wins</b> always picks the "
            "longer response, <b>random</b> tosses a coin.")
    place, title = f"{facts.dataset}-models", "Reward models and the gate"
    if facts.metrics.is_empty() and facts.gate.is_empty():
        return section(place, title, lead, note("No reward model was trained or measured yet."))
    told = "".join(
        f"<li><b class=v-{esc(verdict)}>Round {n}.</b> {name(why)}</li>"
        for n, verdict, why in verdicts(facts, MOST_ROUNDS))
    return section(place, title, lead, grid(_accuracies(facts), _gate(facts)),
                   f"<h4>The gate's verdicts in words</h4><ul class=verdicts>{told}</ul>" if told else "",
                   _all_metrics(facts))


def _accuracies(facts: DatasetFacts) -> str:
    newest = facts.metrics.filter(pl.col("rank") == 1)
    if newest.is_empty():
        return note("No model was measured: there is no gate gold, or nothing was trained.")
    is_baseline = pl.col("model").is_in(BASELINES)
    own = newest.filter(~is_baseline).sort("trained_on", "model", descending=True).head(MOST_MODELS)
    rows = pl.concat([own, newest.filter(is_baseline)])
    candidate = facts.gate["candidate"][-1] if facts.gate.height else ""
    marks = [
        Mark(shown(row["model"]), row["accuracy"], f"{decimal(row['accuracy'])} {between(row['low'], row['high'])}",
             row["low"], row["high"], OTHER if row["model"] in BASELINES else MODELS,
             "diamond" if row["model"] in BASELINES else "square" if row["model"] == candidate else "circle")
        for row in rows.iter_rows(named=True)
    ]
    low = min(0.4, *(mark.low if mark.low is not None else mark.value for mark in marks))
    picture = charts.intervals(marks, "Accuracy on gate gold with 95 % intervals", domain=(max(0.0, low - 0.02), 1.0),
                               title="share of gold pairs that it gets right", reference=0.5)
    pairs, groups = int(newest["pairs"].max()), int(newest["groups"].min())  # type: ignore[arg-type]
    few = f" Over {groups} groups, intervals are descriptive." if groups < 10 else ""
    return figure(picture, "How often each model is right", f"Accuracy on {count(pairs, 'gold pair')} with 95 % "
                  f"intervals, newest model first. ■ the newest candidate, ◆ baselines, dashed: a coin.{few}")


def _gate(facts: DatasetFacts) -> str:
    rows = facts.gate.filter(pl.col("candidate") != "", pl.col("low").is_not_null()).tail(MOST_MODELS).reverse()
    if rows.is_empty():
        return note("The gate has compared no two models yet.")
    marks = [
        Mark(f"round {row['round']}: {row['verdict']}", 100 * row["d"],
             f"{points(row['d'])} [{points(row['low'])}, {points(row['high'])}]", 100 * row["low"],
             100 * row["high"], MODELS, VERDICTS[str(row["verdict"])])
        for row in rows.iter_rows(named=True)
    ]
    ends = [end for mark in marks for end in (mark.low, mark.high) if end is not None]
    picture = charts.intervals(marks, "Candidate less incumbent, by round",
                               domain=(min(-2.0, *ends) - 1, max(2.0, *ends) + 1),
                               title="percentage points of accuracy", reference=0.0)
    return figure(picture, "Better than what it was to replace?", "Accuracy of each candidate less that of the "
                  "incumbent, with one-sided bounds. Left of the dashed line it is worse. ▲ promoted, ▼ refused, "
                  "● undecided.", _gate_table(facts))


def _gate_table(facts: DatasetFacts) -> str:
    return table(facts.gate.tail(MOST_ROWS), "Gate decisions", {
        "round": ("round", whole), "verdict": ("verdict", str), "candidate": ("candidate", shown),
        "incumbent": ("incumbent", shown), "d": ("difference", fine), "low": ("low", fine), "high": ("high", fine),
        "pairs": ("gold pairs", whole), "groups": ("groups", whole), "looks": ("looks at this gold", whole),
        "needed": ("pairs needed", whole), "reason": ("reason", shown)})


def _all_metrics(facts: DatasetFacts) -> str:
    if facts.metrics.is_empty():
        return ""
    told = table(facts.metrics.head(MOST_ROWS), "Models on every revision of the gold, newest revision first", {
        "model": ("model", shown), "kind": ("kind", shown), "base": ("base", shown),
        "trained_on": ("on version", whole),
        "n_trained": ("trained on pairs", whole), "accuracy": ("accuracy", fine), "low": ("low", fine),
        "high": ("high", fine), "pairs": ("gold pairs", whole), "groups": ("groups", whole),
        "log_loss": ("log-loss", fine), "calibration_error": ("calibration error", fine), "rank": ("revision", whole)})
    return f"<details><summary>Every model and measure</summary>{told}</details>"
