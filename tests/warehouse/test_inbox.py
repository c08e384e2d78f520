"""The inbox: what a worker acknowledged is never lost, what it did not is never half there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from small_rows import call, votes, world

from schemas.errors import ContractError, WorkspaceError
from warehouse.store import Store


def n_calls(store: Store) -> int:
    with store.write("count") as writer:
        return int(writer.query("n_rows")["calls"][0])


@pytest.mark.slow
def test_a_recorded_call_reaches_the_database_once(store: Store) -> None:
    with store.inbox("w") as inbox:
        inbox.record(call("x"))
        inbox.record(call("x"))
        inbox.record(call("y"))
    assert n_calls(store) == 2
    assert list(store.workspace.inbox.iterdir()) == []


@pytest.mark.slow
def test_a_torn_last_line_is_a_call_that_was_never_acknowledged(store: Store) -> None:
    with store.inbox("w") as inbox:
        inbox.record(call("x"))
    path = next(store.workspace.inbox.glob("calls-*"))
    path.write_bytes(path.read_bytes() + b'{"call_key": "torn')
    assert n_calls(store) == 1


@pytest.mark.slow
def test_the_file_of_a_living_worker_is_absorbed_and_left_to_it(store: Store) -> None:
    with store.inbox("w") as inbox:
        inbox.record(call("x"))
        assert n_calls(store) == 1
        inbox.record(call("y"))
        assert len(list(store.workspace.inbox.glob("calls-*"))) == 1
    assert n_calls(store) == 2


@pytest.mark.slow
def test_a_segment_is_there_whole_or_not_at_all(store: Store) -> None:
    frames = world()
    with store.write("test") as writer:
        writer.append(frames)
    with store.inbox("w") as inbox:
        inbox.segment("votes", votes(frames["pairs"], "ann"))
        with pytest.raises(ContractError):
            inbox.segment("votes", votes(frames["pairs"], "ann").drop("voter"))
    (store.workspace.inbox / ".votes-half.parquet.tmp").write_bytes(b"PAR1")
    with store.write("test") as writer:
        assert writer.query("last_seq").item() == 3
        writer.check()


@pytest.mark.service
def test_absorbing_what_was_absorbed_but_not_deleted_changes_nothing(store: Store) -> None:
    frames = world()
    with store.inbox("w") as inbox:
        inbox.segment("votes", votes(frames["pairs"], "ann"))
    segment = next(store.workspace.inbox.glob("votes-*"))
    copy = segment.read_bytes()
    with store.write("test") as writer:
        writer.append(frames)
    segment.write_bytes(copy)  # as if the writer was killed between commit and delete
    with store.write("test") as writer:
        assert writer.query("last_seq").item() == 3


@pytest.mark.service
def test_calls_of_a_worker_that_was_killed_are_not_lost(store: Store) -> None:
    script = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[2]); from small_rows import call; "
        "from warehouse.store import Store; inbox = Store(sys.argv[1]).inbox('w'); "
        "[inbox.record(call(str(i))) for i in range(50)]; os.kill(os.getpid(), signal.SIGKILL)"
    )
    command = [sys.executable, "-c", script, str(store.workspace.root), str(Path(__file__).parents[1])]
    killed = subprocess.run(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert n_calls(store) == 50


@pytest.mark.slow
def test_a_full_disk_tears_one_line_and_glues_no_other_to_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.write
    with store.inbox("w") as inbox:
        inbox.record(call("x"))
        monkeypatch.setattr("warehouse.inbox.os.write", lambda fd, line: whole(fd, line[:10]))
        with pytest.raises(OSError, match="No space"):
            inbox.record(call("y"))
        monkeypatch.setattr("warehouse.inbox.os.write", whole)
        inbox.record(call("z"))
    assert n_calls(store) == 2


def test_a_damaged_line_stops_the_writer_with_its_place_and_loses_nothing(store: Store) -> None:
    with store.inbox("w") as inbox:
        inbox.record(call("x"))
    path = next(store.workspace.inbox.glob("calls-*"))
    path.write_bytes(b"{broken}\n" + path.read_bytes())
    with pytest.raises(WorkspaceError, match="line 1 is damaged"):
        n_calls(store)
    assert path.exists()
