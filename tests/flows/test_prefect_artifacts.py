"""A round's page in Prefect's UI: what came from data shows as the text it is."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from small_rounds import new_store, run_round, simulated_recipe

from flows.artifacts import artifact_key, escaped, markdown_table, round_page


@pytest.mark.parametrize("hostile", [
    "<script>alert(1)</script>", "[here](javascript:alert(1))", "![](http://elsewhere/x.png)", "it\"s & so",
    "`code` *bold* _it_ ~~no~~",
    "a | b", "https://elsewhere www.elsewhere.example me@elsewhere.example", "# heading", "- list",
    "{{ template }} {% if %}", "&lt;b&gt;", "\\| \\<", "_it_", "__init__", "www.elsewhere.example", "-", "a_",
])
def test_whatever_could_be_markup_shows_as_code(hostile: str) -> None:
    shown = escaped(hostile)
    fence = "`" * (len(shown) - len(shown.lstrip("`")))
    assert fence
    assert shown.endswith(fence)
    assert shown.strip("`").strip(" ") == hostile.strip("` ") or "`" in hostile
    assert fence not in shown[len(fence):-len(fence)]


@pytest.mark.parametrize("plain", ["no_votes", "p_tie above 0.8", "2026-11-21 18:06:09 UTC", "small", "d = -0.12", ""])
def test_plain_words_stay_plain(plain: str) -> None:
    assert escaped(plain) == plain


@pytest.mark.parametrize("text", ["a | b", "a \\| b", "|", "`|`"])
def test_a_bar_ends_no_cell(text: str) -> None:
    row = markdown_table(pl.DataFrame({"x": [text]})).splitlines()[2]
    inner = row.removeprefix("| ").removesuffix(" |")
    bars = [at for at, c in enumerate(inner) if c == "|"]
    assert bars
    assert all(inner[at - 1] == "\\" and inner[at - 2] != "\\" for at in bars)


def test_a_long_text_is_cut_and_a_line_break_ends_no_row() -> None:
    assert escaped("x" * 200_000) == "x" * 200 + "…"
    assert escaped("`" * 200_000).count("`") < 700
    assert escaped("one\ntwo\r\n\u202ethree\x00") == "one two three"


def test_a_table_has_a_line_per_row_numbers_grouped_and_nulls_as_dashes() -> None:
    frame = pl.DataFrame({"kind": ["a|b", None], "n": [1200, 3], "usd": [0.5, 2.0]})
    assert markdown_table(frame) == (
        "| kind | n | usd |\n| --- | --- | --- |\n| `a\\|b` | 1,200 | 0.5 |\n| - | 3 | 2 |")
    assert markdown_table(frame.clear()) == "none"


def test_keys_are_what_prefect_takes() -> None:
    assert artifact_key("my_data", "judge-calls") == "my-data-judge-calls"
    assert artifact_key("d-3-0a1b", "training") == "d-3-0a1b-training"


@pytest.mark.service
def test_a_round_s_page_tells_stages_money_funnel_verdict_and_where_to_look(tmp_path: Path) -> None:
    turn = run_round(new_store(tmp_path / "ws"), simulated_recipe())
    page = round_page(turn)
    assert page.startswith("# Round 1 of small\n\nReleased: **small@1**")
    headings = [line for line in page.splitlines() if line.startswith("## ")]
    assert headings == ["## Votes and money", "## Calls", "## Stages", "## Funnel of the newest version", "## Gate",
                        "## Further"]
    assert [line.split(" | ")[0] for line in page.splitlines() if " UTC" in line][:3] == [
        "| synthesize", "| mark_gold", "| judge"]
    assert "    tiebreak report small@1 --html report.html" in page
