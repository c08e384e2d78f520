"""Where a trained model is found: a setting, a note of a living server, a process of our own; never a dead note."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from small_rounds import new_store

from curate.adapters.trl.orders import folder_sha256
from flows.leash import __file__ as leash
from flows.reaching import Note, living_note, lock_file, note_file, reached, read_note, write_note
from flows.serving_rewards import _command, _end_group, _end_leftover, serve
from flows.trained import Trained
from schemas.errors import InputError, LockHeldError, RefusedError
from schemas.settings import Endpoint, Settings
from warehouse.lock import writer_lock
from warehouse.store import Store, Writer
from warehouse.workspace import Workspace

NOBODY = Settings(inference_python="nowhere/python")
URL = "http://127.0.0.1:9/v1"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = new_store(tmp_path / "ws").workspace
    (made.root / "orders" / "d-1-x" / "model").mkdir(parents=True)
    (made.root / "orders" / "d-1-x" / "model" / "weights").write_text("heavy")
    made.serving.mkdir()
    return made


@pytest.fixture
def model(workspace: Workspace) -> Trained:
    uri = "orders/d-1-x/model"
    return Trained("d-1-x", "org/tiny", "d", 1, uri, folder_sha256(workspace.root / uri), 1.0, "float32", frozenset())


def test_an_endpoint_of_the_settings_wins(workspace: Workspace, model: Trained) -> None:
    settings = NOBODY.model_copy(update={"endpoints": (Endpoint(model="rm/d-1-x", url=URL),)})
    assert reached(workspace, settings, model) is settings


def test_the_note_of_a_living_server_is_an_endpoint(workspace: Workspace, model: Trained) -> None:
    write_note(workspace, Note(URL, model.name, 1, model.sha256))
    with writer_lock(lock_file(workspace, model.name), "serve-rm"):
        (endpoint,) = reached(workspace, NOBODY, model).endpoints
    assert (endpoint.model, endpoint.url) == ("rm/d-1-x", URL)


def test_the_note_of_a_dead_server_is_not_believed(workspace: Workspace, model: Trained) -> None:
    write_note(workspace, Note(URL, model.name, 1, model.sha256))
    with pytest.raises(RefusedError, match=r"nobody serves rm/d-1-x.*next: tiebreak serve-rm d-1-x"):
        reached(workspace, NOBODY, model)


def test_the_note_of_other_weights_is_not_believed(workspace: Workspace, model: Trained) -> None:
    write_note(workspace, Note(URL, model.name, 1, "0" * 64))
    with writer_lock(lock_file(workspace, model.name), "serve-rm"):
        assert living_note(workspace, model.name, model.sha256) is None


def test_a_damaged_note_is_none(workspace: Workspace) -> None:
    note_file(workspace, "d-1-x").write_text('{"url": ')
    assert read_note(workspace, "d-1-x") is None
    note_file(workspace, "d-1-x").write_text('{"url": "u"}')
    assert read_note(workspace, "d-1-x") is None


def test_an_environment_that_holds_vllm_is_enough(workspace: Workspace, model: Trained) -> None:
    (entry,) = reached(workspace, Settings(inference_python=sys.executable), model).in_process
    assert entry == f"rm/d-1-x={(workspace.root / model.uri).resolve()}"


def test_weights_that_changed_are_not_served(workspace: Workspace, model: Trained) -> None:
    (workspace.root / model.uri / "weights").write_text("light")
    with pytest.raises(RefusedError, match="sha256"):
        reached(workspace, Settings(inference_python=sys.executable), model)


def test_vllm_listens_on_loopback_only_and_gives_raw_rewards_in_the_models_own_type(
    workspace: Workspace, model: Trained
) -> None:
    command = _command(Path("python"), workspace.root / model.uri, model, 8123)
    pairs = dict(pairwise(command))
    assert (pairs["--host"], pairs["--port"], pairs["--dtype"]) == ("127.0.0.1", "8123", "float32")
    assert (pairs["--runner"], pairs["--convert"], pairs["--served-model-name"]) == ("pooling", "classify", "rm/d-1-x")
    assert Path(command[0]).is_absolute()


def with_row(store: Store, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A model of one kind stands in `models`."""
    whole = Writer.query

    def query(writer: Writer, name: str, *frames: object, **params: object) -> object:
        rows = whole(writer, name, *frames, **params)  # type: ignore[arg-type]
        config = '{"scale": 1, "tuning": {"dtype": "float32"}, "unread": []}'
        row = {"model": "d-1-x", "kind": kind, "family": "f", "base": "org/tiny", "dataset": "d", "trained_on": 1,
               "uri": "orders/d-1-x/model", "sha256": "0", "config": config}
        return pl.DataFrame([row]).select(rows.columns) if name == "model_of" and params["model"] else rows

    monkeypatch.setattr("warehouse.store.Writer.query", query)
    (store.workspace.root / "settings.toml").write_text(f'inference_python = "{sys.executable}"\n')


@pytest.mark.slow
def test_a_head_on_features_needs_no_server_and_says_so(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with_row(Store(workspace.root), monkeypatch, "linear")
    with pytest.raises(RefusedError, match=r"is a head on features.*no server is needed"):
        serve(workspace.root, "d-1-x", None, 0, lambda line: None)


@pytest.mark.slow
def test_changed_weights_start_no_server(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with_row(Store(workspace.root), monkeypatch, "trl")
    with pytest.raises(RefusedError, match="sha256"):
        serve(workspace.root, "d-1-x", None, 0, lambda line: None)


@pytest.mark.slow
def test_an_unknown_model_is_named_and_where_none_is_promoted_that_is_said(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace.root / "settings.toml").write_text(f'inference_python = "{sys.executable}"\n')
    with pytest.raises(InputError, match="nothing: none; expected one model; next: tiebreak models"):
        serve(workspace.root, "nothing", None, 0, lambda line: None)
    with pytest.raises(InputError, match="promoted models: none"):
        serve(workspace.root, None, None, 0, lambda line: None)


@pytest.mark.slow
def test_a_second_server_of_one_model_is_refused_and_names_the_first(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, model: Trained
) -> None:
    with_row(Store(workspace.root), monkeypatch, "trl")
    monkeypatch.setattr("flows.serving_rewards.checked_folder", lambda workspace, model: workspace.root)
    lock = writer_lock(lock_file(workspace, model.name), "serve-rm")
    with lock, pytest.raises(LockHeldError, match=str(os.getpid())):
        serve(workspace.root, "d-1-x", None, 0, lambda line: None)


SLEEP = "import sys, time; time.sleep(60)"


@pytest.mark.service
def test_what_a_killed_server_left_is_ended_and_its_note_removed(workspace: Workspace, model: Trained) -> None:
    left = subprocess.Popen([sys.executable, "-c", SLEEP, "rm/d-1-x"], start_new_session=True)
    stranger = subprocess.Popen([sys.executable, "-c", SLEEP], start_new_session=True)
    try:
        write_note(workspace, Note(URL, model.name, stranger.pid, model.sha256))
        _end_leftover(workspace, model)
        assert stranger.poll() is None
        write_note(workspace, Note(URL, model.name, left.pid, model.sha256))
        _end_leftover(workspace, model)
        assert left.wait(5) is not None
        assert read_note(workspace, model.name) is None
    finally:
        for process in (left, stranger):
            process.kill()
            process.wait()


@pytest.mark.service
def test_a_command_on_a_leash_ends_with_its_parent() -> None:
    program = (
        "import os, subprocess, sys, time\n"
        f"leash = [sys.executable, {str(leash)!r}, str(os.getpid())]\n"
        f"child = subprocess.Popen([*leash, sys.executable, '-c', {SLEEP!r}])\n"
        "print(child.pid, flush=True)\ntime.sleep(60)\n")
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    time.sleep(1.0)  # until the leash has become the command
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and is_running(child):
        time.sleep(0.05)
    assert not is_running(child)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.service
def test_a_group_that_does_not_listen_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.serving_rewards.STOP_S", 0.3)
    program = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    deaf = subprocess.Popen([sys.executable, "-c", program], start_new_session=True, stdout=subprocess.PIPE)
    assert deaf.stdout is not None
    deaf.stdout.readline()
    _end_group(deaf.pid)
    deaf.stdout.close()
    assert deaf.wait(5) is not None
