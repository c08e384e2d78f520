"""Waiting for a run on another machine: for a worker as long as it takes, for a machine only while it lives."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from flows.training_pool import _await
from schemas.errors import CallFailedError

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

pytestmark = pytest.mark.service  # imports prefect


class Runs:
    """A server that knows one run, whose states follow one another; the last one stays until it is set."""

    def __init__(self, *states: State) -> None:
        self._states = list(states)

    def read_flow_run(self, run: str) -> SimpleNamespace:
        return SimpleNamespace(state=self._states.pop(0) if len(self._states) > 1 else self._states[0])

    def set_flow_run_state(self, run: str, state: State, *, force: bool) -> None:
        self._states = [state]


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.training_pool.LOOK_SECONDS", 0.01)


def awaited(runs: Runs, folder: Path) -> list[str]:
    """What was said."""
    said: list[str] = []
    _await(runs, SimpleNamespace(id="run"), folder, 0.1, said.append)  # type: ignore[arg-type]
    return said


@pytest.mark.parametrize("name", ["Pending", "Running", "Cancelling"])
def test_a_machine_that_took_the_run_and_is_gone_is_given_up_whatever_it_said_last(name: str, tmp_path: Path) -> None:
    from prefect import states
    from prefect.client.schemas.objects import StateType

    begun = time.monotonic()
    last = states.State(type=StateType[name.upper()], name=name)
    with pytest.raises(CallFailedError, match="crashed: its machine has told nothing"):
        awaited(Runs(last), tmp_path)
    assert time.monotonic() - begun > 0.1


def test_a_run_that_waits_for_a_worker_or_for_its_turn_is_waited_for(tmp_path: Path) -> None:
    from prefect import states

    waiting = [states.AwaitingConcurrencySlot()] * 20
    said = awaited(Runs(*waiting, states.Completed()), tmp_path)
    assert said[-1].endswith("completed")
