"""The page in a real browser: nothing overflows, nothing runs, light and dark differ, hostile text stands as text."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from label_studio_server import resize
from reported_rows import reported
from selenium import webdriver
from small_rounds import new_store

from flows import pages

pytestmark = pytest.mark.service
HOSTILE = (
    "<script>document.title='run'</script></style><img src=x onerror=\"document.title='run'\"> {{7*7}} \u202eturned ")
WIDE = "w" * 3_000
CSS = Path(pages.__file__).parent / "style.css"
THEMES = ("light", "dark", "print")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page over texts that attack, and that no line holds."""
    folder = tmp_path_factory.mktemp("browser")
    root = reported(new_store(folder / "ws"), text=HOSTILE + WIDE, name="<b>an annotator of a long name, " + "n" * 60)
    pages.write(root.workspace.root, folder / "report.html", None, None)
    return folder / "report.html"


def shown(browser: webdriver.Chrome, page: Path, width: int, theme: str) -> None:
    resize(browser, width, 900)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {
        "features": [{"name": "prefers-color-scheme", "value": theme}]})
    browser.get(page.as_uri())


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_overflows_runs_or_is_asked_for(browser: webdriver.Chrome, page: Path, width: int) -> None:
    browser.get("about:blank")
    browser.get_log("browser")  # what other pages said
    shown(browser, page, width, "light")
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    sizes = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert sizes[0] <= sizes[1] == width
    wider = browser.execute_script(
        "return [...document.querySelectorAll('svg, .text, figure, h1, .tile')]"
        ".filter(e => e.getBoundingClientRect().right > innerWidth).length")
    assert wider == 0
    assert browser.title == "hand@2 · Tiebreak"
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert browser.execute_script("return document.querySelectorAll('script, img, iframe').length") == 0
    assert browser.get_log("browser") == []


def test_hostile_text_is_seen_as_it_was_written(browser: webdriver.Chrome, page: Path) -> None:
    shown(browser, page, 1280, "light")
    box = browser.execute_script(
        "return [...document.querySelectorAll('.text')].map(e => e.innerText).find(t => t.startsWith('<script>'))")
    assert box.startswith(HOSTILE.replace("\u202e", "\\u202e"))
    assert "<b>an annotator of a long name" in browser.execute_script("return document.body.innerText")


def test_light_and_dark_are_two_pictures_of_the_same_page(browser: webdriver.Chrome, page: Path) -> None:
    seen = {}
    for theme in ("light", "dark"):
        shown(browser, page, 390, theme)
        seen[theme] = browser.execute_script(
            "const of = (s, p) => getComputedStyle(document.querySelector(s))[p];"
            "return [of('body', 'backgroundColor'), of('svg rect, svg path[fill^=\"var\"]', 'fill'), "
            "of('h1', 'color'), document.body.innerText]")
    (paper, mark, ink, text), (paper_dark, mark_dark, ink_dark, text_dark) = seen["light"], seen["dark"]
    assert text == text_dark
    assert (paper, mark, ink) != (paper_dark, mark_dark, ink_dark)
    assert bright(paper) > 0.8 > 0.2 > bright(paper_dark)
    assert bright(ink_dark) > 0.6 > 0.1 > bright(ink)


def test_on_paper_everything_folded_is_open(browser: webdriver.Chrome, page: Path) -> None:
    shown(browser, page, 1280, "light")
    seen = "return document.querySelector('details:not([open]) > :not(summary)').checkVisibility()"
    on_screen = browser.execute_script(seen)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    on_paper = browser.execute_script(seen)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert (on_screen, on_paper) == (False, True)


def test_headings_are_in_order_and_everything_that_opens_has_a_name(browser: webdriver.Chrome, page: Path) -> None:
    shown(browser, page, 1280, "light")
    levels = browser.execute_script(
        "return [...document.querySelectorAll('h1,h2,h3,h4')].map(e => +e.tagName[1])")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    unnamed = browser.execute_script(
        "return [...document.querySelectorAll('svg, summary, .scroll, caption, th')]"
        ".filter(e => !(e.getAttribute('aria-label') || e.innerText || e.textContent).trim()).length")
    assert unnamed == 0


@pytest.mark.parametrize("theme", THEMES)
def test_text_and_marks_stand_out_from_what_they_are_on(theme: str) -> None:
    colours = palette()[theme]
    for ink in ("ink", "dim", "mark"):
        assert all(contrast(colours[ink], colours[ground]) >= 4.5 for ground in ("paper", "card", "soft")), (theme, ink)
    for mark in ("people", "models", "kept", "out", "other"):
        assert contrast(colours[mark], colours["card"]) >= 3, (theme, mark)
    for one, other in (("people", "models"), ("kept", "out")):  # stacked on each other: told apart without hue
        assert contrast(colours[one], colours[other]) >= 1.7, (theme, one, other)


def palette() -> dict[str, dict[str, str]]:
    """Custom colours of the style sheet's three themes, in the order in which they stand there."""
    blocks = re.findall(r":root\{([^}]*)\}", CSS.read_text())
    return {theme: dict(re.findall(r"--(\w+):(#[0-9a-f]{3,6})", block)) for theme, block in
            zip(THEMES, blocks, strict=True)}


def contrast(one: str, other: str) -> float:
    """Ratio of WCAG 2.2: 1 to 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * d for d in colour[1:])
    return relative([int(digits[i:i + 2], 16) / 255 for i in (0, 2, 4)])


def bright(colour: str) -> float:
    """Luminance of a computed `rgb(…)`."""
    return relative([int(value) / 255 for value in re.findall(r"\d+", colour)[:3]])


def relative(channels: list[float]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
