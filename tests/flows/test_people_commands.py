"""Commands about people as a person types them, with a platform in memory behind them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from command_line import Tiebreak, in_process
from memory_platform import MemoryPlatform
from small_rounds import new_store, run_only, simulated_recipe

from flows import annotating
from flows.calling import thread_fan_out
from flows.engines import Engines, engines_of
from flows.rounds import open_round
from schemas.recipe import Recipe
from schemas.settings import LabelStudio, Settings
from warehouse.reader import Reader

pytestmark = pytest.mark.service
BUDGET = 6
SETTINGS = Settings(label_studio=LabelStudio(url="http://127.0.0.1:1"))


@pytest.fixture
def tiebreak(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tiebreak:
    return in_process(capsys, monkeypatch)


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> MemoryPlatform:
    """Every command works on it."""
    found = MemoryPlatform()

    def engines(recipe: Recipe, meter: Path | None = None, settings: Settings = SETTINGS) -> Engines:
        return Engines(**{**vars(engines_of(recipe, meter, SETTINGS)), "platform": found})

    monkeypatch.setattr(annotating, "engines_of", engines)
    monkeypatch.setenv("TIEBREAK_PSEUDONYM_KEY", "a key of more than sixteen bytes")
    return found


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose open round has chosen its pairs for people."""
    store = new_store(tmp_path_factory.mktemp("chosen") / "ws")
    recipe = simulated_recipe(people={"engine": "label_studio", "cost_usd": 0.25},
                              routing={"method": "value", "budget_votes": BUDGET})
    store.workspace.recipe.write_text(recipe.canonical())
    turn = open_round(store, engines_of(recipe, settings=SETTINGS), recipe, thread_fan_out(2), lambda line: None)
    run_only(turn, "synthesize", "mark_gold", "judge", "score", "route")
    return store.workspace.root


@pytest.fixture
def ws(chosen: Path, tmp_path: Path) -> Path:
    return shutil.copytree(chosen, tmp_path / "ws")


def wait_for(truth: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not truth():
        assert time.monotonic() < until, "it did not come true in a minute"
        time.sleep(0.05)


def test_sent_collected_put_right_and_looked_at(
    tiebreak: Tiebreak, ws: Path, platform: MemoryPlatform, tmp_path: Path
) -> None:
    assert f"send: {BUDGET} tasks" in tiebreak(ws, "send").out
    assert "send: 0 tasks" in tiebreak(ws, "send").out
    answered, lost, *_ = platform.all_tasks()
    platform.answer(answered, "7", "3")
    platform.lose(lost)
    assert "collect: 1 votes" in tiebreak(ws, "collect").out
    put_right = tiebreak(ws, "collect", "--full")
    assert "1 tasks of queue all were missing there: sent again" in put_right.out
    assert "collect: 0 votes" in put_right.out
    assert len(platform.all_tasks()) == BUDGET
    (paid,) = tiebreak(ws, "annotators", "--pay", "--json").json
    assert (paid["n_votes"], paid["cost_usd"], paid["round"]) == (1, 0.25, 1)
    (person,) = tiebreak(ws, "annotators", "--json").json
    assert person["voter"] == paid["voter"] != "7"
    (alpha,) = tiebreak(ws, "annotators", "--agreement", "--json").json
    assert (alpha["dataset"], alpha["n_votes"], alpha["alpha"]) == ("small", 1, None)
    (page,) = tiebreak(ws, "annotators", "--feedback", str(tmp_path / "pages"), "--json").json
    assert paid["voter"] in Path(page["page"]).read_text()


def test_what_nobody_needs_is_recalled(tiebreak: Tiebreak, ws: Path, platform: MemoryPlatform) -> None:
    tiebreak(ws, "send")
    platform.answer(platform.all_tasks()[0], "7", "3")
    assert tiebreak(ws, "recall", "--json").json == []
    other = simulated_recipe(people={"engine": "label_studio", "cost_usd": 0.25}, judging={"judges": ["strict"]},
                             criterion="tone", routing={"method": "value", "budget_votes": BUDGET})
    (ws / "recipe.toml").write_text(other.canonical())
    told = tiebreak(ws, "recall", "--json").json
    assert told == [{"reason": "superseded", "n_tasks": BUDGET - 1, "n_answered_already": 1}]
    assert len(platform.all_tasks()) == 1


def test_a_listener_collects_at_once_and_after_a_webhook_until_it_is_interrupted(
    tiebreak: Tiebreak, ws: Path, platform: MemoryPlatform
) -> None:
    tiebreak(ws, "send")
    tiebreak(ws, "collect")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    before = platform.calls["pull"]

    def work() -> None:
        with suppress(AssertionError):
            wait_for(lambda: platform.calls["pull"] > before)
            platform.answer(platform.all_tasks()[0], "7", "3")
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", b"{}", timeout=10).close()
            wait_for(lambda: n_votes(ws) == 1)
        os.kill(os.getpid(), signal.SIGINT)

    person = threading.Thread(target=work)
    person.start()
    said = tiebreak(ws, "collect", "--listen", str(port))
    person.join(timeout=60)
    assert said.code == 130
    assert said.out.count("collect: 0 votes") == 1
    assert said.out.count("collect: 1 votes") == 1
    assert n_votes(ws) == 1


def n_votes(root: Path) -> int:
    """Votes of people that are published."""
    with Reader(root) as reader:
        return int(reader.sql("SELECT count(*) FROM votes JOIN voters USING (voter) WHERE kind = 'human'").item())


def test_before_the_first_round_and_without_a_platform_there_is_one_line(
    tiebreak: Tiebreak, platform: MemoryPlatform, tmp_path: Path
) -> None:
    store = new_store(tmp_path / "ws")
    people = {"engine": "label_studio", "cost_usd": 0.25}
    store.workspace.recipe.write_text(simulated_recipe(people=people).canonical())
    for command in (["send"], ["collect"], ["collect", "--full"], ["recall"]):
        assert "tiebreak run" in tiebreak(store, *command).err
    store.workspace.recipe.write_text(simulated_recipe().canonical())
    for command in (["collect", "--full"], ["collect", "--listen", "0"], ["recall"]):
        assert tiebreak(store, *command).is_one_line_of_yours()
    assert platform.calls.total() == 0
