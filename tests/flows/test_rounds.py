"""A round: its budget is spent once, what it did is never done again, and two processes are never in it at once."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from small_rounds import (
    WORLD,
    StubbornJudge,
    fingerprints,
    new_store,
    run_only,
    run_round,
    simulated_recipe,
    stubborn_turn,
)

from curate.adapters.meter import Meter
from curate.adapters.trainer import load_model
from curate.engines import CallRequest
from curate.rewards.bundle import RewardModel
from curate.rewards.features import pair_features
from flows.calling import thread_fan_out
from flows.commands import only_runner
from flows.demo import record_gold
from flows.engines import engines_of
from flows.ingest import ingest
from flows.rounds import Turn, open_round, run_stages
from flows.stages import STAGES
from schemas.errors import LockHeldError, RefusedError
from schemas.recipe import Recipe
from warehouse.lock import writer_lock
from warehouse.reader import Reader
from warehouse.store import Store, Writer

EASY_GATE = {"min_groups": 2, "min_pairs": 2, "confidence": 0.5}
LEARNING = {"n_folds": 3, "min_pairs": 5, "panel": ["words"], "features": ["words"]}


class KilledError(RuntimeError):
    """What a kill looks like from inside: nothing after it is done."""


def replay_recipe(**sections: object) -> Recipe:
    """Recorded votes of people, no judges: all that is known is what was bought."""
    fields: dict[str, object] = {
        "world": None, "synthesis": {}, "judging": {},
        "people": {"engine": "replay", "share_for_sale": 0.6, "cost_usd": 0.25},
        "routing": {"method": "value", "budget_votes": 12, "max_votes_per_pair": 2},
        "gold": {"gate_share": 0.3}, "training": LEARNING, "gate": EASY_GATE,
    }
    return simulated_recipe(**{**fields, **sections})


def write_votes(folder: Path, name: str, pairs: range, *, seed: int | None = None, group: int | None = None) -> Path:
    """A folder in the common form: five people's votes on each pair, rows shuffled by `seed`."""
    sides = [
        {"pair_id": f"{name}{i}", "prompt": f"{name} question {i}", "response_a": f"a good answer to {name} {i}",
         "response_b": f"a poor answer to {name} {i}", **({"topic": f"t{i % group}"} if group else {})}
        for i in pairs
    ]
    said = [
        {"pair_id": f"{name}{i}", "annotator": f"p{v}", "vote": "a" if (i + v) % 5 else "b"}
        for i in pairs for v in range(5)
    ]
    for file, rows in (("pairs.jsonl", sides), ("annotations.jsonl", said)):
        if seed is not None:
            random.Random(seed).shuffle(rows)
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / file).write_text("\n".join(json.dumps(row) for row in rows))
    return folder / name


def replay_store(root: Path, *sources: Path, group_by: str | None = None) -> Store:
    store = new_store(root)
    for source in sources:
        ingest(store, str(source), is_recorded=True, group_by=group_by)
    return store


def turn_of(store: Store, recipe: Recipe, meter: Path | None = None) -> Turn:
    return open_round(store, engines_of(recipe, meter), recipe, thread_fan_out(2), lambda line: None)


def rows(store: Store, sql: str, **params: object) -> list[tuple[object, ...]]:
    with Reader(store.workspace.root) as reader:
        return reader.sql(sql, **params).rows()


def spending(store: Store) -> tuple[object, ...]:
    return rows(store, "SELECT n, n_routes, n_audits, n_bought, human_usd, n_calls, call_usd FROM round_summary")[0]


def kill_at(monkeypatch: pytest.MonkeyPatch, stage: str, moment: str) -> None:
    """When `stage` finishes, the process ends just before, or just after, its rows are committed."""
    whole = Writer.append

    def append(writer: Writer, frames: Mapping[str, pl.DataFrame]) -> dict[str, int]:
        is_now = "round_stages" in frames and frames["round_stages"]["stage"].item() == stage
        if is_now and moment == "before":
            raise KilledError(stage)
        added = whole(writer, frames)
        if is_now:
            raise KilledError(stage)
        return added

    monkeypatch.setattr(Writer, "append", append)


@pytest.mark.service
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("engine", ["simulated", "replay"])
def test_a_round_killed_at_every_stage_spends_its_budget_once_and_ends_like_any_other(
    engine: str, moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = simulated_recipe() if engine == "simulated" else replay_recipe()
    sources = [] if engine == "simulated" else [write_votes(tmp_path, "A", range(30))]
    calm, killed = replay_store(tmp_path / "calm", *sources), replay_store(tmp_path / "killed", *sources)
    run_round(calm, recipe, meter=tmp_path / "calm bill")
    for stage in STAGES:
        with monkeypatch.context() as patch:
            kill_at(patch, stage, moment)
            with pytest.raises(KilledError, match=stage):
                run_round(killed, recipe, meter=tmp_path / "killed bill")
        if stage != "gate":
            assert [n for (n,) in rows(killed, "SELECT n FROM round_summary WHERE state = 'open'")] == [1]
    if moment == "before":
        run_round(killed, recipe, meter=tmp_path / "killed bill")
    with killed.write("test") as writer:
        writer.check()
        writer.publish()
    assert fingerprints(killed) == fingerprints(calm)
    assert spending(killed) == spending(calm)
    assert spending(killed)[3] == (6 if engine == "simulated" else 12)
    assert sorted(Meter(tmp_path / "killed bill").served()) == sorted(Meter(tmp_path / "calm bill").served())


@pytest.mark.service
def test_a_judge_that_fails_half_way_is_not_asked_again_what_it_answered(tmp_path: Path) -> None:
    store, recipe = new_store(tmp_path / "ws"), simulated_recipe()
    turn = turn_of(store, recipe, tmp_path / "bill")
    judge = turn.engines.judge
    assert judge is not None
    whole = judge.judge

    def failing(requests: list[CallRequest]) -> object:
        for at, reply in enumerate(whole(requests)):
            if at == 10:
                raise ConnectionError("provider is down")
            yield reply

    judge.judge = failing  # type: ignore[method-assign,assignment]
    with pytest.raises(ConnectionError, match="provider is down"):
        run_stages(turn, list(STAGES.items()))
    paid = Meter(tmp_path / "bill").served()
    assert 48 < len(paid) < 48 + 96
    run_round(store, recipe, meter=tmp_path / "bill")
    bill = Meter(tmp_path / "bill").served()
    assert len(bill) == len(set(bill)) == 48 + 96


@pytest.mark.service
def test_a_recorded_vote_is_no_opinion_until_it_is_bought_and_then_has_its_price(tmp_path: Path) -> None:
    store = replay_store(tmp_path / "ws", write_votes(tmp_path, "A", range(30)))
    before = rows(store, "SELECT status, count(*), sum(cost_usd) FROM votes GROUP BY status")
    assert before == [("recorded", 150, 0.0)]
    run_round(store, replay_recipe())
    after = rows(store, "SELECT status, count(*), sum(cost_usd) FROM votes GROUP BY status ORDER BY status")
    assert after == [("cast", 12, 3.0), ("recorded", 150, 0.0)]
    assert rows(store, "SELECT count(DISTINCT supersedes) FROM votes WHERE status = 'cast'") == [(12,)]
    unbought = "pair_id NOT IN (SELECT pair_id FROM votes WHERE status = 'cast')"
    assert rows(store, f"SELECT count(*) FROM newest_labels WHERE action <> 'drop' AND {unbought}") == [(0,)]
    assert rows(store, "SELECT sum(n_votes) FROM newest_labels") == [(12,)]
    assert spending(store)[3:5] == (12, 3.0)


@pytest.mark.service
def test_nothing_is_sold_twice_however_many_rounds_and_a_stock_that_ends_ends_the_buying(tmp_path: Path) -> None:
    store = replay_store(tmp_path / "ws", write_votes(tmp_path, "A", range(10)))
    recipe = replay_recipe(routing={"method": "random", "budget_votes": 12, "max_votes_per_pair": 2})
    for _ in range(4):
        run_round(store, recipe)
    bought = [n for (n,) in rows(store, "SELECT n_bought FROM round_summary ORDER BY n")]
    in_scope = rows(store, "SELECT count(*) FROM pairs WHERE pair_id NOT IN (SELECT pair_id FROM gold)")[0][0]
    assert bought[-1] == 0
    assert sum(bought) == 3 * int(str(in_scope))  # of five votes on a pair three are for sale
    with store.write("test") as writer:
        writer.check()


@pytest.mark.service
def test_gold_of_the_gate_is_never_sold_sent_or_trained_on(tmp_path: Path) -> None:
    store = replay_store(tmp_path / "ws", write_votes(tmp_path, "A", range(30)))
    for _ in range(2):
        run_round(store, replay_recipe())
    assert rows(store, "SELECT count(*) > 0 FROM gold WHERE use = 'gate'") == [(True,)]
    for table in ("tasks", "routes", "newest_labels"):
        assert rows(store, f"SELECT count(*) FROM {table} WHERE pair_id IN (SELECT pair_id FROM gold)") == [(0,)]
    trained = pl.concat(pl.read_parquet(p) for p in store.workspace.exports.rglob("train.parquet"))
    gold = {str(p) for (p,) in rows(store, "SELECT pair_id::VARCHAR FROM gold")}
    assert not gold & set(trained["pair_id"])


ORDERS: dict[str, Callable[[Path], list[Path]]] = {
    "B then A": lambda folder: [write_votes(folder, "B", range(25)), write_votes(folder, "A", range(30))],
    "shuffled": lambda folder: [write_votes(folder, "A", range(30), seed=1),
                                write_votes(folder, "B", range(25), seed=2)],
    "A twice": lambda folder: [write_votes(folder, "A", range(30)), write_votes(folder, "B", range(25)),
                               write_votes(folder, "A", range(30))],
}


@pytest.fixture(scope="module")
def in_order(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Fingerprints of two rounds over source A, then source B."""
    folder = tmp_path_factory.mktemp("in order")
    store = replay_store(folder / "ws", write_votes(folder, "A", range(30)), write_votes(folder, "B", range(25)))
    return two_rounds(store)


def two_rounds(store: Store) -> list[str]:
    for _ in range(2):
        run_round(store, replay_recipe())
    return fingerprints(store)


@pytest.mark.service
@pytest.mark.parametrize("order", ORDERS)
def test_the_order_of_arrival_of_recorded_votes_changes_no_fingerprint(
    order: str, in_order: list[str], tmp_path: Path
) -> None:
    assert len(set(in_order)) == 2
    assert two_rounds(replay_store(tmp_path / "ws", *ORDERS[order](tmp_path))) == in_order


@pytest.mark.service
def test_a_prompt_that_two_sources_put_into_two_groups_is_in_the_same_group_in_either_order(tmp_path: Path) -> None:
    found = []
    for order in ((3, 5), (5, 3)):
        folder = tmp_path / str(order[0])
        sources = [write_votes(folder / str(g), "A", range(30), group=g).rename(folder / f"by{g}") for g in order]
        store = replay_store(folder / "ws", *sources, group_by="topic")
        with store.write("test") as writer:
            found.append(writer.query("scope_pairs", sources=[]).select("pair_id", "group_id").rows())
    assert found[0] == found[1]
    assert len({group for _, group in found[0]}) == 1  # topics of 3 and of 5 are linked by the prompts they share


@pytest.mark.slow
def test_a_round_open_under_another_recipe_is_refused_with_what_to_do(store: Store, unpublished: None) -> None:
    stubborn_turn(store, StubbornJudge(lambda first, second: "1"))
    with pytest.raises(RefusedError, match="round 1 of d is open under another recipe") as refusal:
        stubborn_turn(store, StubbornJudge(lambda first, second: "1"), seed=99)
    assert {word for word in refusal.value.next.split() if word.startswith("--")} == {"--resume", "--abandon"}


@pytest.mark.service
def test_an_open_round_goes_on_and_a_closed_one_is_followed_by_the_next(store: Store) -> None:
    recipe = simulated_recipe()
    opened = turn_of(store, recipe)
    assert turn_of(store, recipe).round_id == opened.round_id
    run_stages(opened, list(STAGES.items()))
    following = turn_of(store, recipe)
    assert (following.n, following.parent_n) == (2, 1)
    assert following.round_id != opened.round_id


@pytest.mark.slow
def test_a_second_process_in_a_dataset_s_round_is_refused_and_told_who_is_in_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.commands.writer_lock", partial(writer_lock, wait=0.05))
    with only_runner(store, "helpful"):
        with pytest.raises(LockHeldError, match=r"pid \d+ on .* \(round of helpful\)"), only_runner(store, "helpful"):
            pass
        with only_runner(store, "harmless"):
            pass
    with only_runner(store, "helpful"):
        pass


@pytest.fixture(scope="module")
def promoted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Recipe]:
    """A store after a first round whose model was promoted."""
    recipe = simulated_recipe(world={**WORLD, "n_gold": 40}, gate=EASY_GATE, training=LEARNING)
    store = new_store(tmp_path_factory.mktemp("promoted") / "ws")
    world = engines_of(recipe).world
    assert world is not None
    record_gold(store, world, 40, recipe.criterion)
    run_round(store, recipe)
    assert rows(store, "SELECT verdict FROM round_summary") == [("promoted",)]
    return store, recipe


@pytest.fixture(scope="module")
def voting(promoted: tuple[Store, Recipe]) -> Store:
    """The same store after the second round has been scored."""
    store, recipe = promoted
    run_only(turn_of(store, recipe), "synthesize", "mark_gold", "judge", "score")
    return store


@pytest.mark.service
def test_a_promoted_model_votes_in_the_next_round_on_every_pair_once(voting: Store) -> None:
    name = str(rows(voting, "SELECT candidate FROM promotions WHERE verdict = 'promoted'")[0][0])
    assert rows(voting, "SELECT count(*), count(DISTINCT pair_id) FROM votes WHERE voter = $v", v=f"rm/{name}") == [
        (48, 48)
    ]
    assert rows(voting, "SELECT kind, family FROM voters WHERE voter = $v", v=f"rm/{name}") == [
        ("reward_model", "features/words")
    ]
    assert rows(voting, "SELECT DISTINCT is_out_of_fold FROM scores WHERE model = $m", m=name) == [(True,)]


@pytest.mark.service
def test_a_pair_of_a_training_group_is_scored_by_the_head_that_did_not_see_it(voting: Store) -> None:
    name, uri, digest = (str(v) for v in rows(voting, "SELECT model, uri, sha256 FROM models")[0])
    model = load_model(voting.workspace.root / uri, digest)
    trained = pl.read_parquet(next(voting.workspace.exports.rglob("train.parquet")))
    stored = {str(r): (float(str(s)), fold) for r, s, fold in rows(
        voting, "SELECT response_id::VARCHAR, score, fold FROM scores WHERE model = $m", m=name)}
    own, full = scores_by_both(model, trained)
    responses = {str(p): (str(a), str(b)) for p, a, b in rows(
        voting, "SELECT pair_id::VARCHAR, response_a::VARCHAR, response_b::VARCHAR FROM pairs")}
    for pair, (by_fold, by_full) in zip(trained["pair_id"], zip(own, full, strict=True), strict=True):
        gap = stored[responses[pair][0]][0] - stored[responses[pair][1]][0]
        assert stored[responses[pair][0]][1] is not None
        assert gap == pytest.approx(by_fold)
        assert gap != pytest.approx(by_full)


def scores_by_both(model: RewardModel, trained: pl.DataFrame) -> tuple[list[float], list[float]]:
    """Margins of training pairs by the head of each pair's fold, and by the head that saw all of them."""
    features = pair_features(trained, model.families)
    numbers = model.rule.numbers(model.rule.sides(trained))
    by_fold = {n: head.score(features.items) for n, head in model.held_out.items()}
    full = model.full.score(features.items)
    own = [by_fold[int(n)] for n in np.ravel(numbers)]
    return (
        [float(s[a] - s[b]) for s, a, b in zip(own, features.a, features.b, strict=True)],
        [float(full[a] - full[b]) for a, b in zip(features.a, features.b, strict=True)],
    )


@pytest.mark.service
def test_a_model_that_has_voted_on_everything_has_nothing_to_say_and_breaks_nothing(voting: Store) -> None:
    recipe = simulated_recipe(world={**WORLD, "n_gold": 40}, gate=EASY_GATE, training=LEARNING)
    turn = turn_of(voting, recipe)
    assert STAGES["score"](turn) == 0


