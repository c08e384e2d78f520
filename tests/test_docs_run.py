"""Pages with blocks marked to be run, run from top to bottom, each in a checkout of its own, as a reader would.

A page is one shell session: what it exports stays. `<!-- file: NAME -->` before a block makes that block a file;
`<!-- server: MODEL -->` says that something serves MODEL where the page's files say, here a scripted server;
`<!-- people answer -->` is where people work.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

import pytest
from pretended_label_studio import Pretended, said
from test_docs import CONSOLE, PAGES, ROOT, RUN_MARK, commands_of

from bench._scripted import ScriptedServer
from warehouse.reader import Reader

pytestmark = pytest.mark.service
FILE = re.compile(r"<!-- file: (?P<name>[\w./-]+) -->\n```\w+\n(?P<text>.*?)^```", re.M | re.S)
SERVER = re.compile(r"<!-- server: (\S+) -->")
PEOPLE = "<!-- people answer -->"
COOKBOOK = ROOT / "docs" / "tutorials" / "sql-cookbook.md"
MOST_CPU_S = 60.0
"""of one page: what a reader waits for on a machine that does nothing else"""
MOST_S = 900.0
"""of one page on a machine that is busy with other things"""
VLLM, LABEL_STUDIO = "127.0.0.1:8000", "127.0.0.1:8080"
"""addresses that the pages name"""
HABIT = ("3", "-2", "0", "1")
"""what the pretended people answer, one after the other: much better, worse, the same, slightly better"""


@dataclass
class Step:
    """One command of a page, what it is said to print, and what it printed."""

    command: str
    shown: list[str]
    printed: str = ""


@dataclass
class Session:
    """A shell in a checkout: steps go on where the last ones ended."""

    here: Path
    places: dict[str, str]
    """address of the page to the address that stands for it"""
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, steps: list[Step]) -> str:
        """Run steps in one shell; what the first that did not exit 0 printed, with its command; else nothing."""
        script = "\n".join(
            f"printf '\\1%d\\2' {n}\n{self.put(step.command)} || exit 9" for n, step in enumerate(steps))
        done = subprocess.run(
            ["bash", "-c", f"{script}\nprintf '\\1'\nexport -p"], cwd=self.here, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=MOST_S, check=False)
        parts = done.stdout.split("\1")
        for part in parts[1:]:
            number, is_one, printed = part.partition("\2")
            if is_one:
                steps[int(number)].printed = printed
        if done.returncode:
            number, _, printed = parts[-1].partition("\2")
            return f"$ {steps[int(number)].command}\n{printed[-3000:]}"
        self.environment |= dict(re.findall(r'^declare -x (\w+)="([^"]*)"$', parts[-1], re.M))
        return ""

    def put(self, text: str) -> str:
        """Text of a page with this session's addresses."""
        for named, real in self.places.items():
            text = text.replace(named, real)
        return text


def steps_of(text: str) -> list[Step]:
    """Commands of the blocks that are marked to be run."""
    return [
        Step(command, shown) for match in CONSOLE.finditer(text) if RUN_MARK.search(text[: match.start()])
        for command, shown in commands_of(match["body"])
    ]


def is_run(page: Path) -> bool:
    return bool(steps_of(page.read_text()))


def checkout(folder: Path) -> Path:
    """A folder that looks like this checkout, less what somebody's own tour wrote; takes what a page writes."""
    here = folder / "main"
    here.mkdir()
    for entry in (e for e in ROOT.iterdir() if e.name not in {".git", ".tiebreak", "out", "elsewhere"}):
        (here / entry.name).symlink_to(entry)
    return here


def environment() -> dict[str, str]:
    """A shell in which `tiebreak` is this checkout's."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    known = {k: v for k, v in os.environ.items() if not k.startswith(("TIEBREAK_", "PREFECT_"))}
    return known | {"PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def play(page: Path, folder: Path) -> tuple[list[Step], str]:
    """Run a page from top to bottom: its steps with what they printed, and what the first that failed said."""
    text, fault = page.read_text(), ""
    with ExitStack() as stack:
        places, people = {}, pretended()
        for model in SERVER.findall(text):
            places[VLLM] = f"127.0.0.1:{stack.enter_context(ScriptedServer(model)).port}"
        if PEOPLE in text:
            places[LABEL_STUDIO] = stack.enter_context(people.serving()).removeprefix("http://")
        session = Session(checkout(folder), places, environment())
        stack.callback(stop, session)
        for match in FILE.finditer(text):
            (session.here / match["name"]).write_text(session.put(match["text"]))
        done: list[Step] = []
        for part in text.split(PEOPLE):
            answer_all(people)
            done += (steps := steps_of(part))
            fault = fault or session.run(steps)  # servers are let go of before anything is asserted
    return done, fault


def pretended() -> Pretended:
    """A Label Studio that is up and whose clock is ours."""
    people = Pretended()
    people.date = formatdate(usegmt=True)
    people.faults.append(lambda method, path: (200, {"status": "UP"}) if path == "/health" else None)
    return people


def answer_all(people: Pretended) -> None:
    """Everybody answers what is before them, in half a minute each."""
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    for number, task in people.tasks.items():
        if not task["annotations"]:
            habit, person = HABIT[number % len(HABIT)], 1 + number % 3
            task["annotations"] = [said(number, habit, user=person, updated_at=now, lead_time=20.0 + number)]
            task |= {"total_annotations": 1, "updated_at": now}


def stop(session: Session) -> None:
    """No page leaves a Prefect server behind."""
    for marker in (session.here / ".tiebreak").rglob("server.json"):
        root = str(marker.parents[1])
        subprocess.run(["tiebreak", "--workspace", root, "serve", "--stop"], env=session.environment, check=False,
                       capture_output=True, timeout=120)


def headers(lines: list[str]) -> list[str]:
    """The first line of each table: the one above a rule of dashes; blanks in it say nothing."""
    rules = [n for n, line in enumerate(lines) if n and re.fullmatch(r"-+(  -+)*", line.strip())]
    return [" ".join(lines[n - 1].split()) for n in rules]


@pytest.mark.parametrize("page", [p for p in PAGES if is_run(p)], ids=lambda p: str(p.relative_to(ROOT)))
def test_a_page_runs_from_top_to_bottom(page: Path, tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    steps, fault = play(page, tmp_path) if page != COOKBOOK else ([], "")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert fault == ""
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < MOST_CPU_S
    for step in steps:
        assert [h for h in headers(step.shown) if h not in headers(step.printed.splitlines())] == [], step.command


def test_pages_are_run_at_all() -> None:
    names = {p.name for p in PAGES if is_run(p)}
    assert {"README.md", "first-dataset.md", "bringing-annotators.md", "scheduled-rounds.md", COOKBOOK.name} <= names


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """The workspace of the cookbook, made as its first block says."""
    session = Session(checkout(tmp_path_factory.mktemp("cookbook")), {}, environment())
    assert session.run([s for s in steps_of(COOKBOOK.read_text()) if not s.command.startswith("tiebreak sql")]) == ""
    with Reader(session.here / session.environment["TIEBREAK_WORKSPACE"]) as reader:
        yield reader


def test_the_cookbook_has_more_than_twenty_questions() -> None:
    assert len(queries()) > 20


def queries() -> list[Step]:
    return [s for s in steps_of(COOKBOOK.read_text()) if s.command.startswith("tiebreak sql")]


@pytest.mark.parametrize("step", queries(), ids=lambda step: " ".join(step.command.split())[13:63])
def test_a_question_of_the_cookbook_has_the_answer_it_is_said_to_have(asked: Reader, step: Step) -> None:
    query = re.fullmatch(r'tiebreak sql "(.*)"', step.command, re.S)
    assert query is not None
    rows = asked.sql(query[1])
    if "(no rows)" in step.shown:
        assert rows.is_empty()
    else:
        assert not rows.is_empty()
        assert headers(step.shown) == [" ".join(rows.columns)]
