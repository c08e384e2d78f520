"""Questions to judges and the votes in their answers: both orders always, paid once per distinct text pair.

A judge is asked which of two texts is better, twice per pair, once in each order (Zheng et al. 2023,
"Judging LLM-as-a-Judge": position bias). The call key holds text ids, so equal texts under different
responses are one call; the links lead from a call back to every pair that it speaks about.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import polars as pl

from curate.consensus.outcomes import expected_win
from curate.judging.instruments import Instrument
from curate.judging.reading import read_tokens, votes_from_verdicts
from curate.judging.rendering import rendered
from curate.judging.scales import THREE_WORDS
from curate.questions import PLAN, keyed
from schemas.errors import InputError
from schemas.ids import content_id_expr

TEMPLATE = "judge-pairwise@1"
PAIR_COLUMNS = ("pair_id", "prompt_text_id", "text_id_a", "text_id_b", "prompt", "text_a", "text_b")
PLAN_COLUMNS = (
    "call_key", "voter", "subject", "shown_first", "prompt", "first", "second", "instrument", "parameters", "sample",
)
LINK_COLUMNS = ("call_key", "pair_id", "voter", "shown_first", "ballot_key", "instrument", "sample")
SLICE = 20_000
"""pairs rendered at a time: of 100,000 at once, the copies of texts on their way to messages fill 9 GB"""

Parameters = Mapping[str, str | int | float]


def plan_calls(
    pairs: pl.DataFrame,
    judges: Sequence[tuple[str, str]],
    instrument: str,
    parameters: Parameters,
    *,
    template: str = TEMPLATE,
    n_samples: int = 1,
) -> pl.DataFrame:
    """One row per distinct judge call over pairs × judges × both orders × samples, sorted by `call_key`.

    `pairs` has PAIR_COLUMNS, `judges` are (name, identity of the served model). Out: PLAN_COLUMNS, the fields
    of `curate.engines.CallRequest` (`parameters` as canonical JSON) and `shown_first`, the letter of the first
    linked pair. Pairs of identical text are left out: they are ties that nobody needs to be asked about.
    Raises InputError for a missing column, a repeated pair or a repeated judge.
    """
    questions = _questions(pairs, judges, instrument, parameters, template, n_samples)
    distinct = questions.unique("call_key", keep="first", maintain_order=True)
    return distinct.select(PLAN_COLUMNS)


def link_calls(
    pairs: pl.DataFrame,
    judges: Sequence[tuple[str, str]],
    instrument: str,
    parameters: Parameters,
    *,
    template: str = TEMPLATE,
    n_samples: int = 1,
) -> pl.DataFrame:
    """The way back from a call to (pair_id, voter, shown_first): LINK_COLUMNS, one row per vote to come.

    Same arguments as `plan_calls`; several links may share a call. `ballot_key` is equal for both orders
    and all samples of one judge on one pair under one instrument.
    """
    return _questions(pairs, judges, instrument, parameters, template, n_samples).select(LINK_COLUMNS)


def plan_served(
    pairs: pl.DataFrame,
    judges: Sequence[tuple[str, str]],
    instrument: Instrument,
    parameters: Parameters,
    *,
    n_samples: int = 1,
    context: pl.DataFrame | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Calls to served judges and the way back: (plan, links), each sorted by `call_key`.

    `pairs` has PAIR_COLUMNS, `prompt` being JSON of messages, and perhaps `system`; `judges` are (name, identity).
    A `seed` among the parameters is that of the first sample; each further one has the next.
    `context` has pair_id, once each, and a column per further slot that the instrument shows (reference, rubric,
    examples, …). The plan has the columns `curate.questions.PLAN`, one row per distinct question over pairs ×
    judges × both orders × samples; the links have LINK_COLUMNS, one row per pair, judge, order and sample.
    Votes come from `reading.read_verdicts` and `reading.votes_from_verdicts`. Pairs of identical text are left out.
    Raises InputError for what `plan_calls` refuses, an instrument that is not pairwise, a context that it does not
    show, and a pair without a text that it needs.
    """
    _check(pairs, judges, n_samples)
    _check_context(instrument, context)
    panel = _panel(judges).join(pl.DataFrame({"sample": range(n_samples)}), how="cross")
    of_sample = [_canonical(_seeded(parameters, sample)) for sample in range(n_samples)]
    panel = panel.with_columns(
        pl.lit(_canonical(parameters)).alias("parameters"),
        pl.Series(of_sample, dtype=pl.String).gather(panel["sample"]).alias("of_sample"),
    )
    slices = pairs.iter_slices(SLICE) if pairs.height else [pairs]
    questions = pl.concat([_served(some, panel, instrument, context) for some in slices])
    ordered = questions.sort("call_key", "pair_id", "voter", "shown_first", "sample")
    return ordered.select(PLAN).unique("call_key", keep="first", maintain_order=True), ordered.select(LINK_COLUMNS)


def votes_from_calls(calls: pl.DataFrame, links: pl.DataFrame, *, criterion: str = "overall") -> pl.DataFrame:
    """Votes of judges from recorded calls, one row per link whose call is there, sorted by `vote_id`.

    `calls` keeps the contract CALLS, `links` come from `link_calls`. Probabilities are those of
    `choice_logprobs` (natural logs over "1", "2", "tie"; renormalised, a missing choice counts 0), else the
    verdict itself. A call that did not finish with "stop", or whose verdict is not one of the three words,
    becomes an abstention with the reason in `evidence`, never a label. p in steps of 1/200. Seconds are the
    call's; the cost of a call shared by several votes is borne by the first of them (by pair, voter, order).
    """
    read = read_tokens(calls, THREE_WORDS)
    return votes_from_verdicts(read, links, THREE_WORDS, criterion=criterion, is_pooled=False)


def tie_long_slight_wins(
    votes: pl.DataFrame, lengths: pl.DataFrame, *, more_than: int, slight: float = 0.25
) -> pl.DataFrame:
    """`votes` with slight wins of a much longer response turned into ties: same rows, same order.

    `lengths` has pair_id, n_chars_a, n_chars_b. A win is slight when |strength| <= 1 or, without a strength,
    when the expected win is within `slight` of one half; the winner must be more than `more_than` characters
    longer. Source: WildBench (Lin et al. 2024), length-bias mitigation. Meant for the settling of labels:
    stored votes stay as the voter said them.
    """
    edge = expected_win(pl.col("p_a"), pl.col("p_tie")) - 0.5
    surplus = pl.col("n_chars_a") - pl.col("n_chars_b")
    strength = pl.col("strength")
    is_slight = pl.when(strength.is_null()).then(edge.abs() <= slight).otherwise(strength.abs() <= 1)
    is_tied = (is_slight & (edge != 0) & (surplus * edge.sign() > more_than)).fill_null(False)
    joined = votes.join(lengths, on="pair_id", how="left", maintain_order="left")
    changed = [pl.when(is_tied).then(value).otherwise(name).alias(name) for name, value in _TIED.items()]
    return joined.with_columns(changed).select(votes.columns)


_TIED = {"p_a": 0.0, "p_tie": 1.0, "strength": 0.0}


def _questions(
    pairs: pl.DataFrame,
    judges: Sequence[tuple[str, str]],
    instrument: str,
    parameters: Parameters,
    template: str,
    n_samples: int,
) -> pl.DataFrame:
    _check(pairs, judges, n_samples)
    asked = _in_both_orders(pairs).join(_panel(judges), how="cross").join(
        pl.DataFrame({"sample": range(n_samples)}), how="cross"
    )
    constants = {"instrument": instrument, "parameters": _canonical(parameters), "template": template}
    shown = asked.with_columns(pl.lit(value).alias(name) for name, value in constants.items())
    return shown.with_columns(*_keys(), _subject()).sort("call_key", "pair_id", "voter", "shown_first")


def _served(
    pairs: pl.DataFrame, panel: pl.DataFrame, instrument: Instrument, context: pl.DataFrame | None
) -> pl.DataFrame:
    """Columns PLAN and LINK_COLUMNS of every question about these pairs."""
    shown = rendered(_in_context(pairs, context), instrument).with_columns(_subject())
    asked = shown.join(panel, how="cross").with_columns(_ballot_key(instrument, context))
    asked = asked.with_columns(pl.col("of_sample").alias("parameters")).drop("of_sample")
    return keyed(asked.drop("prompt"), "judge").select(*PLAN, *(c for c in LINK_COLUMNS if c not in PLAN))


def _panel(judges: Sequence[tuple[str, str]]) -> pl.DataFrame:
    return pl.DataFrame(list(judges), schema={"voter": pl.String, "identity": pl.String}, orient="row")


def _seeded(parameters: Parameters, sample: int) -> Parameters:
    """Parameters of one sample: a seed that all shared would make a server repeat one answer n times."""
    return {**parameters, "seed": int(parameters["seed"]) + sample} if "seed" in parameters else parameters


def _canonical(parameters: Parameters) -> str:
    return json.dumps(dict(parameters), sort_keys=True, separators=(",", ":"))


def _in_both_orders(pairs: pl.DataFrame) -> pl.DataFrame:
    asked = pairs.filter(pl.col("text_id_a") != pl.col("text_id_b"))
    return asked.join(pl.DataFrame({"shown_first": ["a", "b"]}), how="cross").with_columns(_in_order_shown())


def _in_context(pairs: pl.DataFrame, context: pl.DataFrame | None) -> pl.DataFrame:
    shown = _in_both_orders(pairs.select(*PAIR_COLUMNS, *(["system"] if "system" in pairs.columns else [])))
    return shown if context is None else shown.join(context, on="pair_id", how="left", maintain_order="left")


def _in_order_shown() -> list[pl.Expr]:
    is_a = pl.col("shown_first") == "a"
    slots = {"first": ("text_a", "text_b"), "second": ("text_b", "text_a"),
             "first_text_id": ("text_id_a", "text_id_b"), "second_text_id": ("text_id_b", "text_id_a")}
    return [pl.when(is_a).then(left).otherwise(right).alias(name) for name, (left, right) in slots.items()]


def _keys() -> list[pl.Expr]:
    texts = ["prompt_text_id", "first_text_id", "second_text_id"]
    setting: list[str | pl.Expr] = [pl.lit("judge"), "identity", "template", "instrument"]
    return [
        content_id_expr([*setting, *texts, "parameters", "sample"]).alias("call_key"),
        content_id_expr([*setting, "prompt_text_id", "text_id_a", "text_id_b", "parameters"]).alias("ballot_key"),
    ]


def _subject() -> pl.Expr:
    texts = pl.struct(prompt="prompt_text_id", first="first_text_id", second="second_text_id")
    return texts.struct.json_encode().alias("subject")


def _ballot_key(instrument: Instrument, context: pl.DataFrame | None) -> pl.Expr:
    """Equal for both orders and all samples of one judge, asked in the same words about the same texts."""
    beside = [] if context is None else [
        pl.col(name).list.join("\n") if kind == pl.List(pl.String) else pl.col(name)
        for name, kind in context.schema.items() if name != "pair_id"
    ]
    texts: list[str | pl.Expr] = ["prompt_text_id", "text_id_a", "text_id_b", *beside]
    return content_id_expr(
        [pl.lit("judge"), "identity", pl.lit(instrument.text_id), "instrument", *texts, "parameters"]
    ).alias("ballot_key")


def _check_context(instrument: Instrument, context: pl.DataFrame | None) -> None:
    if instrument.form != "pairwise":
        raise InputError(f"{instrument.id}, of the form {instrument.form}", expected="pairwise", next="pick another")
    if context is None:
        return
    beside = [c for c in context.columns if c != "pair_id"]
    idle = [c for c in beside if c not in instrument.slots or c in ("prompt", "first", "second")]
    if idle or "pair_id" not in context.columns or context["pair_id"].is_duplicated().any():
        raise InputError(
            f"context with columns {context.columns} for {instrument.id}",
            expected=f"each pair_id once, and some of the slots {instrument.slots}",
            next=f"leave out {idle} or ask with an instrument that shows it" if idle else "keep one row per pair",
        )


def _check(pairs: pl.DataFrame, judges: Sequence[tuple[str, str]], n_samples: int) -> None:
    missing = [c for c in PAIR_COLUMNS if c not in pairs.columns]
    if missing:
        raise InputError(f"pairs without columns {missing}", expected=f"{PAIR_COLUMNS}", next="join texts to pairs")
    if pairs["pair_id"].is_duplicated().any():
        raise InputError("a pair_id twice", expected="one row per pair", next="drop the repeated rows")
    names = [name for name, _ in judges]
    if len(set(names)) < len(names):
        raise InputError(f"judges {names}", expected="each name once", next="rename or remove the repeated judge")
    if n_samples < 1:
        raise InputError(f"n_samples = {n_samples}", expected="1 or more", next="ask for at least one sample")
