"""The card of an export: what it is, how many and why, what a trainer will not read, whose text it is."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import polars as pl
import yaml

from flows.export_forms import FORMS, n_too_long, responses_won

MAX_LENGTH_TOKENS = 1024
"""what TRL reads unless it is told otherwise"""

ORIGINS = {"pair_id": pl.String, "what": pl.String, "name": pl.String, "licence": pl.String,
           "may_redistribute": pl.Boolean, "terms": pl.String}


@dataclass(frozen=True)
class Ground:
    """What a card says beside the rows themselves."""

    origins: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=ORIGINS))
    """(pair_id, what, name, licence, may_redistribute, terms) of every pair, query `pair_origins`"""
    n_erased: int = 0
    """pairs of the version that are left out because a text of theirs was erased"""
    erased: tuple[str, ...] = ()
    """one line per erasure that touched the version"""
    since: str = ""
    """the version that changes are counted from; empty: the whole version"""
    n_removed: int = 0


def card(
    members: pl.DataFrame, version: dict[str, object], form: str, frame: pl.DataFrame, ground: Ground | None = None
) -> str:
    """A data card in Markdown. Names that come from data stand in it as plain text."""
    known = ground or Ground()
    lines = [
        f"# {version['dataset']}@{version['n']} ({form})", "", *_warning(known.origins),
        f"- rows: {frame.height}", *_changes(known), f"- content fingerprint: `{version['fingerprint']}`",
        f"- recipe fingerprint: `{version['recipe_fingerprint']}`", f"- votes up to number: {version['as_of']}",
        f"- {'rows' if form == 'kto' else 'pairs whose longer side is'} over about {MAX_LENGTH_TOKENS} tokens, "
        f"{FORMS[form].too_long}: {n_too_long(members, form, MAX_LENGTH_TOKENS)}",
        *_of_form(members, form, frame), f"- read by {FORMS[form].hint}", "",
        "## Pairs by action and reason", "", *_counted(members, "action", "reason"), "",
        "## Pairs by source", "", *_counted(members, "source"), "", *_licences(known.origins), *_erasures(known),
        "## Recipe", "", "```json", json.dumps(json.loads(str(version["recipe"])), indent=1, sort_keys=True), "```", "",
    ]
    return "\n".join(lines)


def hub_card(text: str, version: dict[str, object], splits: dict[str, pl.DataFrame], ground: Ground) -> str:
    """`text` under the YAML header by which `datasets.load_dataset` finds the splits and the hub the licence."""
    files = [{"split": name, "path": f"{name}/*.arrow"} for name in splits]
    header = {
        "pretty_name": f"{version['dataset']}@{version['n']}", "license": _licence(ground.origins),
        "tags": ["preference", "reward-model", "rlhf"],
        "configs": [{"config_name": "default", "data_files": files}],
    }
    return f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n\n{text}"


def passing_on(origins: pl.DataFrame) -> tuple[int, int]:
    """(pairs that hold text which may not be passed on, pairs of which nobody said that they may).

    A pair that two sources hold may be passed on if one of them allows it: the same text can be had from there.
    Its prompt's source and the policies that wrote its responses must allow it too.
    """
    may = pl.col("may_redistribute")
    said = origins.group_by("pair_id", "what").agg(
        is_allowed=pl.when(pl.col("what").first() == "source").then(may.fill_null(False).any()).otherwise(
            may.fill_null(False).all()),
        is_refused=(~may).fill_null(False).any(),
    )
    pairs = said.group_by("pair_id").agg(
        is_refused=(pl.col("is_refused") & ~pl.col("is_allowed")).any(), is_allowed=pl.col("is_allowed").all())
    refused = pairs.filter("is_refused").height
    return refused, pairs.filter(~pl.col("is_refused") & ~pl.col("is_allowed")).height


def _warning(origins: pl.DataFrame) -> list[str]:
    refused, unknown = passing_on(origins)
    of = f"of {origins['pair_id'].n_unique()} pairs"
    return [
        *([f"> **MUST NOT BE PASSED ON.** {refused} {of} hold text whose source or author forbids it: see Licences.",
           ""] if refused else []),
        *([f"> **Not cleared for passing on.** Of {unknown} {of} nobody has said that their text may be passed on: "
           "see Licences.", ""] if unknown else []),
    ]


def _changes(ground: Ground) -> list[str]:
    if not ground.since:
        return []
    return [f"- only what is new or differs since {ground.since}; rows that are no longer in it: "
            f"{ground.n_removed}, in `removed.parquet`"]


def _of_form(members: pl.DataFrame, form: str, frame: pl.DataFrame) -> list[str]:
    if form != "kto":
        n_ties = 0 if form == "parquet" else int(_kept_ties(members))
        has_margin = "margin" in frame.columns or form == "parquet"
        return [f"- ties among kept pairs, which teach no order and are left out: {n_ties}"] * (n_ties > 0) + (
            [] if has_margin else ["- no margin: the strength of some pairs is not known"])
    n_true = int(frame["label"].sum())
    n_false, even = frame.height - n_true, responses_won(members).filter(pl.col("won") == 0).height
    return [
        f"- balance: {n_true} true, {n_false} false; responses that win as much as they lose, left out: {even}",
        *([f"- for equal weight of both: `desirable_weight={n_false / n_true:.2f}` with `undesirable_weight=1.0`"]
          if n_true and n_false else []),
    ]


def _kept_ties(members: pl.DataFrame) -> int:
    win = pl.col("p_a") + pl.col("p_tie") / 2
    return members.filter((pl.col("action") != "drop") & (win == 0.5)).height


def _counted(members: pl.DataFrame, *columns: str) -> list[str]:
    rows = members.group_by(columns).len().sort(columns).iter_rows()
    return [f"- {': '.join(_plain(str(part)) for part in row[:-1] if part)}: {row[-1]}" for row in rows]


def _licences(origins: pl.DataFrame) -> list[str]:
    """One line per origin: licence, whether its text may be passed on, pairs, terms."""
    if not origins.height:
        return []
    columns = ["what", "name", "licence", "may_redistribute", "terms"]
    rows = origins.group_by(columns).agg(n=pl.col("pair_id").n_unique()).sort("what", "name").iter_rows()
    words = {True: "may be passed on", False: "**must not be passed on**", None: "nobody said it may be passed on"}
    return ["## Licences", "", *(
        f"- {what} {_plain(name)}: {_plain(licence or 'licence not known')}, {words[may]}, {n} pairs"
        f"{'; ' + _plain(terms) if terms else ''}"
        for what, name, licence, may, terms, n in rows
    ), ""]


def _erasures(ground: Ground) -> list[str]:
    if not ground.erased:
        return []
    return ["## Erased since the release", "", f"- pairs left out because a text of theirs was erased: "
            f"{ground.n_erased}", *(f"- {_plain(line)}" for line in ground.erased), ""]


def _licence(origins: pl.DataFrame) -> str:
    """The hub's word: the one licence of everything, else `other`; `unknown` when nobody said one."""
    said = origins["licence"].unique().to_list()
    if not said or said == [None]:
        return "unknown"
    return str(said[0]).lower() if len(said) == 1 else "other"


def _plain(text: str) -> str:
    """A name from data as plain text: no Markdown, no line break."""
    return "".join(c if c.isalnum() or c in "-_./ ,:@" else "?" for c in text)
