"""Examine judges before they vote: on calibrate gold and on probes, once per model, question and set of thresholds.

Who may vote and whose votes count is decided by the recipe's own examination alone: its thresholds, and the gold in
its scope. What other recipes, datasets and later rounds examine the same judges by decides nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from curate.judging.order_effects import true_side
from curate.judging.probes import probe_pairs
from curate.judging.qualification import exam_id, exam_questions, is_qualified, qualify, refusal
from flows.panel import Member
from flows.rounds import Turn, now
from schemas.errors import RefusedError
from schemas.ids import uniform_expr
from schemas.sections import Qualification
from schemas.tables import EXAMS
from warehouse.store import Writer

AskPairs = Callable[[pl.DataFrame, Sequence[Member]], pl.DataFrame]
"""Pairs with texts and members in, frame `votes` out: every member on every pair, in both orders, through the call
cache. Failed calls are abstentions. What it returns on probes is nowhere stored."""
PAIRS = (
    "pair_id", "prompt_id", "group_id", "prompt_text_id", "text_id_a", "text_id_b", "system", "prompt", "text_a",
    "text_b",
)


@dataclass(frozen=True)
class _Examination:
    """What the recipe's judges are asked before they may vote."""

    pairs: pl.DataFrame
    """columns PAIRS: gold and probes"""
    questions: pl.DataFrame
    """columns `curate.judging.qualification.QUESTIONS`"""
    rule: Qualification

    def ids(self, judges: Sequence[Member]) -> dict[str, str]:
        """Id of each judge's examination, by voter."""
        return {j.voter: exam_id(self.questions, self.rule, j.voter, j.instrument) for j in judges}


def qualified(turn: Turn, judges: Sequence[Member], ask_pairs: AskPairs) -> set[str]:
    """Identities of the judges that may vote under the recipe's qualification; all of them when it asks for none.

    A judge whose examination is recorded is not asked again. An examination is made of at most `n_pairs` decided
    calibrate-gold pairs in scope, chosen by hash, and probes on their prompts; its results are appended as `exams`
    rows in one transaction. `turn.say` hears the numbers of each refused judge, and of one that did better before.
    Raises RefusedError when no judge passes.
    """
    rule = turn.recipe.judging.qualification
    if rule is None or not judges:
        return {judge.voter for judge in judges}
    with turn.store.write("judge") as writer:
        asked, known = _examination(turn, writer, rule), _recorded(writer, judges)
    exams = asked.ids(judges)
    current = _of_exams(known, exams)
    new = list({j.voter: j for j in judges if j.voter not in current["voter"]}.values())
    if new and asked.questions.height:
        results = qualify(ask_pairs(asked.pairs, new), asked.questions, rule)
        current = pl.concat([current, _record(turn, results, new, exams)])
    _tell(turn, judges, current, known, rule)
    passed = is_qualified(current).filter("is_qualified")["voter"].to_list()
    _check(judges, passed, current, rule)
    return set(passed)


def failed(turn: Turn, judges: Sequence[Member], writer: Writer) -> set[str]:
    """Identities of the judges that failed this round's examination: their votes and ratings do not count.

    It is that of the gold there was when the round's judge stage ended; before that, of the gold there is. A judge
    that has no results in it, because gold arrived while it was answering, has not failed.
    """
    rule = turn.recipe.judging.qualification
    if rule is None or not judges:
        return set()
    stages = writer.query("finished_stages", round_id=turn.round_id).filter(pl.col("stage") == "judge")
    moment = stages["finished_at"].item() if stages.height else None
    exams = _examination(turn, writer, rule, moment).ids(judges)
    results = as_of(_of_exams(_recorded(writer, judges), exams), "examined_at", moment)
    return set(is_qualified(results).filter(~pl.col("is_qualified"))["voter"])


def as_of(rows: pl.DataFrame, column: str, moment: dt.datetime | None) -> pl.DataFrame:
    """The rows that were there at a moment (all for None); one whose `column` is null always was."""
    return rows if moment is None else rows.filter(pl.col(column).is_null() | (pl.col(column) <= moment))


def _examination(
    turn: Turn, writer: Writer, rule: Qualification, moment: dt.datetime | None = None
) -> _Examination:
    """The recipe's examination over the gold of a moment, by default of now."""
    known = writer.query("calibrate_gold", sources=turn.sources, criterion=turn.recipe.criterion)
    gold = _drawn(turn, as_of(known, "added_at", moment), rule)
    probes = probe_pairs(gold, turn.recipe.seed)
    pairs = pl.concat([gold.select(PAIRS), probes.select(PAIRS)]).sort("pair_id")
    return _Examination(pairs, exam_questions(gold, probes), rule)


def _drawn(turn: Turn, known: pl.DataFrame, rule: Qualification) -> pl.DataFrame:
    """Decided calibrate gold of the examination: those of the smallest draws, which later gold seldom displaces."""
    decided = known.filter(true_side(pl.col("p_a"), pl.col("p_tie")).is_not_null())
    draw = uniform_expr(turn.recipe.seed, [pl.lit("exam"), "pair_id"])
    return decided.with_columns(draw.alias("draw")).sort("draw", "pair_id").head(rule.n_pairs).drop("draw")


def _recorded(writer: Writer, judges: Sequence[Member]) -> pl.DataFrame:
    asked = pl.DataFrame({"voter": [j.voter for j in judges], "instrument": [j.instrument for j in judges]})
    return EXAMS.complete(writer.query("exams_of", {"asked": asked}))


def _of_exams(known: pl.DataFrame, exams: dict[str, str]) -> pl.DataFrame:
    wanted = pl.DataFrame({"voter": list(exams), "exam": list(exams.values())})
    return known.join(wanted, on=["voter", "exam"], how="semi")


def _record(turn: Turn, results: pl.DataFrame, new: Sequence[Member], exams: dict[str, str]) -> pl.DataFrame:
    about = pl.DataFrame({
        "voter": [j.voter for j in new], "instrument": [j.instrument for j in new],
        "exam": [exams[j.voter] for j in new],
    })
    rows = EXAMS.complete(results.join(about, on="voter").with_columns(examined_at=pl.lit(now())))
    with turn.store.write("judge") as writer:
        writer.append({"exams": rows})
    return rows


def _tell(
    turn: Turn, judges: Sequence[Member], current: pl.DataFrame, known: pl.DataFrame, rule: Qualification
) -> None:
    for judge in judges:
        results = current.filter(pl.col("voter") == judge.voter)
        reasons = refusal(results, rule)
        if reasons:
            turn.say(f"judge {judge.name} ({judge.voter}) may not vote: {reasons}")
        fall = _fall(results, known.filter(pl.col("voter") == judge.voter))
        if fall:
            turn.say(f"judge {judge.name} ({judge.voter}): {fall}")


def _fall(results: pl.DataFrame, known: pl.DataFrame) -> str:
    """What an examination says against the one before it: accuracy whose bounds lie below the old ones."""
    now_all = results.filter(pl.col("domain") == "all")
    before = known.join(results, on="exam", how="anti").filter(pl.col("domain") == "all").sort("examined_at", "exam")
    if now_all.is_empty() or before.is_empty() or now_all["high"][0] >= before["low"][-1]:
        return ""
    return f"accuracy on gold fell from {before['value'][-1]:.1%} to {now_all['value'][0]:.1%}"


def _check(judges: Sequence[Member], passed: Sequence[str], current: pl.DataFrame, rule: Qualification) -> None:
    if passed:
        return
    first = judges[0]
    why = refusal(current.filter(pl.col("voter") == first.voter), rule)
    raise RefusedError(
        f"none of {len(judges)} judges may vote; {first.name}: {why}", expected="one that passes judging.qualification",
        next="tiebreak judges shows their numbers; ask other judges, add calibrate gold, or lower the thresholds",
    )
