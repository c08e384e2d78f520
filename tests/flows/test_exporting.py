"""An export: what a trainer reads is what was said, whole or not at all, with a card that counts what it will drop."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from small_rounds import StubbornJudge, run_only, stubborn_turn

from flows.export_cards import MAX_LENGTH_TOKENS, ORIGINS, Ground, card, passing_on
from flows.export_forms import trl
from flows.exporting import write_export
from flows.ingest import ingest
from schemas.errors import InputError, RefusedError
from warehouse.store import Store

NASTY = {
    "quotes": "She said \"it's\" `so` \\\" and \\n, a,b;c\td",
    "markup": "<script>alert('x')</script> &amp; <!-- --> ]]> | # * _",
    "templates": "{{ x }} {% raw %} ${HOME} {0} {prompt} %s %(a)s <|im_end|> [INST]",
    "right to left": "\u202e\u05e9\u05dc\u05d5\u05dd\u202c \u0645\u0631\u062d\u0628\u0627 \u200f",
    "blanks": "  leading, trailing \n\r\n\t ",
    "beyond": "\U0001d518 \U0001f469\u200d\U0001f467 e\u0301 \u2028\u2029 \ufeff \x1b[31m \x7f",
    "long": "0123456789" * 20_000,
}
VERSION: dict[str, object] = {
    "dataset": "d", "n": 1, "fingerprint": "f", "recipe_fingerprint": "r", "as_of": 3, "recipe": '{"dataset":"d"}',
}


def members(**columns: list[object]) -> pl.DataFrame:
    """Members of a version, by default two pairs on which a wins, with single columns put in place of the defaults."""
    n = max((len(v) for v in columns.values()), default=2)
    rows: dict[str, list[object]] = {
        "pair_id": [f"p{i}" for i in range(n)], "source": ["s"] * n,
        "prompt": ['[{"role":"user","content":"why?"}]'] * n, "system": [None] * n,
        "text_a": [f"a{i}" for i in range(n)], "text_b": [f"b{i}" for i in range(n)],
        "p_a": [0.9] * n, "p_tie": [0.0] * n, "strength": [2.0] * n, "action": ["keep"] * n, "reason": [""] * n,
    }
    return pl.DataFrame({**rows, **columns}, schema_overrides={"system": pl.String})


def said(messages: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(m["role"], m["content"]) for m in messages]


def test_the_side_that_wins_is_chosen_and_both_begin_with_the_same_prompt() -> None:
    rows = trl(members(p_a=[0.9, 0.1]))
    assert [said(m) for m in rows["chosen"]] == [
        [("user", "why?"), ("assistant", "a0")], [("user", "why?"), ("assistant", "b1")]
    ]
    assert [said(m) for m in rows["rejected"]] == [
        [("user", "why?"), ("assistant", "b0")], [("user", "why?"), ("assistant", "a1")]
    ]


def test_all_turns_of_a_prompt_and_its_system_prompt_come_first() -> None:
    turns = [("user", "one"), ("assistant", "two"), ("user", "three")]
    prompt = json.dumps([{"role": role, "content": content} for role, content in turns])
    rows = trl(members(prompt=[prompt, prompt], system=["be kind", None]))
    assert said(rows["chosen"][0]) == [("system", "be kind"), *turns, ("assistant", "a0")]
    assert said(rows["rejected"][1]) == [*turns, ("assistant", "b1")]


def test_dropped_pairs_and_ties_teach_no_order_and_are_left_out() -> None:
    rows = trl(members(p_a=[0.9, 0.5, 0.2, 0.9], p_tie=[0.0, 0.0, 0.6, 0.0], action=["keep"] * 3 + ["drop"]))
    assert [m[-1]["content"] for m in rows["chosen"]] == ["a0"]


def test_a_flipped_and_a_softened_label_count_as_they_are_now() -> None:
    rows = trl(members(p_a=[0.2, 0.6], action=["flip", "soften"]))
    assert [m[-1]["content"] for m in rows["chosen"]] == ["b0", "a1"]


def test_the_margin_is_how_much_better_the_chosen_one_is_on_every_row() -> None:
    rows = trl(members(p_a=[0.9, 0.1, 0.55], strength=[2.0, -3.0, 0.0]))
    assert rows["margin"].to_list() == [2.0, 3.0, 0.0]


def test_no_message_has_an_empty_key_or_a_key_that_others_lack() -> None:
    rows = trl(members(system=["be kind", None]))
    message = pl.Struct({"role": pl.String, "content": pl.String})
    assert rows.schema == {"chosen": pl.List(message), "rejected": pl.List(message), "margin": pl.Float64}
    every = pl.concat([rows[side].explode().struct.unnest() for side in ("chosen", "rejected")])
    assert every.null_count().row(0) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", NASTY)
def test_a_text_survives_byte_for_byte_wherever_it_stands(name: str, tmp_path: Path) -> None:
    text = NASTY[name]
    prompt = json.dumps([{"role": "user", "content": text}], ensure_ascii=False)
    frame = members(prompt=[prompt], system=[text], text_a=[text], text_b=[text + "!"])
    write_export(frame, VERSION, tmp_path / "out", "trl")
    row = pl.read_parquet(tmp_path / "out" / "train.parquet").row(0, named=True)
    assert said(row["chosen"]) == [("system", text), ("user", text), ("assistant", text)]
    assert said(row["rejected"])[-1] == ("assistant", text + "!")


def test_the_card_counts_what_a_trainer_would_drop_for_its_length() -> None:
    limit = 4 * MAX_LENGTH_TOKENS
    frame = members(text_a=["x" * limit, "short", "short", "x" * limit], action=["keep", "keep", "keep", "drop"],
                    text_b=["short", "y" * limit, "short", "short"])
    assert "which TRL would drop: 2\n" in card(frame, VERSION, "trl", trl(frame))


def test_the_card_says_how_many_and_why_and_what_the_recipe_was() -> None:
    frame = members(action=["keep", "keep", "drop"], reason=["", "", "tie"])
    text = card(frame, VERSION, "trl", trl(frame))
    assert "- rows: 2\n" in text
    assert "- drop: tie: 1\n- keep: 2\n" in text
    assert json.loads(text.split("```json\n")[1].split("```")[0]) == {"dataset": "d"}


def test_a_source_cannot_write_markdown_into_the_card() -> None:
    text = card(members(source=["a\n# b <i>"] * 2), VERSION, "trl", members())
    assert "- a?? b ?i?: 2\n" in text


def test_a_folder_that_holds_something_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RefusedError, match="expected a new or empty folder"):
        write_export(members(), VERSION, tmp_path, "trl")
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_a_file_in_the_way_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RefusedError):
        write_export(members(), VERSION, tmp_path / "mine.txt", "trl")
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_the_folder_one_stands_in_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write_export(members(), VERSION, Path("."), "trl")
    assert sorted(p.name for p in (tmp_path / "here").iterdir()) == ["card.md", "train.parquet"]


def test_an_unknown_format_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'xml'.*parquet.*trl"):
        write_export(members(), VERSION, tmp_path / "out", "xml")
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_fails_half_way_leaves_no_folder_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> str:
        raise OSError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr("flows.exporting.card", fail)
        with pytest.raises(OSError, match="disk full"):
            write_export(members(), VERSION, tmp_path / "out", "trl")
    assert not (tmp_path / "out").exists()
    assert write_export(members(), VERSION, tmp_path / "out", "trl").n_rows == 2
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["card.md", "out", "train.parquet"]


@pytest.mark.parametrize("form", ["trl", "parquet"])
def test_exporting_twice_in_any_order_of_rows_gives_equal_files(form: str, tmp_path: Path) -> None:
    for name, frame in (("one", members()), ("two", members().reverse())):
        write_export(frame, VERSION, tmp_path / name, form)
    one, two = (pl.read_parquet(tmp_path / name / "train.parquet") for name in ("one", "two"))
    assert one.height == 2
    assert one.equals(two)


def test_a_parquet_export_keeps_dropped_pairs_with_their_reason(tmp_path: Path) -> None:
    write_export(members(action=["keep", "drop"], reason=["", "tie"]), VERSION, tmp_path / "out", "parquet")
    assert pl.read_parquet(tmp_path / "out" / "train.parquet")["reason"].to_list() == ["", "tie"]


@pytest.mark.parametrize(("form", "n_uncleared"), [("trl", 1), ("kto", 1), ("parquet", 2)])
def test_a_pair_counts_as_passed_on_only_where_its_text_is_in_the_export(
    form: str, n_uncleared: int, tmp_path: Path
) -> None:
    """Nobody cleared either pair; one was dropped, and only `parquet` holds its text."""
    frame = members(action=["keep", "drop"], reason=["", "tie"], weight=[1.0, 1.0])
    origins = frame.select("pair_id", what=pl.lit("source"), name=pl.lit("s"), licence=pl.lit(None, pl.String),
                           may_redistribute=pl.lit(None, pl.Boolean), terms=pl.lit(None, pl.String))
    assert origins.schema == ORIGINS
    written = write_export(frame, VERSION, tmp_path / "out", form, Ground(origins))
    assert passing_on(written.ground.origins) == (0, n_uncleared)
    assert f"Of {n_uncleared} of {n_uncleared} pairs" in (tmp_path / "out" / "card.md").read_text()


@pytest.fixture
def nasty_export(store: Store, tmp_path: Path, unpublished: None) -> Path:
    """Nasty texts from a JSON-lines file through ingest, a judge, consensus and release into a TRL folder."""
    rows = [{"prompt": text, "response_a": f"good {text}", "response_b": f"bad {text}"} for text in NASTY.values()]
    (tmp_path / "nasty.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    ingest(store, str(tmp_path / "nasty.jsonl"))
    judge = StubbornJudge(lambda first, second: "1" if first.startswith("good") else "2")
    run_only(stubborn_turn(store, judge), "judge", "settle", "release")
    with store.write("test") as writer:
        rows_of = writer.query("version_members", dataset="d", n=1)
        version = writer.query("versions_of", dataset="d").row(0, named=True)
    write_export(rows_of, version, tmp_path / "out", "trl")
    return tmp_path / "out"


@pytest.mark.service
def test_a_trainer_loads_the_folder_and_finds_every_text_as_it_was_written(nasty_export: Path, tmp_path: Path) -> None:
    import datasets

    loaded = datasets.load_dataset(
        "parquet", data_files=str(nasty_export / "train.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert set(loaded.column_names) == {"chosen", "rejected", "margin"}
    assert loaded.num_rows == len(NASTY)
    for row in loaded:
        prompt = [m["content"] for m in row["chosen"][:-1]]
        assert prompt == [m["content"] for m in row["rejected"][:-1]]
        assert row["chosen"][-1] == {"role": "assistant", "content": f"good {prompt[0]}"}
        assert row["rejected"][-1] == {"role": "assistant", "content": f"bad {prompt[0]}"}
        assert row["margin"] == 3.0
    assert {row["chosen"][0]["content"] for row in loaded} == set(NASTY.values())
