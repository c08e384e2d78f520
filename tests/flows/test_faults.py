"""Failures at every boundary, and kill -9: run again, and it is as if nothing had happened, at no further cost."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import polars as pl
import pytest
from fault_plan import BOUNDARIES, FaultPlan, InjectedError, inject
from scripted_server import ScriptedServer, endpoint, settings_of, started
from small_rounds import run_only
from small_rows import world

from bench._scripted import Request
from bench._scripted_answers import question_id
from curate.engines import CallRequest
from flows.calling import thread_fan_out
from flows.engines import engines_of
from flows.judging import to_ask
from flows.panel import judges_of, panel_of
from flows.rounds import Turn, open_round
from schemas.errors import TiebreakError
from schemas.recipe import Recipe, parse_recipe
from schemas.settings import Settings
from warehouse.reader import Reader
from warehouse.store import Store

pytestmark = pytest.mark.service

N_FAULTS = int(os.environ.get("TIEBREAK_FAULTS", "100"))
N_KILLS = int(os.environ.get("TIEBREAK_KILLS", "10"))
CHAT = "/v1/chat/completions"
ROOT = Path(__file__).resolve().parents[2]
N_PAIRS, WORKERS, IN_FLIGHT = 40, 2, 4
DELAY = 0.05
"""seconds that the server takes to answer a process that is to be killed"""
Outcome = tuple[pl.DataFrame, pl.DataFrame]
OFTEN, SELDOM = 0.015, 0.04
SHARES = {name: OFTEN if name in (
    "before record", "after record", "short write", "disk full", "between replies", "before insert", "after insert",
) else SELDOM for name in BOUNDARIES}  # fmt: skip
AT_THE_SERVER = [
    {"kind": kind, "path": CHAT, "share": 0.04, **fields}
    for kind, fields in [
        ("status", {"status": 500}), ("status", {"status": 429, "retry_after": "0"}), ("truncated", {}), ("closed", {}),
        ("reset", {}), ("unread", {}), ("hang", {}), ("body", {"content": "{}"}), ("swapped", {"content": "m-mini"}),
    ]
]  # fmt: skip


def judging_recipe() -> Recipe:
    """One served judge, asked about whatever pairs the store holds."""
    return parse_recipe(json.dumps({
        "dataset": "d", "models": [{"name": "j", "model": "m", "revision": "1"}], "judging": {"judges": ["j"]},
        "filtering": {"method": "none"},
    }))


def turn_of(store: Store, settings: Settings) -> Turn:
    engines = engines_of(judging_recipe(), None, settings)
    return open_round(store, engines, judging_recipe(), thread_fan_out(WORKERS), lambda line: None)


def judge_once(store: Store, settings: Settings) -> None:
    """The judge stage in this process, with engines of its own."""
    turn = turn_of(store, settings)
    with closing(turn.engines):
        run_only(turn, "judge")


def calls_to_make(store: Store, settings: Settings) -> list[CallRequest]:
    """Every call of the stage over the pairs that are there."""
    turn = turn_of(store, settings)
    with closing(turn.engines), store.write("test") as writer:
        todo = writer.query("pairs_to_judge", {"panel": panel_of(turn, writer)}, sources=[], criterion="overall")
        return to_ask(turn, todo, judges_of(turn))


def outcome(store: Store) -> Outcome:
    """Calls and votes as far as they are no record of time and place."""
    with store.write("test") as writer:
        writer.check()
        writer.publish()
    with Reader(store.workspace.root) as reader:
        calls = reader.sql("SELECT call_key, voter, response, finish_reason, choice_logprobs FROM calls "
                           "WHERE kind = 'judge' ORDER BY ALL")
        votes = reader.sql("SELECT vote_id, voter, p_a, p_tie, is_abstention, evidence FROM votes ORDER BY ALL")
    return calls, votes


def store_at(migrated: Path, root: Path) -> Store:
    """A store of its own that holds the pairs."""
    shutil.copytree(migrated, root)
    store = Store(root)
    with store.write("test") as writer:
        writer.append(world(N_PAIRS))
    return store


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedServer]:
    with started(tmp_path_factory.mktemp("server")) as running:
        yield running


def settings_for(server: ScriptedServer, **fields: object) -> Settings:
    return settings_of(endpoint(server, concurrency=IN_FLIGHT), timeout_s=0.3, max_attempts=8, **fields)


@pytest.fixture(scope="module")
def undisturbed(
    migrated: Path, server: ScriptedServer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Outcome, dict[str, str]]:
    """(calls and votes of a stage that nobody disturbs, call key → question)."""
    store = store_at(migrated, tmp_path_factory.mktemp("undisturbed") / "ws")
    questions = {r.call_key: question_id(json.loads(r.messages)) for r in calls_to_make(store, settings_for(server))}
    judge_once(store, settings_for(server))
    calls, votes = outcome(store)
    assert calls.height == votes.height == len(questions) == 2 * N_PAIRS
    assert set(calls["finish_reason"]) == {"stop"}
    return (calls, votes), questions


def test_faults_at_every_boundary_change_no_vote_and_no_recorded_call_is_paid_for_again(
    undisturbed: tuple[Outcome, dict[str, str]], server: ScriptedServer, migrated: Path,
    tmp_path: Path, kill_seed: int,
) -> None:
    expected, questions = undisturbed
    struck: Counter[str] = Counter()
    episode = 0
    while struck.total() < N_FAULTS or (N_FAULTS >= 1000 and len(struck) < len(BOUNDARIES) + 1):
        store = store_at(migrated, tmp_path / f"ws-{episode}")
        plan = FaultPlan(f"{kill_seed} faults {episode}", SHARES)
        before = len(server.ledger())
        with pytest.MonkeyPatch.context() as patch:
            inject(patch, plan)
            server.set(faults=[{**fault, "seed": kill_seed + episode} for fault in AT_THE_SERVER], delay_s=0.0)
            repeats_allowed = until_done(store, settings_for(server), plan)
        struck += plan.struck
        struck["at the server"] += server.seen()["befell"]
        server.set(faults=[])
        assert_equal(outcome(store), expected)
        asked = [request for request in server.ledger()[before:] if request.path == CHAT]
        assert_paid_once(asked, {q: plan.acknowledged[k] for k, q in questions.items()}, repeats_allowed)
        episode += 1
    with_names = ", ".join(f"{name} {n}" for name, n in sorted(struck.items()))
    print(f"\n{struck.total()} faults in {episode} stages: {with_names}")


def assert_equal(seen: Outcome, expected: Outcome) -> None:
    for one, other in zip(seen, expected, strict=True):
        assert one.equals(other)


def until_done(store: Store, settings: Settings, plan: FaultPlan) -> int:
    """Run the stage again until it is done; how many calls could have been in flight when it was not."""
    n_failed = 0
    while True:
        plan.is_armed = True
        try:
            judge_once(store, settings)
        except (InjectedError, OSError, TiebreakError, duckdb.Error):
            n_failed += 1
        else:
            return n_failed * IN_FLIGHT
        finally:
            plan.is_armed = False


def assert_paid_once(asked: list[Request], acknowledged: dict[str, float], repeats_allowed: int) -> None:
    """Nothing is asked again after it was acknowledged; before that, only what a failure caught in flight."""
    late = [r for r in asked if r.at > acknowledged[r.question]]
    assert late == [], "a recorded call was asked again"
    bill = Counter(request.question for request in asked if request.outcome == "served")
    assert bill.keys() == acknowledged.keys()
    assert sum(n - 1 for n in bill.values()) <= repeats_allowed, "only what was in flight may be repeated"


@pytest.fixture(scope="module")
def killable(migrated: Path, server: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace before its judge stage."""
    root = tmp_path_factory.mktemp("killable") / "ws"
    store = store_at(migrated, root)
    run_only(turn_of(store, Settings()), "synthesize", "mark_gold")
    (root / "recipe.toml").write_text(judging_recipe().canonical())
    (root / "settings.toml").write_text(
        f'timeout_s = 5.0\n[[endpoints]]\nmodel = "m"\nurl = "{server.url}"\nconcurrency = {IN_FLIGHT}\n'
    )
    return root


def start(root: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "TIEBREAK_WORKERS": str(WORKERS), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "flows.cli", "--workspace", str(root), "judge"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(process: subprocess.Popen[bytes]) -> None:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output.decode()


@pytest.mark.parametrize("at", range(N_KILLS))
def test_a_judge_stage_that_is_killed_and_run_again_pays_for_no_recorded_call(
    undisturbed: tuple[Outcome, dict[str, str]], killable: Path, at: int, server: ScriptedServer, tmp_path: Path,
    kill_seed: int,
) -> None:
    expected, questions = undisturbed
    server.set(faults=[], delay_s=DELAY)
    store = Store(shutil.copytree(killable, tmp_path / "ws"))
    first = len(server.bill())
    process, chance = start(store.workspace.root), random.Random(f"{kill_seed} judge {at}")
    paid = chance.randint(0, 2 * N_PAIRS)
    while process.poll() is None and len(server.bill()) < first + paid:
        time.sleep(0.02)
    time.sleep(chance.uniform(0.0, 4 * DELAY))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    time.sleep(2 * DELAY)  # what the server is still at work on
    known, second = recorded_keys(store), len(server.bill())
    finish(start(store.workspace.root))
    assert_equal(outcome(store), expected)
    again = {q for key, q in questions.items() if key in known} & set(server.bill()[second:])
    assert not again, "a recorded call was paid for again"
    repeated = sum(n - 1 for n in Counter(server.bill()[first:]).values())
    assert repeated <= 2 * IN_FLIGHT, "only what was in flight, or come and not yet written, may be repeated"


def recorded_keys(store: Store) -> set[str]:
    with store.write("test") as writer:
        return set(writer.query("call_keys")["call_key"])
