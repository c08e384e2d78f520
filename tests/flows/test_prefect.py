"""`tiebreak run` under a real Prefect server: one server per workspace, a flow run per round, a task per stage."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prefect_at_work import KEY, asked, environment, tiebreak
from small_rounds import new_store, simulated_recipe
from small_rows import world

from bench._scripted import ScriptedServer
from curate.adapters.meter import Meter
from flows.server import Server, ensure_server, running_server, stop_server
from flows.serving import stop_worker
from flows.stages import STAGES
from warehouse.workspace import Workspace

pytestmark = pytest.mark.service

def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie: nobody reaps an orphan in a container without init."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@dataclass(frozen=True)
class Rounds:
    """Two rounds run one after the other under the workspace's server, which was there after each."""

    root: Path
    outputs: tuple[str, str]
    servers: tuple[Server | None, Server | None]


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rounds]:
    root = tmp_path_factory.mktemp("rounds") / "ws"
    workspace = new_store(root).workspace
    workspace.recipe.write_text(simulated_recipe().canonical())
    try:
        first, after_first = tiebreak(root, "run"), running_server(workspace)
        second, after_second = tiebreak(root, "run"), running_server(workspace)
        yield Rounds(root, (first, second), (after_first, after_second))
    finally:
        stop_worker(workspace)
        stop_server(workspace)


def api(rounds: Rounds) -> str:
    server = rounds.servers[1]
    assert server is not None
    return server.api_url


def test_each_round_is_a_flow_run_named_after_it(rounds: Rounds) -> None:
    runs = {str(run["name"]): run["state_type"] for run in asked(api(rounds), "flow_runs")}
    assert runs == {"small-round-1": "COMPLETED", "small-round-2": "COMPLETED"}


@pytest.mark.parametrize("n", [1, 2])
def test_every_stage_of_a_round_is_a_task_run_and_its_calls_are_task_runs_too(rounds: Rounds, n: int) -> None:
    flow_run = next(run["id"] for run in asked(api(rounds), "flow_runs") if run["name"] == f"small-round-{n}")
    tasks = [t for t in asked(api(rounds), "task_runs") if t["flow_run_id"] == flow_run]
    names = Counter(str(t["name"]).rsplit("-", 1)[0] for t in tasks)
    assert names.pop("calls") == 3  # 48 texts and 96 verdicts in batches of 64
    assert names == dict.fromkeys(STAGES, 1)
    assert {t["state_type"] for t in tasks} == {"COMPLETED"}


def test_both_rounds_had_the_same_server_and_say_where_it_is(rounds: Rounds) -> None:
    assert rounds.servers[0] is not None
    assert rounds.servers[0] == rounds.servers[1]
    for n, output in enumerate(rounds.outputs, 1):
        assert f"round {n} of small is done; Prefect: {api(rounds)}" in output


def test_status_and_serve_show_the_server_that_is_there(rounds: Rounds) -> None:
    assert f"prefect server: {api(rounds)}" in tiebreak(rounds.root, "status")
    assert api(rounds) in tiebreak(rounds.root, "serve")
    assert running_server(Workspace(rounds.root)) == rounds.servers[1]


def test_the_pages_ask_the_server_that_they_came_from(rounds: Rounds) -> None:
    """By themselves they ask port 4200, and show no run at all."""
    with urllib.request.urlopen(api(rounds).removesuffix("/api") + "/ui-settings", timeout=30) as answer:
        assert json.load(answer)["api_url"] == "/api"


def test_a_key_in_the_environment_is_in_no_file_of_the_server(rounds: Rounds) -> None:
    files = [p for p in rounds.root.rglob("*") if p.is_file()]
    assert any(b"small-round-2" in p.read_bytes() for p in files)
    assert [p.name for p in files if KEY.encode() in p.read_bytes()] == []


def test_stopping_frees_the_port_and_ends_the_process(tmp_path: Path) -> None:
    workspace = new_store(tmp_path / "ws").workspace
    tiebreak(workspace.root, "serve")
    server = running_server(workspace)
    assert server is not None
    assert is_running(server.pid)
    assert tiebreak(workspace.root, "serve", "--stop").split("\n")[:2] == ["worker: stopped", "prefect server: stopped"]
    assert not is_running(server.pid)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", server.port)) != 0
    assert running_server(workspace) is None
    assert "prefect server: not running" in tiebreak(workspace.root, "status")
    assert "prefect server: was not running" in tiebreak(workspace.root, "serve", "--stop")


def test_a_workspace_named_relative_to_where_one_stands_has_a_server_too(tmp_path: Path) -> None:
    workspace = new_store(tmp_path / ".tiebreak").workspace
    try:
        said = tiebreak(Path(".tiebreak"), "serve", cwd=tmp_path)
        server = running_server(workspace)
        assert server is not None
        assert server.api_url in said
    finally:
        stop_worker(workspace)
        stop_server(workspace)


FLAKY = """
    import sys
    from pathlib import Path
    from small_rounds import simulated_recipe
    from curate.engines import CallReply
    from flows.calling import thread_fan_out
    from flows.engines import engines_of
    from flows.round import run_in_prefect
    from flows.rounds import open_round
    from warehouse.store import Store

    root, meter = Path(sys.argv[1]), Path(sys.argv[2])
    recipe = simulated_recipe()
    engines = engines_of(recipe, meter)
    whole, failed = engines.judge.judge, set()

    def judge(requests):
        batch = min(r.call_key for r in requests)
        for at, reply in enumerate(whole(requests)):
            if at == 20 and len(failed) < 2 and batch not in failed:
                failed.add(batch)
                raise ConnectionError("provider is down")
            yield reply

    engines.judge.judge = judge
    turn = open_round(Store(root), engines, recipe, thread_fan_out(2), print)
    run_in_prefect(turn, print)
    print("failed", len(failed))
"""


def test_an_engine_that_fails_is_asked_again_but_not_for_what_it_answered(rounds: Rounds, tmp_path: Path) -> None:
    new_store(tmp_path / "ws")
    command = [sys.executable, "-c", textwrap.dedent(FLAKY), str(tmp_path / "ws"), str(tmp_path / "bill")]
    done = subprocess.run(command, env=environment(PREFECT_API_URL=api(rounds)), capture_output=True, text=True,
                          timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failed 2" in done.stdout
    assert "round 1: judge: 96 rows" in done.stdout
    bill = Meter(tmp_path / "bill").served()
    assert len(bill) == len(set(bill)) == 48 + 96
    started = [t for t in asked(api(rounds), "task_runs") if str(t["name"]).startswith("calls")]
    assert sorted(int(str(t["run_count"])) for t in started)[-2:] == [2, 2]
    shown = {a["key"]: (a["data"], a["description"]) for a in asked(api(rounds), "artifacts")}
    assert shown["small-judge-calls"] == (100.0, "96 of 96 judge calls")


def test_a_round_whose_endpoint_dies_half_way_finishes_on_the_other(rounds: Rounds, tmp_path: Path) -> None:
    store = new_store(tmp_path / "ws")
    with store.write("test") as writer:
        writer.append(world(60))
    models = {"models": [{"name": "j", "model": "m"}], "judging": {"judges": ["j"]}, "filtering": {"method": "none"}}
    store.workspace.recipe.write_text(json.dumps({"dataset": "failover", **models}))
    with ScriptedServer(ledger=tmp_path / "a", delay_s=0.05) as dying, ScriptedServer(
        ledger=tmp_path / "b", delay_s=0.05
    ) as other:
        store.workspace.settings.write_text("".join(
            f'[[endpoints]]\nmodel = "m"\nurl = "{server.url}"\nconcurrency = 4\n' for server in (dying, other)))
        command = [sys.executable, "-m", "flows.cli", "--workspace", str(store.workspace.root), "run"]
        run = subprocess.Popen(command, env=environment(PREFECT_API_URL=api(rounds)), stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
        while run.poll() is None and len(dying.bill()) < 5:
            time.sleep(0.02)
        dying.kill()
        said = run.communicate(timeout=300)[0]
        answered = [len(server.bill()) for server in (dying, other)]
    assert run.returncode == 0, said
    assert "round 1: judge: 120 rows" in said
    assert min(answered) >= 5
    with store.write("test") as writer:
        assert writer.query("n_rows")["votes"].item() == 120
    assert [str(r["state_type"]) for r in asked(api(rounds), "flow_runs") if r["name"] == "failover-round-1"] == [
        "COMPLETED"]


def test_a_round_that_fails_under_prefect_says_so_in_one_line(rounds: Rounds, tmp_path: Path) -> None:
    store = new_store(tmp_path / "ws")
    with store.write("test") as writer:
        writer.append(world(2))
    models = {"models": [{"name": "j", "model": "m"}], "judging": {"judges": ["j"]}}
    store.workspace.recipe.write_text(json.dumps({"dataset": "down", **models}))
    store.workspace.settings.write_text('[[endpoints]]\nmodel = "m"\nurl = "http://127.0.0.1:9/v1"\n')
    command = [sys.executable, "-m", "flows.cli", "--workspace", str(store.workspace.root), "run"]
    done = subprocess.run(command, env=environment(PREFECT_API_URL=api(rounds)), capture_output=True, text=True,
                          timeout=300, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("tiebreak: ")
    assert "127.0.0.1:9: no connection" in done.stderr
    assert done.stderr.count("\n") == 1


def test_two_callers_at_once_start_one_server(tmp_path: Path) -> None:
    new_store(tmp_path / "ws")
    command = [sys.executable, "-m", "flows.cli", "--workspace", str(tmp_path / "ws"), "serve"]
    callers = [subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = {caller.communicate(timeout=200)[0] for caller in callers}
    try:
        assert len(said) == 1
        assert ensure_server(Workspace(tmp_path / "ws")).api_url in said.pop()
    finally:
        assert stop_worker(Workspace(tmp_path / "ws"))
        assert stop_server(Workspace(tmp_path / "ws"))


CROWDED = """
    import sys, threading, time
    from pathlib import Path
    from small_rounds import StubbornJudge, stubborn_turn
    from small_rows import world
    from flows.round import run_in_prefect
    from warehouse.store import Store

    class Slow(StubbornJudge):
        live, most, guard = 0, 0, threading.Lock()

        def judge(self, requests):
            with Slow.guard:
                Slow.live += 1
                Slow.most = max(Slow.most, Slow.live)
            time.sleep(0.3)
            yield from super().judge(requests)
            with Slow.guard:
                Slow.live -= 1

    store = Store(sys.argv[1])
    with store.write("test") as writer:
        writer.append(world(200))
    run_in_prefect(stubborn_turn(store, Slow(lambda first, second: "1")), print)
    print("most at once", Slow.most)
"""


def test_no_more_batches_are_in_flight_than_the_setting_says(rounds: Rounds, tmp_path: Path) -> None:
    new_store(tmp_path / "ws")
    command = [sys.executable, "-c", textwrap.dedent(CROWDED), str(tmp_path / "ws")]
    shell = environment(PREFECT_API_URL=api(rounds), TIEBREAK_WORKERS="2")
    done = subprocess.run(command, env=shell, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "most at once 2" in done.stdout
