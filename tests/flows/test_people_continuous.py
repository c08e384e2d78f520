"""Continuous mode: a round asks a few pairs at a time and learns in between; budgets and kills as in batch mode."""

from __future__ import annotations

import polars as pl
import pytest
from memory_platform import KilledError, MemoryPlatform
from small_rounds import WORLD, new_store, run_only, simulated_recipe
from test_people import BEFORE_PEOPLE, answer_all, routed, said, table, turn_of
from test_people import recipe_of as platform_recipe

from flows import people
from flows.calling import thread_fan_out
from flows.engines import engines_of
from flows.people import collect_now, send_now
from flows.rounds import Turn, abandon_round, open_round
from schemas.recipe import Recipe
from schemas.settings import Queue
from warehouse.store import Store

pytestmark = [pytest.mark.service, pytest.mark.usefixtures("unpublished", "key")]
ASKED = "SELECT pair_id::VARCHAR AS pair_id, ordinal, is_audit, propensity, reason FROM routes ORDER BY ALL"


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIEBREAK_PSEUDONYM_KEY", "a key of more than sixteen bytes")


def simulated(open_votes: int, **routing: object) -> Recipe:
    """Two hundred pairs and a budget of 100 votes, enough to learn from."""
    return simulated_recipe(world={**WORLD, "n_prompts": 200}, routing={
        "method": "value", "budget_votes": 100, "audit_share": 0.1, "open_votes": open_votes, **routing})


def opened(store: Store, recipe: Recipe) -> Turn:
    return open_round(store, engines_of(recipe), recipe, thread_fan_out(2), lambda line: None)


def waves(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many votes were asked for at a time, as it happens."""
    sizes: list[int] = []

    def counted(turn: Turn) -> int:
        if n := send_at_once(turn):
            sizes.append(n)
        return n

    send_at_once = people._send_at_once
    monkeypatch.setattr(people, "_send_at_once", counted)
    return sizes


def test_the_budget_is_spent_a_few_votes_at_a_time_and_later_ones_learn_from_earlier(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = waves(monkeypatch)
    run_only(opened(store, simulated(25)), *BEFORE_PEOPLE, "send", "collect")
    assert sizes == [25, 25, 25, 25]
    assert table(store, "SELECT count(*) AS n FROM answers WHERE outcome = 'voted'")["n"].item() == 100
    asked = table(store, ASKED)
    assert asked.filter("is_audit").height == 10
    assert asked["propensity"].n_unique() == 1
    batch = new_store(store.workspace.root.parent / "batch")
    run_only(opened(batch, simulated(0)), *BEFORE_PEOPLE, "send", "collect")
    at_once = table(batch, ASKED)
    assert (sizes[4:], at_once.height) == ([100], 100)
    chosen = asked.filter(~pl.col("is_audit")).join(at_once, on="pair_id", how="anti")
    assert chosen.height > at_once.filter("is_audit").height, "answers changed who was asked next"


def test_escalation_and_first_votes_share_one_budget(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = waves(monkeypatch)
    run_only(opened(store, simulated(10, escalation="second", budget_votes=60)), *BEFORE_PEOPLE, "send", "collect")
    by_step = dict(table(store, "SELECT split_part(reason, ':', 1), count(*) FROM routes GROUP BY ALL").iter_rows())
    assert by_step["second"] > 0
    assert sum(by_step.values()) == sum(sizes) <= 60
    assert max(sizes) <= 10 + by_step["second"]


def test_the_round_s_own_hours_bound_what_escalation_asks(store: Store) -> None:
    """Half an hour holds thirty votes of a minute: 24 first ones, and of the steps that they call for only six."""
    run_only(opened(store, simulated(0, escalation="second", budget_hours=0.5)), *BEFORE_PEOPLE, "send", "collect")
    by_step = dict(table(store, "SELECT ordinal > 0, count(*) FROM routes GROUP BY ALL").iter_rows())
    assert by_step == {False: 24, True: 6}


def test_a_collecting_that_was_killed_between_two_waves_ends_as_one_that_was_not(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = new_store(store.workspace.root.parent / "whole")
    run_only(opened(whole, simulated(25)), *BEFORE_PEOPLE, "send", "collect")
    for n in (2, 3):
        killed = new_store(store.workspace.root.parent / f"killed {n}")
        turn = opened(killed, simulated(25))
        run_only(turn, *BEFORE_PEOPLE, "send")
        with monkeypatch.context() as dying:
            _kill_at(dying, n)
            with pytest.raises(KilledError):
                run_only(turn, "collect")
        run_only(turn, "collect")
        assert table(killed, ASKED).equals(table(whole, ASKED))


def _kill_at(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    """End at the n-th sending: what was decided is on record, and has no task yet."""
    left = iter(range(1, n))

    def dying(turn: Turn) -> int:
        if next(left, None) is None:
            raise KilledError
        return send_at_once(turn)

    send_at_once = people._send_at_once
    monkeypatch.setattr(people, "_send_at_once", dying)


def test_on_a_platform_each_collecting_tops_up_what_is_open(store: Store) -> None:
    platform = MemoryPlatform()
    turn = routed(store, platform, platform_recipe(open_votes=2, budget_votes=5))
    assert send_now(turn) == 2
    assert (collect_now(turn), send_now(turn)) == (0, 0), "nobody has answered"
    platform.answer(platform.open_to("all")[0], "7", "3")
    assert (collect_now(turn), len(platform.open_to("all"))) == (1, 2)
    assert "collect: 1 tasks sent for what follows" in said
    skipped = platform.open_to("all")[0]
    platform.skip(skipped, "7")
    collect_now(turn)
    while answer_all(platform):
        collect_now(turn)
    assert table(store, "SELECT count(*) AS n FROM routes")["n"].item() == 5
    platform.answer(skipped, "8", "3")
    assert (collect_now(turn), collect_now(turn)) == (1, 0), "somebody else took it after all, within the budget"


def test_a_round_that_was_abandoned_asks_nobody_any_more(store: Store) -> None:
    platform = MemoryPlatform()
    turn = routed(store, platform, platform_recipe(open_votes=2, budget_votes=5))
    send_now(turn)
    answer_all(platform)
    abandon_round(store, "small")
    assert collect_now(turn) == 2
    assert platform.open_to("all") == []


def test_experts_who_take_their_time_keep_nobody_else_waiting(store: Store) -> None:
    platform = MemoryPlatform()
    queues = Queue(name="all"), Queue(name="other"), Queue(name="chief", is_expert=True)
    turn = routed(store, platform, platform_recipe(open_votes=1, budget_votes=22, escalation="expert"), *queues)
    send_now(turn)
    for n in range(40):
        for task in [*platform.open_to("all"), *platform.open_to("other")]:
            platform.answer(task, "7" if task.card and task.card["queue"] == "all" else "8", "3" if n % 2 else "-3")
        collect_now(turn)
    assert table(store, "SELECT count(*) AS n FROM routes")["n"].item() >= 20
    assert len(platform.open_to("chief")) > 1


def test_what_a_kill_kept_from_being_sent_is_sent_by_the_next_collect(store: Store) -> None:
    platform = MemoryPlatform()
    turn = routed(store, platform, platform_recipe(open_votes=2, budget_votes=5))
    send_now(turn)
    platform.answer(platform.open_to("all")[0], "7", "3")
    people.collect_from_platform(turn)
    assert people.continue_now(turn) == 1
    assert len(platform.open_to("all")) == 1
    assert (collect_now(turn), len(platform.open_to("all"))) == (0, 2)


def test_a_round_that_has_not_chosen_yet_or_went_by_another_recipe_is_not_continued(store: Store) -> None:
    platform = MemoryPlatform()
    recipe = platform_recipe(open_votes=2, budget_votes=5)
    turn = turn_of(store, platform, recipe)
    run_only(turn, *BEFORE_PEOPLE[:-1])
    assert people.continue_now(turn) == 0
    run_only(turn, "route")
    send_now(turn)
    answer_all(platform)
    people.collect_from_platform(turn)
    other = turn.recipe.model_copy(update={"seed": 12})
    assert people.continue_now(Turn(**{**vars(turn), "recipe": other})) == 0
    assert people.continue_now(turn) == 2
