"""The page: every section with the warehouse's numbers, no script and no network, and hostile text as text."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest
from page_reader import PageReader
from reported_rows import PAIRS, not_released, reported
from small_rounds import new_store

from flows import pages
from flows.pages.page import ENTRIES
from flows.reporting import report
from schemas.errors import InputError
from warehouse.lock import writer_lock
from warehouse.reader import Reader
from warehouse.store import Store

pytestmark = pytest.mark.service
MARKUP = (
    "</div></style><script>alert('x')</script><img src=x onerror=alert(1)> {{ 7*7 }} {0} %s ${x} &amp; \" onload='x'")
HOSTILE = f"{MARKUP}\x1b[31mred\x00\u202eturned שלום " + "long " * 40_000
NAME = "<script>alert('name')</script>\u202e{{7*7}}"
LIMIT = 400_000
"""bytes of a page over one small dataset, whatever the texts hold"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reported(new_store(tmp_path_factory.mktemp("plain") / "ws")).workspace.root


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reported(new_store(tmp_path_factory.mktemp("hostile") / "ws"), text=HOSTILE, name=NAME).workspace.root


@cache
def known(root: Path, version: str | None = None, compare: tuple[str, str] | None = None) -> str:
    """The page, made once for all tests that only read it: pictures take seconds."""
    return written(root, version, compare)


def written(root: Path, version: str | None = None, compare: tuple[str, str] | None = None) -> str:
    out = root.parent / "report.html"
    facts = pages.write(root, out, version, compare)
    page = out.read_bytes()
    assert facts["bytes"] == len(page)
    return page.decode()


def test_every_section_is_there_and_every_tag_is_closed(plain: Path) -> None:
    page = PageReader(known(plain))
    assert page.sections() == [f"hand-{key}" for key, _ in ENTRIES]
    assert page.open == []
    assert page.dangers() == []
    links = {str(attrs["href"])[1:] for tag, attrs in page.tags if tag == "a"}
    assert links <= {attrs.get("id") for _, attrs in page.tags}


def test_its_numbers_are_those_of_sql_and_of_the_text_report(plain: Path) -> None:
    page = PageReader(known(plain)).text
    with Reader(plain) as reader:
        kept, dropped = (reader.sql(f"SELECT count(*) AS n FROM newest_labels WHERE action {sign} 'drop'")["n"].item()
                         for sign in ("<>", "="))
        fingerprint = reader.sql("SELECT fingerprint FROM version_log ORDER BY version DESC")["fingerprint"][0]
        spent = reader.sql("SELECT sum(call_usd + human_usd) AS usd FROM round_summary")["usd"].item()
    assert (kept, dropped, spent) == (5, 1, 3.25)
    assert re.search(rf"pairs kept{kept}of {kept + dropped}", page)
    assert f"{spent:.2f} USD" in page
    assert fingerprint in page
    assert "0.800" in page  # m2's accuracy, as the text has it
    assert "0.800" in report(plain, None)
    assert "Refused because the gain may be chance: it is right on 5.0 percentage points more of 40 gold pairs" in page
    assert "CC0-1.0" in page


def test_equal_published_files_give_equal_bytes_and_another_publishing_moves_one_line(plain: Path) -> None:
    first, again = known(plain), written(plain)
    assert first == again
    manifest = plain / "published" / "manifest.json"
    kept = manifest.read_text()
    manifest.write_text(json.dumps({**json.loads(kept), "published_at": 86_400.0}))
    later = written(plain)
    manifest.write_text(kept)
    changed = [(a, b) for a, b in zip(first.splitlines(), later.splitlines(), strict=True) if a != b]
    assert len(changed) == 1
    assert "1970-01-02 at 00:00 UTC" in changed[0][1]


@pytest.mark.parametrize("compare", [None, ("hand@1", "hand@2")])
def test_hostile_text_is_text(plain: Path, hostile: Path, compare: tuple[str, str] | None) -> None:
    harmless, page = (known(root, compare=compare) for root in (plain, hostile))
    seen = PageReader(page)
    assert seen.dangers() == []
    assert seen.open == []
    assert not {tag for tag, _ in seen.tags} - {tag for tag, _ in PageReader(harmless).tags} - {"details", "summary"}
    box = next(box for box in seen.boxes if box.startswith(MARKUP))
    assert box.startswith(f"{MARKUP}\\x1b[31mred\\x00\\u202eturned שלום long long")
    assert "<script>alert('name')</script>\\u202e{{7*7}}" in seen.text
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "further characters of 200,1" in seen.text
    assert len(page.encode()) < LIMIT


def test_it_allows_nothing_and_names_no_address(hostile: Path) -> None:
    page = known(hostile)
    head = page[: page.index("</head>")]
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in head
    assert "url(" not in head
    assert "@import" not in head
    assert re.findall(r"https?://|//[a-z]+\.", page) == []
    assert str(hostile) not in page


def test_flipped_pairs_come_open_and_first_others_folded(plain: Path) -> None:
    cards = [attrs for tag, attrs in PageReader(known(plain)).tags if attrs.get("class") == "pair"]
    assert ["open" in attrs for attrs in cards] == [True, False, False, False, False]
    page = known(plain)
    assert page.index(PAIRS[0]) < page.index(PAIRS[1])


def test_a_comparison_counts_changes_and_sets_both_versions_side_by_side(plain: Path) -> None:
    page = PageReader(known(plain, compare=("hand@1", "hand@2")))
    assert "another winner1kept in both" in page.text
    assert page.sections() == ["hand-both", "hand-changes"]
    assert "m1" in page.text
    assert "votes between them: ann (human) b" in page.text
    back = PageReader(written(plain, compare=("hand@2", "hand@1"))).text
    assert "hand@2 → hand@1" in back
    same = PageReader(written(plain, compare=("hand@2", "hand@2"))).text
    assert "No pair changed" in same
    assert "votes that only hand@2 has read: ann (human) b" in back


def test_an_older_version_is_told_as_it_was(plain: Path) -> None:
    page = PageReader(written(plain, "hand@1")).text
    assert "A later one is there: hand@2" in page
    assert "This is the first version" in page
    assert "left out: tie" in page


def test_an_empty_workspace_says_what_to_do_next(store: Store) -> None:
    page = PageReader(written(store.workspace.root))
    assert "No round yet. Next: tiebreak run" in page.text
    assert page.dangers() == []


def test_before_the_first_version_the_page_tells_the_round_under_way(store: Store) -> None:
    page = PageReader(written(not_released(store).workspace.root))
    assert "Round 2 of hand is under way and has released no version yet" in page.text
    assert page.sections() == ["hand-rounds", "hand-models"]


def test_it_answers_while_another_process_writes(plain: Path) -> None:
    with writer_lock(plain / "writer.lock", "round"):
        assert "In short" in written(plain)


def test_a_place_that_is_no_file_of_a_folder_is_refused(plain: Path, tmp_path: Path) -> None:
    for out in (tmp_path, tmp_path / "not there" / "report.html"):
        with pytest.raises(InputError, match="a file in a folder that exists"):
            pages.write(plain, out, None, None)
    with pytest.raises(InputError, match="no version hand@9"):
        pages.write(plain, tmp_path / "report.html", "hand@9", None)
    assert list(tmp_path.iterdir()) == []
