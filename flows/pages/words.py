"""Numbers in sentences that a newcomer understands: the headline, the gate's verdict, an outcome."""

from __future__ import annotations

import polars as pl

from flows.pages.facts import DatasetFacts, Row
from flows.pages.markup import shown
from schemas.recipe import Gate, parse_recipe

LONGER_WINS = "longer-wins"
KINDS = {"human": "people", "judge": "judges", "reward_model": "reward models", "verifier": "verifiers",
         "imported": "imported labels", "label": "the label"}
GATE = {"promoted": "promoted it", "refused": "refused it", "undecided": "could not decide about it"}
CALLS = {"people": "people", "judge": "judging", "generate": "writing responses", "score": "scoring",
         "embed": "embedding", "likelihood": "likelihoods"}

REASONS = {
    "-": "as the consensus says", "low_strength": "the scorers find the preference weak or doubtful",
    "undecided": "both sides equally likely", "uncertain": "no outcome likely enough",
    "too_few_votes": "fewer votes than the recipe asks for",
    "tie": "too likely a tie", "identical_text": "both responses are the same text",
    "adjudicated": "an expert decided", "scorers_disagree": "the scorers contradict the label",
    "human_verified": "a person confirmed it against the scorers", "not_scored": "no scorer could read it",
    "vetoed": "the winner fails a check",
}
"""what a reason in the funnel means"""


def count(n: int, one: str, many: str | None = None) -> str:
    """`1 pair`, `1,200 pairs`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def usd(value: float) -> str:
    """Money to the cent; what is less is told in three digits more."""
    return f"{value:,.2f} USD" if value == 0 or value >= 0.01 else f"{value:.5f} USD"


def share(value: float | None) -> str:
    """Percent without decimals, one where that would read as all or none."""
    if value is None:
        return "–"
    whole = f"{100 * value:.0f} %"
    return f"{100 * value:.1f} %" if whole in ("0 %", "100 %") and value not in (0.0, 1.0) else whole


def points(value: float) -> str:
    """A difference of accuracies in percentage points, with its sign."""
    return f"{100 * value:+.1f}".replace("-", "−")


def outcome(p_a: object, p_tie: object) -> str:
    """`a is better (0.870)` for people: the expected win of the better side."""
    if p_a is None:
        return "no label"
    win = round(float(str(p_a)) + float(str(p_tie)) / 2, 3)
    side = "a is better" if win > 0.5 else "b is better" if win < 0.5 else "neither is better"
    return f"{side} ({max(win, 1 - win):.3f})"


def headline(facts: DatasetFacts) -> list[str]:
    """What happened, in three sentences; before the first version, what is under way."""
    if facts.version is None:
        newest = facts.newest_round
        done, under_way = newest["stages"] or "none", "is under way and" if newest["is_open"] else "is closed and"
        return [f"Round {newest['n']} of {facts.dataset} {under_way} has released no version yet.",
                f"Stages done: {done}.", "Labels, models and audits appear here with the first version."]
    return [_what(facts), _paid(facts), _model(facts)]


def standing(facts: DatasetFacts) -> list[str]:
    """What a reader of a version must know of the time after it: a later version, a round under way."""
    newest_n = int(facts.log["n"].tail(1).sum())
    remarks = [] if facts.is_newest else [
        f"This is about {facts.name}. A later one is there: {facts.dataset}@{newest_n}; the sections on "
        "rounds, routing, models and the gate tell all rounds."]
    newest = facts.newest_round
    if facts.version is not None and newest["is_open"]:
        remarks.append(f"Round {newest['n']} is under way; stages done: {newest['stages'] or 'none yet'}.")
    return remarks


def _what(facts: DatasetFacts) -> str:
    sizes, dropped = facts.sizes, facts.funnel.filter(pl.col("action") == "drop")
    n_dropped = int(dropped["pairs"].sum())
    reasons = dropped.sort("pairs", descending=True)["reason"]
    most = "all" if reasons.len() == 1 else "most of them"
    why = f", {most} for the reason {shown(reasons[0])}" if n_dropped else ""
    kinds = [KINDS[kind] for kind in facts.kinds["kind"]] or ["nobody"]
    who = ", ".join(kinds[:-1]) + (" and " if len(kinds) > 1 else "") + kinds[-1]
    return (
        f"In {count(facts.last_round, 'round')}, {who} compared {count(sizes['n_labelled'], 'pair')} of responses: "
        f"{_are(sizes['n_kept'])} kept in {facts.name} with a label that says which is better and how surely, "
        f"{_are(n_dropped)} left out{why}."
    )


def _are(n: int) -> str:
    return f"{n:,} {'is' if n == 1 else 'are'}"


def _paid(facts: DatasetFacts) -> str:
    money = facts.money.filter(pl.col("round") <= facts.last_round)
    bought = facts.bought if facts.bought.is_empty() else facts.bought.filter(pl.col("round") <= facts.last_round)
    people = _spent(money.filter(pl.col("what") == "people"), "vote of a person", "votes of people")
    models = _spent(money.filter(pl.col("what") != "people"), "call to a model", "calls to models")
    spent = " and ".join(part for part in (people, models) if part) or "no new vote"
    if bought.is_empty() or not bought["n_votes"].sum():
        return f"It took {spent}; no person was asked about a pair in the rounds that made it."
    asked, changed = int(bought["n_votes"].sum()), float(bought["n_changed"].sum())
    labels = count(round(changed), "label")
    return (f"It took {spent}; people were asked where an answer could change most, and {labels} "
            f"came out differently after their {count(asked, 'answer')}.")


def _spent(rows: pl.DataFrame, one: str, many: str) -> str:
    n, paid = int(rows["n"].sum()), float(rows["cost_usd"].sum())
    return f"{count(n, one, many)}{f' ({usd(paid)})' if paid else ''}" if n else ""


def _model(facts: DatasetFacts) -> str:
    newest = facts.metrics.filter(pl.col("rank") == 1)
    own = newest.filter(pl.col("trained_on") == facts.n)
    if own.is_empty():
        return "Whether it makes a better reward model was not measured."
    row = own.row(0, named=True)
    longer = newest.filter(pl.col("model") == LONGER_WINS)["accuracy"]
    beside = f"; always picking the longer one would be right on {share(longer[0])}" if longer.len() else ""
    decided = facts.gate.filter(pl.col("candidate") == row["model"])
    verdict = f", and the gate {GATE[str(decided['verdict'][-1])]}" if decided.height else ""
    return (f"The reward model trained on it picks the better response in {share(row['accuracy'])} of "
            f"{count(int(row['pairs']), 'check pair')} with known truth{beside}{verdict}.")


def verdicts(facts: DatasetFacts, most: int) -> list[tuple[int, str, str]]:
    """(round, verdict, why in words) of the newest gate decisions, `most` at most, newest first."""
    rows = facts.gate.tail(most).join(facts.gate_rules, on="round", how="left", maintain_order="left")
    return [(int(row["round"]), str(row["verdict"]), why_gate(row, _rule(row))) for row in rows.reverse().to_dicts()]


def why_gate(row: Row, rule: Gate) -> str:
    """One gate decision in words, from its row and the rule of its round's recipe."""
    if not row["candidate"]:
        return f"Nothing to decide: {row['reason']}."
    incumbent, reason = str(row["incumbent"]), str(row["reason"])
    seen = _seen(row, "always picking the longer response" if incumbent == LONGER_WINS else incumbent, rule)
    stays = "No model is promoted yet." if incumbent == LONGER_WINS else f"{incumbent} stays."
    if row["verdict"] == "promoted":
        return f"Promoted because {seen}{_by_rule(reason, rule)}"
    if row["verdict"] == "undecided":
        return f"Undecided because there is too little gold to tell: {reason}. So far {seen}. {stays}"
    return f"Refused because {_refusal(row, reason, seen, rule)}. {stays}"


def _seen(row: Row, than: str, rule: Gate) -> str:
    d, low = float(str(row["d"])), row["low"]
    better = "more" if d >= 0 else "less"
    bound = "" if low is None else f" (with {share(rule.confidence)} confidence at least {points(float(str(low)))})"
    pairs = count(int(str(row["pairs"])), "gold pair")
    return f"it is right on {100 * abs(d):.1f} percentage points {better} of {pairs} than {than}{bound}"


def _by_rule(reason: str, rule: Gate) -> str:
    if reason == "non_inferior":
        return f": not worse by more than {points(rule.delta)[1:]} points, while its margins follow length less."
    return ": more than chance explains."


def _refusal(row: Row, reason: str, seen: str, rule: Gate) -> str:
    if reason.startswith("margins follow length"):
        return f"it prefers length too much, although {seen}: {reason}"
    if reason.startswith("lower bound") and float(str(row["d"])) <= 0:
        return f"it is no better: {seen}"
    if reason.startswith("lower bound"):
        limit = 0.0 if rule.rule == "better" else -rule.delta
        return f"the gain may be chance: {seen}, and that bound must be above {points(limit) if limit else '0'}"
    return f"{seen}; {reason}"


def _rule(row: Row) -> Gate:
    return parse_recipe(str(row["recipe"]), origin="round").gate
