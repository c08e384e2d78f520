"""A release wakes retraining, a worker of another pool trains, the gate decides: with real servers and programs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prefect_at_work import asked, environment, run_now, state_of, tiebreak, until
from small_rounds import new_store
from small_trainings import BASE, put_pairs, rows, tuned_recipe
from training_orders import make_base

from curate.adapters.trl.orders import WORK, file_sha256
from flows.server import running_server, stop_group, stop_server
from flows.serving import stop_worker
from schemas.errors import InputError
from schemas.settings import Settings
from warehouse.store import Store

pytestmark = pytest.mark.service

HASTY = {"PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "3", "PREFECT_WORKER_QUERY_SECONDS": "2",
         "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
TUNING = {"base": BASE, "dtype": "float32", "method": "full", "epochs": 40, "batch_size": 4, "max_length": 128,
          "learning_rate": 1e-3}


@dataclass(frozen=True)
class Shop:
    """A workspace with a worker for rounds, and another worker that trains."""

    store: Store
    api: str

    def runs(self, flow: str) -> list[dict[str, object]]:
        """Runs of a deployment's flow, oldest first."""
        found = asked(self.api, "flow_runs", flows={"name": {"any_": [flow]}}, sort="START_TIME_ASC")
        return [run for run in found if run["deployment_id"]]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, inference: Path) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    store = new_store(folder / "ws")
    base = make_base(inference, folder / "base")
    put_pairs(store, folder, "first", range(24))
    training = {"engine": "trl", "trl": TUNING, "min_pairs": 4}
    store.workspace.recipe.write_text(tuned_recipe(training=training).canonical())
    store.workspace.settings.write_text(
        f'inference_python = "{inference}"\n[training]\npool = "gpu"\n'
        f'[[training.bases]]\nbase = "{BASE}"\nfolder = "{base}"\n')
    root, trainer = store.workspace.root, None
    try:
        tiebreak(root, "serve", **HASTY)
        server = running_server(store.workspace)
        assert server is not None
        deployed = json.loads(tiebreak(root, "deploy", "--json"))
        assert [row["deployment"] for row in deployed] == ["round/d", "retrain/d", "train/gpu"]
        elsewhere = folder / "elsewhere"
        elsewhere.mkdir()
        command = [sys.executable, "-P", "-m", "flows.cli", "--workspace", str(root), "serve", "--pool", "gpu"]
        with (folder / "gpu.log").open("wb") as log:
            trainer = subprocess.Popen(
                command, cwd=elsewhere, env=environment(PREFECT_API_URL=server.api_url, **HASTY), stdout=log,
                stderr=log, start_new_session=True)
        yield Shop(store, server.api_url)
    finally:
        if trainer is not None:
            stop_group(trainer.pid)
        stop_worker(store.workspace)
        stop_server(store.workspace)


def processes(*words: str) -> list[int]:
    """Processes whose command line holds all of these."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            said = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if all(word in said for word in words):
            found.append(int(path.parent.name))
    return found


def carriers(run: object) -> list[int]:
    """Processes that carry out a flow run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            is_it = f"PREFECT__FLOW_RUN_ID={run}".encode() in path.read_bytes()
            if is_it and b"prefect.engine" in (path.parent / "cmdline").read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_a_release_wakes_retraining_and_a_killed_training_goes_on_until_the_gate_decides(shop: Shop) -> None:
    root = shop.store.workspace.root
    tiebreak(root, "run", **HASTY)
    assert rows(shop.store, "SELECT count(*) FROM models") == [(0,)]
    # The event comes by itself; its run has the order carried out on the other pool.
    until(lambda: list((root / "orders").glob(f"*/{WORK}/progress.json")), 400, every=0.2)
    (retrained,), (first,) = shop.runs("retrain"), shop.runs("train")
    assert retrained["created_by"]["type"] == "AUTOMATION"  # type: ignore[index]
    assert (first["work_pool_name"], retrained["work_pool_name"]) == ("gpu", "tiebreak")
    until(lambda: carriers(first["id"]), 60)
    for pid in carriers(first["id"]):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not processes("program.py", str(root)), 60)
    until(lambda: state_of(shop.api, str(retrained["id"])) == "Failed", 200)
    assert state_of(shop.api, str(first["id"])) == "Crashed"
    assert rows(shop.store, "SELECT count(*) FROM promotions") == [(0,)], "nothing has replaced what was there"

    again = run_now(shop.api, "retrain/d")
    until(lambda: state_of(shop.api, again) in ("Completed", "Failed"), 700)
    ((model, kind),) = rows(shop.store, "SELECT model, kind FROM models")
    assert kind == "trl"
    assert rows(shop.store, "SELECT candidate FROM promotions") == [(model,)]
    assert [run["state_name"] for run in shop.runs("train")] == ["Crashed", "Completed"]
    told = {a["key"]: a for a in asked(shop.api, "artifacts")}
    assert "step " in str(told[f"{model}-training"]["description"])


def test_woken_once_more_nothing_changes(shop: Shop) -> None:
    def known() -> list[list[tuple[object, ...]]]:
        return [rows(shop.store, f"SELECT * FROM {table} ORDER BY ALL") for table in ("models", "promotions", "runs")]

    held = known()
    assert held[0], "there is something to change"
    again = run_now(shop.api, "retrain/d")
    until(lambda: state_of(shop.api, again) == "Completed", 120)
    assert known() == held
    assert len(shop.runs("train")) == 2

    def said() -> list[str]:
        return [str(row["message"]) for row in asked(shop.api, "logs", logs={"flow_run_id": {"any_": [again]}})]

    # The server takes lines of a log in batches, some seconds after the run itself is over.
    until(lambda: "no version lacks its model: nothing to do" in said(), 60)


def test_pairs_other_than_those_that_were_ordered_are_refused(tmp_path: Path) -> None:
    from flows.training_pool import carry_out_here

    (tmp_path / "train.parquet").write_bytes(b"other pairs")
    seen = file_sha256(tmp_path / "train.parquet")
    with pytest.raises(InputError, match=f"train.parquet: {seen}; expected {'0' * 64}"):
        carry_out_here(tmp_path, "0" * 64, Settings(), say=lambda line: None, tell=lambda what, share, said: None)
