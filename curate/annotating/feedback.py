"""One page per annotator: their numbers beside the group's, and the gold tasks they missed. One HTML file, no script.

Whatever somebody wrote is text: escaped, in a box that scrolls, set from right to left where it reads so. The page
loads nothing, and says so to the browser. Nobody else appears on it: the group is a median of three others or more.
"""

from __future__ import annotations

import datetime as dt
import html
from collections.abc import Mapping, Sequence

import polars as pl

from curate.annotating.profiles import N_OF
from curate.consensus.outcomes import verdict

MIN_OTHERS = 3
"""fewer others make no group: a median of two would tell who they are"""
MOST_MISSED = 10
"""gold tasks shown, newest first; each is known from then on, so no more than teach something"""
MISSED = ("prompt", "text_first", "text_second", "said", "truth", "why")
"""columns of missed gold tasks: said and truth are "first", "second" or "tie" """

_MEASURES = (
    ("gold_accuracy", "Right on check tasks",
     "Some tasks have a known answer. This is how often yours was that answer."),
    ("agreement", "Same answer as others", "How often somebody else who saw the same task said what you said."),
    ("first_share", "First answer preferred",
     "The order on the page is drawn by lot, so without a habit this is near 50 %."),
    ("longer_share", "Longer answer preferred",
     "A longer answer is often better, and not always: compare with the group."),
    ("tie_share", "Called equal", "How often you found neither answer better."),
    ("cannot_judge_share", "Could not judge", "Saying so is fine when a task is beyond anybody."),
    ("skip_share", "Skipped", "Tasks that you passed on."),
    ("fast_share", "Very fast answers", "Answers given faster than the texts can be read."),
    ("taken_over_share", "Suggestion kept", "Where the page suggested an answer, how often you left it as it was."),
)
_FOUND = {
    "like_chance": "Your answers differ from the check tasks and from the others about as much as a coin would. "
                   "Please read the guideline again, and ask where it is not clear.",
    "against_others": "Your answers are mostly the opposite of the check tasks and of the others. "
                      "Perhaps the direction of the scale was read the other way round.",
    "prefers_slot": "You pick one place on the page more often than the other. The order is drawn by lot: please read "
                    "the second answer as carefully as the first.",
    "copies_pre_annotation": "You keep the suggested answer more often than people choose it who do not see it. "
                             "It is a guess of a program: please judge first, then compare.",
    "too_fast": "Many answers came faster than the texts can be read. Please take the time a task needs.",
    "drifts": "Your answers were closer to the check tasks and to the others in the beginning than later. "
              "A break may help.",
    "gives_up": "You skip tasks, or cannot judge them, much more often than others do. Please say what is missing.",
}
_SIDES = {"first": "the first is better", "second": "the second is better", "tie": "both are equal"}
_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--dim:#59636e;--paper:#fff;--line:#d1d9e0;--soft:#f6f8fa;--mark:#0a58ca}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--dim:#9198a1;--paper:#0d1117;--line:#3d444d;--soft:#151b23;
--mark:#58a6ff}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:1rem/1.5 system-ui,sans-serif}
main{max-width:60rem;margin:0 auto;padding:1rem}h1{font-size:1.5rem;margin:.5rem 0}
h2{font-size:1.2rem;margin:2rem 0 .5rem}
h3{font-size:1rem;margin:0 0 .25rem}p{margin:.25rem 0}.dim{color:var(--dim)}
table{width:100%;border-collapse:collapse}th,td{text-align:left;vertical-align:top;padding:.5rem;
border-bottom:1px solid var(--line)}td.n{white-space:nowrap;font-variant-numeric:tabular-nums}
thead th{color:var(--dim);font-weight:600}tbody th{font-weight:600}tbody th span{display:block;font-weight:400;
color:var(--dim);font-size:.9rem}ul{padding-left:1.2rem}li{margin:.4rem 0}
section.task{border:1px solid var(--line);border-radius:.5rem;padding:1rem;margin:1rem 0}
.text{white-space:pre-wrap;overflow-wrap:anywhere;overflow-y:auto;max-height:20rem;background:var(--soft);
border:1px solid var(--line);border-radius:.25rem;padding:.75rem;unicode-bidi:plaintext;text-align:start}
.sides{display:grid;grid-template-columns:1fr 1fr;gap:1rem;margin:1rem 0}.sides>div{min-width:0}
.verdict b{color:var(--mark)}
@media (max-width:40rem){.sides{grid-template-columns:1fr}thead{display:none}tr{display:block;padding:.5rem 0;
border-bottom:1px solid var(--line)}tbody th,td,td.n{display:block;border:0;padding:.1rem 0;white-space:normal}
td::before{content:attr(data-name);color:var(--dim);display:inline-block;min-width:7.5rem}}
"""
_HEAD = (
    '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src \'unsafe-inline\'">'
    '<meta name="referrer" content="no-referrer"><meta name="color-scheme" content="light dark">'
)


def feedback_page(
    voter: str, profiles: pl.DataFrame, found: pl.DataFrame, missed: Sequence[Mapping[str, str]]
) -> str:
    """HTML of one annotator's page. `profiles` has the columns PROFILES, one row of it of `voter`; `found` FOUND.

    `missed` are gold tasks that this annotator got wrong, newest first, each with the keys MISSED; the first
    MOST_MISSED are shown. Equal arguments give equal bytes.
    """
    mine = profiles.row(by_predicate=pl.col("voter") == voter, named=True)
    others = profiles.filter(pl.col("voter") != voter)
    reasons = found.filter(pl.col("voter") == voter)["finding"].to_list()
    body = "".join([
        f"<h1>Your work</h1><p class=dim>{_text(voter)}, {_n(mine['n_votes'], 'answer', 'answers')}</p>",
        _remarks(reasons), _measures(mine, others), _work(mine, others), _tasks(missed[:MOST_MISSED]), _explained(),
    ])
    return f'<!doctype html><html lang="en"><head>{_HEAD}<title>Your work</title><style>{_STYLE}</style></head>' \
           f"<body><main>{body}</main></body></html>\n"


def missed_gold(answers: pl.DataFrame, voter: str, texts: pl.DataFrame) -> list[dict[str, str]]:
    """Gold tasks that `voter` got wrong, newest first: the keys MISSED, responses in the order that was shown.

    `answers` has the columns ANSWERED, `texts` pair_id, criterion, prompt, text_a, text_b, why.
    """
    told = answers.filter(pl.col("voter") == voter, outcome="voted").drop_nulls("gold_p_a").with_columns(
        _said("p_a", "p_tie").alias("said"), _said("gold_p_a", "gold_p_tie").alias("truth"))
    wrong = told.filter(pl.col("said") != pl.col("truth")).join(texts, on=["pair_id", "criterion"])
    is_a_first = pl.col("shown_first").fill_null("a") == "a"
    shown = wrong.sort("said_at", "pair_id", descending=[True, False], nulls_last=True).select(
        "prompt", pl.when(is_a_first).then("text_a").otherwise("text_b").alias("text_first"),
        pl.when(is_a_first).then("text_b").otherwise("text_a").alias("text_second"), "said", "truth", "why",
    )
    return shown.head(MOST_MISSED).to_dicts()


def _said(p_a: str, p_tie: str) -> pl.Expr:
    """"first", "second" or "tie", in the order that was shown."""
    side = verdict(pl.col(p_a), pl.col(p_tie))
    is_first = side == pl.col("shown_first").fill_null("a")
    return pl.when(side == "tie").then(pl.lit("tie")).when(is_first).then(pl.lit("first")).otherwise(pl.lit("second"))


def _remarks(reasons: Sequence[str]) -> str:
    if not reasons:
        return "<h2>What to look at</h2><p>Nothing stands out.</p>"
    return f"<h2>What to look at</h2><ul>{''.join(f'<li>{_text(_FOUND[r])}</li>' for r in reasons)}</ul>"


def _measures(mine: Mapping[str, object], others: pl.DataFrame) -> str:
    rows = "".join(_measure(mine, others, *measure) for measure in _MEASURES if mine[N_OF[measure[0]]])
    head = "<tr><th>What</th><th>You</th><th>Likely range</th><th>Group</th></tr>"
    return f"<h2>Your numbers</h2><table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _measure(mine: Mapping[str, object], others: pl.DataFrame, mark: str, name: str, meaning: str) -> str:
    you, low, high, n = (mine[key] for key in (mark, f"{mark}_low", f"{mark}_high", N_OF[mark]))
    spread = "" if you is None else f"{_share(low)} to {_share(high)}"
    shown = "too few to say" if you is None else _share(you)
    cells = [("You", f"{shown} <span class=dim>of {n}</span>"), ("Likely range", spread or "–"),
             ("Group", _share(_of_group(others, mark)))]
    return f"<tr><th scope=row>{name}<span>{meaning}</span></th>{_cells(cells)}</tr>"


def _work(mine: Mapping[str, object], others: pl.DataFrame) -> str:
    if not mine["n_timed"]:
        return ""
    rows = [
        ("Time per answer", "Half of your answers took less.", "seconds_median", _duration),
        ("Hours", "Time on tasks; a page left open counts for half an hour at most.", "hours", _number),
        ("Earned, USD", "What these answers are paid.", "cost_usd", _number),
        ("USD per hour", "Over the answers whose time is known.", "usd_per_hour", _number),
    ]
    body = "".join(
        f"<tr><th scope=row>{name}<span>{meaning}</span></th>"
        + _cells([("You", shown(mine[key])), ("Group", shown(_of_group(others, key)))]) + "</tr>"
        for name, meaning, key, shown in rows
    )
    head = "<tr><th>What</th><th>You</th><th>Group</th></tr>"
    return f"<h2>Time and pay</h2><table><thead>{head}</thead><tbody>{body}</tbody></table>"


def _cells(cells: Sequence[tuple[str, str]]) -> str:
    return "".join(f'<td class=n data-name="{name}">{value}</td>' for name, value in cells)


def _tasks(missed: Sequence[Mapping[str, str]]) -> str:
    title = "<h2>Check tasks that you answered differently</h2>"
    if not missed:
        return f"{title}<p>None.</p>"
    note = "<p class=dim>These are known to you now. Please do not pass them on.</p>"
    return title + note + "".join(_task(task) for task in missed)


def _task(task: Mapping[str, str]) -> str:
    sides = "".join(
        f"<div><h3>{name}</h3><div class=text dir=auto tabindex=0>{_text(task[key])}</div></div>"
        for name, key in (("First", "text_first"), ("Second", "text_second"))
    )
    why = f"<p dir=auto>Why: {_text(task['why'])}</p>" if task["why"] else ""
    return (
        f"<section class=task><h3>Task</h3><div class=text dir=auto tabindex=0>{_text(task['prompt'])}</div>"
        f"<div class=sides>{sides}</div><p class=verdict>You said: <b>{_SIDES[task['said']]}</b>. "
        f"Expected: <b>{_SIDES[task['truth']]}</b>.</p>{why}</section>"
    )


def _explained() -> str:
    return (
        "<h2>How to read this</h2><p class=dim>The likely range holds the true number 19 times of 20: the more "
        "answers, the narrower. Group is the middle of the others, shown from three others on. “Too few to say” "
        "means under ten answers.</p>"
    )


def _of_group(others: pl.DataFrame, column: str) -> object:
    known = others[column].drop_nulls()
    return known.median() if len(known) >= MIN_OTHERS else None


def _text(text: str) -> str:
    return html.escape(text.replace("\0", "\N{REPLACEMENT CHARACTER}"), quote=True)


def _n(n: object, one: str, many: str) -> str:
    return f"{n:,} {one if n == 1 else many}"


def _share(value: object) -> str:
    return f"{100 * value:.0f} %" if isinstance(value, float) else "–"


def _number(value: object) -> str:
    return f"{value:,.2f}" if isinstance(value, float) else "–"


def _duration(value: object) -> str:
    if not isinstance(value, float):
        return "–"
    return f"{value:.0f} s" if value < 120 else str(dt.timedelta(seconds=round(value))).removeprefix("0:")
