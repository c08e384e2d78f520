"""What is stopped is stopped with everything that it started, and nobody waits longer than needed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from flows.server import _members, start_detached, stop_group

pytestmark = pytest.mark.service  # starts processes


def started(folder: Path, script: str) -> int:
    """A group of two, once both run."""
    pid = start_detached(["/bin/sh", "-c", f"{script} & touch ready; wait"], {}, folder / "log")
    while not (folder / "ready").exists() or len(_members(pid)) < 2:
        time.sleep(0.02)
    return pid


def test_a_child_that_outlives_its_leader_is_ended_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.server.STOP_SECONDS", 0.5)
    pid = started(tmp_path, "(trap '' TERM; while :; do sleep 0.2; done)")
    stop_group(pid)
    assert _members(pid) == []


def test_a_group_that_ends_by_itself_is_not_waited_for(tmp_path: Path) -> None:
    pid, begun = started(tmp_path, "sleep 60"), time.monotonic()
    stop_group(pid)
    assert _members(pid) == []
    assert time.monotonic() - begun < 5
    stop_group(pid)  # once more: nobody is there
