"""Pairs that come as chosen and rejected, in four layouts."""

import json

import polars as pl
import pytest

from curate.importing.convert import convert
from curate.importing.raw import Ingested, RawSource
from schemas.ids import content_id


def source(rows: list[dict[str, object]], name: str = "set") -> RawSource:
    frame = pl.DataFrame(rows, infer_schema_length=None).with_row_index("_row", offset=1)
    return RawSource(name, {"rows.jsonl": frame})


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def read(ingested: Ingested) -> list[tuple[list[tuple[str, str]], str, str]]:
    """(messages, preferred text, other text) of every vote."""
    f = ingested.frames
    texts = f["responses"].join(f["texts"], on="text_id").select("response_id", "text")
    prompts = f["prompts"].join(f["texts"], on="text_id").select("prompt_id", prompt="text")
    rows = (
        f["votes"].join(f["pairs"], on="pair_id").join(prompts, on="prompt_id")
        .join(texts.rename({"text": "a"}), left_on="response_a", right_on="response_id")
        .join(texts.rename({"text": "b"}), left_on="response_b", right_on="response_id")
    )  # fmt: skip
    found = []
    for row in rows.iter_rows(named=True):
        messages = [(m["role"], m["content"]) for m in json.loads(row["prompt"])]
        sides = (row["a"], row["b"]) if row["p_a"] == 1 else (row["b"], row["a"])
        found.append((messages, *sides))
    return sorted(found)


HI = [("user", "Hi")]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi", "chosen": "Hello", "rejected": "Go"},
        {"chosen": "\n\nHuman: Hi\n\nAssistant: Hello", "rejected": "\n\nHuman: Hi\n\nAssistant: Go"},
        {"prompt": [said("user", "Hi")], "chosen": [said("assistant", "Hello")], "rejected": [said("assistant", "Go")]},
        {"chosen": [said("user", "Hi"), said("assistant", "Hello")],
         "rejected": [said("user", "Hi"), said("assistant", "Go")]},
        {"prompt": "Hi", "chosen": [said("user", "Hi"), said("assistant", "Hello")],
         "rejected": [said("user", "Hi"), said("assistant", "Go")]},
        {"prompt": "Hi", "chosen": [said("assistant", "Hello")], "rejected": [said("assistant", "Go")]},
    ],
    ids=["texts", "transcripts", "explicit", "implicit", "both", "text and messages"],
)  # fmt: skip
@pytest.mark.service
def test_every_layout_of_one_pair_gives_the_same_rows(row: dict[str, object]) -> None:
    plain = convert(source([{"prompt": "Hi", "chosen": "Hello", "rejected": "Go"}])).frames
    ingested = convert(source([row]))
    assert read(ingested) == [(HI, "Hello", "Go")]
    assert all(ingested.frames[name].equals(plain[name]) for name in plain)


def test_the_vote_is_an_imported_one_whose_order_nobody_knows() -> None:
    f = convert(source([{"prompt": "Hi", "chosen": "Hello", "rejected": "Go"}])).frames
    assert f["votes"].select("voter", "shown_first", "status", "n").rows() == [("imported/set", None, "cast", 1)]
    assert f["voters"].select("voter", "kind", "family").rows() == [("imported/set", "imported", "imported/set")]
    prompt_id = content_id('[{"role":"user","content":"Hi"}]', None)
    assert f["responses"]["response_id"].sort().to_list() == sorted(
        content_id(prompt_id, text, "") for text in ("Hello", "Go"))  # fmt: skip


def test_a_transcript_prompt_becomes_messages() -> None:
    row = {"prompt": "Human: a\n\nAssistant: b\n\nHuman: c", "chosen": "x", "rejected": "y"}
    assert read(convert(source([row]))) == [([("user", "a"), ("assistant", "b"), ("user", "c")], "x", "y")]


def test_a_system_message_is_a_column_of_the_prompt() -> None:
    head = [said("system", "Be brief"), said("user", "Hi")]
    row: dict[str, object] = {"chosen": [*head, said("assistant", "x")], "rejected": [*head, said("assistant", "y")]}
    ingested = convert(source([row]))
    assert ingested.frames["prompts"]["system"].to_list() == ["Be brief"]
    assert read(ingested) == [(HI, "x", "y")]


def test_opposite_choices_are_two_votes_and_equal_ones_are_one() -> None:
    rows: list[dict[str, object]] = [
        {"prompt": "Hi", "chosen": "x", "rejected": "y"},
        {"prompt": "Hi", "chosen": "y", "rejected": "x"},
        {"prompt": "Hi", "chosen": "x", "rejected": "y"},
    ]
    ingested = convert(source(rows))
    assert (ingested.counts["pairs"], ingested.counts["votes"]) == (1, 2)
    assert ingested.merged == {"pairs of the same two responses": 2, "equal votes": 1}


def test_the_models_named_are_the_authors() -> None:
    pair: dict[str, object] = {"prompt": "Hi", "chosen": "x", "rejected": "y"}
    row = pair | {"chosen_model": "m", "rejected_model": "n"}
    assert convert(source([row])).frames["responses"].sort("policy")["policy"].to_list() == ["m", "n"]


GOOD: dict[str, object] = {"chosen": [said("user", "Hi"), said("assistant", "x")],
                           "rejected": [said("user", "Hi"), said("assistant", "y")]}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "bad",
    [
        {"chosen": [said("user", "Ho"), said("assistant", "x")], "rejected": GOOD["rejected"]},
        {"chosen": [said("user", "Hi"), said("user", "x")], "rejected": GOOD["rejected"]},
        {"chosen": [], "rejected": GOOD["rejected"]},
        {"chosen": None, "rejected": GOOD["rejected"]},
        {"chosen": [said("assistant", "x")], "rejected": [said("assistant", "y")]},
        {"chosen": [said("user", "H\0i"), said("assistant", "x")],
         "rejected": [said("user", "H\0i"), said("assistant", "y")]},
        {"chosen": [said("user", "Hi"), said("assistant", "x\0")], "rejected": GOOD["rejected"]},
    ],
    ids=["other prompt", "no assistant", "no message", "null", "no prompt", "NUL in prompt", "NUL in response"],
)  # fmt: skip
def test_messages_that_make_no_pair_are_refused(bad: dict[str, object]) -> None:
    ingested = convert(source([GOOD, bad]))
    assert ingested.counts["pairs"] == 1
    assert ingested.frames["rejects"]["row"].to_list() == [2]


def test_a_tool_call_is_refused_rather_than_lost() -> None:
    call = {"role": "assistant", "content": "x", "tool_calls": "f()"}
    bad = {"chosen": [said("user", "Hi"), call], "rejected": GOOD["rejected"]}
    ingested = convert(source([GOOD, bad]))
    assert ingested.frames["rejects"].select("row", "expected").rows() == [
        (2, "role and content only, one turn after a shared prompt")]  # fmt: skip


def test_transcripts_that_part_before_the_last_turn_are_refused() -> None:
    rows: list[dict[str, object]] = [
        {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"},
        {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: z\n\nAssistant: c"},
        {"chosen": "no transcript", "rejected": "no transcript"},
    ]
    assert convert(source(rows)).frames["rejects"].sort("row")["row"].to_list() == [2, 3]


def test_files_that_open_with_the_same_human_turn_are_one_group() -> None:
    whole = {"prompt": "Human: How?\n\nAssistant: b\n\nHuman: c", "chosen": "x", "rejected": "y", "first_human": "How?"}
    short = {"prompt": "How?", "chosen": "x", "rejected": "y"}
    frames = [pl.DataFrame([row]).with_row_index("_row", offset=1) for row in (whole, short)]
    files = {f"{i}.parquet": frame for i, frame in enumerate(frames)}
    prompts = convert(RawSource("hh_harmless", files)).frames["prompts"]
    assert (prompts.height, prompts["group_id"].n_unique()) == (2, 1)
