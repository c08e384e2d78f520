"""Work that is not relied on is asked again, and ratings of attributes come in with their votes."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
from memory_platform import MemoryPlatform
from small_rounds import new_store, run_only, simulated_recipe

from flows.calling import thread_fan_out
from flows.collecting import collect_from_platform
from flows.engines import engines_of
from flows.people import collect_now, escalate_now, send_now
from flows.rounds import Turn, open_round
from schemas.recipe import Recipe
from schemas.settings import LabelStudio, Queue, Settings
from warehouse.store import Store

pytestmark = [pytest.mark.service, pytest.mark.usefixtures("unpublished")]
QUEUES = (Queue(name="one"), Queue(name="two"))


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIEBREAK_PSEUDONYM_KEY", "a key of more than sixteen bytes")


@pytest.fixture
def platform() -> MemoryPlatform:
    return MemoryPlatform()


def recipe_of(**people: object) -> Recipe:
    return simulated_recipe(people={"engine": "label_studio", "cost_usd": 0.25, **people},
                            routing={"method": "value", "budget_votes": 6})


STRICT = recipe_of(quality={"min_seconds": 5.0}, rate=["helpful"])


def routed(root: Path, recipe: Recipe) -> Store:
    """A workspace whose open round has chosen its pairs for people."""
    store = new_store(root)
    run_only(turn_of(store, MemoryPlatform(), recipe), "synthesize", "mark_gold", "judge", "score", "route")
    return store


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return routed(tmp_path_factory.mktemp("chosen") / "ws", STRICT).workspace.root


@pytest.fixture
def turn(chosen: Path, tmp_path: Path, platform: MemoryPlatform) -> Turn:
    """A round of STRICT whose six tasks are on the platform."""
    found = turn_of(Store(shutil.copytree(chosen, tmp_path / "ws")), platform, STRICT)
    assert send_now(found) == 6
    return found


def turn_of(store: Store, platform: MemoryPlatform, recipe: Recipe) -> Turn:
    settings = Settings(label_studio=LabelStudio(url="http://127.0.0.1:1", queues=QUEUES))
    engines = engines_of(recipe, settings=settings)
    return open_round(store, type(engines)(**{**vars(engines), "platform": platform}), recipe, thread_fan_out(2),
                      lambda line: None)


def table(store: Store, sql: str) -> pl.DataFrame:
    with store.write("test") as writer:
        writer.check()
        return writer._rows(sql, {}, {})


def again(store: Store) -> list[tuple[str, str]]:
    """(pair, reason) of routes that ask another person."""
    return table(store, "SELECT pair_id::VARCHAR, reason FROM routes WHERE ordinal > 0 ORDER BY ALL").rows()


def test_an_answer_that_was_taken_back_is_asked_of_another_person_once(turn: Turn, platform: MemoryPlatform) -> None:
    skipped, first, *_ = platform.all_tasks()
    platform.skip(skipped, "7")
    assert first.card is not None
    platform.delete(first, platform.answer(first, "7", "3"))
    assert (collect_now(turn), again(turn.store)) == (0, []), "deleted before it was read: it never was"
    taken_back = platform.answer(first, "7", "cannot_judge")
    collect_now(turn)
    platform.delete(first, taken_back)
    assert (collect_now(turn), collect_now(turn), send_now(turn)) == (0, 0, 0)
    assert again(turn.store) == [(first.card["pair_id"], "again: the answer was taken back")]
    (other,) = (t for t in platform.all_tasks() if t.card and t is not first
                and t.card["pair_id"] == first.card["pair_id"])
    assert other.card is not None
    assert other.card["queue"] != first.card["queue"], "another queue, another person"


def test_answers_that_came_too_fast_are_asked_again_as_far_as_the_budget_goes(
    turn: Turn, platform: MemoryPlatform
) -> None:
    skipped, *rest = platform.all_tasks()
    for task in rest:
        platform.answer(task, "7", "3", seconds=2.0)
    collect_now(turn)
    assert again(turn.store) == [], "six votes were bought, or are under way"
    platform.skip(skipped, "7")
    collect_now(turn)
    ((_, reason),) = again(turn.store)
    assert reason == "again: the answer came too fast"
    assert table(turn.store, "SELECT count(*) AS n FROM votes JOIN voters USING (voter) WHERE kind = 'human'")[
        "n"].item() == 5, "a fast vote counts"


def test_a_next_step_that_a_kill_kept_from_being_sent_is_sent_by_the_next_collect(
    turn: Turn, platform: MemoryPlatform
) -> None:
    skipped, fast, *_ = platform.all_tasks()
    platform.skip(skipped, "7")
    platform.answer(fast, "7", "3", seconds=2.0)
    collect_from_platform(turn)
    assert escalate_now(turn) == 1
    n_before = len(platform.all_tasks())
    assert (collect_now(turn), collect_now(turn)) == (0, 0)
    assert len(platform.all_tasks()) == n_before + 1


def test_without_a_rule_of_quality_nothing_is_asked_again(tmp_path: Path, platform: MemoryPlatform) -> None:
    turn = turn_of(routed(tmp_path / "ws", recipe_of()), platform, recipe_of())
    send_now(turn)
    skipped, fast, *_ = platform.all_tasks()
    platform.skip(skipped, "7")
    platform.answer(fast, "7", "3", seconds=0.1)
    collect_now(turn)
    assert again(turn.store) == []


def test_ratings_come_in_with_the_vote_about_the_response_that_was_in_the_slot(
    turn: Turn, platform: MemoryPlatform
) -> None:
    task = platform.all_tasks()[0]
    assert task.card is not None
    rated = [{"from_name": f"rate_{slot}_helpful", "to_name": "pair", "type": "rating", "value": {"rating": stars}}
             for slot, stars in (("first", 5), ("second", 2))]
    platform.answer(task, "7", "3").result += rated
    assert collect_now(turn) == 1
    told = table(turn.store, """
        SELECT rating.value, rating.attribute, text.text
        FROM ratings AS rating JOIN responses USING (response_id) JOIN texts AS text USING (text_id)
        JOIN votes AS vote USING (ballot_id) ORDER BY rating.value""")
    assert told.rows() == [(2.0, "helpful", task.card["text_second"]), (5.0, "helpful", task.card["text_first"])]
    assert (collect_now(turn), collect_now(turn, is_full=True)) == (0, 0)
