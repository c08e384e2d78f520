"""What the carrier of an order does about programs that fail, fall silent, or are there twice."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from training_orders import BASE, lessons, readings, tuning

from curate.adapters.trl import watching
from curate.adapters.trl.carrying_out import carry_out
from curate.adapters.trl.orders import outcome_of, write_order
from curate.adapters.trl.watching import only_trainer
from curate.engines import TrainingOutcome
from schemas.errors import CallFailedError, InputError, LockHeldError, RecipeError, RefusedError


@pytest.fixture
def order(tmp_path: Path) -> Path:
    write_order(tmp_path / "o", "m", tuning(), 7, lessons(8), readings(1).clear())
    return tmp_path / "o"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Enough of a base that the carrier sends the program to it."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    return tmp_path / "base"


def program(tmp_path: Path, script: str) -> Path:
    """A Python that does this instead of what it is given; $2 is the work folder."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def carried(order: Path, python: Path, base: Path, silence_s: float = 30.0) -> TrainingOutcome:
    return carry_out(order, python=python, bases={BASE: str(base)}, silence_s=silence_s)


@pytest.mark.service
def test_a_program_that_tells_nothing_is_ended(order: Path, base: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(CallFailedError, match="has told nothing for 1 s and was ended: still thinking"):
        carried(order, program(tmp_path, "echo still thinking; exec sleep 60"), base, silence_s=1.0)
    assert time.monotonic() - began < 20
    with only_trainer(order):  # nobody holds it: the program is gone too
        assert outcome_of(order) is None


@pytest.mark.service
def test_a_program_that_dies_is_told_of_with_its_last_words(order: Path, base: Path, tmp_path: Path) -> None:
    with pytest.raises(CallFailedError, match=r"exit code 7: KeyError: 'score'.*; next: read training\.log"):
        carried(order, program(tmp_path, "echo \"KeyError: 'score'\" >&2; exit 7"), base)
    with pytest.raises(CallFailedError, match="signal 9, perhaps for want of memory"):
        carried(order, program(tmp_path, "kill -9 $$"), base)
    log = (order / "training.log").read_text()
    assert "KeyError" in log, "what an attempt before said is kept"


@pytest.mark.service
@pytest.mark.parametrize(("kind", "error"), [("memory", RefusedError), ("base", InputError), ("data", RefusedError)])
def test_what_a_program_knows_of_its_failure_becomes_an_error_of_ours(
    order: Path, base: Path, tmp_path: Path, kind: str, error: type[Exception]
) -> None:
    told = f'{{"kind": "{kind}", "seen": "no room", "expected": "room", "next": "make room"}}'
    with pytest.raises(error, match=r"no room; expected room; next: make room"):
        carried(order, program(tmp_path, f"echo '{told}' > $2/failure.json; exit 3"), base)


@pytest.mark.service
def test_what_began_from_another_base_is_not_gone_on_from(order: Path, base: Path, tmp_path: Path) -> None:
    stop = program(tmp_path, "exit 1")
    left = order / "work" / "checkpoints" / "checkpoint-5"
    left.mkdir(parents=True)  # by an attempt that was killed before it said what it begins from
    with pytest.raises(CallFailedError):
        carried(order, stop, base)
    assert not left.exists()
    left.mkdir(parents=True)
    with pytest.raises(CallFailedError):
        carried(order, stop, base)
    assert left.exists(), "the same base"
    (base / "config.json").write_text('{"hidden_size": 2}')
    with pytest.raises(CallFailedError):
        carried(order, stop, base)
    assert not left.exists(), "another one in the same folder"


def test_a_second_trainer_is_refused_and_told_who_is_first(
    order: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LOCK_WAIT_S", 0.0)
    with only_trainer(order), pytest.raises(LockHeldError, match="being carried out by pid"):
        carried(order, Path(sys.executable), base)
    assert not (order / "work").exists()
    assert (order / "trainer.lock").read_text() == ""


def test_a_changed_order_is_refused_before_anything_starts(order: Path, base: Path) -> None:
    (order / "train.parquet").write_bytes(b"other pairs")
    with pytest.raises(InputError, match=r"train\.parquet: sha256"):
        carried(order, Path(sys.executable), base)
    assert not (order / "work").exists()


def test_a_base_that_is_not_in_its_folder_and_a_missing_python_are_named(order: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"base tiny/base is not in .*nowhere.*training\.bases"):
        carried(order, Path(sys.executable), tmp_path / "nowhere")
    with pytest.raises(RecipeError, match=r"no Python at .*; next: make inference"):
        carried(order, tmp_path / "no-python", tmp_path / "nowhere")
