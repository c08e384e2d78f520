"""A file of nothing but prompts: what policies will be asked."""

from __future__ import annotations

import polars as pl
import pytest

from curate.importing.convert import convert
from curate.importing.raw import Ingested, RawSource
from schemas.errors import InputError
from schemas.ids import content_id
from schemas.tables import TABLES

Rows = list[dict[str, object]]


def read(rows: Rows, **asked: str) -> Ingested:
    frame = pl.DataFrame(rows, infer_schema_length=None).with_row_index("_row", offset=1)
    return convert(RawSource("mine", {"prompts.jsonl": frame}), **asked)  # type: ignore[arg-type]


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def test_a_text_is_one_user_message_with_its_category_and_system_prompt() -> None:
    ingested = read([{"prompt": "Why?", "category": "open", "system": "Be brief.", "language": "en"}])
    row = ingested.frames["prompts"].row(0, named=True)
    message = '[{"role":"user","content":"Why?"}]'
    assert ingested.shape == "prompts"
    assert (row["source"], row["category"], row["system"], row["language"]) == ("mine", "open", "Be brief.", "en")
    assert row["prompt_id"] == content_id(message, "Be brief.")
    assert ingested.frames["texts"]["text"].to_list() == [message]


def test_there_are_prompts_and_a_source_and_nothing_else() -> None:
    ingested = read([{"prompt": "Why?"}, {"prompt": "How?"}])
    held = {name: n for name, n in ingested.counts.items() if n}
    assert held == {"sources": 1, "texts": 2, "prompts": 2}
    for name, frame in ingested.frames.items():
        assert TABLES[name].complete(frame).sort(TABLES[name].key).equals(frame), name


@pytest.mark.parametrize("column", ["prompt", "messages"])
def test_messages_are_a_prompt_and_their_first_system_turn_is_a_column(column: str) -> None:
    turns = [{"role": "system", "content": "Be kind."}, user("Hi"), {"role": "assistant", "content": "Hello"},
             user("Q")]
    row = read([{column: turns}]).frames["prompts"].row(0, named=True)
    message = ('[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"},'
               '{"role":"user","content":"Q"}]')
    assert (row["system"], row["prompt_id"]) == ("Be kind.", content_id(message, "Be kind."))


@pytest.mark.slow
def test_messages_that_end_with_an_answer_and_empty_prompts_are_refused_with_their_place() -> None:
    turns: Rows = [{"messages": [user("Q")]}, {"messages": [user("Q"), {"role": "assistant", "content": "A"}]},
                   {"messages": []}]
    ingested = read(turns)
    assert ingested.counts["prompts"] == 1
    assert ingested.frames["rejects"].sort("row").select("row", "column", "seen").rows() == [
        (2, "messages", "assistant"), (3, "prompt", "null")]
    with pytest.raises(InputError, match="none of 1 rows could be read"):
        read([{"prompt": ""}])


@pytest.mark.slow
def test_the_column_group_names_the_unit_of_splits() -> None:
    rows: Rows = [{"prompt": "a?", "group": "g"}, {"prompt": "b?", "group": "g"}, {"prompt": "c?", "group": None}]
    groups = read(rows).frames["prompts"]["group_id"].to_list()
    assert groups.count("mine/g") == 2
    assert len(set(groups)) == 2
    topics: Rows = [{"prompt": "a?", "topic": "t"}, {"prompt": "b?", "topic": "t"}]
    assert read(topics, group_by="topic").frames["prompts"]["group_id"].unique().to_list() == ["mine/t"]


def test_equal_prompts_are_one_and_near_equal_ones_share_a_group() -> None:
    prompts = read([{"prompt": "Why now?"}, {"prompt": "Why now?"}, {"prompt": "why  now"}]).frames["prompts"]
    assert (prompts.height, prompts["group_id"].n_unique()) == (2, 1)


@pytest.mark.slow
def test_the_order_of_rows_changes_nothing() -> None:
    rows: Rows = [{"prompt": f"{i}?", "category": "xy"[i % 2]} for i in range(5)]
    one, other = read(rows).frames, read(rows[::-1]).frames
    assert all(one[name].equals(other[name]) for name in one)


@pytest.mark.parametrize("answer", ["response", "completion", "chosen", "label"])
def test_a_file_with_answers_is_no_file_of_prompts(answer: str) -> None:
    with pytest.raises(InputError, match="prompt, or messages, alone"):
        read([{"prompt": "q", answer: "x"}])


def test_columns_that_are_not_read_are_named_and_text_in_messages_is_refused() -> None:
    assert read([{"prompt": "q", "colour": "red", "id": 7}]).skipped == {"prompts.jsonl": "columns not read: colour"}
    with pytest.raises(InputError, match="or name a text column prompt"):
        read([{"messages": "[{}]"}])
