"""People on a platform: what is sent, what comes back, what a kill leaves, and who is asked next."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
from memory_platform import KilledError, MemoryPlatform, Task
from small_rounds import WORLD, new_store, run_only, simulated_recipe
from small_rows import NOW

from flows.calling import thread_fan_out
from flows.collecting import recall_from_platform
from flows.engines import engines_of
from flows.people import collect_now, send_now
from flows.rounds import Turn, open_round
from schemas.errors import RecipeError
from schemas.recipe import Recipe
from schemas.settings import LabelStudio, Queue, Settings
from schemas.tables import GOLD, RUNS
from warehouse.store import Store

pytestmark = [pytest.mark.service, pytest.mark.usefixtures("unpublished", "key")]
BEFORE_PEOPLE = ("synthesize", "mark_gold", "judge", "score", "route")
BUDGET = 6


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose open round has chosen its pairs for people."""
    store = new_store(tmp_path_factory.mktemp("chosen") / "ws")
    run_only(turn_of(store, MemoryPlatform(), recipe_of()), *BEFORE_PEOPLE)
    return store.workspace.root


@pytest.fixture
def ready(chosen: Path, tmp_path: Path) -> Store:
    """A store of this test's own, a round of `recipe_of()` open before `send`."""
    return Store(shutil.copytree(chosen, tmp_path / "ready"))


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIEBREAK_PSEUDONYM_KEY", "a key of more than sixteen bytes")


def recipe_of(people: dict[str, object] | None = None, **routing: object) -> Recipe:
    return simulated_recipe(people={"engine": "label_studio", "cost_usd": 0.25, **(people or {})},
                            routing={"method": "value", "budget_votes": BUDGET, **routing})


def turn_of(store: Store, platform: MemoryPlatform, recipe: Recipe, *queues: Queue) -> Turn:
    settings = Settings(label_studio=LabelStudio(url="http://127.0.0.1:1", queues=queues or (Queue(name="all"),)))
    engines = engines_of(recipe, settings=settings)
    return open_round(store, type(engines)(**{**vars(engines), "platform": platform}), recipe, thread_fan_out(2),
                      lambda line: said.append(line))


said: list[str] = []


def routed(store: Store, platform: MemoryPlatform, recipe: Recipe, *queues: Queue) -> Turn:
    """A round whose pairs for people are chosen and not yet sent."""
    said.clear()
    turn = turn_of(store, platform, recipe, *queues)
    run_only(turn, *BEFORE_PEOPLE)
    return turn


def rows(store: Store, name: str, **params: object) -> pl.DataFrame:
    with store.write("test") as writer:
        return writer.query(name, **params)


def table(store: Store, sql: str) -> pl.DataFrame:
    with store.write("test") as writer:
        writer.check()
        return writer._rows(sql, {}, {})


def votes(store: Store) -> pl.DataFrame:
    """Current votes of people: pair, voter, p_a, strength."""
    return table(store, """
        SELECT pair_id::VARCHAR AS pair_id, voter, p_a, p_tie, strength
        FROM current_votes((SELECT coalesce(max(seq), 0) FROM votes)) JOIN voters USING (voter)
        WHERE kind = 'human' ORDER BY ALL""")


def answer_all(platform: MemoryPlatform, user: str = "7", verdict: str = "3") -> list[Task]:
    tasks = platform.open_to("all")
    for task in tasks:
        platform.answer(task, user, verdict)
    return tasks


def test_a_round_goes_on_without_answers_and_counts_them_when_they_come(ready: Store) -> None:
    platform = MemoryPlatform()
    turn = turn_of(ready, platform, recipe_of())
    run_only(turn, "send", "collect")
    assert len(platform.open_to("all")) == BUDGET
    assert votes(ready).is_empty()
    answered = answer_all(platform)
    assert collect_now(turn) == BUDGET
    shown = {task.card["pair_id"]: task.card["shown_first"] for task in answered if task.card}
    for pair, voter, p_a, p_tie, strength in votes(ready).iter_rows():
        first = shown.pop(pair) == "a"
        assert (p_a, p_tie, strength) == ((1.0, 0.0, 3.0) if first else (0.0, 0.0, -3.0))
        assert voter.startswith("annotator-")
    assert shown == {}


def test_sending_and_collecting_twice_changes_nothing(ready: Store) -> None:
    platform = MemoryPlatform()
    turn = turn_of(ready, platform, recipe_of())
    assert (send_now(turn), send_now(turn)) == (BUDGET, 0)
    answer_all(platform)
    assert (collect_now(turn), collect_now(turn)) == (BUDGET, 0)
    assert collect_now(turn, is_full=True) == 0
    assert len(platform.all_tasks()) == BUDGET
    assert votes(ready).height == BUDGET


@pytest.mark.parametrize("method", ["prepare", "send"])
def test_a_kill_while_sending_leaves_no_task_twice(ready: Store, method: str) -> None:
    platform = MemoryPlatform()
    turn = turn_of(ready, platform, recipe_of(), Queue(name="all"), Queue(name="other"))
    platform.dies_after = method
    with pytest.raises(KilledError):
        send_now(turn)
    send_now(turn)
    assert len(platform.all_tasks()) == BUDGET
    assert table(ready, "SELECT count(DISTINCT task_key) AS n FROM tasks")["n"].item() == BUDGET


def test_a_kill_after_the_last_task_was_noted_leaves_nothing_to_repair(ready: Store) -> None:
    platform = MemoryPlatform()
    turn = turn_of(ready, platform, recipe_of())
    send_now(turn)
    with ready.write("test") as writer:
        writer.append({"runs": RUNS.complete(pl.DataFrame(
            [{"run_id": "r", "flow": "send", "event": "started", "detail": "small", "at": NOW}]))})
    assert (send_now(turn), collect_now(turn)) == (0, 0)
    assert rows(ready, "interrupted_sends", dataset="small").is_empty()
    assert len(platform.all_tasks()) == BUDGET


def test_what_a_killed_sending_left_there_is_known_before_it_is_answered(ready: Store) -> None:
    platform = MemoryPlatform()
    turn = turn_of(ready, platform, recipe_of())
    platform.dies_after = "send"
    with pytest.raises(KilledError):
        send_now(turn)
    answer_all(platform)
    assert collect_now(turn) == BUDGET
    assert table(ready, "SELECT outcome FROM submissions")["outcome"].to_list() == ["voted"] * BUDGET
    assert send_now(turn) == 0


def test_after_a_kill_a_task_stays_in_its_queue_although_another_has_more_room_now(ready: Store) -> None:
    platform = MemoryPlatform()
    turn = turn_of(ready, platform, recipe_of(), Queue(name="all", capacity=3), Queue(name="other", capacity=3))
    platform.dies_after = "send"
    with pytest.raises(KilledError):
        send_now(turn)
    there = {task.card["task_key"]: task.card["queue"] for task in platform.all_tasks() if task.card}
    later = turn_of(ready, platform, turn.recipe, Queue(name="other"), Queue(name="all"))
    send_now(later)
    queues = dict(table(ready, "SELECT task_key::VARCHAR, queue FROM tasks").iter_rows())
    assert len(platform.all_tasks()) == len(queues) == BUDGET
    assert {key: queues[key] for key in there} == there


def test_a_kill_while_collecting_loses_no_vote_and_makes_none_twice(ready: Store) -> None:
    platform = MemoryPlatform()
    turn = turn_of(ready, platform, recipe_of())
    send_now(turn)
    answer_all(platform)
    platform.dies_after = "pull"
    with pytest.raises(KilledError):
        collect_now(turn)
    assert collect_now(turn) == BUDGET
    assert votes(ready).height == BUDGET


def test_a_late_edit_replaces_the_vote_a_deletion_takes_it_back_and_a_skip_ends_a_task(ready: Store) -> None:
    platform = MemoryPlatform()
    turn = turn_of(ready, platform, recipe_of())
    send_now(turn)
    edited, deleted, skipped, *_ = platform.open_to("all")
    first, second = platform.answer(edited, "7", "3"), platform.answer(deleted, "7", "3")
    platform.skip(skipped, "7")
    assert collect_now(turn) == 2
    platform.edit(edited, first, "0")
    platform.delete(deleted, second)
    assert collect_now(turn) == 1
    assert votes(ready).select("pair_id", "p_tie").rows() == [(edited.card["pair_id"], 1.0)]
    outcomes = table(ready, "SELECT outcome FROM answers ORDER BY ALL")["outcome"].to_list()
    assert outcomes == ["skipped", "voted", "voted"]


def test_a_full_collect_puts_right_what_vanished_without_a_trace(ready: Store) -> None:
    platform = MemoryPlatform()
    turn = turn_of(ready, platform, recipe_of())
    send_now(turn)
    done, lost, *_ = platform.open_to("all")
    gone = platform.answer(done, "7", "3")
    collect_now(turn)
    platform.forget(done, gone)
    platform.lose(lost)
    platform.answer(platform.add_foreign("all"), "8", "1")
    said.clear()
    collect_now(turn)
    assert votes(ready).height == 1, "an incremental reading cannot see it"
    collect_now(turn, is_full=True)
    assert votes(ready).is_empty()
    assert lost.card["task_key"] in {task.card["task_key"] for task in platform.open_to("all") if task.card}
    assert any("1 tasks in the project of queue all are not ours" in line for line in said)
    assert table(ready, "SELECT outcome FROM submissions WHERE task_key IS NULL")["outcome"].to_list() == ["refused"]
    assert (len(platform.all_tasks()), collect_now(turn, is_full=True)) == (BUDGET + 1, 0)


def test_two_queues_share_the_tasks_and_capacity_lets_the_rest_wait(ready: Store) -> None:
    platform = MemoryPlatform()
    turn = turn_of(ready, platform, recipe_of(), Queue(name="all", capacity=2), Queue(name="other", capacity=3))
    assert send_now(turn) == 5
    assert (len(platform.open_to("all")), len(platform.open_to("other"))) == (2, 3)
    answer_all(platform)
    collect_now(turn)
    assert send_now(turn) == 1


def test_a_pair_whose_task_is_open_is_not_routed_again(ready: Store) -> None:
    platform, recipe = MemoryPlatform(), recipe_of()
    turn = turn_of(ready, platform, recipe)
    run_only(turn, "send", "collect", "settle", "release", "export", "retrain", "evaluate", "gate")
    again = turn_of(ready, platform, recipe)
    run_only(again, *BEFORE_PEOPLE, "send")
    twice = table(ready, "SELECT pair_id FROM routes GROUP BY pair_id HAVING count(*) > 1")
    assert again.n == 2
    assert twice.is_empty()
    assert len(platform.open_to("all")) == 2 * BUDGET


def test_answers_that_came_late_are_in_the_next_version(ready: Store) -> None:
    platform, recipe = MemoryPlatform(), recipe_of()
    late = ("send", "collect", "settle", "release", "export", "retrain", "evaluate", "gate")
    turn = turn_of(ready, platform, recipe)
    run_only(turn, *late)
    answered = answer_all(platform)
    again = turn_of(ready, platform, recipe)
    run_only(again, *BEFORE_PEOPLE, *late)
    label = rows(ready, "version_members", dataset="small", n=2)
    before = rows(ready, "version_members", dataset="small", n=1)
    pair = answered[0].card["pair_id"]
    n_votes = [frame.filter(pair_id=pair)["n_votes"].item() for frame in (before, label)]
    assert n_votes[1] == n_votes[0] + 1


def test_a_task_nobody_needs_is_taken_back_and_an_answered_one_still_counts(ready: Store) -> None:
    platform = MemoryPlatform()
    turn = turn_of(ready, platform, recipe_of())
    send_now(turn)
    answered = platform.open_to("all")[0]
    platform.answer(answered, "7", "3")
    other = turn_of(ready, platform, turn.recipe)
    changed = Turn(**{**vars(other), "recipe": recipe_of(people={"guideline": "strict@1"})})
    changed.store.workspace.instruments.mkdir()
    (changed.store.workspace.instruments / "strict@1.md").write_text(
        "---\nname: strict\nversion: 1\ncriterion: overall\nsource: ours\nlicence: Apache-2.0\n---\nBe strict.\n")
    told = recall_from_platform(changed)
    assert told.rows() == [("superseded", BUDGET - 1, 1)]
    assert len(platform.all_tasks()) == 1
    assert recall_from_platform(changed).rows() == [("superseded", 0, 1)]
    assert collect_now(turn) == 1
    assert send_now(turn) == 0
    assert collect_now(turn, is_full=True) == 0
    assert len(platform.all_tasks()) == 1, "what was recalled is not sent again"


def test_gold_is_mixed_in_and_onboarding_has_a_queue_that_everyone_answers(store: Store) -> None:
    platform = MemoryPlatform()
    recipe = recipe_of(people={"quality": {"gold_share": 0.25, "onboarding_tasks": 2}})
    turn = turn_of(store, platform, recipe)
    run_only(turn, "synthesize", "mark_gold", "judge", "score")
    with store.write("test") as writer:
        pairs = writer.query("scope_pairs", sources=[])["pair_id"].head(6)
        writer.append({"gold": GOLD.complete(pl.DataFrame({
            "pair_id": pairs, "criterion": "overall", "p_a": 1.0, "p_tie": 0.0, "why": "known", "source": "test",
            "use": "attention"}))})
    run_only(turn, "route")
    assert send_now(turn) == BUDGET + 2 + 2
    purposes = dict(table(store, "SELECT purpose, count(*) FROM tasks GROUP BY ALL ORDER BY ALL").iter_rows())
    assert purposes == {"gold": 2, "onboarding": 2, "vote": BUDGET}
    overlaps = {page.queue: page.overlap for page in platform.pages.values()}
    assert overlaps["all"] == 1 < overlaps["onboarding"]
    for user in ("7", "8"):
        for task in platform.tasks["small-onboarding"]:
            platform.answer(task, user, "3")
    assert collect_now(turn) == 4
    assert rows(store, "onboarding_votes").height == 4
    assert send_now(turn) == 0


def test_what_is_pre_filled_is_the_posterior_turned_to_the_side_shown_first(store: Store) -> None:
    platform = MemoryPlatform()
    turn = routed(store, platform, recipe_of(people={"is_blind": False}))
    send_now(turn)
    assert table(store, "SELECT bool_and(is_prefilled) AS yes FROM tasks")["yes"].item()
    cards = [task.card for task in platform.all_tasks() if task.card]
    assert {card["prefill_by"] for card in cards} == {"consensus"}
    assert all(0 <= card["prefill_score"] <= 1 for card in cards)
    blind = MemoryPlatform()
    assert send_now(routed(new_store(store.workspace.root.parent / "blind"), blind, recipe_of())) == BUDGET
    assert all(task.card["prefill"] is None for task in blind.all_tasks() if task.card)


def test_a_person_against_the_judges_brings_a_second_then_an_expert_whose_task_is_apart(store: Store) -> None:
    platform = MemoryPlatform()
    queues = Queue(name="all"), Queue(name="other"), Queue(name="chief", is_expert=True)
    turn = routed(store, platform, recipe_of(escalation="expert", budget_votes=8), *queues)
    assert send_now(turn) == 6, "a share of the budget is set aside for what first votes call for"
    for task in platform.all_tasks():
        platform.answer(task, "7", "3")
    collect_now(turn)
    (second,) = (task for task in platform.all_tasks() if not task.said)
    first = next(t for t in platform.all_tasks() if t.said and t.card["pair_id"] == second.card["pair_id"])
    assert second.card["queue"] == ({"all", "other"} - {first.card["queue"]}).pop(), "another queue, another person"
    # Always the other side than the first person: the verdict turns with the order shown.
    is_same_order = second.card["shown_first"] == first.card["shown_first"]
    platform.answer(second, "8", "-3" if is_same_order else "3")
    collect_now(turn)
    (final,) = platform.open_to("chief")
    assert (final.card["pair_id"], final.card["purpose"]) == (first.card["pair_id"], "adjudicate")
    reasons = table(store, "SELECT reason FROM routes WHERE ordinal > 0 ORDER BY ordinal")["reason"].to_list()
    assert [reason.split(":")[0] for reason in reasons] == ["second", "expert"]
    platform.answer(final, "9", "0")
    assert (collect_now(turn), collect_now(turn)) == (1, 0)
    assert rows(store, "final_votes", dataset="small").height == 1


def test_a_recipe_without_settings_is_refused_with_what_to_write() -> None:
    with pytest.raises(RecipeError, match=r"\[label_studio\] with url"):
        engines_of(recipe_of(), settings=Settings())
    with pytest.raises(RecipeError, match="a queue with is_expert = true"):
        engines_of(recipe_of(escalation="expert"), settings=Settings(label_studio=LabelStudio(url="http://here")))


def test_experts_of_a_simulated_world_are_named_and_not_everyone() -> None:
    for experts in (["nobody"], ["ada", "ben"]):
        with pytest.raises(RecipeError, match=r"people\.experts"):
            engines_of(simulated_recipe(people={"engine": "simulated", "cost_usd": 0.25, "experts": experts}))
    with pytest.raises(RecipeError, match="no expert"):
        engines_of(simulated_recipe(routing={"escalation": "expert", "budget_votes": 6}))


def test_in_the_simulated_world_the_whole_chain_is_asked_in_one_round_and_twice_is_once(store: Store) -> None:
    world = {**WORLD, "n_prompts": 60, "annotators": [
        {"name": "ada", "skill": 0.3, "cost_usd": 0.25}, {"name": "ben", "skill": 0.3, "cost_usd": 0.25},
        {"name": "eve", "skill": 9.0, "cost_usd": 0.25}]}
    recipe = simulated_recipe(
        world=world, people={"engine": "simulated", "cost_usd": 0.25, "experts": ["eve"]},
        routing={"method": "value", "budget_votes": 40, "escalation": "expert"})
    turn = open_round(store, engines_of(recipe), recipe, thread_fan_out(2), lambda line: None)
    run_only(turn, *BEFORE_PEOPLE, "send", "collect")
    asked = table(store, """
        SELECT route."to", split_part(route.reason, ':', 1) AS step, vote.voter, count(*) AS n
        FROM routes AS route JOIN tasks AS task USING (route_id) JOIN answers AS answer USING (task_key)
        JOIN votes AS vote ON vote.vote_id = answer.vote_id GROUP BY ALL ORDER BY ALL""")
    by_step = dict(asked.group_by("step").agg(pl.col("n").sum()).iter_rows())
    assert {"second", "expert"} < set(by_step)
    assert sum(by_step.values()) <= 40
    assert set(asked.filter(to="expert")["voter"]) == {"eve"}
    assert set(asked.filter(to="human")["voter"]) == {"ada", "ben"}
    assert rows(store, "final_votes", dataset="small").height == by_step["expert"]
    assert collect_now(turn) == 0
    n = table(store, "SELECT count(*) AS n FROM routes")["n"].item()
    assert n == sum(by_step.values())
