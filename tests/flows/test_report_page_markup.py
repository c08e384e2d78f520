"""The page's parts: whatever comes from outside is text, long texts are folded and counted, pictures are still."""

from __future__ import annotations

import re

import polars as pl
import pytest

from flows.pages.markup import PREVIEW, esc, figure, passage, shown, table, whole
from flows.pages.svg import slim

DRAWN = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" class="marks" width="9" '
    'height="9" viewBox="0 0 9 9"><g class="a" fill="none" stroke-miterlimit="10"><path d="" display="none"/>'
    '<g><g/></g><rect width="4" height="3.14159" fill="var(--kept)" opacity="1"/><text font-family="sans" '
    'transform="translate(1.23456,-7.0000001)" aria-label="x" fill="var(--ink)">a &lt;b&gt; 1.23456</text></g></svg>'
)


def test_control_characters_ansi_and_turned_text_are_shown_as_escapes() -> None:
    assert shown("a\x00\x1b[31m\u202eb\u2066\n\t") == "a\\x00\\x1b[31m\\u202eb\\u2066\\n\\t"
    assert shown("naïve שלום 한국어 👩\u200d🚀 \u00a0") == "naïve שלום 한국어 👩\u200d🚀 \u00a0"


def test_markup_in_a_name_is_text() -> None:
    assert esc('<script>"&\'{{x}}') == "&lt;script&gt;&quot;&amp;&#x27;{{x}}"


def test_a_text_keeps_its_lines_and_stays_in_a_box_of_its_own_direction() -> None:
    told = passage("a\n\t<b>\x07", 7, "Prompt")
    assert told == "<div class=text dir=auto>a\n\t&lt;b&gt;\\x07</div>"


def test_a_long_text_is_folded_between_words_and_what_is_cut_off_is_counted() -> None:
    words = "word " * 400
    told = passage(words, 200_000, "Response a")
    parts = re.findall(r"<div class=text dir=auto>(.*?)</div>", told)
    assert "".join(parts) == words
    assert len(parts[0]) == PREVIEW
    assert parts[0].endswith(" ")
    assert f"Response a: {2000 - PREVIEW:,} more characters" in told
    assert "198,000 further characters of 200,000 are not on this page" in told


@pytest.mark.parametrize(("text", "told"), [("", "empty"), (None, "no longer there: it was erased")])
def test_no_text_is_said(text: str | None, told: str) -> None:
    assert passage(text, 0, "Prompt") == f"<p class=dim>{told}</p>"


def test_a_table_has_a_caption_headings_and_escaped_cells() -> None:
    rows = pl.DataFrame({"who": ["<i>", None], "n": [1234, None]})
    told = table(rows, "Who & what", {"who": ("voter", shown), "n": ("votes", whole)})
    assert "<caption>Who &amp; what</caption>" in told
    assert "<th scope=col>voter</th><th scope=col class=n>votes</th>" in told
    assert "<th scope=row class=s><bdi>&lt;i&gt;</bdi></th><td class=n>1,234</td>" in told
    assert "<th scope=row class=s><bdi>–</bdi></th><td class=n>–</td>" in told


def test_a_figure_has_its_numbers_folded_beneath() -> None:
    told = figure("<svg></svg>", "Title", "what it says", "<table></table>")
    assert told.index("Title") < told.index("<svg>") < told.index("<summary>Numbers</summary>") < told.index("<table>")


def test_a_picture_loses_what_only_scripts_and_other_fonts_need() -> None:
    told = slim(DRAWN, 'Pairs "kept"')
    assert told == (
        '<svg viewBox="0 0 9 9" role="img" aria-label="Pairs &quot;kept&quot;"><g fill="none">'
        '<rect width="4" height="3.14" fill="var(--kept)" /><text transform="translate(1.23,-7)" fill="var(--ink)">'
        "a &lt;b&gt; 1.23456</text></g></svg>")
