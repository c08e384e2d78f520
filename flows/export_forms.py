"""What trainers read, as frames: one function per form, members of a version in, rows out.

Checked against the readers themselves: TRL 1.16 (`RewardTrainer`, `KTOTrainer`), OpenRLHF
(`openrlhf/datasets/reward_dataset.py`), `datasets` 5.2. Every form has one column by which a row of
one version is found again in another: `pair_id`, or `response_key`, an id of prompt and text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from schemas.ids import content_id_expr, fold_of_expr

MESSAGE = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
VALIDATION_FOLD, N_FOLDS = 0, 10
CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class Form:
    """How a version is laid out for one kind of trainer."""

    rows: Callable[[pl.DataFrame], pl.DataFrame]
    """members (query `version_members`) to rows, `key` among the columns, in an order that only they decide"""
    key: str
    """the column that tells two rows apart; one row per key"""
    is_key_shown: bool
    """False: only an export of changes has it"""
    too_long: str
    """what the trainer does with a row that is longer than it reads"""
    hint: str
    """how to point the trainer at it"""


def trl(members: pl.DataFrame) -> pl.DataFrame:
    """TRL's implicit-prompt form: `chosen` and `rejected` are message lists that begin with the prompt.

    `margin` is the absolute strength on every row, or there is none. Ties teach no order: left out.
    """
    return _implicit(members).drop("pair_id")


def openrlhf(members: pl.DataFrame) -> pl.DataFrame:
    """OpenRLHF with `--data.prompt_key prompt`: prompt and both sides are lists of messages, which it adds up."""
    rows = ordered(members)
    sides = [_said(side).alias(side) for side in ("chosen", "rejected")]
    return rows.select("pair_id", pl.col("messages").alias("prompt"), *sides, *_margin(rows))


def preferences(members: pl.DataFrame) -> pl.DataFrame:
    """For `datasets`: TRL's form with ids, the soft label of the chosen side, weight and source beside it."""
    rows = ordered(members)
    return rows.select(
        "pair_id", "group_id", "source", *_both_sides(), *_margin(rows),
        chosen_probability=pl.max_horizontal("win", 1 - pl.col("win")), weight="weight",
    )


def kto(members: pl.DataFrame) -> pl.DataFrame:
    """Unpaired: one row per prompt and response text, `label` says whether it wins more than it loses.

    A win counts by how sure it is (expected win minus one half, times weight), so a response is there once and
    with one label, however many pairs it stands in; one that wins as much as it loses is left out.
    """
    said = responses_won(members).filter(pl.col("won") != 0)
    return said.select("response_key", pl.col("messages").alias("prompt"), _said("text").alias("completion"),
                       label=pl.col("won") > 0)


def responses_won(members: pl.DataFrame) -> pl.DataFrame:
    """(response_key, messages, text, won): every response of kept pairs once, `won` > 0 when it wins more than it
    loses; sorted by key."""
    rows = kept(members).with_columns(won=(_win() - 0.5) * pl.col("weight"))
    sides = [
        rows.select("asked", "system", "messages", text=f"text_{side}", won=sign * pl.col("won"))
        for side, sign in (("a", 1), ("b", -1))
    ]
    # Rounded: a sum of floats hangs on the order of its rows, and 0.1 - 0.1 must be no win.
    won = pl.concat(sides).group_by("asked", "system", "text").agg(
        pl.col("messages").first(), pl.col("won").sum().round(6))
    key = content_id_expr(["asked", "system", "text"]).alias("response_key")
    return won.select(key, "messages", "text", "won").sort("response_key")


def everything(members: pl.DataFrame) -> pl.DataFrame:
    """All columns of the version, dropped pairs with their reason included."""
    return members.sort("pair_id")


def kept(members: pl.DataFrame) -> pl.DataFrame:
    """Members that are not dropped, with `messages` (system prompt first) and `asked`, the prompt as it is stored;
    `prompt` becomes its last message."""
    asked = pl.col("prompt").str.json_decode(MESSAGE)
    system = pl.concat_list(pl.struct(role=pl.lit("system"), content=pl.col("system")))
    messages = pl.when(pl.col("system").is_null()).then(asked).otherwise(system.list.concat(asked)).alias("messages")
    last = asked.list.last().struct.field("content").alias("prompt")
    return members.filter(pl.col("action") != "drop").with_columns(messages, last, asked="prompt")


def ordered(members: pl.DataFrame) -> pl.DataFrame:
    """Kept pairs that have a winner, with `win` (of a, 0..1) and the texts as `chosen` and `rejected`."""
    decided = kept(members).with_columns(win=_win()).filter(pl.col("win") != 0.5)
    is_a = pl.col("win") > 0.5
    return decided.with_columns(
        chosen=pl.when(is_a).then("text_a").otherwise("text_b"),
        rejected=pl.when(is_a).then("text_b").otherwise("text_a"),
    ).sort("pair_id")


def split_by_group(rows: pl.DataFrame, *, are_changes: bool = False) -> dict[str, pl.DataFrame]:
    """`train` and `validation` (a tenth of the groups); only `train` where either would be empty.

    A group's side hangs on its id alone: it never changes from version to version. `are_changes` are laid over an
    earlier export: they keep their side, also where all are of one.
    """
    is_held_out = fold_of_expr("group_id", N_FOLDS) == VALIDATION_FOLD
    train, validation = rows.filter(~is_held_out), rows.filter(is_held_out)
    if are_changes and validation.height and not train.height:
        return {"validation": validation}
    return {"train": train, "validation": validation} if train.height and validation.height else {"train": rows}


def n_too_long(members: pl.DataFrame, form: str, max_tokens: int) -> int:
    """Rows longer than about `max_tokens` tokens, in the longer side where a row has two.

    No tokenizer is asked: a token is taken for four characters, as in English prose; code and other scripts have
    more tokens.
    """
    if form == "kto":
        longest = responses_won(members).filter(pl.col("won") != 0).select("messages", longest=pl.col("text"))
    else:
        rows = kept(members) if form == "parquet" else ordered(members)
        sides = [pl.col(f"text_{side}").str.len_chars() for side in ("a", "b")]
        longer = pl.when(sides[0] >= sides[1]).then("text_a").otherwise("text_b")
        longest = rows.select("messages", longest=longer)
    asked = pl.col("messages").list.eval(pl.element().struct.field("content").str.len_chars()).list.sum()
    n_characters = asked + pl.col("longest").str.len_chars()
    return int(longest.select((n_characters > max_tokens * CHARACTERS_PER_TOKEN).sum()).item())


def _implicit(members: pl.DataFrame) -> pl.DataFrame:
    rows = ordered(members)
    return rows.select("pair_id", *_both_sides(), *_margin(rows))


def _both_sides() -> list[pl.Expr]:
    return [pl.col("messages").list.concat(_said(side)).alias(side) for side in ("chosen", "rejected")]


def _said(column: str) -> pl.Expr:
    return pl.concat_list(pl.struct(role=pl.lit("assistant"), content=pl.col(column)))


def _margin(rows: pl.DataFrame) -> list[pl.Expr]:
    """Absolute strength on all rows, or no column: trainers read the first row and expect it on every other."""
    return [] if rows["strength"].null_count() else [pl.col("strength").abs().alias("margin")]


def _win() -> pl.Expr:
    return pl.col("p_a") + pl.col("p_tie") / 2


FORMS: dict[str, Form] = {
    "trl": Form(_implicit, "pair_id", False, "which TRL would drop", "`RewardTrainer(train_dataset=...)`"),
    "openrlhf": Form(
        openrlhf, "pair_id", True, "which OpenRLHF would cut off",
        "`--data.dataset FOLDER/train.parquet --data.apply_chat_template --data.prompt_key prompt "
        "--data.chosen_key chosen --data.rejected_key rejected`",
    ),
    "hf": Form(preferences, "pair_id", True, "which TRL would drop", "`datasets.load_from_disk(FOLDER)`"),
    "kto": Form(kto, "response_key", True, "which TRL would cut off", "`KTOTrainer(train_dataset=...)`"),
    "parquet": Form(everything, "pair_id", True, "which TRL would drop", "anything that reads Parquet"),
}
