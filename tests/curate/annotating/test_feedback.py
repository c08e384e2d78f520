"""The feedback page: one's own numbers beside the group's, missed gold as text, nobody else."""

from __future__ import annotations

import datetime as dt
import re
from html.parser import HTMLParser

import polars as pl
import pytest
from people_at_work import NOON, answer, answers, crew

from curate.annotating.feedback import MOST_MISSED, feedback_page, missed_gold
from curate.annotating.findings import FOUND, findings
from curate.annotating.profiles import profiles

HOSTILE = "<script>alert('x')</script> {{ 7*7 }} ${voter} {voter} %s </div></body> &amp; \0 \" onload='x'"
NOTHING = pl.DataFrame(schema=FOUND)
TASK = {"prompt": "Which?", "text_first": "one", "text_second": "two", "said": "first", "truth": "tie", "why": ""}


class Seen(HTMLParser):
    """Text of a page, its tags with their attributes, and whether every tag is closed."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text, self.tags, self.open = "", [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def page(rows: pl.DataFrame, voter: str = "ann", missed: list[dict[str, str]] | None = None) -> str:
    told = profiles(rows, min_seconds=10)
    return feedback_page(voter, told, findings(told), missed or [])


def texts(n: int, **columns: str) -> pl.DataFrame:
    usual = {"criterion": "overall", "prompt": "Which?", "text_a": "text a", "text_b": "text b", "why": "so"}
    return pl.DataFrame({"pair_id": [f"p{i:02}" for i in range(n)]}).with_columns(
        pl.lit(v).alias(k) for k, v in {**usual, **columns}.items())


@pytest.mark.slow
@pytest.mark.parametrize("key", ["prompt", "text_first", "text_second", "why"])
def test_whatever_somebody_wrote_is_shown_as_text(key: str) -> None:
    plain, hostile = (Seen(page(answers(answer()), missed=[{**TASK, key: text}])) for text in ("harmless", HOSTILE))
    assert hostile.text.count(HOSTILE.replace("\0", "\ufffd")) == 1
    assert hostile.tags == plain.tags
    assert hostile.open == []
    assert not {"script", "img", "link", "iframe"} & {tag for tag, _ in hostile.tags}


def test_the_name_of_a_voter_is_text_too() -> None:
    seen = Seen(page(answers(answer(voter=HOSTILE)), voter=HOSTILE))
    assert HOSTILE.replace("\0", "\ufffd") in seen.text
    assert "script" not in {tag for tag, _ in seen.tags}


def test_a_text_of_200_kilobytes_is_there_to_its_last_word() -> None:
    long = "word " * 40_000 + "the end"
    assert long in Seen(page(answers(answer()), missed=[{**TASK, "text_first": long}])).text


def test_a_text_that_reads_from_right_to_left_is_set_so() -> None:
    seen = Seen(page(answers(answer()), missed=[{**TASK, "text_first": "שלום עולם"}]))
    assert {attrs.get("dir") for _, attrs in seen.tags if attrs.get("class") == "text"} == {"auto"}


def test_the_page_loads_nothing_and_says_so_to_the_browser() -> None:
    written = page(answers(answer()), missed=[TASK])
    seen = Seen(written)
    assert not [attrs for _, attrs in seen.tags if {"src", "href", "srcset", "style"} & set(attrs)]
    assert not re.search(r"url\(|@import|https?:", written)
    assert any("default-src 'none'" in (attrs.get("content") or "") for tag, attrs in seen.tags if tag == "meta")


def test_nobody_else_is_on_the_page() -> None:
    names = {f"colleague-{i}": "honest" for i in range(5)} | {"ann": "lazy"}
    rows = crew(names, n_pairs=60, n_each=40)
    gold = rows.drop_nulls("gold_p_a")["pair_id"].unique()
    known = texts(1).drop("pair_id").join(pl.DataFrame({"pair_id": gold}), how="cross")
    written = page(rows, missed=missed_gold(rows, "ann", known))
    assert "Expected" in written
    assert "colleague" not in written


@pytest.mark.slow
def test_a_group_is_three_others_or_more() -> None:
    rows = crew({f"v{i}": "honest" for i in range(4)}, n_pairs=40, n_each=30)
    of_four, of_three = (Seen(page(some, "v0")).text for some in (rows, rows.filter(pl.col("voter") != "v3")))
    assert of_four.count("–") < of_three.count("–")
    told = profiles(rows)
    median = told.filter(pl.col("voter") != "v0")["agreement"].median()
    assert f"{100 * median:.0f} %" in of_four


def test_too_few_answers_are_said_to_be_too_few() -> None:
    text = Seen(page(answers(*(answer(pair=f"p{i}", gold_p_a=1.0, gold_p_tie=0.0) for i in range(3))))).text
    assert "too few to say of 3" in text
    assert "100 %" not in text


@pytest.mark.slow
def test_what_stands_out_is_said_in_plain_words_and_only_then() -> None:
    rows = crew({f"h{i}": "honest" for i in range(5)} | {"ann": "first_slot"}, n_pairs=200, n_each=120)
    assert "You pick one place on the page more often" in page(rows)
    assert "Nothing stands out" in page(rows, "h0")


def test_missed_gold_is_the_newest_in_the_order_it_was_shown() -> None:
    gold = {"gold_p_a": 0.0, "gold_p_tie": 0.0}
    rows = [answer(pair=f"p{i:02}", said="a", shown_first="b", said_at=NOON + dt.timedelta(minutes=i), **gold)
            for i in range(MOST_MISSED + 3)]
    rows += [answer("ben", "p00", "a", **gold), answer(pair="p90", said="b", **gold), answer(pair="p91")]
    missed = missed_gold(answers(*rows), "ann", texts(99))
    assert len(missed) == MOST_MISSED
    assert missed[0] == {"prompt": "Which?", "text_first": "text b", "text_second": "text a", "said": "second",
                         "truth": "first", "why": "so"}
    tie = missed_gold(answers(answer(pair="p01", said="tie", **gold)), "ann", texts(3))
    assert (tie[0]["said"], tie[0]["truth"]) == ("tie", "second")
    assert missed_gold(answers(*rows), "ann", texts(12))[0]["text_first"] == "text b"


def test_equal_answers_give_equal_pages_in_any_order() -> None:
    rows = crew({f"v{i}": "honest" for i in range(4)}, n_pairs=40, n_each=30)
    assert page(rows, "v1") == page(rows.reverse(), "v1")
