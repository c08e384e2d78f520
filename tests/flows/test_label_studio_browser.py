"""The labelling page where it is used: headless Chromium on a real Label Studio, by keys and by mouse."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl
import pytest
from label_studio_server import LabelStudio, Person, resize
from selenium.common.exceptions import NoAlertPresentException
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from curate.annotating.cards import task_bodies
from curate.annotating.guidelines import shipped_guideline
from curate.annotating.page import project_options
from curate.engines import Page
from schemas.tables import CARDS

pytestmark = pytest.mark.service
Json = dict[str, Any]
PATIENCE_S = 60
HOSTILE = (
    "<script>window.hacked = 1; alert(1)</script><img src=x onerror='window.hacked = 2'><b>bold</b>\n"
    "{{braces}} {{idx}} ${x} $vars $pair_id $first[0].prose %s %(name)s %20 &lt;&amp; \\n ]]> <![CDATA[x]]>\n"
    "<style>.tb { display: none }</style> [link](javascript:alert(2)) **stars** `ticks` </View>\n"
    "```html\n<script>window.hacked = 3</script>\n```\nend \u202e\u05e9\u05dc\u05d5\u05dd\u202c"
)
SENTENCE = "The search halves its range at every step, so a sorted list of a million rows needs twenty looks. "


class Desk:
    """One annotator at the browser, and what the server then holds."""

    def __init__(self, server: LabelStudio, browser: Chrome, who: Person) -> None:
        self.server, self.browser, self.who = server, browser, who
        self.api = server.client()

    def project(self, page: Page, *cards: Json) -> int:
        """A project with these cards, one task each."""
        made = self.api.post("/api/projects", json={"title": "browser", **project_options(page)})
        number = int(made.raise_for_status().json()["id"])
        frame = CARDS.complete(pl.DataFrame(list(cards), infer_schema_length=None))
        self.api.post(f"/api/projects/{number}/import", json=task_bodies(frame)).raise_for_status()
        return number

    def open(self, project: int, task: int | None = None) -> None:
        """The stream of a project's tasks, or one of them."""
        self.browser.get(f"{self.server.url}/projects/{project}/data?{f'task={task}' if task else 'labeling=1'}")
        self.until(lambda: self.all(".tb-verdict input"))

    def tasks(self, project: int) -> list[Json]:
        """Tasks with their annotations, oldest first."""
        listed = self.api.get("/api/tasks", params={"project": project, "fields": "all", "page_size": 100})
        return sorted(listed.raise_for_status().json()["tasks"], key=lambda task: task["id"])

    def answers(self, project: int, n: int) -> list[Json]:
        """The first annotation of every task that has one, as soon as there are `n`."""
        def answered() -> list[Json]:
            return [task["annotations"][0] for task in self.tasks(project) if task["annotations"]]
        self.until(lambda: len(answered()) >= n)
        return answered()

    def until(self, condition: Callable[[], object]) -> None:
        WebDriverWait(self.browser, PATIENCE_S, poll_frequency=0.2).until(lambda _: condition())

    def all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        self.until(lambda: self.all(selector))
        return self.all(selector)[0]

    def press(self, *keys: str) -> None:
        self.browser.find_element(By.TAG_NAME, "body").send_keys(*keys)

    def vote(self, key: str, words: str) -> None:
        """Press a key until its step is chosen: the page hears keys a moment after it is shown."""
        def is_chosen() -> bool:
            if self.chosen() != [words]:
                self.press(key)
            return self.chosen() == [words]
        self.until(is_chosen)

    def submit_by_key(self) -> None:
        self.press(Keys.CONTROL + Keys.ENTER)

    def click(self, words: str) -> None:
        """A button of the bar at the bottom."""
        named = f"//*[contains(@class, 'lsf-bottombar')]//button[normalize-space()='{words}']"
        self.until(lambda: self.browser.find_elements(By.XPATH, named))
        self.until(lambda: self.browser.find_element(By.XPATH, named).is_enabled())
        self.browser.find_element(By.XPATH, named).click()

    def choose(self, words: str) -> None:
        """A step, with the mouse."""
        self.browser.find_element(By.XPATH, f"//label[.//input[@name='{words}']]").click()

    def shown(self, selector: str) -> str:
        """Text below an element, put together from its parts as they stand in the page."""
        script = "return [...document.querySelectorAll(arguments[0] + ' h3')].map(e => e.textContent)"
        return "\n".join(part for part in self.browser.execute_script(script, selector) if part)

    def chosen(self) -> list[str]:
        """Names of the steps that are chosen."""
        return [str(step.get_attribute("name")) for step in self.all(".tb-verdict input:checked")]

    def box(self, selector: str) -> Json:
        """Rectangle of an element in CSS pixels."""
        script = "return document.querySelector(arguments[0]).getBoundingClientRect()"
        return self.browser.execute_script(script, selector)


@pytest.fixture(scope="module")
def desk(label_studio: LabelStudio, browser: Chrome) -> Iterator[Desk]:
    """Ann, logged in."""
    ann = label_studio.people[0]
    browser.get(f"{label_studio.url}/user/login/")
    browser.find_element(By.NAME, "email").send_keys(ann.email)
    browser.find_element(By.NAME, "password").send_keys(ann.password + Keys.ENTER)
    at_desk = Desk(label_studio, browser, ann)
    at_desk.until(lambda: "/user/login" not in browser.current_url)
    with at_desk.api:
        yield at_desk
    browser.delete_all_cookies()


def page(**options: Any) -> Page:
    return Page(**{"dataset": "helpful", "queue": "all", "guideline": shipped_guideline("guideline@1").text, **options})


def card(key: str, first: str = "one", second: str = "two", prompt: str = "Which?", **columns: Any) -> Json:
    messages = json.dumps([{"role": "user", "content": prompt}])
    return {"task_key": key, "pair_id": f"pair-{key}", "queue": "all", "shown_first": "a", "prompt": messages,
            "text_first": first, "text_second": second, "purpose": "vote", **columns}


def said(answer: Json) -> dict[str, object]:
    """What an annotation says, by the name of the control."""
    return {result["from_name"]: result["value"] for result in answer["result"]}


def test_the_stream_is_worked_through_with_keys_alone(desk: Desk) -> None:
    project = desk.project(page(attributes=("helpful",)), card("much"), card("cannot"))
    desk.open(project)
    desk.vote("1", "First much better")
    desk.press("q", "q", "a")  # a star each: two for the first, one for the second
    desk.submit_by_key()
    desk.answers(project, 1)
    desk.until(lambda: desk.all(".tb-verdict input") and not desk.chosen())
    desk.vote("7", "Second much better")
    desk.vote("0", "Cannot judge")  # the last key counts
    desk.submit_by_key()
    first, second = desk.answers(project, 2)
    assert first["completed_by"] == desk.who.id
    assert said(first) == {
        "verdict": {"choices": ["3"]}, "rate_first_helpful": {"rating": 2}, "rate_second_helpful": {"rating": 1},
    }
    assert said(second) == {"verdict": {"choices": ["cannot_judge"]}}
    assert all(answer["lead_time"] > 0 for answer in (first, second))


def test_a_verdict_with_ratings_and_a_reason_is_given_with_the_mouse_and_changed_later(desk: Desk) -> None:
    project = desk.project(page(attributes=("helpful", "honest")), card("mouse"))
    desk.open(project)
    desk.choose("Second slightly better")
    desk.all(".tb-first .tb-rating:nth-child(1) li")[3].click()
    desk.all(".tb-second .tb-rating:nth-child(2) li")[0].click()
    desk.one(".tb-why input").send_keys("7 of 9 claims <b>hold</b>")  # a digit in the reason is no verdict
    desk.click("Submit")
    (answer,) = desk.answers(project, 1)
    expected = {
        "verdict": {"choices": ["-1"]}, "rate_first_helpful": {"rating": 4}, "rate_second_honest": {"rating": 1},
        "why": {"text": ["7 of 9 claims <b>hold</b>"]},
    }
    assert said(answer) == expected
    desk.open(project, task=desk.tasks(project)[0]["id"])
    desk.until(lambda: desk.chosen() == ["Second slightly better"])
    desk.vote("4", "About the same")
    desk.click("Update")
    desk.until(lambda: said(desk.answers(project, 1)[0])["verdict"] == {"choices": ["0"]})
    (changed,) = desk.tasks(project)[0]["annotations"]
    assert said(changed) == {**expected, "verdict": {"choices": ["0"]}}


def test_nothing_is_submitted_without_a_verdict_and_a_skip_says_so(desk: Desk) -> None:
    project = desk.project(page(attributes=("honest",)), card("skip"))
    desk.open(project)
    desk.all(".tb-first .tb-rating li")[2].click()
    desk.click("Submit")
    desk.until(lambda: "Say which response is better" in desk.one("body").text)
    assert desk.tasks(project)[0]["annotations"] == []
    desk.open(project)
    desk.click("Skip")
    (answer,) = desk.answers(project, 1)
    assert answer["was_cancelled"]
    assert said(answer) == {}


def test_texts_of_others_are_shown_as_text(desk: Desk) -> None:
    long = "x" * 100_000 + "<i>y</i>" + " and so on" * 9_300
    project = desk.project(page(guideline="Cheap: $pair_id costs <script>window.hacked = 4</script> **less**"),
                           card("hostile", HOSTILE, long, HOSTILE, guideline=HOSTILE, system=HOSTILE))
    desk.open(project)
    assert len(long) > 190_000
    assert desk.shown(".tb-first .tb-response") == HOSTILE
    assert desk.shown(".tb-second .tb-response") == long
    assert desk.shown(".tb-conversation") == f"system\n{HOSTILE}\nuser\n{HOSTILE}"
    assert desk.shown(".tb-item") == f"for this task\n{HOSTILE}"
    panel = desk.one(".tb-guideline .ant-collapse-content").get_attribute("textContent") or ""
    assert "$pair_id costs <script>window.hacked = 4</script> less" in panel.replace("\u2060", "")
    tags = "return [...new Set([...document.querySelectorAll('.tb-texts *')].map(e => e.tagName))].sort()"
    assert desk.browser.execute_script(tags) == ["DIV", "H3"]
    assert desk.browser.execute_script("return window.hacked") is None
    with pytest.raises(NoAlertPresentException):
        _ = desk.browser.switch_to.alert
    code = desk.browser.execute_script(
        "let e = document.querySelector('.tb-first .tb-code h3:not(:empty)'), s = getComputedStyle(e);"
        "return [e.textContent, s.whiteSpaceCollapse, s.fontFamily]")
    assert code[:2] == ["```html\n<script>window.hacked = 3</script>\n```", "preserve"]
    assert "monospace" in code[2]


def test_long_answers_stand_side_by_side_and_scroll_by_themselves(desk: Desk) -> None:
    words = "\n\n".join([SENTENCE * 4] * 20)
    project = desk.project(page(attributes=("helpful", "honest")), card("long", words, words, SENTENCE * 10))
    desk.open(project)
    assert len(words.split()) > 1_400
    assert desk.browser.execute_script("return document.documentElement.scrollWidth") <= 1280
    first, second, answer = (desk.box(s) for s in (".tb-first .tb-response", ".tb-second .tb-response", ".tb-answer"))
    assert first["top"] == second["top"]
    assert abs(first["width"] - second["width"]) < 2
    assert first["right"] <= second["left"]
    assert min(first["width"], first["height"] * 2) > 500  # room to read: 500 by 250 pixels at least
    assert answer["bottom"] <= desk.box(".lsf-bottombar")["top"]
    scroll = (
        "let sides = [...document.querySelectorAll('.tb-response')]; sides[0].scrollTop = 900;"
        "return sides.map(side => [side.scrollTop, side.scrollWidth - side.clientWidth])")
    assert desk.browser.execute_script(scroll) == [[900, 0], [0, 0]]


def test_a_narrow_window_shows_one_below_the_other(desk: Desk) -> None:
    project = desk.project(page(), card("narrow", SENTENCE * 80, SENTENCE * 80))
    try:
        resize(desk.browser, 600, 800)
        desk.open(project)
        first, second = (desk.box(s) for s in (".tb-first", ".tb-second"))
        assert first["bottom"] <= second["top"]
        assert first["left"] >= 0
        assert 500 < first["right"] <= 600
    finally:
        resize(desk.browser, 1280, 800)


def test_right_to_left_text_starts_at_the_right(desk: Desk) -> None:
    hebrew = "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd"
    project = desk.project(page(), card("rtl", f"{hebrew}\n\nand English", "English"))
    desk.open(project)
    script = (
        "let text = document.querySelector('.tb-first .tb-prose h3').firstChild, range = document.createRange();"
        "let box = text.parentElement.getBoundingClientRect(), edges = (from, to) => { range.setStart(text, from);"
        "range.setEnd(text, to); let r = range.getBoundingClientRect();"
        "return [r.left - box.left, box.right - r.right] };"
        "return [edges(0, 9), edges(11, 22)]")
    (hebrew_left, hebrew_right), (english_left, english_right) = desk.browser.execute_script(script)
    assert hebrew_right < 2 < 100 < hebrew_left
    assert english_left < 2 < 100 < english_right


@pytest.mark.parametrize(("is_blind", "chosen"), [(False, ["First better"]), (True, [])])
def test_what_a_judge_said_is_shown_only_where_the_page_is_not_blind(
    desk: Desk, is_blind: bool, chosen: list[str]
) -> None:
    judged = card("judged", prefill=2.0, prefill_by="judge@1", prefill_score=0.8)
    project = desk.project(page(is_blind=is_blind), judged)
    desk.open(project)
    time.sleep(1)  # a prediction would come a moment after the page
    assert desk.chosen() == chosen
    assert "judge@1" not in desk.one("body").text
    if not is_blind:
        desk.submit_by_key()
        (answer,) = desk.answers(project, 1)
        assert said(answer) == {"verdict": {"choices": ["2"]}}
        assert answer["parent_prediction"] is not None
