"""Checklists: yes-or-no requirements with weights, written per prompt, answered per response.

After "Checklists Are Better Than Reward Models" (Viswanathan et al. 2025) and "Rubrics as Rewards" (Gunjal et al.
2025). A judge can be shown the whole list, or be asked item by item; then a response's score is the weighted mean of
its P(yes).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import polars as pl

from curate.judging.answering import NOT_READABLE, bounded_list, one_object, sentence
from curate.judging.instruments import Instrument
from curate.judging.reading import with_levels
from curate.judging.rendering import rendered
from curate.judging.scales import Scale
from curate.questions import PLAN, canonical, keyed
from schemas.errors import InputError
from schemas.ids import content_id_expr
from schemas.tables import RATINGS

MOST_ITEMS, HEAVIEST = 12, 3
ATTRIBUTE = "checklist"
SCHEMA = json.dumps(one_object(items=bounded_list(MOST_ITEMS, {
    "type": "object", "required": ["question", "weight"], "additionalProperties": False,
    "properties": {"question": {"type": "string", "minLength": 1},
                   "weight": {"type": "integer", "minimum": 1, "maximum": HEAVIEST}},
})), separators=(",", ":"))
ITEM_LINKS = ("call_key", "response_id", "voter", "weight", "n_items")


def checklist_of(answer: str) -> str | None:
    """The checklist in a writer's answer, as canonical JSON of {question, weight}; None when it holds none."""
    try:
        items = json.loads(answer)["items"]
        read = [{"question": sentence(item["question"]), "weight": _weight(item["weight"])} for item in items]
    except NOT_READABLE:
        return None
    if not 1 <= len(read) <= MOST_ITEMS or any(not item["question"] or not item["weight"] for item in read):
        return None
    return json.dumps(read, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def checklist_shown(checklist: str) -> str:
    """A stored checklist as the judge reads it: one numbered question per line, with its weight."""
    items = json.loads(checklist)
    return "\n".join(f"{n}. (weight {item['weight']}) {item['question']}" for n, item in enumerate(items, 1))


def item_questions(
    responses: pl.DataFrame, checklists: pl.DataFrame, judges: Sequence[tuple[str, str]], instrument: Instrument,
    parameters: Mapping[str, str | int | float],
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(plan, links): is each item of its prompt's checklist met by each response? One question each, per judge.

    `responses` has response_id, prompt_id, prompt, response, and perhaps system; `checklists` has prompt_id and
    checklist (of `checklist_of`), a prompt once. Links have ITEM_LINKS, `voter` being the judge's identity. Raises
    InputError for an instrument that is not of the form yes_no.
    """
    if instrument.form != "yes_no":
        raise InputError(f"{instrument.id}, of the form {instrument.form}", expected="yes_no", next="pick another")
    asked = responses.join(_items(checklists), on="prompt_id", maintain_order="left").rename({"question": "principle"})
    panel = pl.DataFrame(list(judges), schema={"voter": pl.String, "identity": pl.String}, orient="row")
    shown = rendered(asked, instrument).drop("prompt").join(panel, how="cross")
    questions = keyed(shown.with_columns(
        pl.lit(canonical(dict(parameters))).alias("parameters"),
        pl.struct("response_id", item="place").struct.json_encode().alias("subject"),
    ).sort("response_id", "place", "voter"), "judge")
    plan = questions.select(PLAN).unique("call_key", keep="first", maintain_order=True)
    return plan, questions.with_columns(voter="identity").select(ITEM_LINKS)


def ratings_from_items(read: pl.DataFrame, links: pl.DataFrame, scale: Scale, asked: str) -> pl.DataFrame:
    """RATINGS on the attribute `checklist`, 0 to 1: sum of weight x P(yes) over the sum of weights; by `rating_id`.

    `read` comes from `reading.read_verdicts`. An item that does not apply, or whose call failed, counts neither way; a
    response with fewer than half of its items answered gets no rating. In steps of 1/1000. `asked` is the instrument.
    """
    levelled = with_levels(read, scale).select("call_key", "level")
    said = links.join(levelled, on="call_key", how="left").sort("response_id", "voter", "call_key")
    is_said = pl.col("level").is_not_null()
    scored = said.group_by("response_id", "voter", maintain_order=True).agg(
        ((pl.col("level") * pl.col("weight")).sum() / pl.col("weight").filter(is_said).sum()).round(3).alias("value"),
        is_said.sum().alias("n_said"), pl.col("n_items").first(), pl.col("call_key").str.join("|").alias("keys"),
    ).filter(2 * pl.col("n_said") >= pl.col("n_items"), pl.col("n_said") > 0)
    about: list[str | pl.Expr] = ["response_id", "voter", pl.lit(asked)]
    return RATINGS.complete(scored.select(
        content_id_expr([pl.lit("checklist"), "keys", *about]).alias("rating_id"),
        content_id_expr([pl.lit("checklist"), *about]).alias("ballot_id"), "response_id", "voter", "value",
        attribute=pl.lit(ATTRIBUTE), scale_min=pl.lit(0.0), scale_max=pl.lit(1.0), instrument=pl.lit(asked),
        status=pl.lit("cast"),
    )).sort("rating_id")


def _items(checklists: pl.DataFrame) -> pl.DataFrame:
    """(prompt_id, place, question, weight, n_items), one row per item."""
    form = pl.List(pl.Struct({"question": pl.String, "weight": pl.Int64}))
    listed = checklists.select("prompt_id", pl.col("checklist").str.json_decode(form).alias("item")).with_columns(
        pl.col("item").list.len().cast(pl.Int64).alias("n_items"),
        pl.int_ranges(pl.col("item").list.len()).alias("place"),
    )
    return listed.explode("item", "place").unnest("item")


def _weight(weight: object) -> int | None:
    is_whole = isinstance(weight, int) and not isinstance(weight, bool)
    return weight if is_whole and 1 <= weight <= HEAVIEST else None  # type: ignore[operator,return-value]
